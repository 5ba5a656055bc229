// Whole buses on one real Valkey: what clients see of hot state that is shared, and what they keep when it is away.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { mintToken } from '../../../src/auth/mint.ts'
import type { Role } from '../../../src/auth/identity.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openValkey, type ValkeyClient } from '../../../src/valkey/valkey-client.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { dataOf, type WireClient } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerProcess } from '../../support/servers/valkey-server.ts'
import { createTcpProxy } from '../../support/tcp-proxy.ts'

const secret = 'hot-state-only-0123456789-abcdefghijklmno'
const revokedCode = 4403

const onValkey = describe.skipIf(skipWithout('valkey'))
let server: ValkeyServerProcess
let admin: ValkeyClient
const opened: { close(): Promise<void> }[] = []
beforeAll(async () => {
  server = await startValkeyServer({ settings: { appendfsync: 'no' } })
  admin = await openValkey({ url: server.url, name: 'test', logger: silentLogger })
})
beforeEach(() => admin.send(['FLUSHALL']))
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close()
})
afterAll(async () => {
  await admin.close()
  await server.close()
})

async function startBus(env: Readonly<Record<string, string>> = {}): Promise<BusInProcess> {
  const bus = await startBusInProcess({
    env: {
      ARQONBUS_ENABLE_AUTH: 'true',
      ARQONBUS_AUTH_JWT_SECRET: secret,
      ARQONBUS_HTTP_API_KEY: 'key',
      ARQONBUS_VALKEY_URL: server.url,
      ARQONBUS_LIMIT_DRAIN_TIMEOUT_MS: '200',
      ...env,
    },
  })
  opened.push(bus)
  return bus
}

const tokenOf = (subject: string, more: { role?: Role; tenant?: string } = {}): Promise<string> =>
  mintToken({ secret, subject, tenant: 'acme', ttlSeconds: 600, ...more })

async function connect(
  bus: BusInProcess,
  subject: string,
  more: { role?: Role; tenant?: string } = {},
): Promise<WireClient> {
  return await bus.client({ token: await tokenOf(subject, more) })
}

