// The hot path: one scan of an inbound frame, one copy into the canonical message frame that is stored and delivered,
// and the position spliced in on the way out.
//
// A canonical frame holds each field once, and nothing after the metadata Struct:
//   Envelope{ trace_id, tenant_id?, room_id?, timestamp, twist_id?, event{ type, data=BusPayload{ …, payload, args, metadata } } }
// The lengths of event, data and metadata are written four bytes wide (over-long varints are legal), so a position is
// one more entry of the metadata Struct at the very end and three lengths overwritten in place. Structs stay bytes.
import { hash } from 'node:crypto'
import { systemClock } from '../base/clock.ts'
import { invalid } from '../base/errors.ts'
import type { JsonObject, JsonValue } from '../base/json.ts'
import type { AckRequest, Envelope, InboundType, Position } from '../envelope/envelope.ts'
import { aboutMessage } from './about-message.ts'
import { ackOf, checkMetadata, checkName, missingField } from './envelope-rules.ts'
import { defaultWireLimits, type WireLimits } from './limits.ts'
import { decodeProtobuf, encodeStruct, fieldTags, writeOuter, writeStructField, writeText } from './protobuf-codec.ts'
import {
  checkId,
  checkInboundType,
  checkTimestamp,
  checkVersion,
  commandSlot,
  idOf,
  idSlot,
  type RawEnvelope,
  readRawEnvelope,
  slots,
  typeOf,
} from './raw-envelope.ts'
import { Reader } from './reader.ts'
import { checkStruct } from './struct-check.ts'
import { Allowance, readStruct, wrapPayload, writeStruct } from './struct.ts'
import { Writer, writePaddedVarint } from './writer.ts'

/** Four bytes of varint count to 2^28: far above any frame that is let in. */
const lengthWidth = 4

export interface FrameScan {
  readonly raw: RawEnvelope
  readonly type: InboundType
  readonly id: string
  readonly room: string | undefined
  readonly channel: string | undefined
  readonly toClient: string | undefined
  /** The tenant the frame names, outside or in its metadata. */
  readonly tenantId: string | undefined
  readonly ack: AckRequest | undefined
  /** `metadata.traceparent`, unchecked. */
  readonly traceparent: JsonValue | undefined
  /** The payload's Struct, still bytes. */
  readonly payload: Uint8Array
}

const noMetadata: JsonObject = Object.freeze({})
/** Of a Struct with the payload `null`, which a message may not have. */
const nullPayload = encodeStruct(wrapPayload(null))

/** Validates a binary frame completely and finds what routing needs. Throws VALIDATION_ERROR. */
export function scanFrame(bytes: Uint8Array, limits: WireLimits): FrameScan {
  const raw = readRawEnvelope(bytes)
  const id = idOf(raw)
  return aboutMessage(id, () => finishScan(raw, id, limits))
}

function finishScan(raw: RawEnvelope, id: string, limits: WireLimits): FrameScan {
  checkId(id)
  const type = checkInboundType(typeOf(raw))
  checkVersion(raw)
  checkTimestamp(raw.timestampMs)
  const room = raw.optionalText(slots.roomId)
  const channel = raw.optionalText(slots.channel)
  if (room !== undefined) checkName('room', room)
  if (channel !== undefined) checkName('channel', channel)
  const allowance = new Allowance(limits)
  checkStructAt(raw, slots.payload, allowance)
  checkStructAt(raw, slots.args, allowance)
  const metadata = metadataOf(raw, allowance)
  if (metadata !== noMetadata) checkMetadata(metadata)
  checkRequired(raw, type)
  return {
    raw,
    type,
    id,
    room,
    channel,
    toClient: raw.optionalText(slots.toClient),
    tenantId: tenantOf(raw.optionalText(slots.tenantId), metadata['tenant_id']),
    ack: ackOf(metadata),
    traceparent: metadata['traceparent'],
    payload: raw.bytes.subarray(raw.starts[slots.payload], raw.ends[slots.payload]),
  }
}

/** A command's arguments, if any: their Struct, still bytes. */
export function argumentsOf({ raw }: FrameScan): Uint8Array | undefined {
  if (!raw.has(slots.args)) return undefined
  return raw.bytes.subarray(raw.starts[slots.args], raw.ends[slots.args])
}

/** Outside or in the metadata; one cannot be judged while members are shown the other. */
function tenantOf(outer: string | undefined, inner: JsonValue | undefined): string | undefined {
  if (typeof inner !== 'string') return outer
  if (outer !== undefined && outer !== inner) {
    throw invalid('TENANT_CONFLICT', 'tenant_id and metadata.tenant_id differ', { field: 'metadata.tenant_id' })
  }
  return inner
}

function checkStructAt(raw: RawEnvelope, slot: number, allowance: Allowance): void {
  if (raw.has(slot)) checkStruct(new Reader(raw.bytes, raw.starts[slot]), raw.ends[slot]!, 1, allowance)
}

