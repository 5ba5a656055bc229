// Copies records into the table that readers of earlier systems know, over a connection of its own.
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { Position } from '../../envelope/envelope.ts'
import type { KeptConnection, Row } from '../../postgres/connection.ts'
import { createMirror, type Mirror } from '../mirror.ts'
import { byteaArray, int8Array, textArray } from './binary-arrays.ts'

/** The JSON of a frame: an envelope, where a bus asks. */
export type FrameToJson = (frame: Uint8Array, position: Position) => object

export interface PostgresMirrorOptions {
  readonly connection: KeptConnection
  readonly toJson: FrameToJson
  readonly clock: Clock
  readonly logger: Logger
}

const recordsPerStep = 200

// The bus's own messages, of reserved tenants, are nobody's history.
const ofClients = `JOIN arqonbus_tenants t ON t.tenant_row = s.tenant_row AND NOT starts_with(t.tenant, 'arqon-')`

const selectBehind = `
  SELECT s.stream_row FROM arqonbus_history h CROSS JOIN arqonbus_streams s ${ofClients}
    LEFT JOIN arqonbus_mirrored m ON m.stream_row = s.stream_row
  WHERE s.last >= s.first AND (m.sequence IS NULL OR m.epoch < greatest(s.epoch, h.min_epoch) OR m.sequence < s.last)`

// A stream with a new epoch is copied from its start: what is there already is known by its id.
const selectNext = `
  SELECT s.room, s.channel, greatest(s.epoch, h.min_epoch) AS epoch, r.sequence, r.at_ms, r.id, r.sender, r.frame
  FROM arqonbus_history h CROSS JOIN arqonbus_streams s ${ofClients}
    LEFT JOIN arqonbus_mirrored m ON m.stream_row = s.stream_row AND m.epoch = greatest(s.epoch, h.min_epoch)
    JOIN arqonbus_records r ON r.stream_row = s.stream_row AND r.sequence > coalesce(m.sequence, 0)
  WHERE s.stream_row = $1 ORDER BY r.sequence LIMIT $2`

const insert = `
  WITH copied AS (
    INSERT INTO arqonbus_message_history (message_id, room, channel, sender, stored_at, envelope, envelope_proto)
      SELECT p.id, $1, $2, nullif(p.sender, ''), to_timestamp(p.at_ms / 1000.0), p.envelope::jsonb, p.frame
      FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[])
        WITH ORDINALITY p(id, sender, at_ms, envelope, frame, place) ORDER BY p.place
      ON CONFLICT (message_id) DO NOTHING)
  INSERT INTO arqonbus_mirrored AS m (stream_row, epoch, sequence) VALUES ($8, $9, $10)
    ON CONFLICT (stream_row) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence
    WHERE m.epoch < excluded.epoch OR (m.epoch = excluded.epoch AND m.sequence < excluded.sequence)`

/** Streams by their rows. */
export function createPostgresMirror({ connection, toJson, clock, logger }: PostgresMirrorOptions): Mirror<number> {
  async function write(streamRow: number, rows: readonly Row[]): Promise<void> {
    const last = rows.at(-1)!
    const text = (name: string): Buffer => textArray(rows.map((row) => String(row[name])))
    const values = [
      last['room'],
      last['channel'],
      text('id'),
      text('sender'),
      int8Array(rows.map((row) => Number(row['at_ms']))),
      textArray(rows.map(jsonOf)),
      byteaArray(rows.map((row) => row['frame'] as Uint8Array)), // the parser of bytea makes nothing else
      streamRow,
      last['epoch'],
      last['sequence'],
    ]
    await connection.query({ name: 'arqonbus_mirror', text: insert, values })
  }

  function jsonOf(row: Row): string {
    const position = { epoch: Number(row['epoch']), sequence: Number(row['sequence']) }
    return JSON.stringify(forJsonb(toJson(row['frame'] as Uint8Array, position)))
  }

  return createMirror<number>({
    clock,
    logger,
    async copySome(streamRow) {
      const values = [streamRow, recordsPerStep]
      const rows = await connection.query({ name: 'arqonbus_mirror_next', text: selectNext, values })
      if (rows.length > 0) await write(streamRow, rows)
      return { copied: rows.length, hasMore: rows.length === recordsPerStep }
    },
    async *behind() {
      const rows = await connection.query({ name: 'arqonbus_mirror_behind', text: selectBehind })
      yield rows.map((row) => Number(row['stream_row']))
    },
  })
}

/** jsonb has no NUL: it becomes U+FFFD, in names as well. */
function forJsonb(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('\0', '\ufffd')
  if (Array.isArray(value)) return value.map(forJsonb)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name.replaceAll('\0', '\ufffd'), forJsonb(inner)]),
  )
}
