// Several processes' hot state on one real server: what one does the others see; and what is left when the server is
// cut off, frozen, killed or emptied.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createRevocations, type Revocations } from '../../../src/auth/revocations.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { StreamKey } from '../../../src/envelope/envelope.ts'
import type { HotState } from '../../../src/hot/hot-state.ts'
import { openValkeyHotState, type ValkeyHotStateOptions } from '../../../src/hot/valkey/valkey-hot-state.ts'
import { asText } from '../../../src/valkey/replies.ts'
import { openValkey, type ValkeyClient } from '../../../src/valkey/valkey-client.ts'
import { chooseSeed, createSeeded } from '../../support/launch/seeded.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerProcess } from '../../support/servers/valkey-server.ts'
import { createTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

const lab: StreamKey = { tenant: 'acme', room: 'lab', channel: 'general' }
const wholeLab: StreamKey = { ...lab, channel: '*' }
const leaseMs = 1_000

const onValkey = describe.skipIf(skipWithout('valkey'))
let server: ValkeyServerProcess
let admin: ValkeyClient
const opened: { close(): Promise<void> }[] = []
beforeAll(async () => {
  server = await startValkeyServer({ settings: { appendfsync: 'no' } })
  admin = await openValkey({ url: server.url, name: 'test', logger: silentLogger })
})
beforeEach(async () => {
  await admin.send(['FLUSHALL'])
  await admin.send(['CONFIG', 'RESETSTAT'])
})
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close()
})
afterAll(async () => {
  await admin.close()
  await server.close()
})

interface Process {
  readonly hot: HotState
  readonly revocations: Revocations
  join(key: StreamKey, clientId: string): void
  leave(key: StreamKey, clientId: string): void
  /** Ids of others' clients. */
  sees(key?: StreamKey): Promise<string[]>
}

async function openProcess(more: Partial<ValkeyHotStateOptions> = {}): Promise<Process> {
  const revocations = createRevocations(systemClock)
  const hot = await openValkeyHotState({
    url: server.url,
    clock: systemClock,
    logger: silentLogger,
    limits: { maxKeys: 100, maxBytes: 1_000_000 },
    revocations,
    mustConnect: true,
    presenceTiming: { leaseMs, renewMs: 200, gatherMs: 5 },
    ...more,
  })
  opened.push(hot)
  const members = new Map<string, { key: StreamKey; clientIds: Set<string> }>()
  const idOf = (key: StreamKey): string => JSON.stringify([key.tenant, key.room, key.channel])
  hot.presence.follow({
    find: (key, clientId) =>
      members.get(idOf(key))?.clientIds.has(clientId) === true
        ? { clientId, subject: `of ${clientId}`, joinedAtMs: 7 }
        : undefined,
    isUsed: (key) => (members.get(idOf(key))?.clientIds.size ?? 0) > 0,
    *all() {
      for (const { key, clientIds } of members.values()) for (const clientId of clientIds) yield { key, clientId }
    },
  })
  return {
    hot,
    revocations,
    join(key, clientId) {
      const place = members.get(idOf(key)) ?? { key, clientIds: new Set() }
      members.set(idOf(key), place)
      place.clientIds.add(clientId)
      hot.presence.changed(key, clientId)
    },
    leave(key, clientId) {
      members.get(idOf(key))?.clientIds.delete(clientId)
      hot.presence.changed(key, clientId)
    },
    async sees(key = lab) {
      const { members: others, isPartial } = await hot.presence.elsewhere(key)
      return isPartial ? ['partial'] : others.map(({ clientId }) => clientId).sort()
    },
  }
}

async function openProxy(): Promise<TcpProxy & { readonly url: string }> {
  const proxy = await createTcpProxy(server.port)
  opened.push(proxy)
  return Object.assign(proxy, { url: `redis://127.0.0.1:${proxy.port}` })
}

