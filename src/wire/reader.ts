// Reading protobuf bytes strictly: every refusal is a BusError with a PB_ reason. Portable, no Node built-ins.
import { type BusError, invalid } from '../base/errors.ts'

export function malformed(reason: string, text: string): BusError {
  return invalid(reason, text)
}

export function wrongType(): never {
  throw malformed('PB_WIRE_TYPE', 'a known field has another wire type')
}

export function unknownField(field: number): never {
  throw invalid('PB_UNKNOWN_FIELD', `field ${field} is not part of the schema`, { field })
}

export function duplicateField(field: number): never {
  throw invalid('PB_DUPLICATE_FIELD', `field ${field} stands twice`, { field })
}

/** Refuses a tag that no case took, of a message whose fields are numbered 1 to `lastField`. */
export function unexpectedTag(tag: number, lastField: number): never {
  const field = Math.floor(tag / 8)
  if (field >= 1 && field <= lastField) wrongType()
  unknownField(field)
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Up to this many bytes, building the string by hand beats TextDecoder's call. */
const shortText = 12

/** The string of UTF-8 bytes `[start, end)`; throws PB_UTF8 for bytes that are not. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= shortText) {
    let text = ''
    let i = start
    for (; i < end; i++) {
      const byte = bytes[i]!
      if (byte > 0x7f) break
      text += String.fromCharCode(byte)
    }
    if (i === end) return text
  }
  try {
    return decoder.decode(bytes.subarray(start, end))
  } catch (cause) {
    throw malformedText(cause)
  }
}

/** A cursor over `bytes` up to `end`. Nested messages move `offset` on; their own end is passed along. */
export class Reader {
  readonly bytes: Uint8Array
  offset: number

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes
    this.offset = offset
  }

  /** A varint, exact up to 2^53; more than 64 bits, or bytes beyond `end`, are refused. */
  varint(end: number): number {
    const { bytes } = this
    let offset = this.offset
    if (offset >= end) throw truncated()
    let byte = bytes[offset++]!
    if (byte < 0x80) {
      this.offset = offset
      return byte
    }
    let value = byte & 0x7f
    let scale = 128
    for (let i = 1; ; i++) {
      if (offset >= end) throw truncated()
      byte = bytes[offset++]!
      if (i === 9 && byte > 1) throw malformed('PB_VARINT', 'a varint has more than 64 bits')
      value += (byte & 0x7f) * scale
      scale *= 128
      if (byte < 0x80) break
    }
    this.offset = offset
    return value
  }

  /** A signed 64-bit varint; beyond ±2^53 is refused. */
  int64(end: number): number {
    const begin = this.offset
    const value = this.varint(end)
    if (value < 9_007_199_254_740_992) return value
    // Negative numbers are ten bytes of two's complement: read them exactly.
    let exact = 0n
    for (let i = this.offset - 1; i >= begin; i--) exact = (exact << 7n) | BigInt(this.bytes[i]! & 0x7f)
    const signed = Number(BigInt.asIntN(64, exact))
    if (!Number.isSafeInteger(signed)) throw malformed('PB_NUMBER', 'a number is beyond 2^53')
    return signed
  }

  /** The end of a length-delimited field whose length stands here. */
  lengthEnd(end: number): number {
    const length = this.varint(end)
    const fieldEnd = this.offset + length
    if (fieldEnd > end) throw truncated()
    return fieldEnd
  }

  /** UTF-8 up to `end`, which becomes the offset. */
  text(end: number): string {
    const text = decodeText(this.bytes, this.offset, end)
    this.offset = end
    return text
  }

  /** As `text`, but only checks. */
  skipText(end: number): void {
    const { bytes } = this
    let at = this.offset
    while (at < end && bytes[at]! < 0x80) at++
    if (at < end) decodeText(bytes, at, end)
    this.offset = end
  }
}

function truncated(): BusError {
  return malformed('PB_TRUNCATED', 'the frame ends in the middle of a field')
}

function malformedText(cause: unknown): BusError {
  const error = malformed('PB_UTF8', 'a text field is not UTF-8')
  error.cause = cause
  return error
}
