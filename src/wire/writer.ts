// Writing protobuf from the end to the beginning: a length is written after what it counts, with no second pass.
// Messages are laid side by side into slabs, because an array of its own costs more than all the rest of a small
// message. Portable.
import { invalid } from '../base/errors.ts'

const encoder = new TextEncoder()
const slabBytes = 16 * 1024
/** A message is begun only where this much is left; what does not fit moves to a new slab. */
const comfortableBytes = 1024
/** Larger messages get an array of their own, so that keeping one does not keep a slab. */
const maxSharedBytes = 4 * 1024

/** One message at a time, from `begin` to `finish`; one that was given up in between is forgotten by the next `begin`. */
export class Writer {
  #bytes = new Uint8Array()
  #view = new DataView(this.#bytes.buffer)
  /** Where the message ends: bytes from here on belong to earlier ones. */
  #end = 0
  /** Where the last byte written stands. */
  #offset = 0

  begin(): void {
    if (this.#offset < comfortableBytes || this.#bytes.length > slabBytes) this.#use(new Uint8Array(slabBytes))
    this.#end = this.#offset
  }

  byte(value: number): void {
    if (this.#offset === 0) this.#grow(1)
    this.#bytes[--this.#offset] = value
  }

  varint(value: number): void {
    if (value < 0) {
      this.#negative(value)
      return
    }
    if (value < 0x80) {
      this.byte(value)
      return
    }
    if (value < 0x4000) {
      if (this.#offset < 2) this.#grow(2)
      this.#bytes[--this.#offset] = value >>> 7
      this.#bytes[--this.#offset] = (value & 0x7f) | 0x80
      return
    }
    let size = 1
    for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) size++
    if (this.#offset < size) this.#grow(size)
    this.#offset -= size
    let at = this.#offset
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#bytes[at++] = (rest % 128) | 0x80
    this.#bytes[at] = rest
  }

  /** An over-long varint of exactly `width` bytes: legal, and it can be overwritten in place. */
  paddedVarint(value: number, width: number): void {
    if (this.#offset < width) this.#grow(width)
    this.#offset -= width
    writePaddedVarint(this.#bytes, this.#offset, value, width)
  }

  /** Bytes written so far: a mark for `length`. */
  get written(): number {
    return this.#end - this.#offset
  }

  /** The number of bytes written since the mark. */
  length(mark: number): void {
    this.varint(this.written - mark)
  }

  /** Text with its length before it. */
  text(text: string): void {
    const { length } = text
    if (this.#offset < length * 3) this.#grow(length * 3)
    let at = this.#offset - length
    let i = 0
    for (; i < length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) break
      this.#bytes[at++] = code
    }
    if (i === length) {
      this.#offset -= length
      this.varint(length)
      return
    }
    if (!text.isWellFormed()) throw invalid('BAD_TEXT', 'text is not well-formed Unicode')
    const bytes = encoder.encode(text)
    this.#offset -= bytes.length
    this.#bytes.set(bytes, this.#offset)
    this.varint(bytes.length)
  }

  double(value: number): void {
    if (!Number.isFinite(value)) throw invalid('PB_NUMBER', 'NaN and Infinity are not JSON numbers')
    if (this.#offset < 8) this.#grow(8)
    this.#offset -= 8
    this.#view.setFloat64(this.#offset, value, true)
  }

  /** The bytes `[start, end)` of another array. */
  copy(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (this.#offset < length) this.#grow(length)
    this.#offset -= length
    const target = this.#bytes
    let at = this.#offset
    // A view for a few bytes costs more than copying them one by one.
    if (length < 64) for (let i = start; i < end; i++) target[at++] = bytes[i]!
    else target.set(bytes.subarray(start, end), at)
  }

  /** The message. Its array may be part of a larger one, which is never written again. */
  finish(): Uint8Array {
    const offset = this.#offset
    if (this.written <= maxSharedBytes) return this.#bytes.subarray(offset, this.#end)
    this.#offset = this.#end
    return this.#bytes.slice(offset, this.#end)
  }

  #use(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
    this.#offset = bytes.length
  }

  #grow(needed: number): void {
    const written = this.#bytes.subarray(this.#offset, this.#end)
    this.#use(new Uint8Array(Math.max(slabBytes, 2 * (written.length + needed))))
    this.#end = this.#offset
    this.#offset -= written.length
    this.#bytes.set(written, this.#offset)
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
