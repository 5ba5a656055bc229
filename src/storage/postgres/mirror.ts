// Copies records into the table that readers of earlier systems know, behind the appends and on a connection of its own:
// every record once, in order within its stream, later by a moment.
import { describeError, type Logger } from '../../base/logger.ts'
import type { Position } from '../../envelope/envelope.ts'
import type { KeptConnection, Row } from '../../postgres/connection.ts'
import { byteaArray, int8Array, textArray } from './binary-arrays.ts'

/** The JSON of a frame; given from outside, since storage knows no wire format. */
export type FrameToJson = (frame: Uint8Array, position: Position) => object

export interface Mirror {
  /** Streams that have grown. */
  noteGrown(rows: readonly number[]): void
  /** Begins nothing more; resolves when the step that runs has ended. */
  stop(): Promise<void>
}

export interface MirrorOptions {
  readonly connection: KeptConnection
  readonly toJson: FrameToJson
  readonly logger: Logger
}

const recordsPerStep = 200
const gatherMs = 100
/** How often all streams are looked at: what another process appended, or was left at a stop. */
const sweepEveryMs = 10_000
const afterFailureMs = 1_000

const selectBehind = `
  SELECT s.stream_row FROM arqonbus_history h CROSS JOIN arqonbus_streams s
    LEFT JOIN arqonbus_mirrored m ON m.stream_row = s.stream_row
  WHERE s.last >= s.first AND (m.sequence IS NULL OR m.epoch < greatest(s.epoch, h.min_epoch) OR m.sequence < s.last)`

// A stream with a new epoch is copied from its start: what is there already is known by its id.
const selectNext = `
  SELECT s.room, s.channel, greatest(s.epoch, h.min_epoch) AS epoch, r.sequence, r.at_ms, r.id, r.sender, r.frame
  FROM arqonbus_history h CROSS JOIN arqonbus_streams s
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

export function createMirror({ connection, toJson, logger }: MirrorOptions): Mirror {
  const grown = new Set<number>()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let isStopped = false

  function wake(afterMs: number): void {
    if (isStopped || timer !== undefined || running !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      running = run().finally(() => {
        running = undefined
        if (grown.size > 0) wake(gatherMs)
      })
    }, afterMs).unref()
  }

  async function run(): Promise<void> {
    try {
      for (const row of grown) {
        if (isStopped) return
        grown.delete(row)
        await copyStream(row)
      }
    } catch (error) {
      logger.debug('store.mirror.failed', describeError(error))
      await new Promise((resolve) => setTimeout(resolve, afterFailureMs).unref())
      await sweep()
    }
  }

  async function copyStream(streamRow: number): Promise<void> {
    for (let copied = recordsPerStep; copied === recordsPerStep && !isStopped; ) {
      const values = [streamRow, recordsPerStep]
      const rows = await connection.query({ name: 'arqonbus_mirror_next', text: selectNext, values })
      copied = rows.length
      if (copied > 0) await write(streamRow, rows)
    }
  }

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

  async function sweep(): Promise<void> {
    try {
      const rows = await connection.query({ name: 'arqonbus_mirror_behind', text: selectBehind })
      for (const row of rows) grown.add(Number(row['stream_row']))
      if (grown.size > 0) wake(0)
    } catch (error) {
      logger.debug('store.mirror.failed', describeError(error))
    }
  }
  const sweeps = setInterval(() => void sweep(), sweepEveryMs).unref()
  void sweep()

  return {
    noteGrown(rows) {
      for (const row of rows) grown.add(row)
      wake(gatherMs)
    },
    async stop() {
      isStopped = true
      clearInterval(sweeps)
      clearTimeout(timer)
      await running
    },
  }
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
