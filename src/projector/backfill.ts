// Rebuilds the projection from the event log: into a shadow table, in pieces that each are a transaction with their
// place, so that it goes on where it was stopped; then what differs is replaced in one transaction. Live events keep
// flowing until that one; what came in meanwhile is taken up under its lock. One rebuild at a time.
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { BusError, invalid } from '../base/errors.ts'
import type { PostgresAddress } from '../postgres/address.ts'
import { openConnection, type PostgresConnection, type Row, slowLimits } from '../postgres/connection.ts'
import { onOlderRow, projectedValues, projectionColumns } from './statements.ts'

/** Every episode that has an event within all of it is rebuilt whole. Nothing given: everything. */
export interface BackfillFilter {
  /** Of source_ts, inclusive; RFC 3339. */
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly tenant?: string | undefined
  readonly agent?: string | undefined
}

export interface BackfillProgress {
  readonly events: number
  readonly episodes: number
  /** Of the events that are to be looked at; an estimate. */
  readonly total: number
  readonly eventsPerSecond: number
  readonly secondsLeft: number | undefined
}

export interface BackfillResult {
  readonly dryRun: boolean
  readonly events: number
  readonly episodes: number
  readonly inserted: number
  readonly updated: number
  /** Rows without any event in the log; only a rebuild of everything removes them. */
  readonly removed: number
  /** Went on with what an earlier run had begun. */
  readonly resumed: boolean
}

export interface BackfillOptions {
  readonly address: PostgresAddress
  readonly clock: Clock
  readonly filter: BackfillFilter
  readonly dryRun: boolean
  /** Events a second; absent: as fast as it goes. */
  readonly maxEventsPerSecond?: number | undefined
  readonly onProgress?: (progress: BackfillProgress) => void
  /** Ends it between two pieces; what is done stays for the next run. */
  readonly signal?: AbortSignal
  /** Episodes in a piece; for tests. */
  readonly piece?: number
}

// Any number that nobody else uses for an advisory lock in this database.
const lockKey = 4_917_203_312
const standardPiece = 500
/** A transaction that was begun this long before a rebuild has ended: the lane's are bounded by seconds. */
const margin = "interval '10 minutes'"

const shadow = 'arqonbus_continuum_projection_shadow'
const live = 'arqonbus_continuum_projection'
const log = 'arqonbus_continuum_projection_events'
const compared = [
  'event_type',
  'content_ref',
  'summary',
  'tags',
  'embedding_ref',
  'metadata',
  'last_event_id',
  'last_event_ts',
  'deleted',
]
const differs = `(${compared.map((c) => `p.${c}`).join(', ')}) IS DISTINCT FROM (${compared.map((c) => `s.${c}`).join(', ')})`
const sameEpisode = '(p.tenant_id, p.agent_id, p.episode_id) = (s.tenant_id, s.agent_id, s.episode_id)'

/** Of rows of the log, called e. Parameters 1 to 4. */
const matches = `($1::text IS NULL OR e.tenant_id = $1) AND ($2::text IS NULL OR e.agent_id = $2)
  AND ($3::timestamptz IS NULL OR e.source_ts >= $3) AND ($4::timestamptz IS NULL OR e.source_ts <= $4)`
const filterValues = ({ tenant, agent, from, to }: BackfillFilter): readonly unknown[] => [tenant, agent, from, to]

const isEverything = (filter: BackfillFilter): boolean => filterValues(filter).every((value) => value === undefined)

/** The next episodes that match, after the place of parameters 5 to 7; 8 says how many. */
const nextEpisodes = `SELECT e.tenant_id, e.agent_id, e.episode_id FROM ${log} e
  WHERE ${matches} AND ($5::text IS NULL OR (e.tenant_id, e.agent_id, e.episode_id) > ($5, $6, $7))
  GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $8`
