// The outer walk of a binary frame: arqon.v1.Envelope around arqon.pybus.v1.BusPayload (original-contract 2.5, 2.6).
// Finds every field strictly and notes where it stands, without making a string. Portable.
import { isMessageId } from '../base/ids.ts'
import { invalid } from '../base/errors.ts'
import { type InboundType, inboundTypes, outboundTypes } from '../envelope/envelope.ts'
import { withMessageId } from './about-message.ts'
import { isWritableTime } from './iso-time.ts'
import { isForbiddenKey } from './limits.ts'
import { decodeText, duplicateField, malformed, Reader, unexpectedTag, unknownField, wrongType } from './reader.ts'
import { forbiddenKey } from './struct.ts'

/**
 * Where each field of a frame is noted. 1 to 12 and 20 to 22 are the field numbers of BusPayload, the others are those
 * of the messages around it.
 */
export const slots = {
  envelopeId: 1,
  type: 2,
  version: 3,
  sender: 4,
  channel: 5,
  command: 6,
  requestId: 7,
  status: 8,
  error: 9,
  errorCode: 10,
  fromClient: 11,
  toClient: 12,
  traceId: 13,
  tenantId: 14,
  roomId: 15,
  twistId: 16,
  /** The `type` of the Command or Event. */
  kindType: 17,
  payload: 20,
  args: 21,
  metadata: 22,
} as const

/** The slots of an Envelope's own text fields by field number; 0 where there is none. */
const outerSlots = [0, slots.traceId, slots.tenantId, slots.roomId, 0, slots.twistId] as const

/** Header copies the original's encoder adds, and the field each stands in for. */
const headerSlots: Readonly<Record<string, number>> = {
  envelope_type: slots.type,
  version: slots.version,
  sender: slots.sender,
  channel: slots.channel,
  request_id: slots.requestId,
  status: slots.status,
  error: slots.error,
  error_code: slots.errorCode,
  from_client: slots.fromClient,
  to_client: slots.toClient,
}

/** The fields of one frame as ranges of its bytes: text was found to be UTF-8, Structs were not looked into. */
export class RawEnvelope {
  readonly bytes: Uint8Array
  /** By slot: `[start, end)`. An absent field and an empty one are the same, as in proto3. */
  readonly starts: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
  readonly ends: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
  timestampMs: number | undefined = undefined
  kind: 'cmd' | 'event' | 'signal' | undefined = undefined

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  has(slot: number): boolean {
    return this.ends[slot]! > this.starts[slot]!
  }

  note(slot: number, start: number, end: number): void {
    this.starts[slot] = start
    this.ends[slot] = end
  }

  text(slot: number): string {
    return decodeText(this.bytes, this.starts[slot]!, this.ends[slot]!)
  }

  optionalText(slot: number): string | undefined {
    return this.has(slot) ? this.text(slot) : undefined
  }
}

/** Header copies as they are found, by slot: start and end. */
interface HeaderCopies {
  count: number
  readonly values: { slot: number; start: number; end: number }[]
}

const maxHeaders = 32

/** A seen-once check over field numbers below 32. */
function mark(seen: number, field: number): number {
  const bit = 1 << field
  if ((seen & bit) !== 0) duplicateField(field)
  return seen | bit
}

/** Throws VALIDATION_ERROR; `details.message_id` is there when the id stood before what is wrong. */
export function readRawEnvelope(bytes: Uint8Array): RawEnvelope {
  if (bytes.length === 0) throw malformed('PB_EMPTY', 'the frame is empty')
  const raw = new RawEnvelope(bytes)
  try {
    readOuter(new Reader(bytes), raw)
  } catch (error) {
    throw withMessageId(error, idOf(raw))
  }
  return raw
}

function readOuter(reader: Reader, raw: RawEnvelope): void {
  const headers: HeaderCopies = { count: 0, values: [] }
  const end = raw.bytes.length
  let seen = 0
  while (reader.offset < end) {
    const tag = reader.varint(end)
    const field = Math.floor(tag / 8)
    if (field === 4) {
      if (tag !== 0x20) wrongType()
      seen = mark(seen, 4)
      raw.timestampMs = reader.int64(end)
      continue
    }
    if (field < 1 || (field > 6 && field !== 10 && field !== 20 && field !== 21 && field !== 22)) unknownField(field)
    if ((tag & 7) !== 2) wrongType()
    if (field !== 6) seen = mark(seen, field)
    const fieldEnd = reader.lengthEnd(end)
    if (field < 6) noteText(reader, fieldEnd, raw, outerSlots[field]!)
    else if (field >= 20) readKind(reader, fieldEnd, raw, field)
    else if (field === 6) readHeader(reader, fieldEnd, headers)
    else reader.offset = fieldEnd // the signature: never checked by the original; ours is the token's
  }
  // A map's later entry replaces its earlier one, and a field of BusPayload stands before its copy.
  let decided = 0
  for (const { slot, start, end: stop } of headers.values.reverse()) {
    if (!raw.has(slot) && (decided & (1 << slot)) === 0) raw.note(slot, start, stop)
    decided |= 1 << slot
  }
}

