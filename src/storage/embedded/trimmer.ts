// Removes what retention does not keep and ids past their window, in small steps between the groups of appends.
import type { DatabaseSync } from 'node:sqlite'
import type { Retention } from '../store.ts'
import type { BlockHead, BlockTable } from './block-table.ts'
import type { RememberedIds } from './remembered-ids.ts'
import type { StreamState, StreamTable } from './stream-table.ts'

// One step is one transaction of at most this many blocks removed, or streams looked at: a few milliseconds.
const blocksPerStep = 64
const streamsPerStep = 64

export interface Trimmer {
  /** Streams that have grown: looked at in the next steps. */
  noteGrown(states: readonly StreamState[]): void
  /** Every stream with records is to be looked at, for age. */
  noteTimePassed(): void
  /** Does one step; true when there is more to do. */
  step(nowMs: number): boolean
}

export interface TrimmerParts {
  readonly db: DatabaseSync
  readonly streams: StreamTable
  readonly blocks: BlockTable
  readonly ids: RememberedIds
  readonly retention: Retention
}

export function createTrimmer({ db, streams, blocks, ids, retention }: TrimmerParts): Trimmer {
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
  const grown = new Set<number>()
  /** Every stream above this row is still to be looked at; undefined when none is. */
  let sweptRow: number | undefined
  let mayHoldExpiredIds = false

  /** Returns how many blocks it has looked at; 0 when nothing more can go. */
  function trim(state: StreamState, nowMs: number, atMost: number): number {
    const before = state.first
    let looked = 0
    for (const block of blocks.oldest(state.row, state.first, isOver(state) ? atMost : 1)) {
      looked++
      const isGone = trimBlock(state, block, nowMs)
      if (!isGone) break
    }
    if (state.first === before) return 0
    streams.save(state)
    return looked
  }

  function isOver(state: StreamState): boolean {
    return state.last - state.first + 1 > retention.maxRecords || state.bytes > retention.maxBytes
  }

  /** Removes from the block what may go, from its old end on; true when that is all of it. */
  function trimBlock(state: StreamState, block: BlockHead, nowMs: number): boolean {
    const isTooOld = (atMs: number) => nowMs - atMs > retention.maxAgeMs
    // The common cases need no look at single records: all of it goes, or nothing.
    const isWhole = state.first === block.first && block.last < state.last
    if (isWhole && (isTooOld(block.toMs) || state.last - block.last >= retention.maxRecords)) {
      state.bytes -= block.bytes
      state.first = block.last + 1
    } else trimRecords(state, block, isTooOld)
    if (state.first <= block.last) return false
    blocks.removeFrames(block.row)
    // Otherwise it is kept for its ids, until they are past their window.
    if (block.row <= ids.forgottenRow) blocks.remove(block.row)
    return true
  }

  function trimRecords(state: StreamState, block: BlockHead, isTooOld: (atMs: number) => boolean): void {
    const items = blocks.items(block.row)
    if (items === undefined) return
    while (state.first <= block.last) {
      const i = state.first - block.first
      if (!isTooOld(items.atMs(i)) && !(isOver(state) && state.first < state.last)) return
      state.bytes -= items.frameEnd(i) - items.frameStart(i)
      state.first++
    }
  }

  function trimSome(nowMs: number): void {
    let left = blocksPerStep
    let looked = 0
    for (const row of grown) {
      if (left <= 0 || ++looked > streamsPerStep) return
      const state = streams.byRow(row)
      const trimmed = state === undefined ? 0 : trim(state, nowMs, left)
      left -= trimmed
      // A stream from which nothing more can go is done; one that filled the step may have more.
      if (trimmed === 0) grown.delete(row)
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
      db.exec('PRAGMA synchronous = NORMAL')
      try {
        begin.run()
        sweepSome()
        trimSome(nowMs)
        if (mayHoldExpiredIds) mayHoldExpiredIds = ids.forgetExpired(nowMs)
        commit.run()
        ids.committed()
      } catch (error) {
        if (db.isTransaction) db.exec('ROLLBACK')
        ids.rolledBack()
        streams.forget()
        throw error
      } finally {
        db.exec('PRAGMA synchronous = FULL')
      }
      return grown.size > 0 || sweptRow !== undefined || mayHoldExpiredIds
    },
  }
}
