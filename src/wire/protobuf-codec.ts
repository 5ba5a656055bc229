// Envelope <-> binary frame (original-contract 2.5, 2.6). Portable: the client SDK uses it in browsers.
import { systemClock } from '../base/clock.ts'
import { invalid } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import type { Envelope, EnvelopeType } from '../envelope/envelope.ts'
import { aboutMessage } from './about-message.ts'
import { parseTime, printTime } from './iso-time.ts'
import type { WireLimits } from './limits.ts'
import {
  checkId,
  checkTimestamp,
  checkVersion,
  commandSlot,
  idOf,
  isKnownType,
  type RawEnvelope,
  readRawEnvelope,
  slots,
  typeOf,
} from './raw-envelope.ts'
import { Reader } from './reader.ts'
import { Allowance, readStruct, unwrapPayload, wrapPayload, writeStruct } from './struct.ts'
import { Writer } from './writer.ts'

/** Throws VALIDATION_ERROR with a PB_ or field reason; `details.message_id` is there when the id could be read. */
export function decodeProtobuf(bytes: Uint8Array, limits: WireLimits): Envelope {
  const raw = readRawEnvelope(bytes)
  const id = idOf(raw)
  return aboutMessage(id, () => toEnvelope(raw, id, limits))
}

/** The slots of an envelope's text fields, by the field of BusPayload. The command has more than one place. */
const textSlots = [
  ['channel', slots.channel],
  ['sender', slots.sender],
  ['from_client', slots.fromClient],
  ['to_client', slots.toClient],
  ['request_id', slots.requestId],
  ['status', slots.status],
  ['error', slots.error],
  ['error_code', slots.errorCode],
] as const

function toEnvelope(raw: RawEnvelope, id: string, limits: WireLimits): Envelope {
  const allowance = new Allowance(limits)
  const type = typeOf(raw)
  checkId(id)
  if (!isKnownType(type)) throw invalid('BAD_TYPE', 'type is not one of the protocol', { field: 'type' })
  checkVersion(raw)
  checkTimestamp(raw.timestampMs)
  const metadata = structOf(raw, slots.metadata, allowance)
  if (metadata['tenant_id'] === undefined && raw.has(slots.tenantId)) metadata['tenant_id'] = raw.text(slots.tenantId)
  if (metadata['twist_id'] === undefined && raw.has(slots.twistId)) metadata['twist_id'] = raw.text(slots.twistId)
  const envelope: Envelope = {
    id,
    timestamp: printTime(raw.timestampMs ?? systemClock.now()),
    type: type as EnvelopeType,
    version: protocolVersion,
    payload: unwrapPayload(structOf(raw, slots.payload, allowance)),
    args: structOf(raw, slots.args, allowance),
    metadata,
  }
  if (raw.has(slots.roomId)) envelope.room = raw.text(slots.roomId)
  const command = commandSlot(raw)
  if (raw.has(command)) envelope.command = raw.text(command)
  for (const [name, slot] of textSlots) if (raw.has(slot)) envelope[name] = raw.text(slot)
  return envelope
}

/** Tags (field * 8 + 2) of Envelope's oneof and of BusPayload's Structs. */
export const fieldTags = { cmd: 162, event: 170, payload: 162, args: 170, metadata: 178 } as const

function structOf(raw: RawEnvelope, slot: number, allowance: Allowance): JsonObject {
  return raw.has(slot) ? readStruct(new Reader(raw.bytes, raw.starts[slot]), raw.ends[slot]!, 1, allowance) : {}
}

/** Shared by all calls: none of them waits for anything between `begin` and `finish`. */
const writer = new Writer()

/** Each field once, no header copies (design 5). Throws VALIDATION_ERROR for what protobuf cannot carry. */
export function encodeProtobuf(envelope: Envelope): Uint8Array {
  writer.begin()
  writeBusPayload(writer, envelope)
  writeAround(writer, envelope)
  return writer.finish()
}

/** The bytes of one Struct. */
export function encodeStruct(object: JsonObject): Uint8Array {
  writer.begin()
  writeStruct(writer, object)
  return writer.finish()
}

/** Empty text is absent text, as in proto3. */
export function writeText(writer: Writer, field: number, text: string | undefined): void {
  if (text === undefined || text === '') return
  writer.text(text)
  writer.byte((field << 3) | 2)
}

export function writeStructField(writer: Writer, tag: number, object: JsonObject): void {
  const mark = writer.written
  writeStruct(writer, object)
  writer.length(mark)
  writer.varint(tag)
}

/** BusPayload from its end: Structs, then text fields by falling number. */
function writeBusPayload(writer: Writer, envelope: Envelope): void {
  writeStructField(writer, fieldTags.metadata, envelope.metadata)
  writeStructField(writer, fieldTags.args, envelope.args)
  writeStructField(writer, fieldTags.payload, wrapPayload(envelope.payload))
  writeText(writer, slots.toClient, envelope.to_client)
  writeText(writer, slots.fromClient, envelope.from_client)
  writeText(writer, slots.errorCode, envelope.error_code)
  writeText(writer, slots.error, envelope.error)
  writeText(writer, slots.status, envelope.status)
  writeText(writer, slots.requestId, envelope.request_id)
  // A command's name is the `type` of the Command around this: it stands once.
  if (envelope.type !== 'command') writeText(writer, slots.command, envelope.command)
  writeText(writer, slots.channel, envelope.channel)
  writeText(writer, slots.sender, envelope.sender)
  writeText(writer, slots.version, envelope.version)
}

function writeAround(writer: Writer, envelope: Envelope): void {
  const isCommand = envelope.type === 'command'
  writer.length(0)
  writer.byte(0x12)
  writeText(writer, 1, isCommand ? envelope.command : envelope.type)
  writer.length(0)
  writer.varint(isCommand ? fieldTags.cmd : fieldTags.event)
  writeOuter(writer, envelope)
}

/** The fields of Envelope before its oneof. */
export function writeOuter(writer: Writer, envelope: Pick<Envelope, 'id' | 'timestamp' | 'room' | 'metadata'>): void {
  const { tenant_id: tenant, twist_id: twist } = envelope.metadata
  const timestampMs = parseTime(envelope.timestamp)
  if (timestampMs === undefined)
    throw invalid('BAD_TIMESTAMP', 'timestamp is not an ISO 8601 time', { field: 'timestamp' })
  if (typeof twist === 'string') writeText(writer, 5, twist)
  writer.varint(timestampMs)
  writer.byte(0x20)
  writeText(writer, 3, envelope.room)
  if (typeof tenant === 'string') writeText(writer, 2, tenant)
  writeText(writer, 1, envelope.id)
}
