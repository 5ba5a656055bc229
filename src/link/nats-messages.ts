// Between the port's messages and those of the NATS client: headers both ways, which answers may be sent, and what the
// client's errors are called here.
import { type Msg, type MsgHdrs, MsgHdrsImpl, PermissionViolationError, RequestError } from '@nats-io/transport-node'
import { BusError } from '../base/errors.ts'
import type { LinkHeaders } from './link.ts'

/** An answer goes nowhere else: whoever asks must not make us publish where only we may. */
const replyForm = /^_INBOX(?:\.[A-Za-z0-9_-]+)+$/

/** Where an answer to the message goes; undefined when none is wanted, or not to an inbox. */
export function replySubject({ reply }: Msg): string | undefined {
  return reply !== undefined && replyForm.test(reply) ? reply : undefined
}

/** For headers that `checkPayload` has checked: the client's own way to build them checks each again, one by one. */
export function toNatsHeaders(headers: LinkHeaders | undefined): { headers?: MsgHdrs } {
  if (headers === undefined) return {}
  const record: Record<string, string[]> = {}
  let isEmpty = true
  for (const [name, value] of Object.entries(headers)) {
    record[name] = [value]
    isEmpty = false
  }
  return isEmpty ? {} : { headers: MsgHdrsImpl.fromRecord(record) }
}

export function toLinkHeaders({ headers }: Msg): LinkHeaders {
  if (headers === undefined) return {}
  // In turn: a look by name compares it with every other.
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
