// What the projection says: one episode, pages of the newest, and how much there is.
import { invalid } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import type { Row } from '../postgres/connection.ts'
import type { Sql } from './sql.ts'

export interface EpisodeKey {
  readonly tenant: string
  readonly agent: string
  readonly episode: string
}

export interface ListQuery {
  readonly tenant?: string | undefined
  readonly agent?: string | undefined
  readonly limit: number
  /** The `next` of the page before. */
  readonly after?: string | undefined
}

export interface Counts {
  readonly projections: number
  readonly events: number
  readonly deadLetters: number
}

export interface Reads {
  find(key: EpisodeKey): Promise<JsonObject | undefined>
  /** Newest update first. */
  list(query: ListQuery): Promise<{ readonly items: readonly JsonObject[]; readonly next?: string }>
  /** Of one tenant, or of all. */
  counts(tenant?: string): Promise<Counts>
}

const time = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const columns = `tenant_id, agent_id, episode_id, event_type, content_ref, summary, tags, embedding_ref, metadata,
  last_event_id, ${time('last_event_ts')} AS last_event_ts, ${time('updated_at')} AS updated_at, deleted`

export function createReads(sql: Pick<Sql, 'query'>): Reads {
  return {
    async find({ tenant, agent, episode }) {
      const [row] = await sql.query({
        text: `SELECT ${columns} FROM arqonbus_continuum_projection
          WHERE tenant_id = $1 AND agent_id = $2 AND episode_id = $3`,
        values: [tenant, agent, episode],
      })
      return row === undefined ? undefined : toProjection(row)
    },
    async list({ tenant, agent, limit, after }) {
      const cursor = after === undefined ? [null, null, null, null] : readCursor(after)
      // The names of the columns are those of the table, not of the times made of them for reading.
      const rows = await sql.query({
        text: `SELECT ${columns} FROM arqonbus_continuum_projection p
          WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR agent_id = $2)
            AND ($3::timestamptz IS NULL OR p.updated_at < $3 OR
              (p.updated_at = $3 AND (tenant_id, agent_id, episode_id) > ($4, $5, $6)))
          ORDER BY p.updated_at DESC, tenant_id, agent_id, episode_id LIMIT $7`,
        values: [tenant, agent, ...cursor, limit + 1],
      })
      const items = rows.slice(0, limit).map(toProjection)
      const last = items.at(-1)
      return { items, ...(rows.length > limit && last !== undefined && { next: toCursor(last) }) }
    },
    async counts(tenant) {
      const [row] = await sql.query({
        text: `SELECT
          (SELECT count(*) FROM arqonbus_continuum_projection WHERE $1::text IS NULL OR tenant_id = $1) AS projections,
          (SELECT count(*) FROM arqonbus_continuum_projection_events WHERE $1::text IS NULL OR tenant_id = $1) AS events,
          (SELECT count(*) FROM arqonbus_continuum_projection_dlq d
             LEFT JOIN arqonbus_continuum_projection_dlq_raw r ON r.dlq_id = d.dlq_id
             WHERE $1::text IS NULL OR coalesce(nullif(r.tenant_id, ''), d.event->>'tenant_id') = $1) AS dead_letters`,
        values: [tenant],
      })
      const count = (name: string): number => Number(row?.[name] ?? 0)
      return { projections: count('projections'), events: count('events'), deadLetters: count('dead_letters') }
    },
  }
}

function toProjection(row: Row): JsonObject {
  const { tags, metadata, ...rest } = row
  // Text and booleans as the driver gives them; the two JSON columns come as text.
  return {
    ...(rest as JsonObject),
    tags: JSON.parse(String(tags)) as string[],
    metadata: JSON.parse(String(metadata)) as JsonObject,
  }
}

function toCursor(item: JsonObject): string {
  const parts = [item['updated_at'], item['tenant_id'], item['agent_id'], item['episode_id']]
  return Buffer.from(JSON.stringify(parts)).toString('base64url')
}

function readCursor(text: string): readonly string[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    const isGood =
      Array.isArray(parts) &&
      parts.length === 4 &&
      parts.every((part): part is string => typeof part === 'string' && !part.includes('\0') && part.isWellFormed()) &&
      /^\d{4}-\d{2}-\d{2}T[\d:.]{15}Z$/.test(parts[0]!)
    if (isGood) return parts
  } catch {
    // said below
  }
  throw invalid('BAD_ARGUMENT', 'after is not the `next` of a page', { field: 'after' })
}
