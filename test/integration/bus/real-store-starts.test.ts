// Reliability 5.2 on real servers, what needs no process of its own: stores that cannot keep what is promised, that are
// others than before, or one of two.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { describeFailure } from '../../../src/bin/exit-codes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { type Logger, silentLogger } from '../../../src/base/logger.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { migrateUp } from '../../../src/postgres/migrations.ts'
import { startStore } from '../../../src/storage/guard/start-store.ts'
import { openStore } from '../../../src/storage/open-store.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { positionOf } from '../../support/launch/wire-client.ts'
import { openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { startHistoryServer } from '../../support/servers/history-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

type Backend = 'valkey' | 'postgres'
type Variables = Readonly<Record<string, string>>

let lab: PostgresLab | undefined
beforeAll(async () => {
  if (!skipWithout('postgres')) lab = await openPostgresLab()
})
afterAll(() => lab?.close())

async function dataDir(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'arqonbus-store-start-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

async function startValkey(settings: Variables = {}) {
  const { server, env } = await startHistoryServer('valkey', settings)
  onTestFinished(() => server.close())
  return { server, env }
}

/** A store like others of its kind, with an identity of its own. */
async function newStore(backend: Backend): Promise<Variables> {
  if (backend === 'valkey') return (await startValkey()).env
  const url = await lab!.server.createDatabase()
  await migrateUp({ address: parsePostgresAddress(url) })
  return { ARQONBUS_POSTGRES_URL: url }
}

async function startBus(backend: Backend, env: Variables, logger: Logger = silentLogger): Promise<BusInProcess> {
  const common = { ARQONBUS_STORAGE_BACKEND: backend, ARQONBUS_LIMIT_DRAIN_TIMEOUT_MS: '200' }
  const bus = await startBusInProcess({ env: { ...common, ...env }, logger })
  onTestFinished(() => bus.close())
  return bus
}

const strict = { ARQONBUS_STORAGE_MODE: 'strict' }
const exitCodeOf = (starting: Promise<BusInProcess>): Promise<number> =>
  starting.then(
    () => 0,
    (error: unknown) => describeFailure(error).exitCode,
  )
const readyOf = async ({ httpPort }: BusInProcess): Promise<JsonObject> => {
  const answer = await fetch(`http://127.0.0.1:${httpPort}/ready`)
  return { httpStatus: answer.status, ...((await answer.json()) as JsonObject) }
}

/** A store that takes no writes, and what makes it take them. */
const readOnly = {
  async valkey() {
    const primary = await startValkey()
    const { server, env } = await startValkey({ replicaof: `127.0.0.1 ${primary.server.port}` })
    return { env, repair: () => server.command('REPLICAOF NO ONE') }
  },
  async postgres() {
    const { name, url } = await lab!.newDatabase()
    await lab!.server.query(`ALTER DATABASE ${name} SET default_transaction_read_only = on`)
    const repair = async (): Promise<void> => {
      await lab!.server.query(`ALTER DATABASE ${name} RESET default_transaction_read_only`)
      await lab!.server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`)
    }
    return { env: { ARQONBUS_POSTGRES_URL: url }, repair }
  },
}

describe.each(['valkey', 'postgres'] as const)('%s', (backend) => {
  const ifThere = test.skipIf(skipWithout(backend))

  ifThere('read-only: strict ends with 78; degraded starts, holds, and stores once it may', async () => {
    const { env, repair } = await readOnly[backend]()
    expect(await exitCodeOf(startBus(backend, { ...env, ...strict }))).toBe(78)
    const warned: unknown[] = []
    const warn = (event: string, facts?: object): void => void warned.push({ event, ...facts })
    const bus = await startBus(backend, env, { ...silentLogger, warn })
    expect(warned).toContainEqual(expect.objectContaining({ event: 'store.unsuitable', code: 'READ_ONLY' }))
    expect(await readyOf(bus)).toMatchObject({ httpStatus: 200, degraded: true })
    const client = await bus.client()
    const held = await client.publish('lab', 'one', { n: 1 })
    expect(held.metadata).toEqual({ level: 'memory' })
    await repair()
    const upgrade = await client.until(({ metadata }) => 'durability' in metadata, 'what became of it')
    expect(upgrade).toMatchObject({ id: held.id, metadata: { durability: 'disk', position: { sequence: 1 } } })
  })

  ifThere('another store than before: strict is not ready and refuses until it is accepted', async () => {
    const dir = { ARQONBUS_DATA_DIR: await dataDir() }
    const first = await startBus(backend, { ...(await newStore(backend)), ...dir, ...strict })
    await first.close()
    const env = { ...(await newStore(backend)), ...dir, ...strict }
    const logged: JsonObject[] = []
    const error = (event: string, facts?: object): void => void logged.push({ event, ...facts })
    const second = await startBus(backend, env, { ...silentLogger, error })
    expect(await readyOf(second)).toMatchObject({ httpStatus: 503 })
    const refused = await (await second.client()).publish('lab', 'one', {})
    expect(refused).toMatchObject({
      error_code: 'STORE_UNAVAILABLE',
      payload: { reason: 'STORE_REPLACED', outcome: 'not_stored' },
    })
    const identity = logged.find(({ event }) => event === 'store.replaced')!['now'] as string
    await second.close()
    const third = await startBus(backend, { ...env, ARQONBUS_STORAGE_ACCEPT_IDENTITY: identity })
    expect(await readyOf(third)).toMatchObject({ httpStatus: 200 })
    expect((await (await third.client()).publish('lab', 'one', {})).metadata['level']).toBe('disk')
  })

  ifThere('another store than before: degraded says so and goes on, in a later epoch', async () => {
    const dir = { ARQONBUS_DATA_DIR: await dataDir() }
    const first = await startBus(backend, { ...(await newStore(backend)), ...dir })
    const before = positionOf(await (await first.client()).publish('lab', 'one', {}))
    await first.close()
    const events: string[] = []
    const error = (event: string): void => void events.push(event)
    const second = await startBus(backend, { ...(await newStore(backend)), ...dir }, { ...silentLogger, error })
    expect(events).toContain('store.replaced')
    const client = await second.client()
    const after = positionOf(await client.publish('lab', 'one', {}))
    expect(after.epoch).toBeGreaterThan(before.epoch)
    expect((await client.join('lab', 'one', { ...before })).payload).toMatchObject({
      data: { recovered: false, reason: 'epoch_changed' },
    })
  })
})

describe.skipIf(skipWithout('valkey', 'postgres'))('both stores required', () => {
  test.each(['valkey', 'postgres'] as const)('degraded without %s: what the other carries is whole', async (absent) => {
    const valkey = await startValkey()
    const stores = { ...valkey.env, ARQONBUS_POSTGRES_URL: (await lab!.newDatabase()).url }
    if (absent === 'valkey') await valkey.server.kill()
    else stores.ARQONBUS_POSTGRES_URL = stores.ARQONBUS_POSTGRES_URL.replace(/:\d+\//, ':1/')
    const other = absent === 'valkey' ? 'postgres' : 'valkey'
    const bus = await startBus(other, { ...stores, ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'true' })
    const acknowledged = await (await bus.client()).publish('lab', 'one', {})
    expect(acknowledged.metadata).toMatchObject({ level: 'disk', position: { sequence: 1 } })
    if (absent === 'valkey') expect(bus.hot.report().state).toBe('degraded')
  })
})

describe.skipIf(skipWithout('valkey'))('a Valkey in production', () => {
  const open = (mode: 'strict' | 'degraded', url: string, dir: string) =>
    startStore({
      mode,
      isProduction: true,
      backend: 'valkey',
      dataDir: dir,
      open: () =>
        openStore(
          {
            backend: 'valkey',
            dataDir: dir,
            valkeyUrl: url,
            retention: { maxRecords: 100, maxBytes: 1e6, maxAgeMs: 1e6 },
            dedup: { maxAgeMs: 1e6, maxIds: 100 },
          },
          { clock: systemClock, logger: silentLogger },
        ),
      clock: systemClock,
      logger: silentLogger,
    })
  const failureOf = (starting: Promise<unknown>): Promise<unknown> =>
    starting.then(
      () => undefined,
      (error: unknown) => error,
    )

  test('below level disk: strict ends with 78 and says what to set', async () => {
    const { server, env } = await startValkey({ appendfsync: 'everysec' })
    const [url, dir] = [env['ARQONBUS_VALKEY_URL']!, await dataDir()]
    const error = await failureOf(open('strict', url, dir))
    expect(error).toMatchObject({ code: 'START_REFUSED', details: { faults: ['LEVEL_TOO_LOW'] } })
    expect(String(error)).toContain('appendfsync always')
    await server.command('CONFIG SET appendfsync always')
    const store = await open('strict', url, dir)
    expect(store.capabilities.level).toBe('disk')
    await store.close()
  })

  test('a missing privilege ends both modes with 77, at once', async () => {
    const { server } = await startValkey()
    await server.command('ACL SETUSER reader on >pw ~* +@read +info +config|get')
    const url = `redis://reader:pw@127.0.0.1:${server.port}`
    for (const mode of ['strict', 'degraded'] as const) {
      const begun = performance.now()
      const error = await failureOf(open(mode, url, await dataDir()))
      expect(error).toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'DENIED' } })
      expect(describeFailure(error).exitCode).toBe(77)
      expect(performance.now() - begun).toBeLessThan(1_000)
    }
  })
})
