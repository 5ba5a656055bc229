// Answers questions from the history file over a read-only connection of its own, beside the writer.
// Runs in a worker thread; everything here is synchronous.
import type { DatabaseSync } from 'node:sqlite'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { ReadBySequence, ReadByTime, StoreStats, StreamHead } from '../store.ts'
import { compareKeys, mergeByTime, type TimeCursor, type TimeEntry } from '../time-merge.ts'
import { createRecordPacker, type PackedRecords, type RecordRow } from './packed-records.ts'

export interface Reader {
  head(key: StreamKey): Omit<StreamHead, 'epoch'>
  readBySequence(query: ReadBySequence): PackedRecords
  readByTime(query: ReadByTime): PackedRecords
  streams(tenant: string, room?: string): StreamKey[]
  stats(tenant?: string): Omit<StoreStats, 'backend'>
}

interface Stream {
  readonly row: number
  readonly key: StreamKey
}

interface RowEntry extends TimeEntry {
  readonly row: number
}

const columns = 'sequence, at_ms, id, sender, frame'
const minTimePage = 16

export function createReader(db: DatabaseSync): Reader {
  const selectHead = db.prepare('SELECT first, last FROM streams WHERE tenant = ? AND room = ? AND channel = ?')
  const selectRow = db.prepare('SELECT row FROM streams WHERE tenant = ? AND room = ? AND channel = ?')
  const selectAfter = db.prepare(
    `SELECT ${columns} FROM records WHERE stream = ? AND sequence > ? ORDER BY sequence LIMIT ?`,
  )
  const selectRecord = db.prepare(`SELECT ${columns} FROM records WHERE row = ?`)
  // (at_ms, row) orders a stream's records as (atMs, sequence) does: rows rise with the sequence.
  const timePage = (edge: string, direction: string) =>
    db.prepare(
      `SELECT row, sequence, at_ms, length(frame) AS bytes FROM records
       WHERE stream = ? AND at_ms >= ? AND at_ms <= ? AND (at_ms, row) ${edge} (?, ?)
       ORDER BY at_ms ${direction}, row ${direction} LIMIT ?`,
    )
  const timePages = { oldest: timePage('>', 'ASC'), newest: timePage('<', 'DESC') }
  const selectStreams = db.prepare(
    'SELECT row, tenant, room, channel FROM streams WHERE tenant = ?1 AND (?2 IS NULL OR room = ?2) AND last >= first',
  )
  const selectStats = db.prepare(
    `SELECT count(*) AS streams, coalesce(sum(last - first + 1), 0) AS records, coalesce(sum(bytes), 0) AS bytes
     FROM streams WHERE (?1 IS NULL OR tenant = ?1) AND last >= first`,
  )

  function streamsOf(tenant: string, room: string | undefined, channel: string | undefined): Stream[] {
    if (room !== undefined && channel !== undefined) {
      const row = selectRow.get(tenant, room, channel)
      return row === undefined ? [] : [{ row: Number(row['row']), key: { tenant, room, channel } }]
    }
    return selectStreams
      .all(tenant, room ?? null)
      .map((row) => ({
        row: Number(row['row']),
        key: { tenant, room: String(row['room']), channel: String(row['channel']) },
      }))
      .filter(({ key }) => channel === undefined || key.channel === channel)
  }

  function cursorOf({ row, key }: Stream, query: ReadByTime, pageSize: number): TimeCursor<RowEntry> {
    const { sinceMs = Number.MIN_SAFE_INTEGER, untilMs = Number.MAX_SAFE_INTEGER, order } = query
    let edge = order === 'oldest' ? [sinceMs, -1] : [untilMs, Number.MAX_SAFE_INTEGER]
    let page: RowEntry[] = []
    let next = 0
    let isLast = false

    function turn(): void {
      page = timePages[order].all(row, sinceMs, untilMs, edge[0]!, edge[1]!, pageSize).map((found) => ({
        key,
        row: Number(found['row']),
        sequence: Number(found['sequence']),
        atMs: Number(found['at_ms']),
        bytes: Number(found['bytes']),
      }))
      isLast = page.length < pageSize
      const end = page.at(-1)
      if (end !== undefined) edge = [end.atMs, end.row]
      next = 0
    }
    return () => {
      if (next === page.length && !isLast) turn()
      return page[next++]
    }
  }

  return {
    head(key) {
      const row = selectHead.get(key.tenant, key.room, key.channel)
      return row === undefined ? { first: 1, last: 0 } : { first: Number(row['first']), last: Number(row['last']) }
    },
    readBySequence({ key, after, limit, maxBytes }) {
      const packer = createRecordPacker()
      const stream = selectRow.get(key.tenant, key.room, key.channel)
      if (stream === undefined || limit <= 0) return packer.pack()
      let bytes = 0
      let isFirst = true
      for (const found of selectAfter.iterate(Number(stream['row']), after, limit)) {
        const row = found as unknown as RecordRow // the columns selected, of the types the schema says (STRICT)
        bytes += row.frame.length
        if (!isFirst && bytes > maxBytes) break
        isFirst = false
        packer.add(key, row)
      }
      return packer.pack()
    },
    readByTime(query) {
      const packer = createRecordPacker()
      if (query.limit <= 0) return packer.pack()
      // One view of the file for all statements: a trim between two of them could take a record away.
      db.exec('BEGIN')
      try {
        const found = streamsOf(query.tenant, query.room, query.channel)
        const pageSize = Math.min(
          1_000,
          Math.max(minTimePage, Math.ceil((2 * query.limit) / Math.max(1, found.length))),
        )
        const cursors = found.map((stream) => cursorOf(stream, query, pageSize))
        for (const entry of mergeByTime(cursors, query)) {
          const row = selectRecord.get(entry.row)
          packer.add(entry.key, row as unknown as RecordRow) // as above; there, in this transaction
        }
      } finally {
        db.exec('COMMIT')
      }
      return packer.pack()
    },
    streams: (tenant, room) =>
      streamsOf(tenant, room, undefined)
        .map((stream) => stream.key)
        .sort(compareKeys),
    stats(tenant) {
      const row = selectStats.get(tenant ?? null)
      return { streams: Number(row?.['streams']), records: Number(row?.['records']), bytes: Number(row?.['bytes']) }
    },
  }
}
