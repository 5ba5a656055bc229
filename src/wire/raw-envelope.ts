// The outer walk of a binary frame: arqon.v1.Envelope around arqon.pybus.v1.BusPayload (original-contract 2.5, 2.6).
// Finds every field strictly and gives Structs as ranges. Portable.
import { isMessageId } from '../base/ids.ts'
import { invalid } from '../base/errors.ts'
import { type InboundType, inboundTypes, outboundTypes } from '../envelope/envelope.ts'
import { withMessageId } from './about-message.ts'
import { isWritableTime } from './iso-time.ts'
import { isForbiddenKey } from './limits.ts'
import { duplicateField, malformed, Reader, unexpectedTag, unknownField, wrongType } from './reader.ts'
import { forbiddenKey } from './struct.ts'

/** BusPayload's text fields by number; 0 is unused. Names are those of the JSON form. */
export const payloadTextFields = [
  '',
  'id',
  'type',
  'version',
  'sender',
  'channel',
  'command',
  'request_id',
  'status',
  'error',
  'error_code',
  'from_client',
  'to_client',
] as const

/** Header copies the original's encoder adds, and the text field each stands in for. */
const headerFields: Readonly<Record<string, number>> = {
  envelope_type: 2,
  version: 3,
  sender: 4,
  channel: 5,
  request_id: 7,
  status: 8,
  error: 9,
  error_code: 10,
  from_client: 11,
  to_client: 12,
}

/** A Struct's bytes: `[start, end)` of the frame. `start` is -1 when the field is absent. */
export interface Range {
  start: number
  end: number
}

export interface RawEnvelope {
  readonly bytes: Uint8Array
  traceId: string
  tenantId: string
  roomId: string
  twistId: string
  timestampMs: number | undefined
  kind: 'cmd' | 'event' | 'signal' | undefined
  /** The `type` of the Command or Event. */
  kindType: string
  /** By number of `payloadTextFields`; empty text counts as absent, as in proto3. */
  readonly texts: string[]
  readonly payload: Range
  readonly args: Range
  readonly metadata: Range
}

/** Header copies as they are found; by number of the text field. */
interface HeaderCopies {
  count: number
  readonly texts: string[]
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
  const raw: RawEnvelope = {
    bytes,
    traceId: '',
    tenantId: '',
    roomId: '',
    twistId: '',
    timestampMs: undefined,
    kind: undefined,
    kindType: '',
    texts: ['', '', '', '', '', '', '', '', '', '', '', '', ''],
    payload: { start: -1, end: -1 },
    args: { start: -1, end: -1 },
    metadata: { start: -1, end: -1 },
  }
  try {
    readOuter(new Reader(bytes), raw)
  } catch (error) {
    throw withMessageId(error, idOf(raw))
  }
  return raw
}

function readOuter(reader: Reader, raw: RawEnvelope): void {
  const headers: HeaderCopies = { count: 0, texts: [] }
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
    if (field >= 20) readKind(reader, fieldEnd, raw, field)
    else readOuterText(reader, fieldEnd, raw, field, headers)
  }
  headers.texts.forEach((text, field) => {
    if (raw.texts[field] === '') raw.texts[field] = text
  })
}

function readOuterText(reader: Reader, end: number, raw: RawEnvelope, field: number, headers: HeaderCopies): void {
  if (field === 1) raw.traceId = reader.text(end)
  else if (field === 2) raw.tenantId = reader.text(end)
  else if (field === 3) raw.roomId = reader.text(end)
  else if (field === 5) raw.twistId = reader.text(end)
  else if (field === 6) readHeader(reader, end, headers)
  else reader.offset = end // the signature: never checked by the original; ours is the token's
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
  let value = ''
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== 0x0a && tag !== 0x12) unexpectedTag(tag, 2)
    seen = mark(seen, tag >> 3)
    const text = reader.text(reader.lengthEnd(end))
    if (tag === 0x0a) name = text
    else value = text
  }
  if (++headers.count > maxHeaders) {
    throw invalid('TOO_MANY_KEYS', `more than ${maxHeaders} headers`, { max: maxHeaders })
  }
  if (isForbiddenKey(name)) forbiddenKey()
  // A map's later entry replaces its earlier one.
  if (Object.hasOwn(headerFields, name)) headers.texts[headerFields[name]!] = value
}

function readSignal(reader: Reader, end: number): void {
  let seen = 0
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== 0x08 && tag !== 0x12) unexpectedTag(tag, 2)
    seen = mark(seen, tag >> 3)
    if (tag === 0x08) reader.varint(end)
    else reader.text(reader.lengthEnd(end))
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
    if (tag === 0x0a) raw.kindType = reader.text(fieldEnd)
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
    if (field <= 12) {
      raw.texts[field] = reader.text(fieldEnd)
      continue
    }
    const range = field === 20 ? raw.payload : field === 21 ? raw.args : raw.metadata
    range.start = reader.offset
    range.end = fieldEnd
    reader.offset = fieldEnd
  }
}

/** The id, by the precedence of contract 2.6. */
export function idOf(raw: RawEnvelope): string {
  return raw.traceId !== '' ? raw.traceId : raw.texts[1]!
}

/** The type as the frame says it, by the precedence of contract 2.6. */
export function typeOf(raw: RawEnvelope): string {
  const named = raw.texts[2]!
  if (named !== '') return named
  if (raw.kind === 'cmd') return 'command'
  if (raw.kind === 'signal') return 'telemetry'
  return raw.kindType !== '' ? raw.kindType : 'message'
}

/** The command's name, by the precedence of contract 2.6; empty when there is none. */
export function commandOf(raw: RawEnvelope): string {
  const named = raw.texts[6]!
  return named === '' && raw.kind === 'cmd' && typeOf(raw) === 'command' ? raw.kindType : named
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

export function checkVersion(version: string): void {
  if (version !== '' && version !== '1.0') throw invalid('BAD_VERSION', 'version must be 1.0', { field: 'version' })
}

export function checkTimestamp(ms: number | undefined): void {
  if (ms === undefined || isWritableTime(ms)) return
  throw invalid('BAD_TIMESTAMP', 'timestamp is not a time of the years 0 to 9999', { field: 'timestamp' })
}
