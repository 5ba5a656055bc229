// The SQL of the lane. Every column of a projected row is read from the event as Postgres holds it, so that a rebuild
// from the event log and live traffic cannot differ.
import { createHash } from 'node:crypto'
import type { Row, Statement } from '../postgres/connection.ts'
import type { EpisodeEvent } from './event.ts'

/** A newer event: by its source time, then by its id, in the order of its bytes. */
export const isNewer =
  '(excluded.last_event_ts, excluded.last_event_id COLLATE "C") > (p.last_event_ts, p.last_event_id COLLATE "C")'

export const projectionColumns =
  'tenant_id, agent_id, episode_id, event_type, content_ref, summary, tags, embedding_ref, metadata, last_event_id, last_event_ts, updated_at, deleted'

/** A row of the projection, of a row of the event log. */
export const projectedValues = `tenant_id, agent_id, episode_id, event_type, event->'payload'->>'content_ref',
  event->'payload'->>'summary', event->'payload'->'tags', event->'payload'->>'embedding_ref',
  event->'payload'->'metadata', event_id, source_ts, now(), event_type = 'episode.deleted'`

export const onOlderRow = `ON CONFLICT (tenant_id, agent_id, episode_id) DO UPDATE SET
  event_type = excluded.event_type, content_ref = excluded.content_ref, summary = excluded.summary,
  tags = excluded.tags, embedding_ref = excluded.embedding_ref, metadata = excluded.metadata,
  last_event_id = excluded.last_event_id, last_event_ts = excluded.last_event_ts,
  updated_at = excluded.updated_at, deleted = excluded.deleted
  WHERE ${isNewer}`

/** The newest event of each episode, of rows of the event log. */
export const newestOfEach = (from: string): string => `SELECT DISTINCT ON (tenant_id, agent_id, episode_id) *
  FROM ${from} ORDER BY tenant_id, agent_id, episode_id, source_ts DESC, event_id COLLATE "C" DESC`

// Rows are taken in the order of their keys, events before projections: two batches at once wait, and never in a ring.
const projectText = `WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::jsonb[])
      AS g(tenant_id, agent_id, event_id, episode_id, event_type, source_ts, event)
  ), fresh AS (
    INSERT INTO arqonbus_continuum_projection_events
      (tenant_id, agent_id, event_id, episode_id, event_type, source_ts, event)
    SELECT * FROM given ORDER BY tenant_id, agent_id, event_id
    ON CONFLICT (tenant_id, agent_id, event_id) DO NOTHING
    RETURNING *
  ), newest AS (${newestOfEach('fresh')}
  ), applied AS (
    INSERT INTO arqonbus_continuum_projection AS p (${projectionColumns})
    SELECT ${projectedValues} FROM newest ORDER BY tenant_id, agent_id, episode_id
    ${onOlderRow}
    RETURNING tenant_id, agent_id, episode_id
  )
  SELECT f.tenant_id, f.agent_id, f.event_id, a.tenant_id IS NOT NULL AS is_applied
    FROM fresh f LEFT JOIN applied a USING (tenant_id, agent_id, episode_id)`

/** Adds events to the log and brings their episodes forward: answers the events that were new. */
export function projectStatement(events: readonly EpisodeEvent[]): Statement {
  return {
    name: 'arqonbus_project',
    text: projectText,
    values: [
      events.map(({ tenant }) => tenant),
      events.map(({ agent }) => agent),
      events.map(({ id }) => id),
      events.map(({ episode }) => episode),
      events.map(({ type }) => type),
      events.map(({ sourceTime }) => sourceTime.text),
      events.map(({ text }) => text),
    ],
  }
}

export interface DeadLetter {
  readonly id: string
  readonly reason: string
  readonly code: string
  readonly raw: Uint8Array
  /** JSON, or `{}`. */
  readonly event: string
  readonly tenant: string
  readonly source: string
  readonly attempts: number
}

/** The same bytes of the same tenant are one dead letter, however often they come. */
export function deadLetterId(tenant: string, raw: Uint8Array): string {
  return `dlq_${createHash('sha256').update(`${tenant}\0`).update(raw).digest('hex').slice(0, 32)}`
}

const buryText = `WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::int[])
      AS g(dlq_id, reason, event, raw, code, tenant_id, source, attempts)
  ), queued AS (
    INSERT INTO arqonbus_continuum_projection_dlq (dlq_id, reason, event)
    SELECT dlq_id, reason, event FROM given ORDER BY dlq_id
    ON CONFLICT (dlq_id) DO UPDATE SET reason = excluded.reason
    RETURNING dlq_id
  )
  INSERT INTO arqonbus_continuum_projection_dlq_raw AS r (dlq_id, raw, code, tenant_id, source, attempts)
  SELECT dlq_id, raw, code, tenant_id, source, attempts FROM given JOIN queued USING (dlq_id) ORDER BY dlq_id
  ON CONFLICT (dlq_id) DO UPDATE SET attempts = r.attempts + excluded.attempts, last_seen = now()`

/** Each id at most once in `letters`. */
export function buryStatement(letters: readonly DeadLetter[]): Statement {
  return {
    name: 'arqonbus_bury',
    text: buryText,
    values: [
      letters.map(({ id }) => id),
      letters.map(({ reason }) => reason),
      letters.map(({ event }) => event),
      letters.map(({ raw }) => Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength)),
      letters.map(({ code }) => code),
      letters.map(({ tenant }) => tenant),
      letters.map(({ source }) => source),
      letters.map(({ attempts }) => attempts),
    ],
  }
}

export interface Checkpoint {
  readonly source: string
  readonly epoch: number
  readonly sequence: number
}

/** Only forward: a slower reader of the same source does not take it back. */
export function checkpointStatement({ source, epoch, sequence }: Checkpoint): Statement {
  return {
    text: `INSERT INTO arqonbus_continuum_projection_checkpoint AS c (source, epoch, sequence) VALUES ($1, $2, $3)
      ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence, updated_at = now()
      WHERE (excluded.epoch, excluded.sequence) > (c.epoch, c.sequence)`,
    values: [source, epoch, sequence],
  }
}

export async function readCheckpoint(
  query: (statement: Statement) => Promise<readonly Row[]>,
  source: string,
): Promise<Checkpoint | undefined> {
  const [row] = await query({
    text: 'SELECT epoch, sequence FROM arqonbus_continuum_projection_checkpoint WHERE source = $1',
    values: [source],
  })
  return row === undefined ? undefined : { source, epoch: Number(row['epoch']), sequence: Number(row['sequence']) }
}
