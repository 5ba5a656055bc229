// Dead letters for whoever looks after them: seen, mended, tried again, thrown away. A replay judges the event as if it
// came now, and projects it and removes the letter in one transaction.
import type { Clock } from '../base/clock.ts'
import { BusError, invalid } from '../base/errors.ts'
import type { Row } from '../postgres/connection.ts'
import { type EpisodeEvent, isRefusal, judgeEvent, type Refusal } from './event.ts'
import type { Sql } from './sql.ts'
import { isDataError, refusalOf } from './projector.ts'
import { projectStatement } from './statements.ts'

export interface DeadLetterEntry {
  readonly id: string
  readonly reason: string
  readonly queuedAt: string
  /** JSON text; `{}` where the bytes are no JSON that Postgres can hold. */
  readonly event: string
  /** Absent for letters of the original, which kept no bytes. */
  readonly raw?: Uint8Array
  readonly code?: string
  readonly tenant?: string
  readonly source?: string
  readonly attempts: number
  readonly firstSeen: string
  readonly lastSeen: string
}

/** All of what is given has to hold. */
export interface DeadLetterFilter {
  readonly tenant?: string | undefined
  readonly code?: string | undefined
  /** Of `queuedAt`, inclusive; ISO times. */
  readonly since?: string | undefined
  readonly until?: string | undefined
}

export interface DeadLetterPage {
  readonly entries: readonly DeadLetterEntry[]
  /** Where the next page begins; absent on the last. */
  readonly next?: string
}

export type Replay =
  | { readonly status: 'projected' | 'duplicate' | 'stale_rejected'; readonly event: EpisodeEvent }
  | { readonly status: 'refused'; readonly refusal: Refusal }
  | { readonly status: 'not_found' }

export interface DeadLetters {
  /** Newest first. `after` is the `next` of the page before. */
  list(filter: DeadLetterFilter, limit: number, after?: string): Promise<DeadLetterPage>
  find(id: string, tenant?: string): Promise<DeadLetterEntry | undefined>
  /** With `edited`, that is judged and projected in place of what is kept. A refusal leaves the letter as it is. */
  replay(id: string, options?: { tenant?: string | undefined; edited?: Uint8Array }): Promise<Replay>
  /** Returns how many there were. */
  discard(ids: readonly string[], tenant?: string): Promise<number>
}

const time = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const columns = `d.dlq_id, d.reason, d.event, ${time('d.queued_at')} AS queued_at, r.raw, r.code, r.source,
  coalesce(nullif(r.tenant_id, ''), d.event->>'tenant_id') AS tenant_id, coalesce(r.attempts, 1) AS attempts,
  ${time('coalesce(r.first_seen, d.queued_at)')} AS first_seen, ${time('coalesce(r.last_seen, d.queued_at)')} AS last_seen`

const tables = `arqonbus_continuum_projection_dlq d
  LEFT JOIN arqonbus_continuum_projection_dlq_raw r ON r.dlq_id = d.dlq_id`

/** Whose a letter is: of the channel or command it came by, else of the event it holds. */
const isOfTenant = `($1::text IS NULL OR coalesce(nullif(r.tenant_id, ''), d.event->>'tenant_id') = $1)`