function metadataOf(raw: RawEnvelope, allowance: Allowance): JsonObject {
  const slot = slots.metadata
  return raw.has(slot) ? readStruct(new Reader(raw.bytes, raw.starts[slot]), raw.ends[slot]!, 1, allowance) : noMetadata
}

/** What each type cannot do without (original-contract 2.3). */
function checkRequired(raw: RawEnvelope, type: InboundType): void {
  switch (type) {
    case 'message':
    case 'operator.join': {
      const start = raw.starts[slots.payload]!
      const end = raw.ends[slots.payload]!
      if (end - start !== nullPayload.length || nullPayload.some((byte, i) => raw.bytes[start + i] !== byte)) return
      throw missingField('payload', type)
    }
    case 'command':
      if (!raw.has(commandSlot(raw))) throw missingField('command', type)
      return
    case 'response':
      if (!raw.has(slots.requestId)) throw missingField('request_id', type)
      if (!raw.has(slots.status)) throw missingField('status', type)
      return
    case 'error':
      if (!raw.has(slots.error)) throw missingField('error', type)
      return
    case 'telemetry':
      return
  }
}

/** Shared by all calls: none of them waits for anything between `begin` and `finish`. */
const writer = new Writer()

/**
 * The canonical frame of a scanned one. `timestampMs`, else now, stands in where the client gave no time, `traceparent`
 * where its metadata has none.
 */
export function reframe(
  scan: FrameScan,
  server: { sender: string; timestampMs?: number; traceparent?: string | undefined },
): Uint8Array {
  const { raw } = scan
  const { traceparent } = server
  writer.begin()
  if (traceparent !== undefined && scan.traceparent === undefined) writeStruct(writer, { traceparent })
  writer.copy(raw.bytes, raw.starts[slots.metadata]!, raw.ends[slots.metadata]!)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.varint(fieldTags.metadata)
  copyField(raw, slots.args, fieldTags.args)
  copyField(raw, slots.payload, fieldTags.payload)
  // from_client is left out: who sent it is the server's to say.
  copyText(raw, slots.toClient, slots.toClient)
  copyText(raw, slots.errorCode, slots.errorCode)
  copyText(raw, slots.error, slots.error)
  copyText(raw, slots.status, slots.status)
  copyText(raw, slots.requestId, slots.requestId)
  copyText(raw, commandSlot(raw), slots.command)
  copyText(raw, slots.channel, slots.channel)
  closePayload(server.sender, scan.type)
  copyText(raw, slots.twistId, 5)
  writer.varint(raw.timestampMs ?? server.timestampMs ?? systemClock.now())
  writer.byte(0x20)
  copyText(raw, slots.roomId, 3)
  copyText(raw, slots.tenantId, 2)
  copyText(raw, idSlot(raw), 1)
  return writer.finish()
}

function copyText(raw: RawEnvelope, slot: number, field: number): void {
  if (raw.has(slot)) copyField(raw, slot, (field << 3) | 2)
}

function copyField(raw: RawEnvelope, slot: number, tag: number): void {
  const start = raw.starts[slot]!
  const end = raw.ends[slot]!
  writer.copy(raw.bytes, start, end)
  writer.varint(end - start)
  writer.varint(tag)
}

/** Sender, and the two messages around BusPayload. */
function closePayload(sender: string, type: string): void {
  writeText(writer, slots.sender, sender)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.byte(0x12)
  writeText(writer, 1, type)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.varint(fieldTags.event)
}

/** The same layout for an envelope that came as JSON. Throws VALIDATION_ERROR for what protobuf cannot carry. */
export function frameFromEnvelope(envelope: Envelope, server: { sender: string }): Uint8Array {
  writer.begin()
  writeStruct(writer, envelope.metadata)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.varint(fieldTags.metadata)
  writeStructField(writer, fieldTags.args, envelope.args)
  writeStructField(writer, fieldTags.payload, wrapPayload(envelope.payload))
  writeText(writer, slots.toClient, envelope.to_client)
  writeText(writer, slots.errorCode, envelope.error_code)
  writeText(writer, slots.error, envelope.error)
  writeText(writer, slots.status, envelope.status)
  writeText(writer, slots.requestId, envelope.request_id)
  writeText(writer, slots.command, envelope.command)
  writeText(writer, slots.channel, envelope.channel)
  closePayload(server.sender, envelope.type)
  writeOuter(writer, envelope)
  return writer.finish()
}

/** `metadata.position = {epoch, sequence}` as one entry of a Struct; the two doubles are filled in. */
const positionEntry = Buffer.from(encodeStruct({ position: { epoch: 1, sequence: 1 } }))
const epochOffset = positionEntry.indexOf('epoch') + 'epoch'.length + 3
const sequenceOffset = positionEntry.indexOf('sequence') + 'sequence'.length + 3

export function positionedLength(frame: Uint8Array): number {
  return frame.length + positionEntry.length
}

