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
import { ackOf, checkMetadata, checkName } from './envelope-rules.ts'
import { defaultWireLimits, type WireLimits } from './limits.ts'
import { decodeProtobuf, fieldTags, writeOuter } from './protobuf-codec.ts'
import {
  checkId,
  checkInboundType,
  checkTimestamp,
  checkVersion,
  commandOf,
  idOf,
  type RawEnvelope,
  readRawEnvelope,
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
  /** The payload's Struct, still bytes. */
  readonly payload: Uint8Array
}

const none = new Uint8Array()
const noMetadata: JsonObject = Object.freeze({})

/** Validates a binary frame completely and finds what routing needs. Throws VALIDATION_ERROR. */
export function scanFrame(bytes: Uint8Array, limits: WireLimits): FrameScan {
  const raw = readRawEnvelope(bytes)
  const id = idOf(raw)
  return aboutMessage(id, () => finishScan(raw, id, limits))
}

function finishScan(raw: RawEnvelope, id: string, limits: WireLimits): FrameScan {
  checkId(id)
  const type = checkInboundType(typeOf(raw))
  checkVersion(raw.texts[3]!)
  checkTimestamp(raw.timestampMs)
  const allowance = new Allowance(limits)
  const { payload, args } = raw
  if (payload.start >= 0) checkStruct(new Reader(raw.bytes, payload.start), payload.end, 1, allowance)
  if (args.start >= 0) checkStruct(new Reader(raw.bytes, args.start), args.end, 1, allowance)
  const metadata = metadataOf(raw, allowance)
  checkMetadata(metadata)
  const room = raw.roomId
  const channel = raw.texts[5]!
  if (room !== '') checkName('room', room)
  if (channel !== '') checkName('channel', channel)
  return {
    raw,
    type,
    id,
    room: room === '' ? undefined : room,
    channel: channel === '' ? undefined : channel,
    toClient: raw.texts[12] === '' ? undefined : raw.texts[12],
    tenantId: tenantOf(raw.tenantId, metadata['tenant_id']),
    ack: ackOf(metadata),
    payload: payload.start < 0 ? none : raw.bytes.subarray(payload.start, payload.end),
  }
}

/** Outside or in the metadata; one cannot be judged while members are shown the other. */
function tenantOf(outer: string, inner: JsonValue | undefined): string | undefined {
  if (typeof inner !== 'string') return outer === '' ? undefined : outer
  if (outer !== '' && outer !== inner) {
    throw invalid('TENANT_CONFLICT', 'tenant_id and metadata.tenant_id differ', { field: 'metadata.tenant_id' })
  }
  return inner
}

function metadataOf(raw: RawEnvelope, allowance: Allowance): JsonObject {
  const { start, end } = raw.metadata
  return end <= start ? noMetadata : readStruct(new Reader(raw.bytes, start), end, 1, allowance)
}

/** Fields of BusPayload that are copied from the client; the sender is the server's. */
const copiedTexts = [12, 10, 9, 8, 7, 6, 5] as const

/** The canonical frame of a scanned one. `timestampMs`, else now, stands in where the client gave no time. */
export function reframe(scan: FrameScan, server: { sender: string; timestampMs?: number }): Uint8Array {
  const { raw } = scan
  const { bytes, metadata, args, payload } = raw
  const writer = new Writer(bytes.length + 128)
  writer.raw(metadata.start < 0 ? none : bytes.subarray(metadata.start, metadata.end))
  writer.paddedVarint(writer.written, lengthWidth)
  writer.varint(fieldTags.metadata)
  copyStruct(writer, bytes, args)
  writer.varint(fieldTags.args)
  copyStruct(writer, bytes, payload)
  writer.varint(fieldTags.payload)
  for (const field of copiedTexts) {
    const text = field === 6 ? commandOf(raw) : raw.texts[field]!
    if (text === '') continue
    writer.text(text)
    writer.byte((field << 3) | 2)
  }
  closePayload(writer, server.sender, scan.type)
  if (raw.twistId !== '') {
    writer.text(raw.twistId)
    writer.byte(0x2a)
  }
  writer.varint(raw.timestampMs ?? server.timestampMs ?? systemClock.now())
  writer.byte(0x20)
  if (raw.roomId !== '') {
    writer.text(raw.roomId)
    writer.byte(0x1a)
  }
  if (raw.tenantId !== '') {
    writer.text(raw.tenantId)
    writer.byte(0x12)
  }
  writer.text(scan.id)
  writer.byte(0x0a)
  return writer.finish()
}

function copyStruct(writer: Writer, bytes: Uint8Array, range: { start: number; end: number }): void {
  const mark = writer.written
  if (range.start >= 0) writer.raw(bytes.subarray(range.start, range.end))
  writer.length(mark)
}

