// Appends and records as they cross to and from a worker: few large arrays instead of many small objects, and one
// block of bytes that is handed over, not copied.
import type { StreamKey } from '../../envelope/envelope.ts'
import type { AppendRequest, AppendResult, StoredRecord } from '../store.ts'
import { streamName } from '../stream-name.ts'

export const hashBytes = 16

/** Columns of equal length; item i belongs to `keys[streams[i]]` and its frame ends at `ends[i]` of `bytes`. */
interface Columns {
  readonly keys: readonly StreamKey[]
  readonly streams: readonly number[]
  readonly ids: readonly string[]
  readonly senders: readonly string[]
  readonly atMs: readonly number[]
  readonly ends: readonly number[]
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** In `bytes` the hashes stand first, 16 bytes each, then the frames. */
export type PackedAppends = Columns

export interface PackedRecords extends Columns {
  readonly sequences: readonly number[]
}

/** Numbers the distinct streams of a block, in order of first appearance. */
function createKeyNumbers(): { readonly keys: StreamKey[]; readonly numberOf: (key: StreamKey) => number } {
  const keys: StreamKey[] = []
  const numbers = new Map<string, number>()
  return {
    keys,
    numberOf: (key) => {
      const name = streamName(key)
      const known = numbers.get(name)
      if (known !== undefined) return known
      numbers.set(name, keys.length)
      return keys.push({ tenant: key.tenant, room: key.room, channel: key.channel }) - 1
    },
  }
}

export function packAppends(requests: readonly AppendRequest[]): PackedAppends {
  const { keys, numberOf } = createKeyNumbers()
  let end = requests.length * hashBytes
  const ends = requests.map((request) => {
    end += request.frame.length
    return end
  })
  const bytes = new Uint8Array(end)
  for (const [i, request] of requests.entries()) {
    bytes.set(request.hash, i * hashBytes)
    bytes.set(request.frame, ends[i]! - request.frame.length)
  }
  return {
    keys,
    streams: requests.map((request) => numberOf(request.key)),
    ids: requests.map((request) => request.id),
    senders: requests.map((request) => request.sender),
    atMs: requests.map((request) => request.atMs),
    ends,
    bytes,
  }
}

export function unpackRecords(packed: PackedRecords, epoch: number): StoredRecord[] {
  let start = 0
  return packed.ids.map((id, i) => {
    const end = packed.ends[i]!
    const frame = packed.bytes.subarray(start, end)
    start = end
    return {
      key: packed.keys[packed.streams[i]!]!,
      position: { epoch, sequence: packed.sequences[i]! },
      id,
      sender: packed.senders[i]!,
      atMs: packed.atMs[i]!,
      frame,
    }
  })
}

/** Gathers rows into a block. */
export interface RecordPacker {
  add(key: StreamKey, row: RecordRow): void
  pack(): PackedRecords
}

export interface RecordRow {
  readonly sequence: number
  readonly at_ms: number
  readonly id: string
  readonly sender: string
  readonly frame: Uint8Array
}

export function createRecordPacker(): RecordPacker {
  const { keys, numberOf } = createKeyNumbers()
  const streams: number[] = []
  const rows: RecordRow[] = []
  return {
    add(key, row) {
      streams.push(numberOf(key))
      rows.push(row)
    },
    pack() {
      let end = 0
      const ends = rows.map((row) => {
        end += row.frame.length
        return end
      })
      const bytes = new Uint8Array(end)
      for (const [i, row] of rows.entries()) bytes.set(row.frame, ends[i]! - row.frame.length)
      return {
        keys,
        streams,
        ids: rows.map((row) => row.id),
        senders: rows.map((row) => row.sender),
        atMs: rows.map((row) => row.at_ms),
        sequences: rows.map((row) => row.sequence),
        ends,
        bytes,
      }
    },
  }
}

/** Sequences of a group's results; 0 and below name a kind without a position, and duplicates are listed apart. */
export interface PackedResults {
  readonly sequences: readonly number[]
  readonly duplicates: readonly number[]
}

export const conflictMark = 0
export const dedupFullMark = -1

export function unpackResults(packed: PackedResults, epoch: number): AppendResult[] {
  const duplicates = new Set(packed.duplicates)
  return packed.sequences.map((sequence, i): AppendResult => {
    if (sequence === conflictMark) return { kind: 'conflict' }
    if (sequence === dedupFullMark) return { kind: 'dedup-full' }
    return { kind: duplicates.has(i) ? 'duplicate' : 'stored', position: { epoch, sequence } }
  })
}