function noteText(reader: Reader, end: number, raw: RawEnvelope, slot: number): void {
  const start = reader.offset
  reader.skipText(end)
  raw.note(slot, start, end)
}

function readKind(reader: Reader, end: number, raw: RawEnvelope, field: number): void {
  if (raw.kind !== undefined) duplicateField(field)
  raw.kind = field === 20 ? 'cmd' : field === 21 ? 'event' : 'signal'
  if (field === 22) readSignal(reader, end)
  else readTyped(reader, end, raw)
}

function readHeader(reader: Reader, end: number, headers: HeaderCopies): void {
  let seen = 0
  let name = ''
  let start = 0
  let stop = 0
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== 0x0a && tag !== 0x12) unexpectedTag(tag, 2)
    seen = mark(seen, tag >> 3)
    const fieldEnd = reader.lengthEnd(end)
    if (tag === 0x0a) name = reader.text(fieldEnd)
    else {
      start = reader.offset
      stop = fieldEnd
      reader.skipText(fieldEnd)
    }
  }
  if (++headers.count > maxHeaders) {
    throw invalid('TOO_MANY_KEYS', `more than ${maxHeaders} headers`, { max: maxHeaders })
  }
  if (isForbiddenKey(name)) forbiddenKey()
  if (Object.hasOwn(headerSlots, name)) headers.values.push({ slot: headerSlots[name]!, start, end: stop })
}

function readSignal(reader: Reader, end: number): void {
  let seen = 0
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== 0x08 && tag !== 0x12) unexpectedTag(tag, 2)
    seen = mark(seen, tag >> 3)
    if (tag === 0x08) reader.varint(end)
    else reader.skipText(reader.lengthEnd(end))
  }
}

/** Command or Event: `type` 1 and `data` 2, the bytes of a BusPayload. */
function readTyped(reader: Reader, end: number, raw: RawEnvelope): void {
  let seen = 0
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== 0x0a && tag !== 0x12) unexpectedTag(tag, 2)
    seen = mark(seen, tag >> 3)
    const fieldEnd = reader.lengthEnd(end)
    if (tag === 0x0a) noteText(reader, fieldEnd, raw, slots.kindType)
    else readBusPayload(reader, fieldEnd, raw)
  }
}

function readBusPayload(reader: Reader, end: number, raw: RawEnvelope): void {
  let seen = 0
  while (reader.offset < end) {
    const tag = reader.varint(end)
    const field = Math.floor(tag / 8)
    if (field < 1 || field > 22 || (field > 12 && field < 20)) unknownField(field)
    if ((tag & 7) !== 2) wrongType()
    seen = mark(seen, field)
    const fieldEnd = reader.lengthEnd(end)
    if (field <= 12) noteText(reader, fieldEnd, raw, field)
    else {
      raw.note(field, reader.offset, fieldEnd)
      reader.offset = fieldEnd
    }
  }
}

/** The slot of the id, by the precedence of contract 2.6. */
export function idSlot(raw: RawEnvelope): number {
  return raw.has(slots.traceId) ? slots.traceId : slots.envelopeId
}

export function idOf(raw: RawEnvelope): string {
  return raw.text(idSlot(raw))
}

/** The type as the frame says it, by the precedence of contract 2.6. */
export function typeOf(raw: RawEnvelope): string {
  if (raw.has(slots.type)) return raw.text(slots.type)
  if (raw.kind === 'cmd') return 'command'
  if (raw.kind === 'signal') return 'telemetry'
  return raw.has(slots.kindType) ? raw.text(slots.kindType) : 'message'
}

/** The slot of the command's name, by the precedence of contract 2.6; empty when there is none. */
export function commandSlot(raw: RawEnvelope): number {
  if (raw.has(slots.command) || raw.kind !== 'cmd') return slots.command
  return typeOf(raw) === 'command' ? slots.kindType : slots.command
}

export function checkId(id: string): void {
  if (isMessageId(id)) return
  throw invalid(
    'BAD_ID',
    id === '' ? 'id is missing' : 'id must be arq_<digits>_<digits>_<6 hex>, arq_<26 base-32>, a UUIDv7 or a ULID',
    { field: 'id' },
  )
}

const inbound: ReadonlySet<string> = new Set(inboundTypes)
const known: ReadonlySet<string> = new Set([...inboundTypes, ...outboundTypes])

export function checkInboundType(type: string): InboundType {
  if (inbound.has(type)) return type as InboundType
  throw invalid('BAD_TYPE', `type must be one of ${inboundTypes.join(', ')}`, { field: 'type' })
}

export function isKnownType(type: string): boolean {
  return known.has(type)
}

export function checkVersion(raw: RawEnvelope): void {
  if (!raw.has(slots.version) || raw.text(slots.version) === '1.0') return
  throw invalid('BAD_VERSION', 'version must be 1.0', { field: 'version' })
}

export function checkTimestamp(ms: number | undefined): void {
  if (ms === undefined || isWritableTime(ms)) return
  throw invalid('BAD_TIMESTAMP', 'timestamp is not a time of the years 0 to 9999', { field: 'timestamp' })
}