/** The newest events of episodes: found by narrow rows, which sort in memory, then fetched. `events`: how many there are. */
const newestOf = (episodes: string): string => `heads AS (
    SELECT DISTINCT ON (e.tenant_id, e.agent_id, e.episode_id) e.tenant_id, e.agent_id, e.event_id,
      count(*) OVER (PARTITION BY e.tenant_id, e.agent_id, e.episode_id) AS events
    FROM ${log} e JOIN ${episodes} k USING (tenant_id, agent_id, episode_id)
    ORDER BY e.tenant_id, e.agent_id, e.episode_id, e.source_ts DESC, e.event_id COLLATE "C" DESC
  ), newest AS (SELECT e.* FROM ${log} e JOIN heads h USING (tenant_id, agent_id, event_id))`

/** A piece: its events, its newest, and where it ended. */
const pieceHead = `WITH keys AS MATERIALIZED (${nextEpisodes}), ${newestOf('keys')},
  rebuilt AS (SELECT ${projectedValues} FROM newest)`
const pieceTail = `(SELECT coalesce(sum(events), 0) FROM heads) AS events, (SELECT count(*) FROM keys) AS episodes,
  last.* FROM (SELECT 1) one LEFT JOIN (SELECT * FROM keys ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1) last ON true`
const rebuiltNames = projectionColumns

const fillText = `${pieceHead}, filled AS (
    INSERT INTO ${shadow} AS p (${projectionColumns}) SELECT * FROM rebuilt ${onOlderRow} RETURNING 1)
  SELECT (SELECT count(*) FROM filled) AS filled, ${pieceTail}`
const compareText = `${pieceHead}, s (${rebuiltNames}) AS (SELECT * FROM rebuilt), judged AS (
    SELECT p.tenant_id IS NULL AS is_new, p.tenant_id IS NOT NULL AND ${differs} AS is_other
    FROM s LEFT JOIN ${live} p ON ${sameEpisode})
  SELECT (SELECT count(*) FROM judged WHERE is_new) AS inserted, (SELECT count(*) FROM judged WHERE is_other) AS updated,
    ${pieceTail}`

type Place = readonly [string | null, string | null, string | null]
const start: Place = [null, null, null]

/**
 * Rejects with CAPACITY / BACKFILL_RUNNING while another runs, with STORE_UNAVAILABLE or STORE_TIMEOUT when it was cut
 * off: the next run of the same filter goes on from there.
 */
export async function backfill(options: BackfillOptions): Promise<BackfillResult> {
  const connection = await openConnection({ address: options.address, limits: slowLimits })
  try {
    const [row] = await connection.query({ text: `SELECT pg_try_advisory_lock(${lockKey}) AS taken` })
    if (row?.['taken'] !== true) {
      throw new BusError('CAPACITY', 'Another backfill is running', { reason: 'BACKFILL_RUNNING' })
    }
    return options.dryRun ? await compareOnly(connection, options) : await rebuild(connection, options)
  } finally {
    await connection.close()
  }
}

