// The dedup window in the database: which ids were used lately, per stream, counted per tenant.
import type { DatabaseSync } from 'node:sqlite'
import type { DedupWindow } from '../store.ts'
import type { StreamState } from './stream-table.ts'

export interface Remembered {
  readonly sequence: number
  readonly hash: Uint8Array
}

export interface RememberedIds {
  /** Ids held for a tenant, those expired but not yet removed included. */
  count(tenant: string): number
  /** Remembers an id that is not there, else returns what is. An expired one makes way. */
  remember(stream: StreamState, entry: Remembered & { id: string; atMs: number }): Remembered | undefined
  find(stream: StreamState, id: string, nowMs: number): Remembered | undefined
  /** Removes some of the expired ids, oldest first; true when there may be more. */
  forgetExpired(nowMs: number): boolean
  /** Reads the counts anew: what was done since the last commit is rolled back. */
  forget(): void
}

// Rows removed in one step: about a millisecond of work.
const removedPerStep = 512

export function createRememberedIds(db: DatabaseSync, dedup: DedupWindow): RememberedIds {
  const insert = db.prepare(
    'INSERT INTO remembered (stream, id, sequence, hash, at_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  )
  const select = db.prepare('SELECT row, sequence, hash, at_ms FROM remembered WHERE stream = ? AND id = ?')
  const remove = db.prepare('DELETE FROM remembered WHERE row = ?')
  const selectOldest = db.prepare(
    `SELECT r.row, r.at_ms, s.tenant FROM remembered AS r JOIN streams AS s ON s.row = r.stream
     ORDER BY r.row LIMIT ${removedPerStep}`,
  )
  const removeUpTo = db.prepare('DELETE FROM remembered WHERE row <= ?')
  const counts = new Map<string, number>()
  load()

  function load(): void {
    counts.clear()
    const rows = db.prepare(
      `SELECT s.tenant, count(*) AS ids FROM remembered AS r JOIN streams AS s ON s.row = r.stream GROUP BY s.tenant`,
    )
    for (const row of rows.iterate()) counts.set(String(row['tenant']), Number(row['ids']))
  }

  function add(tenant: string, change: number): void {
    counts.set(tenant, (counts.get(tenant) ?? 0) + change)
  }

  const ids: RememberedIds = {
    count: (tenant) => counts.get(tenant) ?? 0,
    remember(stream, { id, sequence, hash, atMs }) {
      if (insert.run(stream.row, id, sequence, hash, atMs).changes === 0) {
        const earlier = ids.find(stream, id, atMs)
        if (earlier !== undefined) return earlier
        insert.run(stream.row, id, sequence, hash, atMs)
      }
      add(stream.key.tenant, 1)
      return undefined
    },
    find(stream, id, nowMs) {
      const row = select.get(stream.row, id)
      if (row === undefined) return undefined
      if (nowMs - Number(row['at_ms']) < dedup.maxAgeMs) {
        return { sequence: Number(row['sequence']), hash: row['hash'] as Uint8Array } // BLOB NOT NULL in the schema
      }
      remove.run(Number(row['row']))
      add(stream.key.tenant, -1)
      return undefined
    },
    forgetExpired(nowMs) {
      let upTo: number | undefined
      let removed = 0
      for (const row of selectOldest.all()) {
        if (nowMs - Number(row['at_ms']) < dedup.maxAgeMs) break
        upTo = Number(row['row'])
        add(String(row['tenant']), -1)
        removed++
      }
      if (upTo !== undefined) removeUpTo.run(upTo)
      return removed === removedPerStep
    },
    forget: load,
  }
  return ids
}
