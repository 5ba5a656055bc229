// Walks the blocks of a stream by time. Within a run (a stretch in which time does not go back) the order of sequences
// is the order of time, so each run is one cursor; a stream has more than one only where the clock was set back.
import type { DatabaseSync } from 'node:sqlite'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { ReadByTime } from '../store.ts'
import type { TimeCursor, TimeEntry } from '../time-merge.ts'
import { BlockItems } from './block.ts'

/** Record `i` of the block at `row`. */
export interface BlockEntry extends TimeEntry {
  readonly row: number
  readonly items: BlockItems
  readonly i: number
}

export interface TimeCursors {
  of(
    stream: { readonly row: number; readonly key: StreamKey; readonly first: number },
    query: ReadByTime,
  ): TimeCursor<BlockEntry>[]
}

/** A place between the blocks of a run. */
interface Edge {
  readonly toMs: number
  readonly row: number
}

export function createTimeCursors(db: DatabaseSync): TimeCursors {
  const selectFirst = db.prepare(
    'SELECT row, run, to_ms FROM blocks WHERE stream = ? AND last >= ? ORDER BY last LIMIT 1',
  )
  const selectNextRun = db.prepare('SELECT min(run) AS run FROM blocks WHERE stream = ? AND run > ?')
  const nextBlock = (comparison: string, direction: string) =>
    db.prepare(
      `SELECT row, first, last, to_ms, items FROM blocks
       WHERE stream = ? AND run = ? AND (to_ms, row) ${comparison} (?, ?)
       ORDER BY to_ms ${direction}, row ${direction} LIMIT 1`,
    )
  const selectLater = nextBlock('>', 'ASC')
  const selectEarlier = nextBlock('<', 'DESC')

  function of(stream: Parameters<TimeCursors['of']>[0], query: ReadByTime): TimeCursor<BlockEntry>[] {
    const oldest = selectFirst.get(stream.row, stream.first)
    if (oldest === undefined) return []
    const firstRun = Number(oldest['run'])
    // Blocks before this one are kept for their ids only.
    const start: Edge = { toMs: Number(oldest['to_ms']), row: Number(oldest['row']) - 1 }
    const cursors: TimeCursor<BlockEntry>[] = []
    for (let run: number | undefined = firstRun; run !== undefined; run = runAfter(stream.row, run))
      cursors.push(cursorOf(stream, query, run, run === firstRun ? start : undefined))
    return cursors
  }

  function runAfter(stream: number, run: number): number | undefined {
    const next = selectNextRun.get(stream, run)?.['run']
    return typeof next === 'number' ? next : undefined
  }

  function cursorOf(
    { row: stream, key, first: firstKept }: Parameters<TimeCursors['of']>[0],
    query: ReadByTime,
    run: number,
    start: Edge | undefined,
  ): TimeCursor<BlockEntry> {
    const { sinceMs = Number.MIN_SAFE_INTEGER, untilMs = Number.MAX_SAFE_INTEGER } = query
    const isOldest = query.order === 'oldest'
    const select = isOldest ? selectLater : selectEarlier
    let edge = isOldest ? lowEdge() : highEdge()
    let block: { row: number; first: number; items: BlockItems } | undefined
    let i = 0
    let isAtEnd = false

    function lowEdge(): Edge {
      return start === undefined || start.toMs < sinceMs ? { toMs: sinceMs, row: -1 } : start
    }

    /** Above the one block that may have records on both sides of `untilMs`. */
    function highEdge(): Edge {
      const across = selectLater.get(stream, run, untilMs, Number.MAX_SAFE_INTEGER)
      if (across === undefined) return { toMs: Number.MAX_SAFE_INTEGER, row: 0 }
      return { toMs: Number(across['to_ms']), row: Number(across['row']) + 1 }
    }

    function turn(): void {
      const found = select.get(stream, run, edge.toMs, edge.row)
      isAtEnd = found === undefined || Number(found['last']) < firstKept
      if (found === undefined || isAtEnd) return
      edge = { toMs: Number(found['to_ms']), row: Number(found['row']) }
      const items = new BlockItems(found['items'] as Uint8Array) // BLOB NOT NULL in the schema
      block = { row: edge.row, first: Number(found['first']), items }
      i = isOldest ? 0 : items.count - 1
    }

    return () => {
      for (; !isAtEnd; i += isOldest ? 1 : -1) {
        if (block === undefined || i < 0 || i >= block.items.count) turn()
        if (block === undefined || isAtEnd) return undefined
        const { row, first, items } = block
        const atMs = items.atMs(i)
        if (isOldest ? atMs > untilMs : atMs < sinceMs || first + i < firstKept) {
          isAtEnd = true
          return undefined
        }
        if (isOldest ? atMs < sinceMs || first + i < firstKept : atMs > untilMs) continue
        const entry = { key, sequence: first + i, atMs, bytes: items.frameEnd(i) - items.frameStart(i), row, items, i }
        i += isOldest ? 1 : -1
        return entry
      }
      return undefined
    }
  }

  return { of }
}