/** Asks again and again until it is so; gives the milliseconds that took. */
async function until(isSo: () => boolean | Promise<boolean>, withinMs = 5_000): Promise<number> {
  const fromMs = performance.now()
  while (!(await isSo())) {
    if (performance.now() - fromMs > withinMs) throw new Error(`not so within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return performance.now() - fromMs
}

const seesOnly = (process: Process, ids: string[], key?: StreamKey) => async () =>
  JSON.stringify(await process.sees(key)) === JSON.stringify(ids)
const isRevoked = (process: Process, tenant: string, subject: string) => () =>
  process.revocations.isRevoked({ tenant, subject })
const soon = (): number => systemClock.now() + 60_000

onValkey('presence', () => {
  it('is one over two processes, in channels and whole rooms', async () => {
    const [a, b] = [await openProcess(), await openProcess()]
    a.join(lab, 'a1')
    a.join(wholeLab, 'a2')
    b.join(lab, 'b1')
    await until(seesOnly(b, ['a1', 'a2']))
    await until(seesOnly(a, ['b1']))
    await until(seesOnly(b, ['a2'], { ...lab, channel: 'other' }))
    expect((await b.hot.presence.elsewhere(lab)).members[0]).toEqual({
      clientId: 'a1',
      subject: 'of a1',
      joinedAtMs: 7,
      byRoom: false,
    })
    for (const foreign of [
      { ...lab, tenant: 'globex' },
      { ...lab, room: 'lab2' },
    ]) {
      expect(await b.sees(foreign)).toEqual([])
    }
    a.leave(lab, 'a1')
    await until(seesOnly(b, ['a2']))
    a.leave(wholeLab, 'a2')
    await until(seesOnly(b, []))
  })

  it('loses a process that closes at once, and leaves nothing behind', async () => {
    const [a, b] = [await openProcess(), await openProcess()]
    a.join(lab, 'a1')
    await until(seesOnly(b, ['a1']))
    await until(() => a.hot.presence.others === 1 && b.hot.presence.others === 1)
    await a.hot.close()
    expect(await b.sees()).toEqual([])
    await until(() => b.hot.presence.others === 0)
    expect(await admin.send(['KEYS', 'tenant:*'])).toEqual([])
  })

  it('loses a process that falls silent when its lease ends, clears up after it, and shows it again', async () => {
    const proxy = await openProxy()
    const [a, b] = [await openProcess({ url: proxy.url }), await openProcess()]
    for (let n = 0; n < 2_500; n++) a.join(lab, `a${n}`)
    await until(async () => (await b.sees()).length === 2_500)
    proxy.cut()
    a.leave(lab, 'a0')
    a.join(lab, 'later')
    const goneMs = await until(seesOnly(b, []))
    expect(goneMs).toBeLessThanOrEqual(leaseMs + 200)
    await until(async () => ((await admin.send(['KEYS', 'tenant:*'])) as unknown[]).length === 0)
    proxy.mend()
    await until(async () => (await b.sees()).length === 2_500)
    expect(await b.sees()).toContain('later')
    expect(await b.sees()).not.toContain('a0')
  })

  it('shows nobody whose lease has ended, also before anything is cleared away', async () => {
    const proxy = await openProxy()
    const a = await openProcess({ url: proxy.url, presenceTiming: { leaseMs: 300, renewMs: 100, gatherMs: 5 } })
    const b = await openProcess({ presenceTiming: { leaseMs, renewMs: 60_000, gatherMs: 5 } })
    a.join(lab, 'a1')
    await until(seesOnly(b, ['a1']))
    proxy.cut()
    expect(await until(seesOnly(b, []))).toBeLessThanOrEqual(500)
    expect(await admin.send(['KEYS', 'tenant:*'])).not.toEqual([])
  })

  it('costs the same few commands however many members there are', async () => {
    const a = await openProcess({ presenceTiming: { leaseMs, renewMs: 100, gatherMs: 5 } })
    const b = await openProcess({ presenceTiming: { leaseMs: 60_000, renewMs: 30_000, gatherMs: 5 } })
    for (let n = 0; n < 3_000; n++) a.join({ ...lab, channel: `c${n % 50}` }, `a${n}`)
    await until(async () => (await b.sees({ ...lab, channel: 'c49' })).length === 60)
    const calls = async (command: string): Promise<number> => {
      const stats = asText(await admin.send(['INFO', 'commandstats']))
      return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
    }
    expect(await calls('hset')).toBeLessThan(1_000) // 3,000 joins: those of one channel go together
    const writes = ['hset', 'sadd', 'set', 'hdel', 'del']
    const before = await Promise.all(writes.map(calls))
    const from = await calls('pexpire')
    await until(async () => (await calls('pexpire')) >= from + 3)
    expect(await calls('pexpire')).toBeLessThan(from + 6)
    expect(await Promise.all(writes.map(calls))).toEqual(before)
  })

  it('is shown again when the server has lost everything', async () => {
    const [a, b] = [await openProcess(), await openProcess()]
    a.join(lab, 'a1')
    await until(seesOnly(b, ['a1']))
    await admin.send(['FLUSHALL'])
    expect(await b.sees()).toEqual([])
    await until(seesOnly(b, ['a1']))
  })

  it('ends where the members of each process end, whatever happened on the way', async () => {
    const proxy = await openProxy()
    const [a, b] = [await openProcess({ url: proxy.url }), await openProcess()]
    const seed = chooseSeed()
    const random = createSeeded(seed)
    const there = new Set<string>()
    for (let step = 0; step < 600; step++) {
      const id = `c${random.int(0, 29)}`
      if (there.delete(id)) a.leave(lab, id)
      else {
        there.add(id)
        a.join(lab, id)
      }
      if (step % 150 === 75) proxy.cut()
      if (step % 150 === 140) proxy.mend()
      if (step % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 3))
    }
    proxy.mend()
    await until(seesOnly(b, [...there].sort()), 15_000).catch((cause: unknown) => {
      throw new Error(`TEST_SEED=${seed}`, { cause })
    })
  })
})

onValkey('revocations', () => {
  it('reach every process within a second, and those that start later before they are open', async () => {
    const [a, b] = [await openProcess(), await openProcess()]
    for (let n = 0; n < 20; n++) {
      await a.hot.revocations.add({ tenant: 'acme', subject: `s:${n}`, untilMs: soon() })
      expect(isRevoked(a, 'acme', `s:${n}`)()).toBe(true)
      expect(await until(isRevoked(b, 'acme', `s:${n}`))).toBeLessThanOrEqual(1_000)
    }
    await b.hot.revocations.add({ tenant: 'globex', untilMs: soon() })
    expect(await until(isRevoked(a, 'globex', 'anyone'))).toBeLessThanOrEqual(1_000)
    const late = await openProcess()
    expect(isRevoked(late, 'acme', 's:0')()).toBe(true)
    expect(isRevoked(late, 'globex', 'x')()).toBe(true)
    expect(isRevoked(late, 'acme', 's:20')()).toBe(false)
  })

  it('that come by the thousand are all read', async () => {
    const [a, b] = [await openProcess(), await openProcess()]
    const add = (n: number) => a.hot.revocations.add({ tenant: 'acme', subject: `s${n}`, untilMs: soon() })
    await Promise.all(Array.from({ length: 3_500 }, (_, n) => add(n)))
    await until(() => b.revocations.size === 3_500)
  })

  it('made while a process was cut off reach it when it is back', async () => {
    const proxy = await openProxy()
    const [a, b] = [await openProcess(), await openProcess({ url: proxy.url })]
    await a.hot.revocations.add({ tenant: 'acme', subject: 'before', untilMs: soon() })
    await until(isRevoked(b, 'acme', 'before'))
    proxy.cut()
    await a.hot.revocations.add({ tenant: 'acme', subject: 'meanwhile', untilMs: soon() })
    await until(() => b.hot.report().state === 'degraded')
    expect(isRevoked(b, 'acme', 'before')()).toBe(true)
    expect(isRevoked(b, 'acme', 'meanwhile')()).toBe(false)
    proxy.mend()
    await until(() => b.hot.report().state === 'up')
    expect(isRevoked(b, 'acme', 'meanwhile')()).toBe(true)
  })

  it('made at a process that is cut off are in force there at once, and elsewhere when it is back', async () => {
    const proxy = await openProxy()
    const [a, b] = [await openProcess(), await openProcess({ url: proxy.url })]
    proxy.cut()
    await until(() => b.hot.report().state === 'degraded')
    const refused = b.hot.revocations.add({ tenant: 'acme', subject: 'there', untilMs: soon() })
    await expect(refused).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(isRevoked(b, 'acme', 'there')()).toBe(true)
    proxy.mend()
    await until(isRevoked(a, 'acme', 'there'))
  })

  it('stay in force when the server has lost everything, and are written to it again', async () => {
    const a = await openProcess()
    await a.hot.revocations.add({ tenant: 'acme', subject: 'one', untilMs: soon() })
    await until(async () => Number(await admin.send(['EXISTS', 'arqonbus:{revocations}:until'])) === 1)
    await admin.send(['FLUSHALL'])
    expect(isRevoked(a, 'acme', 'one')()).toBe(true)
    await until(async () => Number(await admin.send(['EXISTS', 'arqonbus:{revocations}:until'])) === 1)
    const late = await openProcess()
    expect(isRevoked(late, 'acme', 'one')()).toBe(true)
  })

  it('survive a restart of the server, and take no more room when they have ended', async () => {
    const a = await openProcess()
    await a.hot.revocations.add({ tenant: 'acme', subject: 'short', untilMs: systemClock.now() + 300 })
    await a.hot.revocations.add({ tenant: 'acme', subject: 'long', untilMs: soon() })
    await a.hot.close()
    await admin.send(['BGREWRITEAOF'])
    await server.kill()
    await server.restart()
    await until(() => admin.isConnected)
    const b = await openProcess()
    expect(isRevoked(b, 'acme', 'long')()).toBe(true)
    await until(() => !isRevoked(b, 'acme', 'short')())
    await b.hot.revocations.add({ tenant: 'acme', subject: 'third', untilMs: soon() })
    expect(await admin.send(['ZCARD', 'arqonbus:{revocations}:until'])).toBe(2)
    expect(await admin.send(['ZCARD', 'arqonbus:{revocations}:log'])).toBe(2)
  })
})

onValkey('values and counters', () => {
  it('are shared, and values survive the processes', async () => {
    const [a, b] = [await openProcess(), await openProcess()]
    const name = { tenant: 'acme', namespace: 'n', key: 'k' }
    await a.hot.values.set(name, '"x"')
    expect(await b.hot.values.get(name)).toBe('"x"')
    const use = { tenant: 'acme', name: 'n', max: 3, windowMs: 60_000 }
    const taken = [a, b, a, b].map(({ hot }) => hot.counters.take(use))
    expect((await Promise.all(taken)).filter(({ isAllowed }) => isAllowed)).toHaveLength(3)
    await Promise.all([a.hot.close(), b.hot.close()])
    expect(await (await openProcess()).hot.values.get(name)).toBe('"x"')
  })

  it('begin a new window when the old one has ended', async () => {
    const a = await openProcess()
    const use = { tenant: 'acme', name: 'n', max: 1, windowMs: 100 }
    expect((await a.hot.counters.take(use)).isAllowed).toBe(true)
    expect((await a.hot.counters.take(use)).isAllowed).toBe(false)
    await until(async () => (await a.hot.counters.take({ ...use, windowMs: 100 })).isAllowed, 1_000)
  })
})

onValkey('a server that is away', () => {
  it.each(['frozen', 'killed'] as const)(
    'leaves what is known here, hangs nothing, and is used again (%s)',
    async (how) => {
      const a = await openProcess()
      const name = { tenant: 'acme', namespace: 'n', key: 'k' }
      await a.hot.values.set(name, '1')
      await a.hot.revocations.add({ tenant: 'acme', subject: 'known', untilMs: soon() })
      if (how === 'frozen') await server.freeze()
      else await server.kill()
      const fromMs = performance.now()
      const use = { tenant: 'acme', name: 'n', max: 1, windowMs: 60_000 }
      const [written, read, others, first, revoked] = await Promise.all([
        a.hot.values.set(name, '2').catch((error: unknown) => error),
        a.hot.values.get(name).catch((error: unknown) => error),
        a.sees(),
        a.hot.counters.take(use),
        a.hot.revocations.add({ tenant: 'acme', subject: 'new', untilMs: soon() }).catch((error: unknown) => error),
      ])
      expect(performance.now() - fromMs).toBeLessThan(2_000)
      expect(['STORE_TIMEOUT', 'STORE_UNAVAILABLE']).toContain((written as { code: string }).code)
      expect(read).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(JSON.stringify([written, read, revoked])).not.toContain('127.0.0.1')
      expect(others).toEqual(['partial'])
      expect(first.isAllowed).toBe(true)
      expect((await a.hot.counters.take(use)).isAllowed).toBe(false)
      expect(isRevoked(a, 'acme', 'known')()).toBe(true)
      expect(isRevoked(a, 'acme', 'new')()).toBe(true)
      expect(a.hot.report()).toMatchObject({ state: 'degraded', failures: { values: 2 } })
      const againMs = performance.now()
      await expect(a.hot.values.get(name)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - againMs).toBeLessThan(50)
      if (how === 'frozen') server.thaw()
      else await server.restart()
      await until(() => a.hot.report().state === 'up', 10_000)
      expect(['1', '2']).toContain(await a.hot.values.get(name))
      const b = await openProcess()
      expect(isRevoked(b, 'acme', 'new')()).toBe(true)
      await until(() => admin.isConnected)
    },
  )

  it('stops the start where it must be there, and is looked for where it need not', async () => {
    await server.kill()
    const fromMs = performance.now()
    await expect(openProcess()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - fromMs).toBeLessThan(10_000)
    const a = await openProcess({ mustConnect: false })
    expect(a.hot.report().state).toBe('degraded')
    a.join(lab, 'a1')
    expect(await a.sees()).toEqual(['partial'])
    await expect(a.hot.values.list('acme', 'n')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await server.restart()
    await until(() => a.hot.report().state === 'up', 10_000)
    const b = await openProcess()
    await until(seesOnly(b, ['a1']))
    await until(() => admin.isConnected)
  })

  it('that evicts keys stops a strict start, and makes another degraded', async () => {
    const evicting = await startValkeyServer({ settings: { maxmemory: '50mb', 'maxmemory-policy': 'allkeys-lru' } })
    opened.push(evicting)
    const refused = openProcess({ url: evicting.url })
    await expect(refused).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'EVICTS' } })
    const { hot } = await openProcess({ url: evicting.url, mustConnect: false })
    expect(hot.report()).toMatchObject({ state: 'degraded', detail: expect.stringContaining('noeviction') })
  })

  it('that is full refuses new values as a store that is away, and loses none', async () => {
    const { hot } = await openProcess()
    const name = { tenant: 'acme', namespace: 'n', key: 'k' }
    await hot.values.set(name, '1')
    await admin.send(['CONFIG', 'SET', 'maxmemory', '1'])
    try {
      const refused = { code: 'STORE_UNAVAILABLE', details: { reason: 'OOM' } }
      await expect(hot.values.set(name, '2')).rejects.toMatchObject(refused)
      await expect(hot.revocations.add({ tenant: 'acme', untilMs: soon() })).rejects.toMatchObject(refused)
      expect(await hot.values.get(name)).toBe('1')
    } finally {
      await admin.send(['CONFIG', 'SET', 'maxmemory', '0'])
    }
    const late = await openProcess()
    await until(isRevoked(late, 'acme', 'anyone'))
  })

  it.each([true, false])('that refuses the password stops the start (must connect: %s)', async (mustConnect) => {
    const closed = await startValkeyServer({ password: 'right-password' })
    opened.push(closed)
    const url = `redis://:wrong-password@127.0.0.1:${closed.port}`
    const refused: unknown = await openProcess({ url, mustConnect }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'DENIED' } })
    expect(String(refused)).not.toContain('wrong-password')
  })
})
