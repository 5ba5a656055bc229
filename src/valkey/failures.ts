// What an error of the client library or an error reply of the server means to us. Nothing of the original error is
// kept but words that hold no secret: the library's errors can carry options, and with them the password.
import { AbortError, ErrorReply } from '@redis/client'
import { BusError } from '../base/errors.ts'
import type { ValkeyAddress } from './address.ts'

/** First words of error replies by which the server says that it cannot serve now. */
const unavailable = new Set([
  'OOM',
  'MISCONF',
  'READONLY',
  'LOADING',
  'MASTERDOWN',
  'NOREPLICAS',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'BUSY',
  'MOVED',
  'ASK',
  'CROSSSLOT',
  'NOSCRIPT',
  'NOGOODSLAVE',
  'UNBLOCKED',
])
const denied = new Set(['WRONGPASS', 'NOAUTH', 'NOPERM', 'DENIED'])
const untrusted = /^(ERR_TLS_CERT|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|INVALID_CA|HOSTNAME_MISMATCH)/
const maxTextLength = 200

/** Words of the server, for an operator: one line, and with what we know to be secret taken out. */
function shownText(text: string, { password }: ValkeyAddress): string {
  const hidden = password === undefined ? text : text.replaceAll(password, '***')
  const oneLine = hidden.replace(/[^\x20-\x7e]+/g, ' ')
  return oneLine.length > maxTextLength ? `${oneLine.slice(0, maxTextLength)}…` : oneLine
}

/** An error reply: the server refused the command. Nothing was executed, for our scripts check before they write. */
export function replyFailure(error: ErrorReply, address: ValkeyAddress): BusError {
  const server = address.shown
  const word = /^([A-Z]+)\b/.exec(error.message)?.[1] ?? 'ERR'
  const text = shownText(error.message, address)
  if (denied.has(word)) {
    const message = `Valkey at ${server} refuses this user: ${text}`
    return new BusError('STORE_OPEN_FAILED', message, { reason: 'DENIED', reply: word, server })
  }
  if (unavailable.has(word)) {
    const message = `Valkey at ${server} cannot serve now: ${text}`
    return new BusError('STORE_UNAVAILABLE', message, { reason: word, server })
  }
  if (word === 'WRONGTYPE') {
    const message = `Valkey at ${server} holds a key of ours with another type: somebody else writes it`
    return new BusError('STORE_CORRUPT', message, { reason: 'WRONG_TYPE', server })
  }
  if (/max number of clients/.test(error.message)) {
    const message = `Valkey at ${server} takes no more clients; raise maxclients`
    return new BusError('STORE_UNAVAILABLE', message, { reason: 'MAX_CLIENTS', server })
  }
  if (/DB index is out of range/.test(error.message)) {
    const message = `Valkey at ${server} has no database ${address.database}; the address names it`
    return new BusError('STORE_OPEN_FAILED', message, { reason: 'NO_SUCH_DATABASE', server })
  }
  return new BusError('STORE_UNAVAILABLE', `Valkey at ${server} refused: ${text}`, { reason: 'REFUSED', server })
}

/** Why a connection could not be made. */
export function dialFailure(error: unknown, address: ValkeyAddress): BusError {
  if (error instanceof BusError) return error
  if (error instanceof ErrorReply) return replyFailure(error, address)
  const server = address.shown
  const code = codeOf(error)
  if (untrusted.test(code)) {
    const message = `Valkey at ${server} shows a certificate that is not trusted: ${code}`
    return new BusError('STORE_OPEN_FAILED', message, { reason: 'TLS_UNTRUSTED', server, code })
  }
  return unreachable(address, code)
}

export function unreachable({ shown: server }: ValkeyAddress, reason: string): BusError {
  const message = `Valkey at ${server} cannot be reached: ${reason}`
  return new BusError('STORE_UNAVAILABLE', message, { reason, server })
}

/** What became of a command that was not answered. `isFrozen`: the server kept the connection and said nothing. */
export function commandFailure(error: unknown, address: ValkeyAddress, isFrozen: boolean): BusError {
  if (error instanceof BusError) return error
  if (error instanceof ErrorReply) return replyFailure(error, address)
  const server = address.shown
  // The library takes a command back only while it has not been written.
  if (error instanceof AbortError) return unreachable(address, 'CONNECTION_LOST')
  if (error instanceof Error && error.message === 'The queue is full') {
    return new BusError('STORE_UNAVAILABLE', undefined, { reason: 'QUEUE_FULL', server })
  }
  if (isOffline(error)) return unreachable(address, 'OFFLINE')
  if (error instanceof TypeError) return new BusError('INTERNAL_ERROR', undefined, { reason: 'NOT_A_COMMAND' })
  const reason = isFrozen ? 'NO_ANSWER' : 'CONNECTION_LOST'
  return new BusError('STORE_TIMEOUT', undefined, { reason, server })
}

/** The library refuses by these before it queues a command. */
function isOffline(error: unknown): boolean {
  const name = error instanceof Error ? error.constructor.name : ''
  return name === 'ClientOfflineError' || name === 'ClientClosedError'
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'FAILED'
  // A name with several addresses fails with one error for each.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error
  const code: unknown = first instanceof Error && 'code' in first ? first.code : undefined
  if (typeof code === 'string') return code
  switch (error.constructor.name) {
    case 'ConnectionTimeoutError':
      return 'ETIMEDOUT'
    case 'SocketClosedUnexpectedlyError':
      return 'ECONNRESET'
    default:
      return /RESP type/.test(error.message) ? 'NOT_VALKEY' : 'FAILED'
  }
}
