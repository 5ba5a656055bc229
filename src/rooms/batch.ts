// The messages of one stream that leave together: protobuf WebSocket frames laid side by side as they arrive, in the
// array that every member with an agreeing cursor is written. JSON is printed from them once, when somebody needs it.
import type { WireFormat } from '../envelope/envelope.ts'
import { encodeJson } from '../wire/json-codec.ts'
import { envelopeOfFrame, positionedLength, writePositioned } from '../wire/message-frame.ts'
import { writeWsFrameHeader, wsFrameLength } from '../wire/ws-frame.ts'
import type { Delivery } from './delivery.ts'

const text = 1
const binary = 2
const smallestBuffer = 1_024

export class Batch {
  /** Sequence of the first message; the others follow without holes. */
  readonly first: number
  /** Who published each message; its own copy is cut. */
  readonly senders: string[] = []
  /** Kept where the stream has members behind gateways: they leave in another form. */
  readonly deliveries: Delivery[] = []
  /** The frames so far; `reserve` may replace it by a larger one. */
  bytes: Buffer
  /** Where the message reserved last goes. */
  payload = 0
  readonly #distinctSenders = new Set<string>()
  #lastSender: string | undefined
  #end = 0
  /** Where each message's WebSocket frame, and its payload, begins. */
  readonly #starts: number[] = []
  readonly #payloads: number[] = []
  #json: Uint8Array[] | undefined
  readonly #shared: { json?: Uint8Array; protobuf?: Uint8Array } = {}

  constructor(first: number, expectedBytes: number, bytes?: Buffer) {
    this.first = first
    this.bytes = bytes ?? Buffer.allocUnsafeSlow(Math.max(smallestBuffer, expectedBytes))
  }

  get count(): number {
    return this.senders.length
  }

  get last(): number {
    return this.first + this.senders.length - 1
  }

  get byteLength(): number {
    return this.#end
  }

  /** Room for one message of `length` bytes behind its WebSocket header; returns where in `bytes` it goes. */
  reserve(sender: string, length: number): number {
    const begin = this.#end
    const end = begin + wsFrameLength(length)
    if (end > this.bytes.length) this.#grow(end)
    const payload = writeWsFrameHeader(this.bytes, begin, binary, length)
    this.senders.push(sender)
    if (sender !== this.#lastSender) {
      this.#lastSender = sender
      this.#distinctSenders.add(sender)
    }
    this.#starts.push(begin)
    this.#payloads.push(payload)
    this.#end = end
    return payload
  }

  add({ sender, frame, position }: Delivery): void {
    if (position === undefined) {
      const offset = this.reserve(sender, frame.length) // before `bytes` is read: it may be replaced
      this.bytes.set(frame, offset)
    } else {
      const offset = this.reserve(sender, positionedLength(frame))
      writePositioned(this.bytes, offset, frame, position)
    }
  }

  hasSender(id: string): boolean {
    return this.#distinctSenders.has(id)
  }

  /** Every message, in one format; the same array for everyone who asks. */
  all(format: WireFormat): Uint8Array {
    const shared = this.#shared[format]
    if (shared !== undefined) return shared
    const made = format === 'protobuf' ? this.bytes.subarray(0, this.#end) : Buffer.concat(this.#jsonFrames())
    this.#shared[format] = made
    return made
  }

  /** The messages above `cursor` that are not the recipient's own, and how many there are. */
  since(cursor: number, recipientId: string, format: WireFormat): { frames: Uint8Array; count: number } {
    const parts: Uint8Array[] = []
    for (let i = Math.max(0, cursor + 1 - this.first); i < this.senders.length; i++) {
      if (this.senders[i] === recipientId) continue
      parts.push(
        format === 'json'
          ? this.#jsonFrames()[i]!
          : this.bytes.subarray(this.#starts[i], this.#starts[i + 1] ?? this.#end),
      )
    }
    return { frames: Buffer.concat(parts), count: parts.length }
  }

  /** A copy of the last messages, as many as fit into `maxBytes`, one at least. */
  newest(maxBytes: number): Batch {
    let from = this.senders.length - 1
    while (from > 0 && this.#end - this.#starts[from - 1]! <= maxBytes) from--
    const begin = this.#starts[from]!
    const copy = new Batch(this.first + from, 0, Buffer.allocUnsafeSlow(this.#end - begin))
    this.bytes.copy(copy.bytes, 0, begin, this.#end)
    copy.#end = this.#end - begin
    for (let i = from; i < this.senders.length; i++) {
      copy.senders.push(this.senders[i]!)
      copy.#distinctSenders.add(this.senders[i]!)
      copy.#starts.push(this.#starts[i]! - begin)
      copy.#payloads.push(this.#payloads[i]! - begin)
    }
    return copy
  }

  #jsonFrames(): Uint8Array[] {
    this.#json ??= this.#payloads.map((begin, i) => {
      const end = this.#starts[i + 1] ?? this.#end
      const json = Buffer.from(encodeJson(envelopeOfFrame(this.bytes.subarray(begin, end))))
      const frame = Buffer.allocUnsafe(wsFrameLength(json.length))
      json.copy(frame, writeWsFrameHeader(frame, 0, text, json.length))
      return frame
    })
    return this.#json
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.#end)
    this.bytes = larger
  }
}
