// Reads client frames of RFC 6455 from a socket's chunks. A chunk that holds many whole frames is taken in one loop:
// no object, copy or event per frame. Whatever is against the protocol or a limit ends the parser with one failure.
import { isUtf8 } from 'node:buffer'
import type { CloseName } from '../base/close-codes.ts'

export interface FrameSink {
  /** A whole message: `bytes[start, end)`, which the parser will not touch again. Text is checked to be UTF-8. */
  message(bytes: Uint8Array, start: number, end: number, isBinary: boolean): void
  ping(data: Uint8Array): void
  pong(): void
  /** The peer's Close: 1005 when it gave no code. Nothing is read after it. */
  peerClosed(code: number): void
  /** The peer broke the protocol or a limit. Nothing is read after it. */
  failed(name: CloseName, detail: string): void
}

export interface FrameLimits {
  readonly maxMessageBytes: number
  readonly maxFragments: number
}

/** What a Close without a code counts as (RFC 6455 7.1.5). */
const noCode = 1005
const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export class FrameParser {
  readonly #limits: FrameLimits
  readonly #sink: FrameSink
  /** Bytes of a frame that has not wholly arrived, and how many it needs in all (0: not known yet). */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #needed = 0
  /** Payloads of a fragmented message so far. */
  #fragments: Buffer[] = []
  #fragmentBytes = 0
  #fragmentCount = 0
  #isFragmentBinary = false
  #isDone = false

  constructor(limits: FrameLimits, sink: FrameSink) {
    this.#limits = limits
    this.#sink = sink
  }

  /** Takes the next chunk, which becomes the parser's own: it is unmasked in place. */
  push(chunk: Buffer): void {
    if (this.#isDone) return
    let bytes = chunk
    if (this.#waiting.length > 0) {
      this.#waiting.push(chunk)
      this.#waitingBytes += chunk.length
      if (this.#waitingBytes < this.#needed) return
      bytes = Buffer.concat(this.#waiting, this.#waitingBytes)
      this.#waiting = []
      this.#waitingBytes = 0
    }
    const rest = this.#parse(bytes)
    if (this.#isDone || rest === bytes.length) return
    this.#waiting.push(rest === 0 ? bytes : bytes.subarray(rest))
    this.#waitingBytes = bytes.length - rest
  }

  /** Takes whole frames; returns the offset of the first that is not whole, having set what it needs. */
  #parse(bytes: Buffer): number {
    const end = bytes.length
    let at = 0
    while (at + 2 <= end) {
      const first = bytes[at]!
      const second = bytes[at + 1]!
      const problem = this.#headProblem(first, second)
      if (problem !== undefined) return this.#fail('PROTOCOL_ERROR', problem, end)
      let length = second & 0x7f
      let start = at + 6
      if (length >= 126) {
        const extra = length === 126 ? 2 : 8
        if (at + 2 + extra > end) return this.#wait(at, 2 + extra)
        length = extra === 2 ? bytes.readUInt16BE(at + 2) : readLength64(bytes, at + 2)
        start += extra
      }
      const isData = first % 16 < 8
      const total = isData ? this.#fragmentBytes + length : length
      if (total > this.#limits.maxMessageBytes) {
        return this.#fail('FRAME_TOO_LARGE', `max=${this.#limits.maxMessageBytes} got=${total}`, end)
      }
      const next = start + length
      if (next > end) return this.#wait(at, next - at)
      unmask(bytes, start, next)
      if (first === 0x82) this.#sink.message(bytes, start, next, true)
      else if (!this.#take(first, bytes, start, next)) return end
      if (this.#isDone) return end
      at = next
    }
    return this.#wait(at, 2)
  }

  #wait(at: number, needed: number): number {
    this.#needed = needed
    return at
  }

  #fail(name: CloseName, detail: string, end: number): number {
    this.#isDone = true
    this.#waiting = []
    this.#fragments = []
    this.#sink.failed(name, detail)
    return end
  }

  /** What the first two bytes already show to be wrong. */
  #headProblem(first: number, second: number): string | undefined {
    if ((first & 0x70) !== 0) return 'reserved bits are set'
    if ((second & 0x80) === 0) return 'a client frame is not masked'
    const opcode = first & 0x0f
    const isFinal = (first & 0x80) !== 0
    if (opcode >= 8) {
      if (opcode > opcodes.pong) return 'unknown opcode'
      if (!isFinal) return 'a control frame is fragmented'
      return (second & 0x7f) > 125 ? 'a control frame is longer than 125 bytes' : undefined
    }
    if (opcode > opcodes.binary) return 'unknown opcode'
    const isContinuing = this.#fragmentCount > 0
    if (opcode === opcodes.continuation && !isContinuing) return 'a continuation without a beginning'
    return opcode !== opcodes.continuation && isContinuing ? 'a new message inside a fragmented one' : undefined
  }

  /** Everything but whole binary messages. False when the parser has ended. */
  #take(first: number, bytes: Buffer, start: number, end: number): boolean {
    const isFinal = (first & 0x80) !== 0
    switch (first & 0x0f) {
      case opcodes.close:
        this.#takeClose(bytes, start, end)
        return false
      case opcodes.ping:
        this.#sink.ping(bytes.subarray(start, end))
        return true
      case opcodes.pong:
        this.#sink.pong()
        return true
      case opcodes.continuation:
        return this.#takeFragment(bytes, start, end, isFinal)
      default: {
        const isBinary = (first & 0x0f) === opcodes.binary
        if (isFinal) return this.#deliver(bytes, start, end, isBinary)
        this.#isFragmentBinary = isBinary
        return this.#takeFragment(bytes, start, end, false)
      }
    }
  }

  #takeFragment(bytes: Buffer, start: number, end: number, isFinal: boolean): boolean {
    if (++this.#fragmentCount > this.#limits.maxFragments) {
      this.#fail('POLICY_VIOLATION', `more than ${this.#limits.maxFragments} fragments`, end)
      return false
    }
    // A small copy must not keep a large chunk alive while the rest is waited for.
    if (end > start) this.#fragments.push(Buffer.from(bytes.subarray(start, end)))
    this.#fragmentBytes += end - start
    if (!isFinal) return true
    const whole = Buffer.concat(this.#fragments, this.#fragmentBytes)
    this.#fragments = []
    this.#fragmentBytes = 0
    this.#fragmentCount = 0
    return this.#deliver(whole, 0, whole.length, this.#isFragmentBinary)
  }

  #deliver(bytes: Buffer, start: number, end: number, isBinary: boolean): boolean {
    if (!isBinary && !isUtf8(bytes.subarray(start, end))) {
      this.#fail('BAD_UTF8', 'a text message is not UTF-8', end)
      return false
    }
    this.#sink.message(bytes, start, end, isBinary)
    return true
  }

  #takeClose(bytes: Buffer, start: number, end: number): void {
    const length = end - start
    const code = length >= 2 ? bytes.readUInt16BE(start) : noCode
    if (length === 1 || (length > 1 && !isReceivableCode(code))) {
      this.#fail('PROTOCOL_ERROR', 'not a valid Close frame', end)
      return
    }
    if (length > 2 && !isUtf8(bytes.subarray(start + 2, end))) {
      this.#fail('BAD_UTF8', 'a close reason is not UTF-8', end)
      return
    }
    this.#isDone = true
    this.#sink.peerClosed(code)
  }

  /** Bytes held for a frame or message that is not whole. */
  get heldBytes(): number {
    return this.#waitingBytes + this.#fragmentBytes
  }
}

/** Codes that may stand in a Close frame (RFC 6455 7.4). */
function isReceivableCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999)
}

/** Lengths above 2^53 cannot come true; they only have to be larger than every limit. */
function readLength64(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)
}

/** Removes the mask that stands in the four bytes before `start` (RFC 6455 5.3). */
function unmask(bytes: Buffer, start: number, end: number): void {
  const mask = bytes.readInt32LE(start - 4)
  if (mask === 0) return
  let at = start
  const bulk = end - ((end - start) & 3)
  for (; at < bulk; at += 4) {
    bytes[at]! ^= mask
    bytes[at + 1]! ^= mask >>> 8
    bytes[at + 2]! ^= mask >>> 16
    bytes[at + 3]! ^= mask >>> 24
  }
  for (let shift = 0; at < end; at++, shift += 8) bytes[at]! ^= mask >>> shift
}
