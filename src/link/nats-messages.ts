// Between the port's messages and those of the NATS client: headers both ways, which answers may be sent, and what the
// client's errors are called here.
import { type Msg, type MsgHdrs, PermissionViolationError, RequestError } from '@nats-io/transport-node'
import { BusError } from '../base/errors.ts'
import type { LinkHeaders } from './link.ts'

/** An answer goes nowhere else: whoever asks must not make us publish where only we may. */
const replyForm = /^_INBOX(?:\.[A-Za-z0-9_-]+)+$/

/** Where an answer to the message goes; undefined when none is wanted, or not to an inbox. */
export function replySubject({ reply }: Msg): string | undefined {
  return reply !== undefined && replyForm.test(reply) ? reply : undefined
}

const version = 'NATS/1.0\r\n'
const decoder = new TextDecoder()

/**
 * For headers that `checkPayload` has checked. The client asks a message's headers for nothing but their bytes when it
 * publishes, and its own way to build them costs several times as much (docs/performance.md).
 */
export function toNatsHeaders(headers: LinkHeaders | undefined): { headers?: MsgHdrs } {
  if (headers === undefined) return {}
  let text = version
  for (const name in headers) text += `${name}: ${headers[name]}\r\n`
  if (text === version) return {}
  const block = { encode: () => Buffer.from(`${text}\r\n`) }
  return { headers: block as unknown as MsgHdrs } // of which only `encode` is called: the link's contract suite holds it to that
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
