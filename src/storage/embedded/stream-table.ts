// The streams' extents: rows of the table `streams`, kept in memory by the one writer.
import type { DatabaseSync } from 'node:sqlite'
import type { StreamKey } from '../../envelope/envelope.ts'
import { streamName } from '../stream-name.ts'

export interface StreamState {
  readonly key: StreamKey
  readonly row: number
  first: number
  last: number
  bytes: number
  /** Grows when the time of a record is before that of the one it follows. */
  run: number
  /** Time of the newest record. */
  lastMs: number
}

export interface StreamTable {
  /** Makes the stream when it is not there. */
  open(key: StreamKey): StreamState
  byRow(row: number): StreamState | undefined
  save(state: StreamState): void
  /** Rows above one, of streams with records. */
  rowsAfter(row: number, limit: number): readonly number[]
  /** Drops what is kept in memory: the database was rolled back. */
  forget(): void
}

// Above this many the memory is given back; the table is read again.
const maxKept = 100_000

export function createStreamTable(db: DatabaseSync): StreamTable {
  const select = db.prepare('SELECT * FROM streams WHERE tenant = ? AND room = ? AND channel = ?')
  const selectRow = db.prepare('SELECT * FROM streams WHERE row = ?')
  const insert = db.prepare(
    `INSERT INTO streams (tenant, room, channel, first, last, bytes, run, last_ms)
     VALUES (?, ?, ?, 1, 0, 0, 0, 0) RETURNING *`,
  )
  const update = db.prepare('UPDATE streams SET first = ?, last = ?, bytes = ?, run = ?, last_ms = ? WHERE row = ?')
  const selectAfter = db.prepare('SELECT row FROM streams WHERE row > ? AND last >= first ORDER BY row LIMIT ?')
  const byName = new Map<string, StreamState>()
  const byRow = new Map<number, StreamState>()

  function drop(): void {
    byName.clear()
    byRow.clear()
  }

  function keep(row: Record<string, unknown>): StreamState {
    if (byRow.size >= maxKept) drop()
    const key = { tenant: String(row['tenant']), room: String(row['room']), channel: String(row['channel']) }
    const state: StreamState = {
      key,
      row: Number(row['row']),
      first: Number(row['first']),
      last: Number(row['last']),
      bytes: Number(row['bytes']),
      run: Number(row['run']),
      lastMs: Number(row['last_ms']),
    }
    byName.set(streamName(key), state)
    byRow.set(state.row, state)
    return state
  }

  return {
    open(key) {
      const kept = byName.get(streamName(key))
      if (kept !== undefined) return kept
      const row = select.get(key.tenant, key.room, key.channel) ?? insert.get(key.tenant, key.room, key.channel)
      if (row === undefined) throw new Error('INSERT … RETURNING returned nothing')
      return keep(row)
    },
    byRow(row) {
      const kept = byRow.get(row)
      if (kept !== undefined) return kept
      const found = selectRow.get(row)
      return found === undefined ? undefined : keep(found)
    },
    save(state) {
      update.run(state.first, state.last, state.bytes, state.run, state.lastMs, state.row)
    },
    rowsAfter: (row, limit) => selectAfter.all(row, limit).map((found) => Number(found['row'])),
    forget: drop,
  }
}
