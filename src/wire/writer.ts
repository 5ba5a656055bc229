// Writing protobuf from the end to the beginning: a length is written after what it counts, with no second pass.
// Portable.
import { invalid } from '../base/errors.ts'

const encoder = new TextEncoder()

export class Writer {
  #bytes: Uint8Array
  #view: DataView
  /** Where the last byte written stands; everything from here to the end is written. */
  offset: number

  constructor(capacity = 512) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
    this.offset = capacity
  }

  byte(value: number): void {
    if (this.offset === 0) this.#grow(1)
    this.#bytes[--this.offset] = value
  }

  varint(value: number): void {
    if (value < 0x80) {
      this.byte(value)
      return
    }
    if (value < 0) {
      this.#negative(value)
      return
    }
    let size = 1
    for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) size++
    if (this.offset < size) this.#grow(size)
    this.offset -= size
    let at = this.offset
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#bytes[at++] = (rest % 128) | 0x80
    this.#bytes[at] = rest
  }

  /** An over-long varint of exactly `width` bytes: legal, and it can be overwritten in place. */
  paddedVarint(value: number, width: number): void {
    if (this.offset < width) this.#grow(width)
    this.offset -= width
    writePaddedVarint(this.#bytes, this.offset, value, width)
  }

  /** Bytes written so far: a mark for `length`. */
  get written(): number {
    return this.#bytes.length - this.offset
  }

  /** The number of bytes written since the mark. */
  length(mark: number): void {
    this.varint(this.written - mark)
  }

  /** Text with its length before it. */
  text(text: string): void {
    const { length } = text
    if (this.offset < length * 3) this.#grow(length * 3)
    let at = this.offset - length
    let i = 0
    for (; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) break
      this.#bytes[at++] = code
    }
    if (i === length) {
      this.offset -= length
      this.varint(length)
      return
    }
    if (!text.isWellFormed()) throw invalid('BAD_TEXT', 'text is not well-formed Unicode')
    const bytes = encoder.encode(text)
    this.offset -= bytes.length
    this.#bytes.set(bytes, this.offset)
    this.varint(bytes.length)
  }

  double(value: number): void {
    if (!Number.isFinite(value)) throw invalid('PB_NUMBER', 'NaN and Infinity are not JSON numbers')
    if (this.offset < 8) this.#grow(8)
    this.offset -= 8
    this.#view.setFloat64(this.offset, value, true)
  }

  raw(bytes: Uint8Array): void {
    if (this.offset < bytes.length) this.#grow(bytes.length)
    this.offset -= bytes.length
    this.#bytes.set(bytes, this.offset)
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(this.offset)
  }

  #grow(needed: number): void {
    const used = this.#bytes.length - this.offset
    const capacity = Math.max(this.#bytes.length * 2, used + needed + 64)
    const bytes = new Uint8Array(capacity)
    bytes.set(this.#bytes.subarray(this.offset), capacity - used)
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
    this.offset = capacity - used
  }

  #negative(value: number): void {
    let rest = BigInt.asUintN(64, BigInt(value))
    const parts: number[] = []
    for (; rest >= 128n; rest >>= 7n) parts.push(Number(rest & 127n) | 0x80)
    parts.push(Number(rest))
    for (let i = parts.length - 1; i >= 0; i--) this.byte(parts[i]!)
  }
}

export function writePaddedVarint(bytes: Uint8Array, offset: number, value: number, width: number): void {
  let rest = value
  for (let i = 0; i < width - 1; i++) {
    bytes[offset++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[offset] = rest & 0x7f
}
