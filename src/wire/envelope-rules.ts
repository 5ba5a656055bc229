// What an inbound envelope must be, in either wire format (original-contract 2.1 to 2.4, design 5). Portable.
import { type BusError, invalid } from '../base/errors.ts'
import { isMessageId } from '../base/ids.ts'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import { type AckRequest, ackRequests, type Envelope, type InboundType } from '../envelope/envelope.ts'
import { nameProblem } from '../envelope/names.ts'
import { checkInboundType } from './raw-envelope.ts'

/** What each type cannot do without (original-contract 2.3). */
const requiredFields: Readonly<Record<InboundType, readonly (keyof Envelope)[]>> = {
  message: ['payload'],
  command: ['command'],
  response: ['request_id', 'status'],
  error: ['error'],
  telemetry: [],
  'operator.join': ['payload'],
}

/** Checks all that is left when the types of the fields are right. Throws VALIDATION_ERROR. */
export function checkInbound(envelope: Envelope): InboundType {
  const type = checkInboundType(envelope.type)
  const { room, channel } = envelope
  if (room !== undefined) checkName('room', room)
  if (channel !== undefined) checkName('channel', channel)
  checkMetadata(envelope.metadata)
  for (const field of requiredFields[type]) {
    const value = envelope[field]
    // Any JSON value is a payload, the empty text too.
    if (value === undefined || value === null || (value === '' && field !== 'payload')) throw missingField(field, type)
  }
  return type
}

export function missingField(field: string, type: InboundType): BusError {
  return invalid('MISSING_FIELD', `${field} is missing; type ${type} needs it`, { field })
}

/** Names of the commonest letters need no closer look, which costs ten times as much. */
const plainName = /^[\w.:-]{1,128}$/

export function checkName(field: 'room' | 'channel', name: string): void {
  if (plainName.test(name)) return
  const problem = nameProblem(name)
  if (problem !== undefined) throw invalid('BAD_NAME', `${field} ${problem}`, { field })
}

/** Fields of metadata that mean something to the server; all others are the client's own. */
export function checkMetadata(metadata: JsonObject): void {
  if (metadata['position'] !== undefined) {
    throw invalid('SERVER_FIELD', 'metadata.position is set by the server; leave it out', {
      field: 'metadata.position',
    })
  }
  ackOf(metadata)
  const { sequence, vector_clock: clock, causal_parent_id: parent } = metadata
  if (sequence !== undefined && !(Number.isSafeInteger(sequence) && (sequence as number) >= 1)) {
    throw invalid('BAD_SEQUENCE', 'metadata.sequence must be a whole number from 1', { field: 'metadata.sequence' })
  }
  if (clock !== undefined) {
    const isClock =
      isJsonObject(clock) &&
      Object.entries(clock).every(([key, n]) => key !== '' && Number.isSafeInteger(n) && (n as number) >= 0)
    if (!isClock) {
      throw invalid('BAD_VECTOR_CLOCK', 'metadata.vector_clock must map names to whole numbers from 0', {
        field: 'metadata.vector_clock',
      })
    }
  }
  if (parent !== undefined && !(typeof parent === 'string' && isMessageId(parent))) {
    throw invalid('BAD_CAUSAL_PARENT', 'metadata.causal_parent_id must be a message id', {
      field: 'metadata.causal_parent_id',
    })
  }
}

export function ackOf(metadata: JsonObject): AckRequest | undefined {
  const ack = metadata['ack']
  if (ack === undefined) return undefined
  if (typeof ack === 'string' && (ackRequests as readonly string[]).includes(ack)) return ack as AckRequest
  throw invalid('BAD_ACK', `metadata.ack must be one of ${ackRequests.join(', ')}`, { field: 'metadata.ack' })
}
