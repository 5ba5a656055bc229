// A recipient that keeps what it was written, decoded.
import type { Envelope, WireFormat } from '../../../src/envelope/envelope.ts'
import { Delivery } from '../../../src/rooms/delivery.ts'
import type { Recipient } from '../../../src/rooms/recipient.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'

export interface RecordingRecipient extends Recipient {
  readonly frames: Envelope[]
  /** Arrays handed to `write`: one each turn, whatever number of frames it holds. */
  readonly writes: Uint8Array[]
  readonly sequences: number[]
}

export function createRecipient(id: string, format: WireFormat = 'json', isRemote = false): RecordingRecipient {
  const frames: Envelope[] = []
  const writes: Uint8Array[] = []
  return {
    id,
    format,
    isRemote,
    frames,
    writes,
    get sequences() {
      return frames.map((frame) => Number((frame.payload as { n: number }).n))
    },
    write(bytes) {
      if (isRemote) throw new Error('a remote recipient is never written to')
      writes.push(bytes)
      for (const { isBinary, data } of splitWsFrames(bytes)) {
        frames.push(isBinary ? decodeProtobuf(data, defaultWireLimits) : (JSON.parse(data.toString()) as Envelope))
      }
    },
  }
}

/** A message whose payload holds its sequence as `n`. */
export function createDelivery(sequence: number, sender: string, hasPosition = true): Delivery {
  const frame = frameFromEnvelope(
    {
      id: `arq_1_${sequence}_abcdef`,
      timestamp: '2026-01-31T12:00:00.000Z',
      type: 'message',
      version: '1.0',
      room: 'lab',
      channel: 'general',
      payload: { n: sequence },
      args: {},
      metadata: {},
    },
    { sender },
  )
  return new Delivery(sequence, sender, frame, hasPosition ? { epoch: 7, sequence } : undefined)
}

/** Unmasked, unfragmented frames of RFC 6455, as a server writes them. */
export function splitWsFrames(bytes: Uint8Array): { isBinary: boolean; data: Buffer }[] {
  const all = Buffer.from(bytes)
  const frames: { isBinary: boolean; data: Buffer }[] = []
  for (let at = 0; at < all.length; ) {
    const isBinary = (all[at]! & 15) === 2
    let length = all[at + 1]! & 127
    at += 2
    if (length === 126) {
      length = all.readUInt16BE(at)
      at += 2
    } else if (length === 127) {
      length = Number(all.readBigUInt64BE(at))
      at += 8
    }
    frames.push({ isBinary, data: all.subarray(at, at + length) })
    at += length
  }
  return frames
}
