// A group of appends and its results as they cross to and from the writing thread: columns over one block of bytes
// that is handed over, not copied, instead of many small objects.
import type { StreamKey } from '../../envelope/envelope.ts'
import type { AppendRequest, AppendResult } from '../store.ts'
import { createKeyNumbers } from './key-numbers.ts'

export const hashBytes = 16

/** Item i belongs to `keys[streams[i]]`; its id and its frame end at `idEnds[i]` and `frameEnds[i]`. */
export interface PackedAppends {
  readonly keys: readonly StreamKey[]
  readonly senders: readonly string[]
  readonly atMs: Float64Array<ArrayBuffer>
  readonly streams: Uint32Array<ArrayBuffer>
  readonly senderOf: Uint32Array<ArrayBuffer>
  readonly idEnds: Uint32Array<ArrayBuffer>
  readonly frameEnds: Uint32Array<ArrayBuffer>
  readonly hashes: Uint8Array<ArrayBuffer>
  /** UTF-8. */
  readonly ids: Uint8Array<ArrayBuffer>
  readonly frames: Uint8Array<ArrayBuffer>
}

export function packAppends(requests: readonly AppendRequest[]): PackedAppends {
  const count = requests.length
  let idsLength = 0
  let framesLength = 0
  for (const { id, frame } of requests) {
    idsLength += Buffer.byteLength(id)
    framesLength += frame.length
  }
  // All views share this buffer, so that one transfer takes them all; it has no other use, as a pooled one has.
  const { buffer } = Buffer.allocUnsafeSlow(count * (8 + 4 * 4 + hashBytes) + idsLength + framesLength)
  const columns = count * 8
  const atMs = new Float64Array(buffer, 0, count)
  const streams = new Uint32Array(buffer, columns, count)
  const senderOf = new Uint32Array(buffer, columns + count * 4, count)
  const idEnds = new Uint32Array(buffer, columns + count * 8, count)
  const frameEnds = new Uint32Array(buffer, columns + count * 12, count)
  const hashes = new Uint8Array(buffer, columns + count * 16, count * hashBytes)
  const ids = Buffer.from(buffer, columns + count * (16 + hashBytes), idsLength)
  const frames = new Uint8Array(buffer, ids.byteOffset + idsLength, framesLength)
  const { keys, numberOf } = createKeyNumbers()
  const senders: string[] = []
  const senderNumbers = new Map<string, number>()
  let idEnd = 0
  let frameEnd = 0
  for (let i = 0; i < count; i++) {
    const { key, id, sender, hash, frame, atMs: at } = requests[i]!
    atMs[i] = at
    streams[i] = numberOf(key)
    let senderNumber = senderNumbers.get(sender)
    if (senderNumber === undefined) {
      senderNumber = senders.push(sender) - 1
      senderNumbers.set(sender, senderNumber)
    }
    senderOf[i] = senderNumber
    hashes.set(hash, i * hashBytes)
    idEnd += ids.write(id, idEnd)
    idEnds[i] = idEnd
    frames.set(frame, frameEnd)
    frameEnd += frame.length
    frameEnds[i] = frameEnd
  }
  return { keys, senders, atMs, streams, senderOf, idEnds, frameEnds, hashes, ids, frames }
}

/** What became of each item: the sequence, or a mark; a duplicate's has its sign turned. */
export type PackedResults = Float64Array<ArrayBuffer>

export const conflictMark = 0
export const dedupFullMark = Number.NaN

export function unpackResults(packed: PackedResults, epoch: number): AppendResult[] {
  return Array.from(packed, (outcome): AppendResult => {
    if (outcome > 0) return { kind: 'stored', position: { epoch, sequence: outcome } }
    if (outcome < 0) return { kind: 'duplicate', position: { epoch, sequence: -outcome } }
    return { kind: outcome === conflictMark ? 'conflict' : 'dedup-full' }
  })
}
