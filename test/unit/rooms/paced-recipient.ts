// A recipient over a socket that takes what it is written only when the test says so.
import type { Envelope, WireFormat } from '../../../src/envelope/envelope.ts'
import type { Gap } from '../../../src/rooms/overflow.ts'
import type { Recipient } from '../../../src/rooms/recipient.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { splitWsFrames } from './recording-recipient.ts'

/** What was written of one channel: a message by its number, or a gap. */
export type Written = { readonly n: number } | { readonly from: number; readonly to: number }

export interface PacedRecipient extends Recipient {
  /** By channel, in the order of the writes. */
  readonly written: Map<string, Written[]>
  isStalled: boolean
  queuedBytes(): number
  /** The peer takes the next `count` writes; those who wait for them are called back. */
  take(count?: number): void
}

export function gapFrame({ stream, policy, from, to }: Gap): Envelope {
  return {
    id: 'arq_1_1_abcdef',
    timestamp: '2026-01-31T12:00:00.000Z',
    type: 'gap',
    version: '1.0',
    payload: { policy, from, to },
    args: {},
    metadata: {},
    channel: stream.key.channel,
  }
}

export function createPacedRecipient(id: string, format: WireFormat): PacedRecipient {
  const written = new Map<string, Written[]>()
  const queue: (number | (() => void))[] = []
  let queued = 0

  function note(frame: Envelope): void {
    const { n, from, to } = frame.payload as { n: number; from: number; to: number }
    const list = written.get(frame.channel!) ?? []
    written.set(frame.channel!, list)
    list.push(frame.type === 'gap' ? { from, to } : { n })
  }

  function enqueue(bytes: number): void {
    queue.push(bytes)
    queued += bytes
  }

  return {
    id,
    format,
    isRemote: false,
    isStalled: false,
    written,
    write(bytes) {
      for (const { isBinary, data } of splitWsFrames(bytes)) {
        note(isBinary ? decodeProtobuf(data, defaultWireLimits) : (JSON.parse(data.toString()) as Envelope))
      }
      if (this.isStalled) enqueue(bytes.length)
    },
    send(envelope) {
      note(envelope)
      if (this.isStalled) enqueue(100)
    },
    queuedBytes: () => queued,
    whenWritten: (done) => void queue.push(done),
    take(count = Number.POSITIVE_INFINITY) {
      for (let taken = 0; taken < count && queue.length > 0; taken++) {
        const first = queue.shift()!
        if (typeof first === 'number') queued -= first
        else first()
      }
    },
  }
}