export function createDeadLetters({ sql, clock }: { sql: Sql; clock: Clock }): DeadLetters {
  return {
    async list(filter, limit, after) {
      const cursor = after === undefined ? undefined : readCursor(after)
      const rows = await sql.query({
        text: `SELECT ${columns} FROM ${tables}
          WHERE ${isOfTenant} AND ($2::text IS NULL OR r.code = $2)
            AND ($3::timestamptz IS NULL OR d.queued_at >= $3) AND ($4::timestamptz IS NULL OR d.queued_at <= $4)
            AND ($5::timestamptz IS NULL OR (d.queued_at, d.dlq_id) < ($5, $6))
          ORDER BY d.queued_at DESC, d.dlq_id DESC LIMIT $7`,
        values: [filter.tenant, filter.code, filter.since, filter.until, cursor?.at, cursor?.id, limit + 1],
      })
      const entries = rows.slice(0, limit).map(toEntry)
      const last = entries.at(-1)
      return { entries, ...(rows.length > limit && last !== undefined && { next: `${last.queuedAt}~${last.id}` }) }
    },
    async find(id, tenant) {
      const [row] = await sql.query({
        text: `SELECT ${columns} FROM ${tables} WHERE ${isOfTenant} AND d.dlq_id = $2`,
        values: [tenant, id],
      })
      return row === undefined ? undefined : toEntry(row)
    },
    async replay(id, { tenant, edited } = {}) {
      const replayed = sql.transaction<Replay>(async (query) => {
        const [row] = await query({
          text: `SELECT ${columns} FROM ${tables} WHERE ${isOfTenant} AND d.dlq_id = $2 FOR UPDATE OF d`,
          values: [tenant, id],
        })
        if (row === undefined) return { status: 'not_found' }
        const letter = toEntry(row)
        const bytes = edited ?? letter.raw ?? new TextEncoder().encode(letter.event)
        // What came by a channel or a command stays that tenant's; other sources speak for all.
        const isBound = letter.source !== undefined && letter.source !== 'nats'
        const judged = judgeEvent(bytes, {
          nowMs: clock.now(),
          tenant: tenant ?? (isBound ? letter.tenant : undefined),
        })
        if (isRefusal(judged)) return { status: 'refused', refusal: judged }
        const [fresh] = await query(projectStatement([judged]))
        await query({ text: 'DELETE FROM arqonbus_continuum_projection_dlq WHERE dlq_id = $1', values: [id] })
        if (fresh === undefined) return { status: 'duplicate', event: judged }
        return { status: fresh['is_applied'] === true ? 'projected' : 'stale_rejected', event: judged }
      })
      return await replayed.catch((error: unknown): Replay => {
        if (!isDataError(error)) throw error
        return { status: 'refused', refusal: refusalOf(error) }
      })
    },
    async discard(ids, tenant) {
      const rows = await sql.query({
        text: `DELETE FROM arqonbus_continuum_projection_dlq WHERE dlq_id IN (
            SELECT d.dlq_id FROM ${tables} WHERE ${isOfTenant} AND d.dlq_id = ANY ($2::text[])) RETURNING dlq_id`,
        values: [tenant, ids],
      })
      return rows.length
    },
  }
}

/** Every letter that the filter matches, oldest pages last, without holding them all. */
export async function* eachDeadLetter(letters: DeadLetters, filter: DeadLetterFilter): AsyncGenerator<DeadLetterEntry> {
  let after: string | undefined
  do {
    const page = await letters.list(filter, 200, after)
    yield* page.entries
    after = page.next
  } while (after !== undefined)
}

function readCursor(text: string): { at: string; id: string } {
  const [, at, id] = /^(\d{4}-\d{2}-\d{2}T[\d:.]{15}Z)~(.{1,600})$/su.exec(text) ?? []
  if (at === undefined || id === undefined) throw invalid('BAD_ARGUMENT', 'not the place of a next page')
  return { at, id }
}

function toEntry(row: Row): DeadLetterEntry {
  const text = (name: string): string | undefined => (typeof row[name] === 'string' ? row[name] : undefined)
  const [code, tenant, source] = [text('code'), text('tenant_id'), text('source')]
  const raw = row['raw']
  return {
    id: String(row['dlq_id']),
    reason: String(row['reason']),
    queuedAt: String(row['queued_at']),
    event: String(row['event']),
    ...(raw instanceof Uint8Array && { raw }),
    ...(code !== undefined && { code }),
    ...(tenant !== undefined && { tenant }),
    ...(source !== undefined && { source }),
    attempts: Number(row['attempts']),
    firstSeen: String(row['first_seen']),
    lastSeen: String(row['last_seen']),
  }
}

/** For commands that name a letter which is not there. */
export function noSuchLetter(id: string): BusError {
  return new BusError('NOT_FOUND', 'There is no dead letter of that id', { dlq_id: id.slice(0, 64) })
}
