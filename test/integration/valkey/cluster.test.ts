// A real server in cluster mode, with all slots: refused where a bus would use it, since other nodes would not be asked;
// and our scripts keep to one slot each, so that nothing in the layout of keys forbids a cluster.
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRevocations } from '../../../src/auth/revocations.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openValkeyHotState } from '../../../src/hot/valkey/valkey-hot-state.ts'
import { createKeyNames } from '../../../src/storage/valkey/keys.ts'
import { strongSecret } from '../../support/environments.ts'
import { runToEnd } from '../../support/launch/launch-linked.ts'
import { type HistoryServer, startHistoryServer } from '../../support/servers/history-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { createRespProxy, infoWith, type RespProxy } from '../../support/servers/resp-proxy.ts'
import { createValkeyLab, makeAppend, readAll } from '../../support/valkey-history.ts'

const lab = createValkeyLab()

describe.skipIf(skipWithout('valkey'))('a server in cluster mode', () => {
  let server: HistoryServer
  let url: string
  /** Says that it is no cluster, and behaves as one. */
  let proxy: RespProxy
  beforeAll(async () => {
    const started = await startHistoryServer('valkey', { 'cluster-enabled': 'yes' })
    server = started.server
    url = started.env['ARQONBUS_VALKEY_URL']!
    await server.command('CLUSTER ADDSLOTSRANGE 0 16383')
    proxy = await createRespProxy(server.port, infoWith({ cluster_enabled: '0' }))
    while (!(await server.command('CLUSTER INFO')).includes('cluster_state:ok')) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })
  afterAll(async () => {
    await proxy.close()
    await server.close()
  })

  it.each([
    ['history, degraded', { ARQONBUS_STORAGE_BACKEND: 'valkey', ARQONBUS_STORAGE_MODE: 'degraded' }],
    ['hot state alone', { ARQONBUS_STORAGE_MODE: 'degraded' }],
  ])('ends a start with 78 and says what to do: %s', async (_name, env) => {
    const ports = { ARQONBUS_SERVER_PORT: '0', ARQONBUS_HTTP_PORT: '0', ARQONBUS_ENABLE_TELEMETRY: 'false' }
    const persistence = { ARQONBUS_ENABLE_PERSISTENCE: String('ARQONBUS_STORAGE_BACKEND' in env) }
    const base = { JWT_SECRET: strongSecret, ...ports, ...persistence, ARQONBUS_VALKEY_URL: url }
    const { code, stderr } = await runToEnd('bus', { ...base, ...env })
    expect(stderr).toMatch(/STORE_OPEN_FAILED \(IS_CLUSTER\): .* Give the address of a server without cluster mode/)
    expect(code).toBe(78)
  })

  it('would take all that a history does, stream by stream, and lose nothing of it', async () => {
    const store = await lab.store(`redis://127.0.0.1:${proxy.port}`, { tidyEveryMs: 50 })
    const keys = ['one', 'two', 'drei {x}', 'four'].map((channel) => ({ tenant: 'acme', room: 'lab', channel }))
    const requests = keys.flatMap((key) =>
      Array.from({ length: 25 }, (_, n) => makeAppend(`${key.channel} ${n}`, { key })),
    )
    const results = await store.append(requests)
    expect(results.every(({ kind }) => kind === 'stored')).toBe(true)
    for (const key of keys) expect(await readAll(store, key)).toHaveLength(25)
    const window = { tenant: 'acme', order: 'oldest', limit: 1_000, maxBytes: 2 ** 30 } as const
    expect(await store.readByTime(window)).toHaveLength(100)
    expect(await store.streams('acme')).toHaveLength(4)
    expect(await store.raiseEpoch!(keys[0]!)).toMatchObject({ last: 25 })
    await store.probe()
    expect((await store.append(requests)).every(({ kind }) => kind === 'duplicate')).toBe(true)
  })

  it('would take all that hot state does', async () => {
    const hot = await openValkeyHotState({
      url: `redis://127.0.0.1:${proxy.port}`,
      clock: systemClock,
      logger: silentLogger,
      limits: { maxKeys: 10, maxBytes: 10_000 },
      revocations: createRevocations(systemClock),
      mustConnect: true,
    })
    lab.closeLater(() => hot.close())
    const name = { tenant: 'acme', namespace: 'n', key: 'k' }
    await hot.values.set(name, '1')
    expect(await hot.values.get(name)).toBe('1')
    expect(await hot.values.list('acme', 'n')).toEqual(['k'])
    expect(await hot.values.delete(name)).toBe(true)
    await hot.revocations.add({ tenant: 'acme', subject: 'eve', untilMs: systemClock.now() + 60_000 })
    expect(await hot.counters.take({ tenant: 'acme', name: 'x', max: 1, windowMs: 1_000 })).toMatchObject({
      isAllowed: true,
    })
    const members = [{ key: { tenant: 'acme', room: 'lab', channel: 'one' }, clientId: 'a' }]
    const find = () => ({ clientId: 'a', subject: 's', joinedAtMs: 1 })
    hot.presence.follow({ find, isUsed: () => true, all: () => members })
    expect(await hot.presence.elsewhere(members[0]!.key)).toEqual({ members: [], isPartial: false })
    expect(hot.report()).toMatchObject({
      state: 'up',
      failures: { values: 0, presence: 0, revocations: 0, counters: 0 },
    })
  })

  it('has all keys of a stream in one slot, whatever its names', async () => {
    const names = createKeyNames('history')
    const name = fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom('a', '{', '}', ':', '=', 'é', ' ') })
    await fc.assert(
      fc.asyncProperty(name, name, async (room, channel) => {
        const keys = Object.values(names.of({ tenant: 'acme', room, channel }))
        const slots = await Promise.all(keys.map((key) => server.command(`CLUSTER KEYSLOT ${key}`)))
        expect(new Set(slots).size).toBe(1)
      }),
      { numRuns: 50 },
    )
  })
})
