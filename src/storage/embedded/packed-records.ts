// Records as they cross from the reading thread: few large arrays instead of many small objects, and one block of bytes
// that is handed over, not copied.
import type { StreamKey } from '../../envelope/envelope.ts'
import type { StoredRecord } from '../store.ts'
import { createKeyNumbers } from './key-numbers.ts'

/** Columns of equal length; record i belongs to `keys[streams[i]]` and its frame ends at `ends[i]` of `bytes`. */
export interface PackedRecords {
  readonly keys: readonly StreamKey[]
  readonly streams: readonly number[]
  readonly sequences: readonly number[]
  readonly ids: readonly string[]
  readonly senders: readonly string[]
  readonly atMs: readonly number[]
  readonly ends: readonly number[]
  readonly bytes: Uint8Array<ArrayBuffer>
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
  add(key: StreamKey, row: PackedRecord): void
  pack(): PackedRecords
}

export interface PackedRecord {
  readonly sequence: number
  readonly atMs: number
  readonly id: string
  readonly sender: string
  readonly frame: Uint8Array
}

export function createRecordPacker(): RecordPacker {
  const { keys, numberOf } = createKeyNumbers()
  const streams: number[] = []
  const rows: PackedRecord[] = []
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
        atMs: rows.map((row) => row.atMs),
        sequences: rows.map((row) => row.sequence),
        ends,
        bytes,
      }
    },
  }
}
