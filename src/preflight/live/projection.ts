// What comes in as an event is in the tables of the projector, once: sent through Shield into the channel that the bus
// follows, and looked for in Postgres, where neither of them has a say. Rows of the probe carry the name of the run. They go
// with it where the user may delete events; one that need not is left two, of a deleted episode of a reserved tenant.
import { setTimeout as pause } from 'node:timers/promises'
import { defaultTenant } from '../../auth/tenants.ts'
import { toIsoTime } from '../../base/clock.ts'
import type { JsonObject } from '../../base/json.ts'
import { episodeSubject as channel } from '../../projector/stream.ts'
import type { CheckPorts, FactsOf } from '../check.ts'
import { flagIn, type Looking, look, numberIn } from '../postgres/look.ts'
import { probeTenant } from './probe-tokens.ts'
import { withSessions } from './sessions.ts'

export const projectionShape = {
  /** The first event was in the log in time. */
  isProjected: 'boolean',
  /** So was the last one, sent after the first had been sent twice. */
  isFollowed: 'boolean',
  /** Rows of the log that are the first event. */
  copies: 'number',
  /** The log holds the first event as it was sent. */
  isSame: 'boolean',
  /** Which event the episode shows: `last`, `first`, `another`, or `none`. */
  shown: 'string',
  deadLetters: 'number',
  mayClear: 'boolean',
  /** Rows of the probe once they were deleted; 0 where they may not be. */
  left: 'number',
} as const

const log = 'arqonbus_continuum_projection_events'
const shownTable = 'arqonbus_continuum_projection'
const deadTable = 'arqonbus_continuum_projection_dlq'

const prefix = 'arqon-preflight-'
const arriveMs = 4_000
const lookEveryMs = 50

export async function followEvent(ports: CheckPorts, signal: AbortSignal): Promise<FactsOf<typeof projectionShape>> {
  const { projectorRoom: room, enableAuth } = ports.ctx.resolution.values
  const tenant = enableAuth ? probeTenant : defaultTenant
  const agent = `${prefix}${ports.runId}-${ports.nonce()}`
  const now = ports.clock.now()
  const event = (name: 'first' | 'last', type: string, atMs: number): JsonObject => ({
    event_id: `${agent}-${name}`,
    event_type: type,
    tenant_id: tenant,
    agent_id: agent,
    episode_id: agent,
    source_ts: toIsoTime(atMs),
    schema_version: 1,
    payload: { content_ref: `preflight://run/${agent}`, tags: ['preflight'], metadata: {} },
  })
  const [first, last] = [event('first', 'episode.created', now - 1), event('last', 'episode.deleted', now)]
  return await look(ports, async (looking) => {
    const right = await looking.ask(`SELECT has_table_privilege('${log}', 'DELETE') AS granted`)
    const mayClear = flagIn(right, 'granted')
    if (mayClear) await sweep(looking, tenant)
    try {
      const seen = await withSessions(ports, signal, async (open) => {
        const sender = await open.shield(tenant)
        const isThere = ({ event_id: id }: JsonObject) => arrives(looking, [tenant, agent, id], signal)
        await sender.publish(room, channel, first)
        if (!(await isThere(first))) return { isProjected: false, isFollowed: false }
        // In the order of the channel: once the last is there, the repeated one was dealt with.
        for (const one of [first, last]) await sender.publish(room, channel, one)
        return { isProjected: true, isFollowed: await isThere(last) }
      })
      const found = await read(looking, tenant, agent, first)
      if (mayClear) await clear(looking, tenant, agent)
      return { ...seen, ...found, mayClear, left: mayClear ? await count(looking, tenant, agent) : 0 }
    } finally {
      if (mayClear) await clear(looking, tenant, agent).catch(() => undefined)
    }
  })
}

async function arrives({ query }: Looking, key: readonly unknown[], signal: AbortSignal): Promise<boolean> {
  const untilMs = performance.now() + arriveMs
  for (;;) {
    const rows = await query(`SELECT FROM ${log} WHERE (tenant_id, agent_id, event_id) = ($1, $2, $3)`, key)
    if (rows.length > 0) return true
    if (performance.now() > untilMs) return false
    await pause(lookEveryMs, undefined, { signal })
  }
}

async function read({ ask, query }: Looking, tenant: string, agent: string, first: JsonObject) {
  const id = first['event_id']
  const kept = await query(
    `SELECT event = $4::jsonb AS same FROM ${log} WHERE (tenant_id, agent_id, event_id) = ($1, $2, $3)`,
    [tenant, agent, id, JSON.stringify(first)],
  )
  const [row] = await query(
    `SELECT last_event_id AS id FROM ${shownTable} WHERE (tenant_id, agent_id, episode_id) = ($1, $2, $2)`,
    [tenant, agent],
  )
  const dead = await ask(`SELECT count(*) AS n FROM ${deadTable} WHERE event->>'agent_id' = $1`, [agent])
  const shown =
    row === undefined ? 'none' : row['id'] === id ? 'first' : row['id'] === `${agent}-last` ? 'last' : 'another'
  return {
    copies: kept.length,
    isSame: kept.length > 0 && kept.every((one) => one['same'] === true),
    shown,
    deadLetters: numberIn(dead, 'n'),
  }
}

async function clear({ query }: Looking, tenant: string, agent: string): Promise<void> {
  for (const table of [shownTable, log]) {
    await query(`DELETE FROM ${table} WHERE (tenant_id, agent_id) = ($1, $2)`, [tenant, agent])
  }
  await query(`DELETE FROM ${deadTable} WHERE event->>'agent_id' = $1`, [agent])
}

async function count({ ask }: Looking, tenant: string, agent: string): Promise<number> {
  const row = await ask(
    `SELECT (SELECT count(*) FROM ${shownTable} WHERE (tenant_id, agent_id) = ($1, $2))
       + (SELECT count(*) FROM ${log} WHERE (tenant_id, agent_id) = ($1, $2)) AS n`,
    [tenant, agent],
  )
  return numberIn(row, 'n')
}

/** What runs that came to no end left there. */
async function sweep({ query }: Looking, tenant: string): Promise<void> {
  const old = 'tenant_id = $1 AND starts_with(agent_id, $2) AND'
  await query(`DELETE FROM ${shownTable} WHERE ${old} last_event_ts < now() - interval '1 day'`, [tenant, prefix])
  await query(`DELETE FROM ${log} WHERE ${old} source_ts < now() - interval '1 day'`, [tenant, prefix])
}
