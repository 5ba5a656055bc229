// Reads of history: by sequence and by time, always down an index.
import type { StreamKey } from '../../envelope/envelope.ts'
import type { KeptConnection, PostgresConnection, Row } from '../../postgres/connection.ts'
import type { ReadBySequence, ReadByTime, StoredRecord, StoreStats, StreamHead } from '../store.ts'
import { compareEntries, compareKeys, mergeByTime, type TimeEntry } from '../time-merge.ts'
import { int8Array } from './binary-arrays.ts'

export interface Reader {
  /** `newEpoch`: that of a stream which would begin now. */
  head(key: StreamKey, newEpoch: number): Promise<StreamHead>
  readBySequence(query: ReadBySequence): Promise<readonly StoredRecord[]>
  readByTime(query: ReadByTime): Promise<readonly StoredRecord[]>
  streams(tenant: string, room?: string): Promise<readonly StreamKey[]>
  stats(tenant?: string): Promise<StoreStats>
}

interface Entry extends TimeEntry {
  readonly row: number
  readonly epoch: number
}

/** A plan made while the tables were small must not read all of them when they are large. */
export async function prepareReader(connection: PostgresConnection): Promise<void> {
  const text = ['seqscan', 'hashjoin', 'mergejoin', 'bitmapscan'].map((way) => `SET enable_${way} = off; `).join('')
  // Ruling ways out makes plans look dear, for which Postgres would compile them anew each time.
  await connection.query({ text: `${text} SET jit = off` })
}

const maxLimit = 2 ** 31 - 1
const farMs = 2 ** 53 - 1

const streamSource = `arqonbus_history h, arqonbus_tenants t JOIN arqonbus_streams s ON s.tenant_row = t.tenant_row`
const epoch = 'greatest(s.epoch, h.min_epoch) AS epoch'

function byTime(order: ReadByTime['order']): string {
  const direction = order === 'newest' ? 'DESC' : 'ASC'
  const first = (columns: string, limit: string): string => `
    SELECT ${columns} FROM arqonbus_records r
    WHERE r.stream_row = s.stream_row AND r.at_ms BETWEEN $4 AND $5
    ORDER BY r.at_ms ${direction}, r.sequence ${direction} LIMIT ${limit}`
  // Only the `limit` streams whose first record comes first can hold any of the first `limit` records. Records of one
  // moment are ordered by name, in the order of JavaScript: all of them come, and are cut there.
  return `
    WITH candidates AS (
      SELECT s.stream_row, s.room, s.channel, ${epoch}, f.at_ms
      FROM ${streamSource} CROSS JOIN LATERAL (${first('r.at_ms', '1')}) f
      WHERE t.tenant = $1 AND ($2::text IS NULL OR s.room = $2) AND ($3::text IS NULL OR s.channel = $3)
        AND s.last >= s.first
      ORDER BY f.at_ms ${direction} FETCH FIRST ($6) ROWS WITH TIES)
    SELECT s.stream_row, s.room, s.channel, s.epoch, e.sequence, e.at_ms, e.size
    FROM candidates s CROSS JOIN LATERAL (${first('r.sequence, r.at_ms, octet_length(r.frame) AS size', '$6')}) e
    ORDER BY e.at_ms ${direction} FETCH FIRST ($6) ROWS WITH TIES`
}
const byTimeText = { newest: byTime('newest'), oldest: byTime('oldest') }

