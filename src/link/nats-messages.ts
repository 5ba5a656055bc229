// Between the port's messages and those of the NATS client: headers both ways, which answers may be sent, and what the
// client's errors are called here.
import {
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  PermissionViolationError,
  RequestError,
} from '@nats-io/transport-node'
import { BusError } from '../base/errors.ts'
import type { LinkHeaders } from './link.ts'
import type { HeaderBlock } from './payload.ts'

/** An answer goes nowhere else: whoever asks must not make us publish where only we may. */
const replyForm = /^_INBOX(?:\.[A-Za-z0-9_-]+)+$/

/** Where an answer to the message goes; undefined when none is wanted, or not to an inbox. */
export function replySubject({ reply }: Msg): string | undefined {
  return reply !== undefined && replyForm.test(reply) ? reply : undefined
}

const decoder = new TextDecoder()

/** What the client keeps for itself: the way of its own publish to the socket. */
interface Protocol {
  outBytes: number
  outMsgs: number
  readonly noMorePublishing: boolean
  sendCommand(command: Uint8Array): void
}

const slabBytes = 64 * 1024

/**
 * Publishes through the connection, each message as one piece of one array, laid out here: the client's own way makes
 * four pieces with memory of their own and was a third of Shield's work for a frame (docs/performance.md). Where a
 * client has no such inside, its own way is taken. The data are copied: their owner may use them again at once.
 */
export function publisherOf(nc: NatsConnection) {
  const { protocol } = nc as unknown as { readonly protocol?: Protocol }
  let slab: Buffer = Buffer.alloc(0)
  let used = 0

  function room(bytes: number): Buffer {
    if (bytes > slabBytes / 4) return Buffer.allocUnsafeSlow(bytes)
    if (used + bytes > slab.length) {
      slab = Buffer.allocUnsafeSlow(slabBytes)
      used = 0
    }
    used += bytes
    return slab.subarray(used - bytes, used)
  }

  return (subject: string, data: Uint8Array, block: HeaderBlock): void => {
    if (typeof protocol?.sendCommand !== 'function' || protocol.noMorePublishing) {
      nc.publish(subject, new Uint8Array(data), clientHeaders(block))
      return
    }
    const total = block.bytes + data.length
    const line = block.bytes === 0 ? `PUB ${subject} ${total}\r\n` : `HPUB ${subject} ${block.bytes} ${total}\r\n`
    const piece = room(line.length + total + 2)
    let at = piece.write(line, 'latin1')
    at += piece.write(block.text, at, block.bytes === block.text.length ? 'latin1' : 'utf8')
    piece.set(data, at)
    piece[at + data.length] = 13
    piece[at + data.length + 1] = 10
    protocol.outBytes += total
    protocol.outMsgs++
    protocol.sendCommand(piece)
  }
}

/** The client asks a message's headers for nothing but their bytes when it publishes. */
export function clientHeaders({ text }: HeaderBlock): { headers?: MsgHdrs } {
  if (text === '') return {}
  const block = { encode: () => Buffer.from(text) }
  return { headers: block as unknown as MsgHdrs } // the link's contract suite holds the client to that
}

/** The client's message before its headers are taken apart; its own way costs several objects for each of them. */
interface RawMessage {
  readonly _rdata?: Uint8Array
  readonly _msg?: { readonly hdr: number }
}

export function toLinkHeaders(message: Msg): LinkHeaders {
  const { _rdata: data, _msg: parts } = message as RawMessage
  if (data === undefined || parts === undefined) return headersOf(message)
  if (parts.hdr <= 0) return {}
  const text = decoder.decode(data.subarray(0, parts.hdr))
  const headers: Record<string, string> = {}
  for (let start = text.indexOf('\r\n') + 2; start > 1; ) {
    const end = text.indexOf('\r\n', start)
    if (end <= start) break
    const colon = text.indexOf(':', start)
    // Of several with one name the first counts, as with the client's own.
    if (colon > start && colon < end) headers[text.slice(start, colon)] ??= text.slice(colon + 1, end).trim()
    start = end + 2
  }
  return headers
}

/** Where the client keeps its messages otherwise than it did. */
function headersOf({ headers }: Msg): LinkHeaders {
  if (headers === undefined) return {}
  return Object.fromEntries(Array.from(headers, ([name, values]) => [name, values[0] ?? '']))
}

/** The client gives a Buffer, whose `slice` would not copy. */
export function plain({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length)
}

export function toRequestError(cause: unknown): BusError {
  if (cause instanceof RequestError && cause.isNoResponders()) {
    return new BusError('TARGET_NOT_FOUND', 'Nobody listens there', {}, cause)
  }
  if (cause instanceof RequestError && cause.cause instanceof PermissionViolationError) return deniedError()
  // Whatever else ends it, the question may have arrived.
  return new BusError('LINK_TIMEOUT', 'Nobody answered in time', {}, cause)
}

export function deniedError(): BusError {
  return new BusError(
    'LINK_DENIED',
    'NATS denies a subject; the log names it. Give the user in NATS_URL the permissions of docs/link.md.',
    { reason: 'NATS_PERMISSIONS' },
  )
}