async function until(isSo: () => Promise<boolean>, withinMs = 5_000): Promise<number> {
  const fromMs = performance.now()
  while (!(await isSo())) {
    if (performance.now() - fromMs > withinMs) throw new Error(`not so within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return performance.now() - fromMs
}

interface Shown {
  readonly subjects: readonly string[]
  readonly partial: boolean
}
async function shown(client: WireClient, command: string, channel = 'general'): Promise<Shown> {
  const { members, member_count: count, partial } = dataOf(await client.command(command, { room: 'lab', channel }))
  const rows = (members ?? []) as { subject: string }[]
  expect(count ?? 0).toBe(rows.length)
  return { subjects: rows.map(({ subject }) => subject).sort(), partial: partial === true }
}

const componentOf = async (bus: BusInProcess): Promise<{ ready: number; state: unknown }> => {
  const answer = await fetch(`http://127.0.0.1:${bus.httpPort}/ready`, { headers: { authorization: 'Bearer key' } })
  const body = (await answer.json()) as { components?: { name: string; state: string }[] }
  return { ready: answer.status, state: body.components?.find(({ name }) => name === 'hot state')?.state }
}

const metricsOf = async (bus: BusInProcess): Promise<string> => {
  const answer = await fetch(`http://127.0.0.1:${bus.httpPort}/metrics`, { headers: { authorization: 'Bearer key' } })
  return await answer.text()
}

onValkey('presence', () => {
  it('shows the members at both buses, by either command, from either side', async () => {
    const [one, two] = [await startBus(), await startBus()]
    const [alice, bob] = [await connect(one, 'alice'), await connect(two, 'bob')]
    await alice.join('lab', 'general')
    await bob.join('lab', '*')
    const stranger = await connect(two, 'mallory', { tenant: 'globex' })
    for (const command of ['presence', 'channel_info']) {
      for (const client of [alice, bob]) {
        await until(async () => (await shown(client, command)).subjects.join() === 'alice,bob')
      }
      expect(await shown(stranger, command)).toEqual({ subjects: [], partial: false })
    }
    const away = await connect(one, 'carol')
    await away.join('lab', 'only-here')
    await until(async () => (await shown(bob, 'channel_info', 'only-here')).subjects.includes('carol'))
    await alice.close()
    await until(async () => (await shown(bob, 'presence')).subjects.join() === 'bob')
    await one.close()
    expect(await shown(bob, 'presence', 'only-here')).toEqual({ subjects: ['bob'], partial: false })
  })
})

onValkey('presence of two tenants at two buses (model)', () => {
  const rooms = ['lab', 'a:b', 'a']
  const channels = ['general', 'b', 'b:c', '*']
  const step = fc.record({
    client: fc.nat(7),
    what: fc.constantFrom('join', 'join', 'leave', 'ask'),
    room: fc.constantFrom(...rooms),
    channel: fc.constantFrom(...channels),
  })

  it('is what each tenant’s members did, and never names one of another tenant', async () => {
    const buses = [await startBus(), await startBus()]
    const runs = fc.sample(fc.array(step, { minLength: 20, maxLength: 60 }), 4)
    for (const steps of runs) {
      const clients = await Promise.all(
        Array.from({ length: 8 }, async (_, n) => {
          const tenant = n % 2 === 0 ? 'acme' : 'globex'
          const subject = `${tenant}-${n}`
          return {
            tenant,
            subject,
            joined: new Set<string>(),
            wire: await connect(buses[n >> 2]!, subject, { tenant }),
          }
        }),
      )
      const name = (room: string, channel: string): string => JSON.stringify([room, channel])
      const ask = async (wire: WireClient, room: string, channel: string): Promise<string[]> => {
        const data = dataOf(await wire.command('presence', { room, channel }))
        return (data['members'] as { subject: string }[]).map(({ subject }) => subject).sort()
      }
      for (const { client: n, what, room, channel } of steps) {
        const { tenant, wire, joined } = clients[n]!
        if (what === 'join') {
          await wire.join(room, channel)
          joined.add(name(room, channel))
        } else if (what === 'leave') {
          const { status } = await wire.command('leave_channel', { room, channel })
          expect(status).toBe(joined.delete(name(room, channel)) ? 'success' : 'error')
        } else if (channel !== '*') {
          for (const subject of await ask(wire, room, channel)) expect(subject.startsWith(`${tenant}-`)).toBe(true)
        }
      }
      for (const room of rooms) {
        for (const channel of channels.filter((one) => one !== '*')) {
          for (const { tenant, wire } of clients) {
            const there = clients.filter((one) => one.tenant === tenant)
            const wanted = there
              .filter(({ joined }) => joined.has(name(room, channel)) || joined.has(name(room, '*')))
              .map(({ subject }) => subject)
            const seen = async (): Promise<boolean> => (await ask(wire, room, channel)).join() === wanted.sort().join()
            await until(seen).catch((cause: unknown) => {
              throw new Error(`${room}:${channel} of ${tenant} after ${JSON.stringify(steps)}`, { cause })
            })
          }
        }
      }
      await Promise.all(clients.map(({ wire }) => wire.close()))
    }
  })
})

onValkey('a revocation', () => {
  it('closes sessions at both buses within a second, refuses their tokens, and answers who asked for it', async () => {
    const [one, two] = [await startBus(), await startBus()]
    const [here, there] = [await connect(one, 'alice'), await connect(two, 'alice')]
    const others = [await connect(two, 'bob'), await connect(two, 'alice', { tenant: 'globex' })]
    const chief = await connect(one, 'chief', { role: 'admin' })
    const fromMs = performance.now()
    const answer = await chief.command('auth.revoke', { subject: 'alice' })
    expect(dataOf(answer)).toMatchObject({ tenant_id: 'acme', subject: 'alice' })
    const closes = await Promise.all([here.closed, there.closed])
    expect(performance.now() - fromMs).toBeLessThanOrEqual(1_000)
    expect(closes.map(({ code }) => code)).toEqual([revokedCode, revokedCode])
    for (const bus of [one, two]) await expect(connect(bus, 'alice')).rejects.toThrow()
    for (const client of others) expect((await client.command('ping')).status).toBe('success')

    // Everybody, the one who asks included: it still gets its answer.
    expect((await chief.command('auth.revoke', { everyone: true })).status).toBe('success')
    expect((await chief.closed).code).toBe(revokedCode)
    expect((await others[0]!.closed).code).toBe(revokedCode)
    expect((await others[1]!.command('ping')).status).toBe('success')
    const late = await startBus()
    await expect(connect(late, 'bob')).rejects.toThrow()
  })

  it('reaches a bus that was cut off meanwhile, when it is back', async () => {
    const proxy = await createTcpProxy(server.port)
    opened.push(proxy)
    const one = await startBus()
    const two = await startBus({ ARQONBUS_VALKEY_URL: `redis://127.0.0.1:${proxy.port}` })
    const there = await connect(two, 'alice')
    const chief = await connect(one, 'chief', { role: 'admin' })
    proxy.cut()
    expect((await chief.command('auth.revoke', { subject: 'alice' })).status).toBe('success')
    await until(async () => (await componentOf(two)).state === 'degraded')
    expect((await there.command('ping')).status).toBe('success')
    proxy.mend()
    expect((await there.closed).code).toBe(revokedCode)
    await until(async () => (await componentOf(two)).state === 'up')
  })

  it('is for admins of the tenant and for operators, who name the tenant', async () => {
    const bus = await startBus()
    const user = await connect(bus, 'bob')
    expect(await user.command('auth.revoke', { subject: 'alice' })).toMatchObject({ error_code: 'AUTHORIZATION_ERROR' })
    const chief = await connect(bus, 'chief', { role: 'admin' })
    const abroad = await chief.command('auth.revoke', { subject: 'alice', tenant_id: 'globex' })
    expect(abroad).toMatchObject({ error_code: 'TENANT_MISMATCH' })
    const root = await connect(bus, 'root', { role: 'operator', tenant: '*' })
    expect(await root.command('auth.revoke', { everyone: true })).toMatchObject({ error_code: 'VALIDATION_ERROR' })
    expect((await root.command('auth.revoke', { subject: 'bob', tenant_id: 'acme' })).status).toBe('success')
    expect((await user.closed).code).toBe(revokedCode)
    const colleague = await connect(bus, 'colleague', { role: 'operator', tenant: '*' })
    expect((await root.command('auth.revoke', { subject: 'colleague', tenant_id: '*' })).status).toBe('success')
    expect((await colleague.closed).code).toBe(revokedCode)
    const bad = await root.command('auth.revoke', { everyone: true, tenant_id: 'a b' })
    expect(bad).toMatchObject({ error_code: 'VALIDATION_ERROR', payload: { reason: 'BAD_NAME' } })
  })
})

onValkey('op.store', () => {
  it('outlives the bus, and is the same at the next', async () => {
    const one = await startBus()
    const value = { n: 1, list: ['\u{1f600}', null, 2.5], '': {} }
    await (await connect(one, 'alice')).command('op.store.set', { key: 'k', value })
    await one.close()
    const alice = await connect(await startBus(), 'alice')
    const answer = await alice.command('op.store.get', { key: 'k' })
    expect(dataOf(answer)).toEqual({ namespace: 'tenant:acme', key: 'k', found: true, value })
  })

  it('never reaches into another tenant, whatever the names (model)', async () => {
    const [one, two] = [await startBus(), await startBus()]
    const clients = new Map<string, WireClient[]>()
    for (const tenant of ['acme', 'globex']) {
      clients.set(tenant, [await connect(one, 'a', { tenant }), await connect(two, 'b', { tenant })])
    }
    const step = fc.record({
      tenant: fc.constantFrom('acme', 'globex'),
      at: fc.constantFrom(0, 1),
      what: fc.constantFrom('set', 'set', 'get', 'delete', 'list'),
      namespace: fc.constantFrom(undefined, 'tenant:acme', 'tenant:globex', 'default', 'x:y'),
      key: fc.constantFrom('k', 'x:y', 'tenant:acme', '__proto__', '\u00e9'),
    })
    let made = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
        await admin.send(['DEL', 'tenant:acme:store', 'tenant:globex:store'])
        const model = new Map<string, JsonObject>()
        for (const { tenant, at, what, namespace, key } of steps) {
          const client = clients.get(tenant)![at]!
          const space = namespace ?? `tenant:${tenant}`
          const id = JSON.stringify([tenant, space, key])
          const value = { owner: tenant, n: made++ }
          const args = { ...(namespace !== undefined && { namespace }), ...(what !== 'list' && { key }) }
          const answer = await client.command(`op.store.${what}`, { ...args, ...(what === 'set' && { value }) })
          const data = dataOf(answer)
          if (what === 'set') {
            expect(data).toEqual({ namespace: space, key, updated: model.has(id) })
            model.set(id, value)
          } else if (what === 'get') {
            expect(data).toEqual({ namespace: space, key, found: model.has(id), value: model.get(id) ?? null })
          } else if (what === 'delete') {
            expect(data).toEqual({ namespace: space, key, deleted: model.delete(id) })
          } else {
            const ids = [...model.keys()].map((text) => JSON.parse(text) as [string, string, string])
            const keys = ids.filter(([t, n]) => t === tenant && n === space).map(([, , k]) => k)
            expect(data).toEqual({ namespace: space, count: keys.length, keys: keys.sort() })
          }
        }
      }),
      { numRuns: 30 },
    )
  })
})