export function createReader(connections: readonly KeptConnection[]): Reader {
  let turn = 0
  async function ask(name: string, text: string, values: readonly unknown[]): Promise<readonly Row[]> {
    // In turn, so that a long page is not in front of every other read; past those that are being opened again.
    const up = connections.filter(({ isUp }) => isUp)
    const chosen = up.length > 0 ? up : connections
    return await chosen[turn++ % chosen.length]!.query({ name, text, values })
  }

  async function entriesByTime(query: ReadByTime): Promise<Entry[]> {
    const { tenant, room = null, channel = null, order, limit } = query
    const { sinceMs = -farMs, untilMs = farMs } = query
    const bounds = [Math.ceil(sinceMs), Math.floor(untilMs), Math.min(limit, maxLimit)]
    const rows = await ask(`arqonbus_${order}`, byTimeText[order], [tenant, room, channel, ...bounds])
    const entries = rows.map((row) => ({
      key: { tenant, room: String(row['room']), channel: String(row['channel']) },
      row: Number(row['stream_row']),
      epoch: Number(row['epoch']),
      sequence: Number(row['sequence']),
      atMs: Number(row['at_ms']),
      bytes: Number(row['size']),
    }))
    entries.sort(order === 'oldest' ? compareEntries : (a, b) => compareEntries(b, a))
    let next = 0
    return mergeByTime([() => entries[next++]], query)
  }

  return {
    async head({ tenant, room, channel }, newEpoch) {
      const [row] = await ask(
        'arqonbus_head',
        `SELECT greatest(coalesce(s.epoch, $4::bigint), h.min_epoch) AS epoch,
           coalesce(s.first, 1) AS first, coalesce(s.last, 0) AS last
         FROM arqonbus_history h LEFT JOIN (
           SELECT s.* FROM arqonbus_tenants t JOIN arqonbus_streams s ON s.tenant_row = t.tenant_row
           WHERE t.tenant = $1 AND s.room = $2 AND s.channel = $3) s ON true`,
        [tenant, room, channel, newEpoch],
      )
      return { epoch: Number(row?.['epoch']), first: Number(row?.['first']), last: Number(row?.['last']) }
    },
    async readBySequence({ key, after, limit, maxBytes }) {
      const rows = await ask(
        'arqonbus_page',
        `SELECT ${epoch}, r.* FROM ${streamSource}
           CROSS JOIN LATERAL arqonbus_read(s.stream_row, $4, $5, $6) r
         WHERE t.tenant = $1 AND s.room = $2 AND s.channel = $3`,
        [key.tenant, key.room, key.channel, after, Math.min(limit, maxLimit), Math.min(maxBytes, farMs)],
      )
      return rows.map((row) => toRecord(key, Number(row['epoch']), row))
    },
    async readByTime(query) {
      const entries = await entriesByTime(query)
      if (entries.length === 0) return []
      const rows = await ask(
        'arqonbus_frames',
        `SELECT p.place, r.sequence, r.at_ms, r.id, r.sender, r.frame
         FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY p(stream_row, sequence, place)
         JOIN arqonbus_records r ON r.stream_row = p.stream_row AND r.sequence = p.sequence ORDER BY p.place`,
        [int8Array(entries.map((entry) => entry.row)), int8Array(entries.map((entry) => entry.sequence))],
      )
      // One that was trimmed since is not among them.
      return rows.map((row) => {
        const entry = entries[Number(row['place']) - 1]!
        return toRecord(entry.key, entry.epoch, row)
      })
    },
    async streams(tenant, room) {
      const rows = await ask(
        'arqonbus_streams',
        `SELECT s.room, s.channel FROM ${streamSource}
         WHERE t.tenant = $1 AND ($2::text IS NULL OR s.room = $2) AND s.last >= s.first`,
        [tenant, room ?? null],
      )
      return rows
        .map((row) => ({ tenant, room: String(row['room']), channel: String(row['channel']) }))
        .sort(compareKeys)
    },
    async stats(tenant) {
      const [row] = await ask(
        'arqonbus_stats',
        `SELECT count(*) AS streams, coalesce(sum(s.last - s.first + 1), 0)::bigint AS records,
           coalesce(sum(s.bytes), 0)::bigint AS bytes
         FROM ${streamSource} WHERE ($1::text IS NULL OR t.tenant = $1) AND s.last >= s.first`,
        [tenant ?? null],
      )
      return {
        backend: 'postgres',
        streams: Number(row?.['streams']),
        records: Number(row?.['records']),
        bytes: Number(row?.['bytes']),
      }
    },
  }
}

function toRecord(key: StreamKey, recordEpoch: number, row: Row): StoredRecord {
  return {
    key,
    position: { epoch: recordEpoch, sequence: Number(row['sequence']) },
    id: String(row['id']),
    sender: String(row['sender']),
    atMs: Number(row['at_ms']),
    frame: row['frame'] as Uint8Array, // the parser of bytea makes nothing else
  }
}