async function compareOnly(connection: PostgresConnection, options: BackfillOptions): Promise<BackfillResult> {
  const { filter, signal } = options
  // The whole comparison sees one moment, and nothing of it can write.
  await connection.query({ text: 'SET idle_in_transaction_session_timeout = 0' })
  await connection.query({ text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' })
  const pace = await startPace(connection, options)
  let place = start
  let [inserted, updated] = [0, 0]
  for (;;) {
    requireGoing(signal)
    const row = await piece(connection, compareText, options, place)
    if (row['tenant_id'] === null) break
    inserted += Number(row['inserted'])
    updated += Number(row['updated'])
    place = placeOf(row)
    await pace.done(row)
  }
  let removed = 0
  if (isEverything(filter)) {
    const [row] = await connection.query({
      text: `SELECT count(*) AS n FROM ${live} p WHERE NOT EXISTS (SELECT FROM ${log} s WHERE ${sameEpisode})`,
    })
    removed = Number(row?.['n'])
  }
  await connection.query({ text: 'COMMIT' })
  return { dryRun: true, ...pace.counts(), inserted, updated, removed, resumed: false }
}

async function rebuild(connection: PostgresConnection, options: BackfillOptions): Promise<BackfillResult> {
  const { filter, signal } = options
  const begun = await begin(connection, filter)
  const pace = await startPace(connection, options, begun)
  let { place } = begun
  for (;;) {
    requireGoing(signal)
    await connection.query({ text: 'BEGIN' })
    try {
      const row = await piece(connection, fillText, options, place)
      if (row['tenant_id'] === null) {
        await connection.query({ text: 'COMMIT' })
        break
      }
      place = placeOf(row)
      await connection.query({
        text: `UPDATE arqonbus_continuum_projection_backfill SET tenant_id = $1, agent_id = $2, episode_id = $3,
          events = events + $4, episodes = episodes + $5`,
        values: [...place, Number(row['events']), Number(row['episodes'])],
      })
      await connection.query({ text: 'COMMIT' })
      await pace.done(row)
    } catch (error) {
      if (connection.isAlive) await connection.query({ text: 'ROLLBACK' }).catch(() => undefined)
      throw error
    }
  }
  const changes = await swap(connection, filter)
  return { dryRun: false, ...pace.counts(), ...changes, resumed: begun.isResumed }
}

interface Begun {
  readonly place: Place
  readonly events: number
  readonly episodes: number
  readonly isResumed: boolean
}

/** Where an earlier run of the same filter stands, or a fresh start. */
async function begin(connection: PostgresConnection, filter: BackfillFilter): Promise<Begun> {
  const wanted = JSON.stringify(filterValues(filter).map((value) => value ?? null))
  const [row] = await connection.query({
    text: 'SELECT *, filter = $1::jsonb AS is_same FROM arqonbus_continuum_projection_backfill',
    values: [wanted],
  })
  if (row?.['is_same'] === true) {
    return { place: placeOf(row), events: Number(row['events']), episodes: Number(row['episodes']), isResumed: true }
  }
  // Another filter's beginnings are of no use to this one.
  const statements = [
    { text: 'BEGIN' },
    { text: `TRUNCATE ${shadow}` },
    { text: 'DELETE FROM arqonbus_continuum_projection_backfill' },
    { text: 'INSERT INTO arqonbus_continuum_projection_backfill (filter) VALUES ($1)', values: [wanted] },
    { text: 'COMMIT' },
  ]
  await Promise.all(statements.map((statement) => connection.query(statement)))
  return { place: start, events: 0, episodes: 0, isResumed: false }
}

async function piece(
  connection: PostgresConnection,
  text: string,
  { filter, piece: size = standardPiece }: BackfillOptions,
  place: Place,
): Promise<Row> {
  const [row] = await connection.query({ text, values: [...filterValues(filter), ...place, size] })
  return row!
}

function placeOf(row: Row): Place {
  const text = (name: string): string | null => (typeof row[name] === 'string' ? row[name] : null)
  return [text('tenant_id'), text('agent_id'), text('episode_id')]
}

/** Takes up what came in meanwhile, then replaces what differs: one transaction, with writers held off. */
async function swap(
  connection: PostgresConnection,
  filter: BackfillFilter,
): Promise<Pick<BackfillResult, 'inserted' | 'updated' | 'removed'>> {
  const everything = isEverything(filter)
  await connection.query({ text: 'BEGIN' })
  try {
    // In the order in which the lane takes them; readers are not held off.
    await connection.query({ text: `LOCK TABLE ${log} IN SHARE MODE` })
    await connection.query({ text: `LOCK TABLE ${live} IN SHARE ROW EXCLUSIVE MODE` })
    await connection.query({
      text: `WITH keys AS (
          SELECT DISTINCT e.tenant_id, e.agent_id, e.episode_id FROM ${log} e
          WHERE e.projected_at >= (SELECT started_at - ${margin} FROM arqonbus_continuum_projection_backfill)
            AND ((${matches}) OR EXISTS (SELECT FROM ${shadow} s
              WHERE (s.tenant_id, s.agent_id, s.episode_id) = (e.tenant_id, e.agent_id, e.episode_id)))
        ), ${newestOf('keys')}
        INSERT INTO ${shadow} AS p (${projectionColumns}) SELECT ${projectedValues} FROM newest ${onOlderRow}`,
      values: filterValues(filter),
    })
    let removed = 0
    if (everything) {
      const [row] = await connection.query({
        text: `WITH gone AS (DELETE FROM ${live} p WHERE NOT EXISTS (SELECT FROM ${shadow} s WHERE ${sameEpisode}) RETURNING 1)
          SELECT count(*) AS n FROM gone`,
      })
      removed = Number(row?.['n'])
    }
    const [row] = await connection.query({
      text: `WITH put AS (
          INSERT INTO ${live} AS p (${projectionColumns})
          SELECT s.tenant_id, s.agent_id, s.episode_id, ${compared
            .slice(0, -1)
            .map((c) => `s.${c}`)
            .join(', ')}, now(), s.deleted
          FROM ${shadow} s LEFT JOIN ${live} p ON ${sameEpisode} WHERE p.tenant_id IS NULL OR ${differs}
          ON CONFLICT (tenant_id, agent_id, episode_id) DO UPDATE SET
            ${[...compared, 'updated_at'].map((c) => `${c} = excluded.${c}`).join(', ')}
          RETURNING xmax = 0 AS is_new)
        SELECT count(*) FILTER (WHERE is_new) AS inserted, count(*) FILTER (WHERE NOT is_new) AS updated FROM put`,
    })
    await connection.query({ text: `TRUNCATE ${shadow}` })
    await connection.query({ text: 'DELETE FROM arqonbus_continuum_projection_backfill' })
    await connection.query({ text: 'COMMIT' })
    return { inserted: Number(row?.['inserted']), updated: Number(row?.['updated']), removed }
  } catch (error) {
    if (connection.isAlive) await connection.query({ text: 'ROLLBACK' }).catch(() => undefined)
    throw error
  }
}

function requireGoing(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return
  throw new BusError('DRAINING', 'The backfill was stopped; the same command goes on from here', {
    reason: 'STOPPED',
  })
}

/** Counts, throttles, and tells how it goes. */
async function startPace(
  connection: PostgresConnection,
  { clock, filter, maxEventsPerSecond, onProgress, signal }: BackfillOptions,
  begun: Pick<Begun, 'events' | 'episodes'> = { events: 0, episodes: 0 },
) {
  const [row] = await connection.query({
    text: isEverything(filter)
      ? `SELECT greatest(reltuples, 0)::bigint AS total FROM pg_class WHERE oid = '${log}'::regclass`
      : `SELECT count(*) AS total FROM ${log} e WHERE ${matches}`,
    values: isEverything(filter) ? [] : filterValues(filter),
  })
  const total = Number(row?.['total'])
  const startedAt = clock.monotonic()
  let { events, episodes } = begun
  return {
    counts: () => ({ events, episodes }),
    async done(of: Row): Promise<void> {
      events += Number(of['events'])
      episodes += Number(of['episodes'])
      const made = events - begun.events
      const seconds = (clock.monotonic() - startedAt) / 1_000
      const ahead = maxEventsPerSecond === undefined ? 0 : made / maxEventsPerSecond - seconds
      if (ahead > 0) await pause(ahead * 1_000, undefined, signal && { signal }).catch(() => undefined)
      const eventsPerSecond = made / Math.max(0.001, (clock.monotonic() - startedAt) / 1_000)
      const left = Math.max(0, total - events) / eventsPerSecond
      onProgress?.({ events, episodes, total, eventsPerSecond, secondsLeft: total > 0 ? left : undefined })
    },
  }
}

/** For callers who speak for others: a range of at most 31 days, from before to. Micros of both. */
export function requireRange(fromMicros: number, toMicros: number): void {
  if (toMicros < fromMicros) throw invalid('BAD_WINDOW', 'to_ts is before from_ts', { field: 'to_ts' })
  if (toMicros - fromMicros > 31 * 86_400 * 1e6) {
    throw invalid('BAD_WINDOW', 'a backfill covers at most 31 days; `arqonbus projector backfill` has no such bound', {
      field: 'to_ts',
    })
  }
}
