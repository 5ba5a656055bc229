// An event through Shield into the tables of the projector, at a real bus and a real Postgres: found where it has to be,
// and every way in which the tables can say otherwise.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type RunningUp, startUp } from '../../../src/app/up.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { loadBusConfig, loadShieldConfig } from '../../../src/config/load.ts'
import type { Environment } from '../../../src/config/resolution.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { migrateUp } from '../../../src/postgres/migrations.ts'
import { liveChecks } from '../../../src/preflight/live/live-checks.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { parseTargets } from '../../../src/preflight/targets.ts'
import { strongSecret } from '../../support/environments.ts'
import { wordOf } from '../../support/preflight-run.ts'
import { probeHere } from '../../support/probe-here.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { type PostgresServerProcess, startPostgresServer } from '../../support/servers/postgres-server.ts'

const id = 'live.shield-event-projected'
const catalogue = liveChecks.filter((check) => check.id === id).map((check) => ({ ...check, requires: [] }))
const [log, shown] = ['arqonbus_continuum_projection_events', 'arqonbus_continuum_projection'] as const

describe.skipIf(skipWithout('postgres'))('an event that Shield takes', () => {
  let dataDir: string
  let postgres: PostgresServerProcess
  let env: Environment
  let running: RunningUp

  const start = (changes: Environment): Promise<RunningUp> => {
    const own = { ...env, ...changes, ...freePorts }
    const configs = { bus: loadBusConfig(own), shield: loadShieldConfig(own) }
    return startUp(configs, { clock: systemClock, logger: silentLogger })
  }
  const freePorts = {
    ARQONBUS_SERVER_PORT: '0',
    ARQONBUS_HTTP_PORT: '0',
    ARQONBUS_ENABLE_TELEMETRY: 'false',
    SHIELD_PORT: '0',
    SHIELD_METRICS_PORT: '0',
  }
  /** What the check says, and the rows of the reserved tenant afterwards. */
  async function judge(changes: Environment = {}, { shield, bus } = running) {
    const targets = parseTargets(`bus=ws://127.0.0.1:${bus.wsPort},shield=ws://127.0.0.1:${shield.wsPort}`)
    const judged = { ...env, ...changes }
    const report = await runPreflight({ env: judged, targets, phases: ['live'] }, { catalogue, prober: probeHere() })
    const { rows } = await postgres.query(
      `SELECT event->>'event_type' AS type, starts_with(agent_id, 'arqon-preflight-') AS is_ours FROM ${log} ORDER BY source_ts`,
      [],
      'arqonbus',
    )
    return { word: wordOf(report, id), observed: report.observations.results[id]?.observed, rows }
  }
  const execute = (...statements: string[]): Promise<unknown> => postgres.query(statements.join('; '), [], 'arqonbus')

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'arqon-projection-'))
    postgres = await startPostgresServer({ settings: { fsync: 'off' } })
    await migrateUp({ address: parsePostgresAddress(postgres.url) })
    env = {
      JWT_SECRET: strongSecret,
      ARQONBUS_DATA_DIR: dataDir,
      ARQONBUS_STORAGE_BACKEND: 'embedded',
      ARQONBUS_ENABLE_PERSISTENCE: 'true',
      ARQONBUS_PROJECTOR_ENABLED: 'true',
      ARQONBUS_POSTGRES_URL: postgres.url,
    }
    running = await start({})
  }, 60_000)
  afterAll(async () => {
    await running?.close()
    await postgres?.close()
    await rm(dataDir, { recursive: true, force: true })
  })
  afterEach(() => execute(`DROP TRIGGER IF EXISTS fault ON ${log}`, `DROP TRIGGER IF EXISTS fault ON ${shown}`))

  it('is projected once, and cleared away', async () => {
    expect(await judge()).toEqual({
      word: 'pass',
      observed: 'projected once, newest shown; cleared away',
      rows: [],
    })
  })

  it('is left in a reserved tenant, as a deleted episode, where its user may delete no events', async () => {
    await execute(
      'CREATE ROLE narrow LOGIN',
      `GRANT SELECT ON ${log}, ${shown}, arqonbus_continuum_projection_dlq TO narrow`,
    )
    const { word, observed, rows } = await judge({
      ARQONBUS_POSTGRES_URL: postgres.url.replace('//arqonbus@', '//narrow@'),
    })
    expect([word, observed]).toEqual([
      'pass',
      'projected once, newest shown; left as a deleted episode, since its user may delete no events',
    ])
    expect(rows).toEqual([
      { type: 'episode.created', is_ours: true },
      { type: 'episode.deleted', is_ours: true },
    ])
    await execute(`DELETE FROM ${log}`, `DELETE FROM ${shown}`)
  })

  it.each([
    ['an episode that stays as it was', `BEFORE UPDATE ON ${shown}`, 'RETURN NULL', 'NOT_NEWEST'],
    [
      'an event that another hand changes',
      `BEFORE INSERT ON ${log}`,
      `NEW.event = NEW.event || '{"more": 1}'; RETURN NEW`,
      'CHANGED',
    ],
    ['a row that cannot be deleted', `BEFORE DELETE ON ${log}`, 'RETURN NULL', 'LEFT_BEHIND'],
  ])('is missed by %s', async (_name, when, body, code) => {
    await execute(
      `CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; END $$`,
      `CREATE TRIGGER fault ${when} FOR EACH ROW EXECUTE FUNCTION fault()`,
    )
    const { word } = await judge()
    expect(word).toBe(`fail ${code} regression`)
    await execute('DROP FUNCTION fault CASCADE', `DELETE FROM ${log}`, `DELETE FROM ${shown}`)
  })

  it('is missed where the bus follows nothing', async () => {
    const other = await start({
      ARQONBUS_PROJECTOR_ENABLED: 'false',
      ARQONBUS_DATA_DIR: join(dataDir, 'other'),
    })
    try {
      const { word } = await judge({}, other)
      expect(word).toBe('fail NOT_PROJECTED regression')
    } finally {
      await other.close()
    }
  })
})
