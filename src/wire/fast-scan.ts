// The shortest way from an inbound binary frame to the canonical one: frames of the commonest shape are checked and
// laid out from offsets alone, without an object, a string or a copy more than the one into the outgoing array.
// `scan` answers false for every other shape; scanFrame and reframe then do the same work in general.
//
// The shape: trace_id, room_id and timestamp once each and in any order, then event{type "message", data} at the end;
// in BusPayload optional id, type, version and sender, then channel, payload, args, metadata, in this order; names of
// printable ASCII; metadata empty or just an ack.
import { type AckRequest, ackRequests } from '../envelope/envelope.ts'
import { encodeStruct } from './protobuf-codec.ts'
import { checkStruct } from './struct-check.ts'
import { Allowance, wrapPayload } from './struct.ts'
import type { WireLimits } from './limits.ts'
import { Reader } from './reader.ts'
import { writePaddedVarint } from './writer.ts'

const lengthWidth = 4
/** Tags, type and lengths between the outer fields and BusPayload: event, `0a 07 message`, data. */
const typeField = Uint8Array.from([0x0a, 7, ...Buffer.from('message')])
const typeName = typeField.subarray(2)
const versionName = Uint8Array.from(Buffer.from('1.0'))
/** Offsets of the lengths of event and data in what `frameMiddle` makes. */
const eventLengthAt = 2
const dataLengthAt = eventLengthAt + lengthWidth + typeField.length + 1
/** Which a message may not have: the general way says so. */
const nullPayload = encodeStruct(wrapPayload(null))
const ackMetadata: readonly { ack: AckRequest; bytes: Uint8Array }[] = ackRequests.map((ack) => ({
  ack,
  bytes: encodeStruct({ ack }),
}))

/** Node's own way from bytes to text, for arrays that are no Buffers too. */
const { latin1Slice } = Buffer.prototype as unknown as {
  readonly latin1Slice: (this: Uint8Array, start: number, end: number) => string
}

/** What stands between the outer fields and the channel, the same for all messages of a sender but two lengths. */
export function frameMiddle(sender: string): Uint8Array {
  const name = Buffer.from(sender, 'latin1')
  const length = new Uint8Array(lengthWidth)
  return Uint8Array.from([0xaa, 0x01, ...length, ...typeField, 0x12, ...length, 0x22, name.length, ...name])
}

export class FastScan {
  readonly #allowance: Allowance
  #bytes: Uint8Array = new Uint8Array()
  #reader = new Reader(new Uint8Array())
  idStart = 0
  idEnd = 0
  roomStart = 0
  roomEnd = 0
  channelStart = 0
  channelEnd = 0
  payloadStart = 0
  payloadEnd = 0
  ack: AckRequest | undefined
  #begin = 0
  #outerEnd = 0
  #bodyStart = 0
  #bodyEnd = 0
  #argsStart = 0
  #argsEnd = 0
  #metadataStart = 0
  #metadataEnd = 0

  constructor(limits: WireLimits) {
    this.#allowance = new Allowance(limits)
  }

  /** True when the frame at `[begin, end)` has the common shape and is valid: the fields then describe it. */
  scan(bytes: Uint8Array, begin: number, end: number): boolean {
    if (this.#bytes !== bytes) {
      this.#bytes = bytes
      this.#reader = new Reader(bytes)
    }
    this.#begin = begin
    return this.#scanOuter(bytes, begin, end) && this.#checkNames(bytes) && this.#checkContent()
  }

  /** Do the bytes at `[start, end)` of the scanned frame equal `wanted`? */
  equals(start: number, end: number, wanted: Uint8Array): boolean {
    if (end - start !== wanted.length) return false
    const bytes = this.#bytes
    for (let i = 0; i < wanted.length; i++) if (bytes[start + i] !== wanted[i]) return false
    return true
  }