onValkey('the handshakes of a tenant', () => {
  it('are bounded over all buses, where a bound is set', async () => {
    const env = { ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_TENANT: '3' }
    const [one, two] = [await startBus(env), await startBus(env)]
    const attempts = await Promise.allSettled([one, two, one, two, one, two].map((bus) => connect(bus, 'alice')))
    const refused = attempts.filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThanOrEqual(2) // 3, or less where the second passed meanwhile
    await connect(one, 'alice', { tenant: 'globex' })
  })
})

onValkey('without its hot state', () => {
  it.each(['frozen', 'killed'] as const)(
    'a bus goes on with what it knows, says so, and recovers (%s)',
    async (how) => {
      const [one, two] = [await startBus(), await startBus()]
      const [alice, bob] = [await connect(one, 'alice'), await connect(two, 'bob')]
      const reader = await connect(one, 'reader')
      await alice.join('lab', 'general')
      await bob.join('lab', 'general')
      await reader.join('lab', 'general')
      const all = 'alice,bob,reader'
      await until(async () => (await shown(alice, 'presence')).subjects.join() === all)
      await alice.command('op.store.set', { key: 'k', value: 1 })

      if (how === 'frozen') await server.freeze()
      else await server.kill()
      const asking = alice.command('op.store.set', { key: 'k', value: 2 })
      // Publishing does not wait for it, not even behind the first command that does.
      let slowestMs = 0
      for (let n = 0; n < 50; n++) {
        const fromMs = performance.now()
        expect((await reader.publish('lab', 'other', { n })).status).toBe('success')
        slowestMs = Math.max(slowestMs, performance.now() - fromMs)
      }
      expect(slowestMs).toBeLessThan(500)
      expect(['STORE_TIMEOUT', 'STORE_UNAVAILABLE']).toContain((await asking).error_code)
      const fromMs = performance.now()
      const refused = await alice.command('op.store.get', { key: 'k' })
      expect(refused).toMatchObject({ status: 'error', error_code: 'STORE_UNAVAILABLE' })
      expect(JSON.stringify(refused)).not.toContain(String(server.port))
      expect(await shown(alice, 'presence')).toEqual({ subjects: ['alice', 'reader'], partial: true })
      expect(performance.now() - fromMs).toBeLessThan(1_500)
      expect((await connect(one, 'newcomer')).id).not.toBe('')
      await until(async () => (await componentOf(one)).state === 'degraded')
      expect((await componentOf(one)).ready).toBe(200)
      expect(await metricsOf(one)).toMatch(/^arqonbus_hot_state_up 0$/m)
      expect(await metricsOf(one)).toMatch(/^arqonbus_hot_state_failures_total\{operation="values"\} [1-9]/m)

      if (how === 'frozen') server.thaw()
      else await server.restart()
      await until(async () => (await componentOf(one)).state === 'up', 15_000)
      await until(async () => {
        const { subjects, partial } = await shown(alice, 'presence')
        return !partial && subjects.join() === all
      }, 15_000)
      expect(dataOf(await alice.command('op.store.get', { key: 'k' }))['found']).toBe(true)
      await until(async () => admin.isConnected)
    },
  )
})