/** Lays the frame with its position into `target`; returns the offset after it. */
export function writePositioned(target: Uint8Array, offset: number, frame: Uint8Array, position: Position): number {
  const added = positionEntry.length
  target.set(frame, offset)
  const end = offset + frame.length
  target.set(positionEntry, end)
  writeDouble(target, end + epochOffset, position.epoch)
  writeDouble(target, end + sequenceOffset, position.sequence)
  const places = layoutOf(frame)
  lengthen(target, offset + places.event, added)
  lengthen(target, offset + places.data, added)
  lengthen(target, offset + places.metadata, added)
  return end + added
}

export function withPosition(frame: Uint8Array, position: Position): Uint8Array {
  const bytes = Buffer.allocUnsafe(positionedLength(frame))
  writePositioned(bytes, 0, frame, position)
  return bytes
}

const double = new Float64Array(1)
const doubleBytes = new Uint8Array(double.buffer)

function writeDouble(target: Uint8Array, offset: number, value: number): void {
  double[0] = value
  target.set(doubleBytes, offset)
}

function lengthen(bytes: Uint8Array, offset: number, by: number): void {
  const length =
    (bytes[offset]! & 0x7f) |
    ((bytes[offset + 1]! & 0x7f) << 7) |
    ((bytes[offset + 2]! & 0x7f) << 14) |
    ((bytes[offset + 3]! & 0x7f) << 21)
  writePaddedVarint(bytes, offset, length + by, lengthWidth)
}

/** Offsets in a canonical frame: of its three padded lengths, and around the payload's Struct. */
interface Layout {
  event: number
  data: number
  metadata: number
  payloadStart: number
  payloadEnd: number
}

/** A walk over about ten tags. Throws an Error for what is no canonical frame. */
function layoutOf(frame: Uint8Array): Layout {
  let at = 0
  while (frame[at] !== 0xaa) at = frame[at] === 0x20 ? varintEnd(frame, at + 1) : fieldEnd(frame, at + 1)
  const event = at + 2
  const data = fieldEnd(frame, event + lengthWidth + 1) + 1
  at = data + lengthWidth
  while (frame[at]! < 0x80) at = fieldEnd(frame, at + 1)
  // The Structs have tags of two bytes, and follow the text fields: payload and args where there are any, metadata.
  let payloadStart = at
  let payloadEnd = at
  for (; frame[at] !== 0xb2; at = fieldEnd(frame, at + 2)) {
    if (frame[at] !== 0xa2) continue
    payloadStart = varintEnd(frame, at + 2)
    payloadEnd = fieldEnd(frame, at + 2)
  }
  return { event, data, metadata: at + 2, payloadStart, payloadEnd }
}

/** The offset after the varint at `at`. */
function varintEnd(frame: Uint8Array, at: number): number {
  while (frame[at]! >= 0x80) at++
  if (at >= frame.length) throw new Error('not a canonical message frame')
  return at + 1
}

/** The offset after a length-delimited field whose length stands at `at`. */
function fieldEnd(frame: Uint8Array, at: number): number {
  const start = varintEnd(frame, at)
  let length = 0
  for (let i = start - 1; i >= at; i--) length = length * 128 + (frame[i]! & 0x7f)
  return start + length
}

/** What a canonical frame is about, without building its Structs. */
export function openFrame(frame: Uint8Array): {
  id: string
  type: string
  sender: string
  room: string | undefined
  channel: string | undefined
  toClient: string | undefined
} {
  const raw = readRawEnvelope(frame)
  return {
    id: idOf(raw),
    type: typeOf(raw),
    sender: raw.text(slots.sender),
    room: raw.optionalText(slots.roomId),
    channel: raw.optionalText(slots.channel),
    toClient: raw.optionalText(slots.toClient),
  }
}

/** The payload's Struct of a canonical frame, as bytes of that frame. */
export function payloadOf(frame: Uint8Array): Uint8Array {
  const { payloadStart, payloadEnd } = layoutOf(frame)
  return frame.subarray(payloadStart, payloadEnd)
}

/** 16 bytes naming the payload of a canonical frame: equal bytes, equal hash. */
export function payloadHash(frame: Uint8Array): Uint8Array {
  return hashOfPayload(payloadOf(frame))
}

/** The same, of the bytes of the payload's Struct. */
export function hashOfPayload(payload: Uint8Array): Uint8Array {
  // Asked for as text, because making a Buffer costs twice as much as the hash itself.
  return Buffer.from(hash('sha256', payload, 'binary').slice(0, 16), 'latin1')
}

/** Bounds that every frame we made ourselves is within. */
const trusted: WireLimits = { ...defaultWireLimits, maxDepth: 1_000, maxKeys: 1e9, maxArrayItems: 1e9 }

/** The envelope of a canonical frame, with its position when given. */
export function envelopeOfFrame(frame: Uint8Array, position?: Position): Envelope {
  const envelope = decodeProtobuf(frame, trusted)
  if (position !== undefined) envelope.metadata['position'] = { epoch: position.epoch, sequence: position.sequence }
  return envelope
}
