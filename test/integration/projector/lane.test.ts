// The lane from a real JetStream into a real Postgres: what it takes in, what it does while either is away, when it
// refuses to start, and what it tells.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type RunningProjector, startProjectorProgram } from '../../../src/app/projector.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { Secret } from '../../../src/config/secret.ts'
import { startEventServer, type EventServer } from '../../support/launch/projector-lab.ts'
import { eventually, type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { byKey, makeEvent, modelRows, projectionRows, toBytes } from '../../support/projector-model.ts'
import { runCommand } from '../../support/run-command.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startNatsServer } from '../../support/servers/nats-server.ts'

describe.skipIf(skipWithout('postgres', 'nats'))('the lane', () => {
  let lab: PostgresLab
  let events: EventServer
  const opened: { close(): Promise<void> }[] = []
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterAll(() => lab.close())
  afterEach(async () => {
    for (const one of opened.splice(0).toReversed()) await one.close()
  })

  async function start(database: LabDatabase, more: { maxDeadLetters?: number; natsUrl?: string } = {}) {
    const running = await startProjectorProgram(
      {
        profile: 'dev',
        projector: {
          enabled: false,
          room: 'continuum',
          metrics: { host: '127.0.0.1', port: 0 },
          workers: 2,
          batch: 100,
          ackWaitMs: 2_000,
          maxDeadLetters: more.maxDeadLetters ?? 1_000,
          postgresUrl: new Secret('ARQONBUS_POSTGRES_URL', database.url),
        },
        natsUrl: new Secret('NATS_URL', more.natsUrl ?? events.url),
      },
      { clock: systemClock, logger: silentLogger },
    )
    opened.push(running)
    return running
  }

  async function setUp(more: { maxDeadLetters?: number } = {}) {
    events = await startEventServer()
    opened.push(events)
    const database = await lab.newDatabase()
    const running = await start(database, more)
    const rows = async () => (await database.query(projectionRows)).sort(byKey)
    const logged = async () =>
      Number((await database.query('SELECT count(*) AS n FROM arqonbus_continuum_projection_events'))[0]!['n'])
    const buried = async () =>
      Number((await database.query('SELECT count(*) AS n FROM arqonbus_continuum_projection_dlq'))[0]!['n'])
    const get = async (path: string, of: RunningProjector = running) =>
      await (await fetch(`http://127.0.0.1:${of.metricsPort}${path}`)).text()
    return { database, running, rows, logged, buried, get }
  }

  const made = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => makeEvent(from + i))
  const poison = (n: number) => toBytes({ ...makeEvent(n), event_type: 'nonsense' })
  const settled = async () => {
    const { unread, unacknowledged } = await events.waiting()
    return unread + unacknowledged === 0
  }

  it('projects what is published, acknowledges it afterwards, and tells its metrics', async () => {
    const { rows, buried, get } = await setUp()
    await events.publish([...made(0, 500), ...made(0, 100)].map(toBytes))
    await events.publish([poison(1), poison(2)])
    await eventually(settled)
    expect(await rows()).toEqual(modelRows(made(0, 500)))
    expect(await buried()).toBe(2)
    const metrics = await get('/metrics')
    expect(metrics).toMatch(/continuum_projector_events_total\{status="duplicate",.*backend="postgres"\} 100\n/)
    expect(metrics).toMatch(/continuum_projector_dlq_events_total\{action="push",backend="postgres"\} 2\n/)
    expect(metrics).toMatch(/continuum_projector_event_lag_seconds_count\{event_type="episode.updated"\} \d+\n/)
    expect(metrics).toMatch(/continuum_projector_lane_running\{lane="nats"\} 1\n/)
    expect(JSON.parse(await get('/ready'))).toMatchObject({ ready: true })
  })

  it('waits while Postgres is away, buries nothing for it, says so, and goes on', async () => {
    const { rows, buried, get } = await setUp()
    await events.publish(made(0, 200).map(toBytes))
    await eventually(settled)
    await lab.server.kill()
    await events.publish([...made(200, 400).map(toBytes), poison(1)])
    await eventually(async () => JSON.parse(await get('/ready')).ready === false)
    expect(await get('/metrics')).toMatch(/lane_running\{lane="nats"\} 0\n/)
    await lab.server.restart()
    await eventually(settled)
    expect(await rows()).toEqual(modelRows(made(0, 400)))
    expect(await buried()).toBe(1)
    await eventually(async () => JSON.parse(await get('/ready')).ready === true)
  })

  it('goes on when NATS was killed', async () => {
    const { rows } = await setUp()
    await events.publish(made(0, 100).map(toBytes))
    await events.server.kill()
    await events.server.restart()
    await eventually(() => events.publish(made(100, 200).map(toBytes)).then(() => true))
    await eventually(settled, 20_000)
    expect(await rows()).toEqual(modelRows(made(0, 200)))
  })

  it('says that NATS is silent, and goes on when it speaks again', async () => {
    const { rows, get } = await setUp()
    await events.publish(made(0, 100).map(toBytes))
    await eventually(settled)
    await events.server.freeze()
    try {
      await eventually(async () => JSON.parse(await get('/ready')).ready === false, 25_000)
    } finally {
      events.server.thaw()
    }
    await events.publish(made(100, 200).map(toBytes))
    await eventually(settled, 20_000)
    expect(await rows()).toEqual(modelRows(made(0, 200)))
  }, 60_000)

  it('is given everything again when its place in the stream was deleted, and nothing changes', async () => {
    const { rows, get } = await setUp()
    await events.publish(made(0, 300).map(toBytes))
    await eventually(settled)
    await events.forgetConsumer()
    await eventually(async () => /events_total\{status="duplicate",[^}]*\} 300\n/.test(await get('/metrics')), 20_000)
    expect(await rows()).toEqual(modelRows(made(0, 300)))
  })

  it('needs no more of NATS than its guide says', async () => {
    events = await startEventServer(`
      authorization { users: [
        { user: admin, password: admin }
        { user: lane, password: lane, permissions: { publish: ["$JS.API.>", "$JS.ACK.>"], subscribe: ["_INBOX.>"] } }
      ] }`)
    opened.push(events)
    const database = await lab.newDatabase()
    await start(database, { natsUrl: events.url.replace('nats://', 'nats://lane:lane@') })
    await events.publish(made(0, 50).map(toBytes))
    await eventually(settled)
    expect((await database.query(projectionRows)).sort(byKey)).toEqual(modelRows(made(0, 50)))
  })

  it('stops at the cap of dead letters with an alarm, loses nothing, and goes on when they are looked after', async () => {
    const { database, rows, buried, get, running } = await setUp({ maxDeadLetters: 5 })
    await events.publish(Array.from({ length: 5 }, (_, n) => poison(n)))
    await eventually(async () => (await buried()) === 5)
    await events.publish([poison(6), ...made(0, 50).map(toBytes)])
    await eventually(async () => running.lanes.some(({ state }) => state === 'dead_letters_full'))
    expect(await buried()).toBe(5)
    await eventually(async () => (await get('/ready')).includes('dead letters wait for somebody'))
    const env = { ARQONBUS_POSTGRES_URL: database.url }
    expect((await runCommand(['projector', 'dlq', 'discard', '--code', 'BAD_EVENT_TYPE'], env)).out).toEqual([
      '5 discarded',
    ])
    await eventually(settled)
    expect(await rows()).toEqual(modelRows(made(0, 50)))
    expect(await buried()).toBe(1)
  })

  describe('refuses to start', () => {
    const withEvents = async () => {
      events = await startEventServer()
      opened.push(events)
    }
    const lane = (url: string, env: Record<string, string> = {}) =>
      runCommand(['projector'], { NATS_URL: events.url, ARQONBUS_POSTGRES_URL: url, ...env })

    it('without its tables, and starts once they are made', async () => {
      await withEvents()
      const url = await lab.server.createDatabase()
      const refused = await lane(url)
      expect(refused).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('`arqonbus projector migrate`')] })
      const migrate = () => runCommand(['projector', 'migrate'], { ARQONBUS_POSTGRES_URL: url })
      expect((await migrate()).out).toEqual(['applied 20260220_continuum_projector_postgres.sql'])
      expect((await migrate()).out).toEqual(['nothing to apply: the tables of the projector are up to date'])
      const name = url.slice(url.lastIndexOf('/') + 1)
      await start({ url, name } as LabDatabase)
    })

    it.each([
      ['a column changed', 'ALTER TABLE arqonbus_continuum_projection DROP COLUMN summary', 'SCHEMA_DRIFT'],
      [
        'a rule of somebody else',
        'ALTER TABLE arqonbus_continuum_projection ADD CHECK (agent_id <> $$x$$)',
        'SCHEMA_DRIFT',
      ],
      ['an index gone', 'DROP INDEX idx_arqonbus_cont_proj_events_episode', 'SCHEMA_DRIFT'],
      ['the file edited', "UPDATE arqonbus_migrations SET checksum = 'x'", 'EDITED_MIGRATION'],
      [
        'a newer version',
        "INSERT INTO arqonbus_migrations (name, checksum) VALUES ('29990101_x.sql', 'x')",
        'NEWER_SCHEMA',
      ],
    ])('with %s', async (_what, sql, reason) => {
      await withEvents()
      const database = await lab.newDatabase()
      await database.query(sql)
      expect(await lane(database.url)).toMatchObject({ exitCode: 78, notes: [expect.stringContaining(`(${reason})`)] })
    })

    it('but takes an index or an empty column of somebody else', async () => {
      await withEvents()
      const database = await lab.newDatabase()
      await database.query('CREATE INDEX mine ON arqonbus_continuum_projection (summary)')
      await database.query('ALTER TABLE arqonbus_continuum_projection ADD COLUMN mine text')
      await start(database)
    })

    it('without NATS_URL, without JetStream, and where nothing answers', async () => {
      await withEvents()
      const { url } = await lab.newDatabase()
      const none = await runCommand(['projector'], { ARQONBUS_POSTGRES_URL: url })
      expect(none).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('NATS_URL'), expect.anything()] })
      const plain = await startNatsServer()
      opened.push(plain)
      const without = await lane(url, { NATS_URL: plain.url })
      expect(without).toMatchObject({ exitCode: 69, notes: [expect.stringContaining('JetStream')] })
      expect(await lane('postgresql://me:hush@127.0.0.1:1/db')).toMatchObject({
        exitCode: 69,
        notes: [expect.not.stringContaining('hush')],
      })
      expect(await runCommand(['projector'], { NATS_URL: events.url })).toMatchObject({ exitCode: 78 })
    })
  })
})
