// One message on its way from the log to members, and the shared bytes of many: each message is encoded once per
// wire format, a batch is laid into one array of ready-made WebSocket frames, and every member whose cursor agrees
// is written that same array.
import type { Position, WireFormat } from '../envelope/envelope.ts'
import { encodeJson } from '../wire/json-codec.ts'
import { envelopeOfFrame, positionedLength, writePositioned } from '../wire/message-frame.ts'
import { writeWsFrameHeader, wsFrameLength } from '../wire/ws-frame.ts'

/** WebSocket opcodes of RFC 6455 5.2. */
const text = 1
const binary = 2

export class Delivery {
  /** Counts the stream's messages from 1; the order of delivery, also where positions are not shown. */
  readonly sequence: number
  /** Client id of the publisher, whose own copy is cut. */
  readonly sender: string
  /** The canonical frame, without position (wire/message-frame). */
  readonly frame: Uint8Array
  /** Shown to recipients; absent where nothing is stored (design 6). */
  readonly position: Position | undefined
  #json: Uint8Array | undefined

  constructor(sequence: number, sender: string, frame: Uint8Array, position: Position | undefined) {
    this.sequence = sequence
    this.sender = sender
    this.frame = frame
    this.position = position
  }

  /** The UTF-8 of the JSON form, printed once. */
  get json(): Uint8Array {
    this.#json ??= Buffer.from(encodeJson(envelopeOfFrame(this.frame, this.position)))
    return this.#json
  }
}

/** All of `deliveries` as WebSocket frames of one format, in one array. */
export function encodeBatch(deliveries: readonly Delivery[], format: WireFormat): Uint8Array {
  return format === 'json' ? encodeJsonBatch(deliveries) : encodeProtobufBatch(deliveries)
}

function encodeJsonBatch(deliveries: readonly Delivery[]): Uint8Array {
  let total = 0
  for (const { json } of deliveries) total += wsFrameLength(json.length)
  const bytes = Buffer.allocUnsafe(total)
  let offset = 0
  for (const { json } of deliveries) {
    offset = writeWsFrameHeader(bytes, offset, text, json.length)
    bytes.set(json, offset)
    offset += json.length
  }
  return bytes
}

function encodeProtobufBatch(deliveries: readonly Delivery[]): Uint8Array {
  let total = 0
  for (const { frame, position } of deliveries) {
    total += wsFrameLength(position === undefined ? frame.length : positionedLength(frame))
  }
  const bytes = Buffer.allocUnsafe(total)
  let offset = 0
  for (const { frame, position } of deliveries) {
    if (position === undefined) {
      offset = writeWsFrameHeader(bytes, offset, binary, frame.length)
      bytes.set(frame, offset)
      offset += frame.length
    } else {
      offset = writeWsFrameHeader(bytes, offset, binary, positionedLength(frame))
      offset = writePositioned(bytes, offset, frame, position)
    }
  }
  return bytes
}