/** Sender, and the two messages around BusPayload. */
function closePayload(writer: Writer, sender: string, type: string): void {
  writer.text(sender)
  writer.byte((4 << 3) | 2)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.byte(0x12)
  writer.text(type)
  writer.byte(0x0a)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.varint(fieldTags.event)
}

const envelopeTexts = ['to_client', 'error_code', 'error', 'status', 'request_id', 'command', 'channel'] as const

/** The same layout for an envelope that came as JSON. */
export function frameFromEnvelope(envelope: Envelope, server: { sender: string; timestampMs?: number }): Uint8Array {
  const writer = new Writer()
  writeStruct(writer, envelope.metadata)
  writer.paddedVarint(writer.written, lengthWidth)
  writer.varint(fieldTags.metadata)
  let mark = writer.written
  writeStruct(writer, envelope.args)
  writer.length(mark)
  writer.varint(fieldTags.args)
  mark = writer.written
  writeStruct(writer, wrapPayload(envelope.payload))
  writer.length(mark)
  writer.varint(fieldTags.payload)
  envelopeTexts.forEach((name, index) => {
    const text = envelope[name]
    if (text === undefined || text === '') return
    writer.text(text)
    writer.byte((copiedTexts[index]! << 3) | 2)
  })
  closePayload(writer, server.sender, envelope.type)
  writeOuter(writer, envelope)
  return writer.finish()
}

/** `metadata.position = {epoch, sequence}` as one entry of a Struct; the two doubles are filled in. */
const positionEntry = (() => {
  const writer = new Writer()
  writeStruct(writer, { position: { epoch: 1, sequence: 1 } })
  return Buffer.from(writer.finish())
})()
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
  const bytes = new Uint8Array(positionedLength(frame))
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

interface Layout {
  /** Offsets of the three padded lengths. */
  event: number
  data: number
  metadata: number
  /** Offset of BusPayload's first field. */
  body: number
}

/** Finds the padded lengths of a canonical frame: a walk over about ten tags. */
function layoutOf(frame: Uint8Array): Layout {
  let at = 0
  for (;;) {
    const tag = frame[at]!
    if (tag === 0xaa) break // the first byte of the event tag
    at++
    if (tag === 0x20) while (frame[at++]! >= 0x80);
    else at = skipText(frame, at)
  }
  const event = at + 2
  at = skipText(frame, event + lengthWidth + 1)
  const data = at + 1
  const body = data + lengthWidth
  at = body
  for (;;) {
    const isWide = frame[at]! >= 0x80
    const isMetadata = isWide && frame[at]! === ((fieldTags.metadata & 0x7f) | 0x80)
    at += isWide ? 2 : 1
    if (isMetadata) return { event, data, metadata: at, body }
    at = skipText(frame, at)
  }
}

/** The offset after a length-delimited field whose length stands at `at`. */
function skipText(frame: Uint8Array, at: number): number {
  let length = frame[at]! & 0x7f
  for (let shift = 7; frame[at]! >= 0x80; shift += 7) length |= (frame[++at]! & 0x7f) << shift
  return at + 1 + length
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
  const [channel, toClient] = [raw.texts[5]!, raw.texts[12]!]
  return {
    id: idOf(raw),
    type: typeOf(raw),
    sender: raw.texts[4]!,
    room: raw.roomId === '' ? undefined : raw.roomId,
    channel: channel === '' ? undefined : channel,
    toClient: toClient === '' ? undefined : toClient,
  }
}

/** The payload's Struct of a canonical frame, as bytes of that frame. */
export function payloadOf(frame: Uint8Array): Uint8Array {
  let at = layoutOf(frame).body
  while (frame[at] !== 0xa2) at = skipText(frame, at + 1) // text fields have tags of one byte, and stand before it
  const start = at + 2
  const end = skipText(frame, start)
  let first = start
  while (frame[first]! >= 0x80) first++
  return frame.subarray(first + 1, end)
}

/** 16 bytes naming the payload of a canonical frame: equal bytes, equal hash. */
export function payloadHash(frame: Uint8Array): Uint8Array {
  return hash('sha256', payloadOf(frame), 'buffer').subarray(0, 16)
}

/** Bounds that every frame we made ourselves is within. */
const trusted: WireLimits = { ...defaultWireLimits, maxDepth: 1_000, maxKeys: 1e9, maxArrayItems: 1e9 }

/** The envelope of a canonical frame, with its position when given. */
export function envelopeOfFrame(frame: Uint8Array, position?: Position): Envelope {
  const envelope = decodeProtobuf(frame, trusted)
  if (position !== undefined) envelope.metadata['position'] = { epoch: position.epoch, sequence: position.sequence }
  return envelope
}