  /** Of ASCII. Made in one piece: put together from characters it is kept as so many pieces. */
  text(start: number, end: number): string {
    return latin1Slice.call(this.#bytes, start, end)
  }

  slice(start: number, end: number): Uint8Array {
    return this.#bytes.slice(start, end)
  }

  /** Bytes of the canonical frame. */
  frameLength(middle: Uint8Array): number {
    const outer = this.#outerEnd - this.#begin
    const body = this.#bodyEnd - this.#bodyStart
    return outer + middle.length + body + 2 + lengthWidth + this.#metadataEnd - this.#metadataStart
  }

  /** Lays the canonical frame into `target` at `at`; `middle` is what `frameMiddle` made for the sender. */
  writeFrame(target: Uint8Array, at: number, middle: Uint8Array): void {
    const bytes = this.#bytes
    const metadata = this.#metadataEnd - this.#metadataStart
    const body = this.#bodyEnd - this.#bodyStart
    let offset = at
    for (let i = this.#begin; i < this.#outerEnd; i++) target[offset++] = bytes[i]!
    target.set(middle, offset)
    const data = middle.length - dataLengthAt - lengthWidth + body + 2 + lengthWidth + metadata
    const event = dataLengthAt - eventLengthAt + data
    writePaddedVarint(target, offset + eventLengthAt, event, lengthWidth)
    writePaddedVarint(target, offset + dataLengthAt, data, lengthWidth)
    offset += middle.length
    if (body < 64) for (let i = this.#bodyStart; i < this.#bodyEnd; i++) target[offset++] = bytes[i]!
    else {
      target.set(bytes.subarray(this.#bodyStart, this.#bodyEnd), offset)
      offset += body
    }
    target[offset++] = 0xb2
    target[offset++] = 0x01
    writePaddedVarint(target, offset, metadata, lengthWidth)
    offset += lengthWidth
    for (let i = this.#metadataStart; i < this.#metadataEnd; i++) target[offset++] = bytes[i]!
  }

  /** Outer fields, then the event that fills the rest of the frame. Only single-byte lengths are of the common shape. */
  #scanOuter(bytes: Uint8Array, begin: number, end: number): boolean {
    let at = begin
    let seen = 0
    for (;;) {
      if (at + 2 >= end) return false
      const tag = bytes[at]!
      if (tag === 0xaa) break
      at++
      if (tag === 0x20) {
        if ((seen & 4) !== 0) return false
        seen |= 4
        const stop = Math.min(end, at + 6) // until the year 2109
        while (at < stop && bytes[at]! >= 0x80) at++
        if (at++ >= stop) return false
        continue
      }
      const length = bytes[at++]!
      const next = at + length
      if (length >= 0x80 || next >= end) return false
      if (tag === 0x0a && (seen & 1) === 0) {
        seen |= 1
        this.idStart = at
        this.idEnd = next
      } else if (tag === 0x1a && (seen & 2) === 0) {
        seen |= 2
        this.roomStart = at
        this.roomEnd = next
      } else return false
      at = next
    }
    if (seen !== 7 || bytes[at + 1] !== 0x01) return false
    this.#outerEnd = at
    return this.#scanEvent(bytes, at + 2, end)
  }

  #scanEvent(bytes: Uint8Array, start: number, end: number): boolean {
    const reader = this.#reader
    reader.offset = start
    if (reader.varint(end) !== end - reader.offset) return false
    let at = reader.offset
    if (at + typeField.length >= end) return false
    for (let i = 0; i < typeField.length; i++) if (bytes[at + i] !== typeField[i]) return false
    at += typeField.length
    if (bytes[at] !== 0x12) return false
    reader.offset = at + 1
    if (reader.varint(end) !== end - reader.offset) return false
    return this.#scanPayload(bytes, reader.offset, end)
  }

  #scanPayload(bytes: Uint8Array, start: number, end: number): boolean {
    let at = start
    // Server-owned copies before the channel: id, type, version, sender. Only the version says something.
    for (let last = 0; at + 1 < end && bytes[at] !== 0x2a; ) {
      const tag = bytes[at]!
      if (tag > 0x22 || tag <= last || (tag & 7) !== 2) return false
      last = tag
      const length = bytes[at + 1]!
      if (length >= 0x80) return false
      if (tag === 0x12 && !this.equals(at + 2, at + 2 + length, typeName)) return false
      if (tag === 0x1a && !this.equals(at + 2, at + 2 + length, versionName)) return false
      if ((tag === 0x0a || tag === 0x22) && !isPrintable(bytes, at + 2, Math.min(end, at + 2 + length))) return false
      at += 2 + length
    }
    if (at + 2 >= end) return false
    const length = bytes[at + 1]!
    this.#bodyStart = at
    this.channelStart = at + 2
    this.channelEnd = at + 2 + length
    if (length >= 0x80 || this.channelEnd > end) return false
    return this.#scanStructs(bytes, this.channelEnd, end)
  }

  #scanStructs(bytes: Uint8Array, start: number, end: number): boolean {
    const reader = this.#reader
    let at = start
    let last = 0
    this.payloadStart = 0
    this.payloadEnd = 0
    this.#argsStart = 0
    this.#argsEnd = 0
    this.#bodyEnd = start
    this.#metadataStart = end
    this.#metadataEnd = end
    while (at < end) {
      const tag = bytes[at]!
      if (bytes[at + 1] !== 0x01 || tag <= last) return false
      last = tag
      reader.offset = at + 2
      const next = reader.varint(end) + reader.offset
      if (next > end) return false
      if (tag === 0xa2) {
        this.payloadStart = reader.offset
        this.payloadEnd = next
        this.#bodyEnd = next
      } else if (tag === 0xaa) {
        this.#argsStart = reader.offset
        this.#argsEnd = next
        this.#bodyEnd = next
      } else if (tag === 0xb2) {
        this.#metadataStart = reader.offset
        this.#metadataEnd = next
      } else return false
      at = next
    }
    return true
  }

  #checkNames(bytes: Uint8Array): boolean {
    return (
      isName(bytes, this.roomStart, this.roomEnd) &&
      isName(bytes, this.channelStart, this.channelEnd) &&
      isCommonId(bytes, this.idStart, this.idEnd)
    )
  }

  #checkContent(): boolean {
    this.ack = undefined
    if (this.#metadataEnd > this.#metadataStart) {
      const known = ackMetadata.find((one) => this.equals(this.#metadataStart, this.#metadataEnd, one.bytes))
      if (known === undefined) return false
      this.ack = known.ack
    }
    const reader = this.#reader
    const allowance = this.#allowance
    allowance.keys = this.ack === undefined ? 0 : 1
    if (this.payloadEnd > this.payloadStart) {
      if (this.equals(this.payloadStart, this.payloadEnd, nullPayload)) return false
      reader.offset = this.payloadStart
      checkStruct(reader, this.payloadEnd, 1, allowance)
    }
    if (this.#argsEnd > this.#argsStart) {
      reader.offset = this.#argsStart
      checkStruct(reader, this.#argsEnd, 1, allowance)
    }
    return true
  }
}

/** One to 128 printable ASCII characters, and no wildcard. */
function isName(bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start
  if (length < 1 || (length === 1 && (bytes[start] === 0x2a || bytes[start] === 0x3e))) return false
  return isPrintable(bytes, start, end)
}

function isPrintable(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! < 0x20 || bytes[i]! > 0x7e) return false
  return true
}

/** The commonest of the id forms: `arq_<1-20 digits>_<1-16 digits>_<6 hex>`. Others go the general way. */
function isCommonId(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 14 || end - start > 47 || bytes[start] !== 0x61 || bytes[start + 1] !== 0x72) return false
  if (bytes[start + 2] !== 0x71 || bytes[start + 3] !== 0x5f) return false
  let at = digits(bytes, start + 4, 20)
  if (at < 0 || bytes[at] !== 0x5f) return false
  at = digits(bytes, at + 1, 16)
  if (at < 0 || bytes[at] !== 0x5f || end - at !== 7) return false
  for (let i = at + 1; i < end; i++) {
    const code = bytes[i]! | 0x20
    if (!((bytes[i]! >= 0x30 && bytes[i]! <= 0x39) || (code >= 0x61 && code <= 0x66))) return false
  }
  return true
}

/** The offset after 1 to `max` digits, or -1. */
function digits(bytes: Uint8Array, start: number, max: number): number {
  let at = start
  while (bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at++
  return at > start && at - start <= max ? at : -1
}
