// Removes what retention does not keep and ids past their window, in small steps between the groups of appends.
import type { DatabaseSync } from 'node:sqlite'
import type { Retention } from '../store.ts'
import type { RememberedIds } from './remembered-ids.ts'
import type { StreamState, StreamTable } from './stream-table.ts'

// One step is one transaction of at most this many removed records, or streams looked at: a few milliseconds.
const recordsPerStep = 512
const streamsPerStep = 64

export interface Trimmer {
  /** Streams that have grown: looked at in the next steps. */
  noteGrown(states: readonly StreamState[]): void
  /** Every stream with records is to be looked at, for age. */
  noteTimePassed(): void
  /** Does one step; true when there is more to do. */
  step(nowMs: number): boolean
}

export function createTrimmer(
  db: DatabaseSync,
  streams: StreamTable,
  ids: RememberedIds,
  retention: Retention,
): Trimmer {
  const selectOldest = db.prepare(
    `SELECT sequence, at_ms, length(frame) AS bytes FROM records WHERE stream = ? ORDER BY sequence LIMIT ?`,
  )
  const removeUpTo = db.prepare('DELETE FROM records WHERE stream = ? AND sequence <= ?')
  const grown = new Set<number>()
  /** Every stream above this row is still to be looked at; undefined when none is. */
  let sweptRow: number | undefined
  let mayHoldExpiredIds = false

  /** Returns how many were removed. */
  function trim(state: StreamState, nowMs: number, atMost: number): number {
    const isOver = () => state.last - state.first + 1 > retention.maxRecords || state.bytes > retention.maxBytes
    const looked = isOver() ? atMost : 1
    const before = state.first
    for (const row of selectOldest.all(state.row, looked)) {
      const isTooOld = nowMs - Number(row['at_ms']) > retention.maxAgeMs
      if (!isTooOld && !(isOver() && state.first < state.last)) break
      state.first = Number(row['sequence']) + 1
      state.bytes -= Number(row['bytes'])
    }
    const removed = state.first - before
    if (removed === 0) return 0
    removeUpTo.run(state.row, state.first - 1)
    streams.save(state)
    return removed
  }

  function trimSome(nowMs: number): void {
    let left = recordsPerStep
    let looked = 0
    for (const row of grown) {
      if (left <= 0 || ++looked > streamsPerStep) return
      const state = streams.byRow(row)
      const removed = state === undefined ? 0 : trim(state, nowMs, left)
      left -= removed
      // A stream from which nothing more can go is done; one that filled the step may have more.
      if (removed === 0) grown.delete(row)
    }
  }

  function sweepSome(): void {
    if (sweptRow === undefined || grown.size > 0) return
    const rows = streams.rowsAfter(sweptRow, streamsPerStep)
    for (const row of rows) grown.add(row)
    sweptRow = rows.length < streamsPerStep ? undefined : rows.at(-1)
  }

  return {
    noteGrown(states) {
      for (const state of states) grown.add(state.row)
      mayHoldExpiredIds = true
    },
    noteTimePassed() {
      sweptRow ??= 0
      mayHoldExpiredIds = true
    },
    step(nowMs) {
      // What a crash undoes here is done again later, so these commits need not wait for the disk.
      db.exec('PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE')
      try {
        sweepSome()
        trimSome(nowMs)
        if (mayHoldExpiredIds) mayHoldExpiredIds = ids.forgetExpired(nowMs)
        db.exec('COMMIT')
      } catch (error) {
        if (db.isTransaction) db.exec('ROLLBACK')
        streams.forget()
        ids.forget()
        throw error
      } finally {
        db.exec('PRAGMA synchronous = FULL')
      }
      return grown.size > 0 || sweptRow !== undefined || mayHoldExpiredIds
    },
  }
}
