// The one writer of the history file: a group of appends is one transaction, with sequence and dedup inside it.
// Runs in a worker thread; everything here is synchronous.
import type { DatabaseSync } from 'node:sqlite'
import { BusError } from '../../base/errors.ts'
import { isSameHash } from '../append-rules.ts'
import type { DedupWindow } from '../store.ts'
import { startOf } from './block.ts'
import type { BlockTable } from './block-table.ts'
import { isIoError, sqliteCodeOf } from './history-database.ts'
import { conflictMark, dedupFullMark, hashBytes, type PackedAppends, type PackedResults } from './packed-appends.ts'
import type { RememberedIds } from './remembered-ids.ts'
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

export interface WriterParts {
  readonly db: DatabaseSync
  readonly streams: StreamTable
  readonly blocks: BlockTable
  readonly ids: RememberedIds
  readonly dedup: DedupWindow
}

export function createWriter({ db, streams, blocks, ids, dedup }: WriterParts): Writer {
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
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
      begin.run()
      const result = work()
      isCommitting = true
      commit.run()
      ids.committed()
      blocks.committed()
      return result
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      if (isIoError(error)) giveUp(error)
      else ids.rolledBack()
      blocks.drop()
      streams.forget()
      if (isIoError(error) && isCommitting)
        throw new BusError('STORE_TIMEOUT', undefined, { reason: 'DISK_ERROR' }, error)
      if (sqliteCodeOf(error) === undefined) throw error
      throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'WRITE_FAILED' }, error)
    }
  }

  function isFull(tenant: string, nowMs: number): boolean {
    while (ids.count(tenant) >= dedup.maxIds && ids.forgetExpired(nowMs)) {
      // There may be more that is expired.
    }
    return ids.count(tenant) >= dedup.maxIds
  }

  function appendOne(stream: StreamState, batch: PackedAppends, i: number, nowMs: number): number {
    const refusesNew = ids.count(stream.key.tenant) >= dedup.maxIds && isFull(stream.key.tenant, nowMs)
    const earlier = ids.find(stream, batch.ids, startOf(batch.idEnds, i), batch.idEnds[i]!, nowMs)
    if (earlier !== undefined) {
      const hash = batch.hashes.subarray(i * hashBytes, (i + 1) * hashBytes)
      return isSameHash(earlier.hash, hash) ? -earlier.sequence : conflictMark
    }
    if (refusesNew) return dedupFullMark
    ids.add(stream, blocks.add(stream, batch, i, nowMs))
    return stream.last
  }

  return {
    append(batch, nowMs) {
      return inTransaction(() => {
        const states = batch.keys.map((key) => streams.open(key))
        const results = new Float64Array(batch.streams.length)
        for (let i = 0; i < results.length; i++) results[i] = appendOne(states[batch.streams[i]!]!, batch, i, nowMs)
        blocks.write(batch)
        for (const state of states) streams.save(state)
        return { results, touched: states }
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
