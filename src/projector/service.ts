// The projector as the bus's clients see it: what the commands op.continuum.projector.* answer (original-contract 4.4,
// 8.3 to 8.5), in the words of the original. Knows nothing of rights: it is told whose tenant it works for.
import type { Clock } from '../base/clock.ts'
import { invalid } from '../base/errors.ts'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import type { PostgresAddress } from '../postgres/address.ts'
import { backfill, type BackfillResult, requireRange } from './backfill.ts'
import { createDeadLetters, type DeadLetterEntry } from './dead-letters.ts'
import type { Outcome, Projector } from './projector.ts'
import { createReads } from './reads.ts'
import { parseSourceTime } from './source-time.ts'
import type { Sql } from './sql.ts'

/** Events a second of a backfill that a client asked for: it shares the server with the lane. */
const clientBackfillRate = 20_000

export interface ProjectorServiceOptions {
  readonly address: PostgresAddress
  readonly sql: Sql
  readonly projector: Projector
  readonly clock: Clock
  readonly onReplay?: (replayed: boolean, reason: 'accepted' | 'rejected' | 'not_found') => void
  readonly onBackfill?: (result: BackfillResult, seconds: number) => void
}

/** `tenant` absent: an operator, for all. */
export interface ProjectorService {
  status(tenant: string | undefined): Promise<JsonObject>
  project(event: JsonObject, tenant: string | undefined): Promise<JsonObject>
  find(key: { tenant: string; agent: string; episode: string }): Promise<JsonObject>
  list(query: {
    tenant: string | undefined
    agent: string | undefined
    limit: number
    after: string | undefined
  }): Promise<JsonObject>
  deadLetters(tenant: string | undefined, limit: number, after: string | undefined): Promise<JsonObject>
  replay(id: string, tenant: string | undefined, edited: JsonObject | undefined): Promise<JsonObject>
  backfill(query: {
    tenant: string | undefined
    agent: string | undefined
    from: string
    to: string
    dryRun: boolean
  }): Promise<JsonObject>
}

export function createProjectorService(options: ProjectorServiceOptions): ProjectorService {
  const { address, sql, projector, clock, onReplay, onBackfill } = options
  const reads = createReads(sql)
  const letters = createDeadLetters({ sql, clock })
  const toBytes = (event: JsonObject): Uint8Array => new TextEncoder().encode(JSON.stringify(event))

  return {
    async status(tenant) {
      const { projections, events, deadLetters } = await reads.counts(tenant)
      return {
        backend: 'postgres',
        projection_count: projections,
        seen_event_count: events,
        event_log_count: events,
        dlq_count: deadLetters,
      }
    },
    async project(event, tenant) {
      const item = { raw: toBytes(event), source: 'command', ...(tenant !== undefined && { tenant }) }
      const [outcome] = await projector.project([item])
      const answer = toAnswer(outcome!)
      if (outcome!.status !== 'stale_rejected') return answer
      const { tenant: of, agent, episode } = outcome!.event
      const row = await reads.find({ tenant: of, agent, episode })
      return { ...answer, existing_last_event_ts: row?.['last_event_ts'] ?? null }
    },
    async find({ tenant, agent, episode }) {
      const projection = await reads.find({ tenant, agent, episode })
      const ids = { tenant_id: tenant, agent_id: agent, episode_id: episode }
      return projection === undefined ? { found: false, ...ids } : { found: true, projection }
    },
    async list(query) {
      const { items, next } = await reads.list(query)
      const page = { count: items.length, items: [...items], limit: query.limit }
      return next === undefined ? page : { ...page, next }
    },
    async deadLetters(tenant, limit, after) {
      const { entries, next } = await letters.list({ tenant }, limit, after)
      const page = { count: entries.length, items: entries.map(toItem), limit }
      return next === undefined ? page : { ...page, next }
    },
    async replay(id, tenant, edited) {
      const result = await letters.replay(id, { tenant, ...(edited !== undefined && { edited: toBytes(edited) }) })
      if (result.status === 'not_found') {
        onReplay?.(false, 'not_found')
        return { replayed: false, dlq_id: id, reason: 'not_found' }
      }
      if (result.status === 'refused') {
        onReplay?.(false, 'rejected')
        throw invalid(result.refusal.code, `${result.refusal.message}; the dead letter stays`, { dlq_id: id })
      }
      onReplay?.(true, 'accepted')
      return { replayed: true, dlq_id: id, result: toAnswer(result) }
    },
    async backfill({ tenant, agent, from, to, dryRun }) {
      const [begin, end] = [timeOf('from_ts', from), timeOf('to_ts', to)]
      requireRange(begin.micros, end.micros)
      const startedAt = clock.monotonic()
      const result = await backfill({
        address,
        clock,
        filter: { tenant, agent, from: begin.text, to: end.text },
        dryRun,
        maxEventsPerSecond: clientBackfillRate,
      })
      onBackfill?.(result, (clock.monotonic() - startedAt) / 1_000)
      const scope = { from_ts: from, to_ts: to, tenant_id: tenant ?? null, agent_id: agent ?? null }
      const { events, episodes, inserted, updated } = result
      const facts = { dry_run: dryRun, selected_count: events, ...scope, episodes, inserted, updated }
      if (dryRun) return facts
      const projected = inserted + updated
      return { ...facts, projected, duplicates: events - projected, stale_rejected: 0, dlq_queued: 0 }
    },
  }
}

function toAnswer(outcome: Outcome): JsonObject {
  if (outcome.status === 'dlq_queued') {
    const { refusal, deadLetterId } = outcome
    return { status: outcome.status, error: `${refusal.code}: ${refusal.message}`, dlq_id: deadLetterId }
  }
  const { id, tenant, agent, episode, type } = outcome.event
  const answer = { status: outcome.status, event_id: id, projection_key: [tenant, agent, episode] }
  return outcome.status === 'projected' ? { ...answer, deleted: type === 'episode.deleted' } : answer
}

function toItem(letter: DeadLetterEntry): JsonObject {
  const event: unknown = JSON.parse(letter.event)
  return {
    dlq_id: letter.id,
    topic: 'continuum.episode.dlq.v1',
    reason: letter.reason,
    event: isJsonObject(event) ? event : {},
    queued_at: letter.queuedAt,
    code: letter.code ?? null,
    attempts: letter.attempts,
    first_seen: letter.firstSeen,
    last_seen: letter.lastSeen,
    raw_bytes: letter.raw?.length ?? null,
  }
}

function timeOf(name: string, text: string) {
  const time = parseSourceTime(text)
  if (time === undefined) throw invalid('BAD_TIME', `${name} must be an RFC 3339 time with an offset`, { field: name })
  return time
}
