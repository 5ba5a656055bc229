// The one writer of the history file: a group of appends is one transaction, with sequence and dedup inside it.
// Runs in a worker thread; everything here is synchronous.
import type { DatabaseSync } from 'node:sqlite'
import { BusError } from '../../base/errors.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { isSameHash } from '../append-rules.ts'
import type { DedupWindow } from '../store.ts'
import { isIoError, sqliteCodeOf } from './history-database.ts'
import { conflictMark, dedupFullMark, hashBytes, type PackedAppends, type PackedResults } from './packed-records.ts'
import type { Remembered, RememberedIds } from './remembered-ids.ts'
import type { StreamState, StreamTable } from './stream-table.ts'

export interface Writer {
  /** All or nothing. Throws STORE_UNAVAILABLE (nothing stored) or STORE_TIMEOUT (unknown). */
  append(
    batch: PackedAppends,
    nowMs: number,
  ): { readonly results: PackedResults; readonly touched: readonly StreamState[] }
  /** Writes, reads and deletes a row; throws as `append` does. */
  probe(): void
}

export function createWriter(db: DatabaseSync, streams: StreamTable, ids: RememberedIds, dedup: DedupWindow): Writer {
  const insertRecord = db.prepare(
    'INSERT INTO records (stream, sequence, at_ms, id, sender, frame) VALUES (?, ?, ?, ?, ?, ?)',
  )
  let broken: BusError | undefined

  /** After an error of input or output nobody can say what the disk holds until the file is opened anew. */
  function giveUp(error: unknown): BusError {
    const message = 'History storage met an error of its disk and takes no more writes; check the disk, then restart'
    broken = new BusError('STORE_UNAVAILABLE', message, { reason: 'DISK_ERROR' }, error)
    return broken
  }

  function inTransaction<T>(work: () => T): T {
    if (broken !== undefined) throw broken
    let isCommitting = false
    try {
      db.exec('BEGIN IMMEDIATE')
      const result = work()
      isCommitting = true
      db.exec('COMMIT')
      return result
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      streams.forget()
      ids.forget()
      if (isIoError(error)) giveUp(error)
      if (isIoError(error) && isCommitting)
        throw new BusError('STORE_TIMEOUT', undefined, { reason: 'DISK_ERROR' }, error)
      if (sqliteCodeOf(error) === undefined) throw error
      throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'WRITE_FAILED' }, error)
    }
  }

  function appendOne(stream: StreamState, batch: PackedAppends, i: number, nowMs: number): number | Remembered {
    const id = batch.ids[i]!
    const hash = batch.bytes.subarray(i * hashBytes, (i + 1) * hashBytes)
    const sequence = stream.last + 1
    if (ids.count(stream.key.tenant) >= dedup.maxIds) ids.forgetExpired(nowMs)
    const isFull = ids.count(stream.key.tenant) >= dedup.maxIds
    const earlier = isFull ? ids.find(stream, id, nowMs) : ids.remember(stream, { id, sequence, hash, atMs: nowMs })
    if (earlier !== undefined) return isSameHash(earlier.hash, hash) ? earlier : conflictMark
    if (isFull) return dedupFullMark
    const frame = batch.bytes.subarray(i === 0 ? batch.ids.length * hashBytes : batch.ends[i - 1]!, batch.ends[i]!)
    insertRecord.run(stream.row, sequence, batch.atMs[i]!, id, batch.senders[i]!, frame)
    stream.last = sequence
    stream.bytes += frame.length
    return sequence
  }

  return {
    append(batch, nowMs) {
      return inTransaction(() => {
        const states = batch.keys.map((key: StreamKey) => streams.open(key))
        const sequences: number[] = []
        const duplicates: number[] = []
        for (let i = 0; i < batch.ids.length; i++) {
          const outcome = appendOne(states[batch.streams[i]!]!, batch, i, nowMs)
          if (typeof outcome !== 'number') duplicates.push(i)
          sequences.push(typeof outcome === 'number' ? outcome : outcome.sequence)
        }
        for (const state of states) streams.save(state)
        return { results: { sequences, duplicates }, touched: states }
      })
    },
    probe() {
      inTransaction(() => db.prepare("INSERT OR REPLACE INTO probe (row, text) VALUES (1, 'probe')").run())
      if (db.prepare('SELECT text FROM probe WHERE row = 1').get()?.['text'] !== 'probe') {
        throw new BusError('STORE_UNAVAILABLE', 'History storage does not read what it wrote', { reason: 'PROBE_LOST' })
      }
      inTransaction(() => db.prepare('DELETE FROM probe WHERE row = 1').run())
    },
  }
}
