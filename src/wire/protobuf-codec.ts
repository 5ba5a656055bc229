// Envelope <-> binary frame (original-contract 2.5, 2.6). Portable: the client SDK uses it in browsers.
import { systemClock, toIsoTime } from '../base/clock.ts'
import type { JsonObject } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import type { Envelope, EnvelopeType } from '../envelope/envelope.ts'
import { aboutMessage } from './about-message.ts'
import { parseTime } from './iso-time.ts'
import type { WireLimits } from './limits.ts'
import {
  checkId,
  checkTimestamp,
  checkVersion,
  commandOf,
  idOf,
  isKnownType,
  payloadTextFields,
  type Range,
  type RawEnvelope,
  readRawEnvelope,
  typeOf,
} from './raw-envelope.ts'
import { Reader } from './reader.ts'
import { Allowance, readStruct, unwrapPayload, wrapPayload, writeStruct } from './struct.ts'
import { Writer } from './writer.ts'
import { invalid } from '../base/errors.ts'

/** Throws VALIDATION_ERROR with a PB_ or field reason; `details.message_id` is there when the id could be read. */
export function decodeProtobuf(bytes: Uint8Array, limits: WireLimits): Envelope {
  const raw = readRawEnvelope(bytes)
  return aboutMessage(idOf(raw), () => toEnvelope(raw, limits))
}

function toEnvelope(raw: RawEnvelope, limits: WireLimits): Envelope {
  const allowance = new Allowance(limits)
  const type = typeOf(raw)
  checkId(idOf(raw))
  if (!isKnownType(type)) throw invalid('BAD_TYPE', 'type is not one of the protocol', { field: 'type' })
  checkVersion(raw.texts[3]!)
  checkTimestamp(raw.timestampMs)
  const { texts } = raw
  const metadata = structOf(raw, raw.metadata, allowance)
  if (raw.tenantId !== '' && metadata['tenant_id'] === undefined) metadata['tenant_id'] = raw.tenantId
  if (raw.twistId !== '' && metadata['twist_id'] === undefined) metadata['twist_id'] = raw.twistId
  const envelope: Envelope = {
    id: idOf(raw),
    timestamp: toIsoTime(raw.timestampMs ?? systemClock.now()),
    type: type as EnvelopeType,
    version: protocolVersion,
    payload: unwrapPayload(structOf(raw, raw.payload, allowance)),
    args: structOf(raw, raw.args, allowance),
    metadata,
  }
  if (raw.roomId !== '') envelope.room = raw.roomId
  const command = commandOf(raw)
  if (command !== '') envelope.command = command
  for (const field of [4, 5, 7, 8, 9, 10, 11, 12] as const) {
    if (texts[field] !== '') envelope[payloadTextFields[field]] = texts[field]!
  }
  return envelope
}

/** Tags (field * 8 + 2) of Envelope's oneof and of BusPayload's Structs. */
export const fieldTags = { cmd: 162, event: 170, payload: 162, args: 170, metadata: 178 } as const

function structOf(raw: RawEnvelope, { start, end }: Range, allowance: Allowance): JsonObject {
  return start < 0 ? {} : readStruct(new Reader(raw.bytes, start), end, 1, allowance)
}

/** Each field once, no header copies (design 5). Throws VALIDATION_ERROR for what protobuf cannot carry. */
export function encodeProtobuf(envelope: Envelope): Uint8Array {
  const writer = new Writer()
  writeBusPayload(writer, envelope)
  writeAround(writer, envelope)
  return writer.finish()
}

/** The bytes of one Struct. */
export function encodeStruct(object: JsonObject): Uint8Array {
  const writer = new Writer()
  writeStruct(writer, object)
  return writer.finish()
}

const present = (text: string | undefined): text is string => text !== undefined && text !== ''

/** Bytes of BusPayload, metadata last. */
function writeBusPayload(writer: Writer, envelope: Envelope): void {
  let mark = writer.written
  writeStruct(writer, envelope.metadata)
  writer.length(mark)
  writer.varint(fieldTags.metadata)
  mark = writer.written
  writeStruct(writer, envelope.args)
  writer.length(mark)
  writer.varint(fieldTags.args)
  mark = writer.written
  writeStruct(writer, wrapPayload(envelope.payload))
  writer.length(mark)
  writer.varint(fieldTags.payload)
  for (let field = 12; field >= 3; field--) {
    const name = payloadTextFields[field]!
    const text = envelope[name as keyof Envelope] as string | undefined
    if (!present(text)) continue
    // The command name is the `type` of the Command around this: it stands once.
    if (name === 'command' && envelope.type === 'command') continue
    writer.text(text)
    writer.byte((field << 3) | 2)
  }
}

function writeAround(writer: Writer, envelope: Envelope): void {
  const isCommand = envelope.type === 'command'
  writer.length(0)
  writer.byte(0x12)
  writer.text(isCommand ? (present(envelope.command) ? envelope.command : 'command') : envelope.type)
  writer.byte(0x0a)
  writer.length(0)
  writer.varint(isCommand ? fieldTags.cmd : fieldTags.event)
  writeOuter(writer, envelope)
}

/** The fields of Envelope before its oneof. */
export function writeOuter(writer: Writer, envelope: Pick<Envelope, 'id' | 'timestamp' | 'room' | 'metadata'>): void {
  const { tenant_id: tenant, twist_id: twist } = envelope.metadata
  if (typeof twist === 'string' && twist !== '') {
    writer.text(twist)
    writer.byte(0x2a)
  }
  writer.varint(parseTime(envelope.timestamp) ?? 0)
  writer.byte(0x20)
  if (present(envelope.room)) {
    writer.text(envelope.room)
    writer.byte(0x1a)
  }
  if (typeof tenant === 'string' && tenant !== '') {
    writer.text(tenant)
    writer.byte(0x12)
  }
  writer.text(envelope.id)
  writer.byte(0x0a)
}
