// What history on Valkey says of itself, and when its epochs rise: as the server is, not as we would like it.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { createKeyNames } from '../../../src/storage/valkey/keys.ts'
import { isAtLeast, type ServerFacts } from '../../../src/valkey/facts.ts'
import { openValkey } from '../../../src/valkey/valkey-client.ts'
import { createStandingClock } from '../../support/contracts/history-store.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { createValkeyLab, failureOf, lobby, makeAppend, readAll, until } from '../../support/valkey-history.ts'

const isNew = ({ version }: ServerFacts): boolean => isAtLeast(version, 7, 2)
const keys = createKeyNames('history').of(lobby)

describe.skipIf(skipWithout('valkey'))('history on Valkey', () => {
  const lab = createValkeyLab()
  const admins: { close(): Promise<void> }[] = []
  afterEach(async () => {
    for (const admin of admins.splice(0)) await admin.close()
  })
  async function adminOf(url: string) {
    const admin = await openValkey({ url, name: 'test', logger: silentLogger })
    admins.push(admin)
    return admin
  }

  describe('reports', () => {
    it.each([
      [{ appendfsync: 'always' }, 'disk', []],
      [{ appendfsync: 'everysec' }, 'process', []],
      [{ appendfsync: 'no' }, 'process', []],
      [{ 'no-appendfsync-on-rewrite': 'yes' }, 'process', []],
      [{ appendonly: 'no' }, 'memory', ['NOT_PERSISTED']],
      [{ appendonly: 'no', save: '3600 1' }, 'memory', ['NOT_PERSISTED']],
      [{ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' }, 'disk', ['EVICTS']],
      [{ maxmemory: '100mb', 'maxmemory-policy': 'volatile-ttl' }, 'disk', ['EVICTS']],
      [{ maxmemory: '100mb', 'maxmemory-policy': 'noeviction' }, 'disk', []],
    ] as const)('%o as level %s, faults %j', async (settings, level, faults) => {
      const server = await lab.server({ settings })
      const store = await lab.store(server.url)
      expect(store.report()).toMatchObject({ level, faults: faults.map((code) => ({ code })) })
      expect(store.capabilities.level).toBe(level)
      for (const { found, fix } of store.report().faults) expect(`${found} ${fix}`).not.toContain('undefined')
    })

    /** The address of a user who may use our keys, but not read the configuration. */
    async function managedUrl(port: number, ...more: readonly string[]): Promise<string> {
      const admin = await adminOf(`redis://127.0.0.1:${port}`)
      const rules = ['on', '>pw', '~arqonbus:*', '+@all', '-@admin', '-@dangerous', '+info', ...more]
      await admin.send(['ACL', 'SETUSER', 'managed', ...rules])
      return `redis://managed:pw@127.0.0.1:${port}`
    }

    it('claims nothing where CONFIG GET is refused and nothing proves a write, and works all the same', async () => {
      const server = await lab.server()
      const admin = await adminOf(server.url)
      const store = await lab.store(await managedUrl(server.port, ...(isNew(admin.facts) ? ['-waitaof'] : [])))
      expect(store.report()).toMatchObject({ level: 'memory', faults: [{ code: 'NO_PROOF' }] })
      expect(await store.append([makeAppend('a')])).toMatchObject([{ kind: 'stored' }])
      await store.probe()
    })

    it('has each append proven where CONFIG GET is refused and the server can prove it', async (context) => {
      const server = await lab.server({ settings: { appendfsync: 'everysec' } })
      const admin = await adminOf(server.url)
      if (!isNew(admin.facts)) return context.skip(`WAITAOF needs 7.2, this is ${admin.facts.version}`)
      const store = await lab.store(await managedUrl(server.port), { refreshEveryMs: 60_000 })
      expect(store.report()).toMatchObject({ level: 'disk', faults: [] })
      expect(await store.append([makeAppend('a')])).toMatchObject([{ kind: 'stored' }])
      expect(String(await admin.send(['INFO', 'commandstats']))).toMatch(/cmdstat_waitaof:calls=[2-9]/)
      await admin.send(['CONFIG', 'SET', 'appendonly', 'no'])
      expect(await failureOf(store.append([makeAppend('b')]))).toMatchObject({
        code: 'STORE_TIMEOUT',
        details: { reason: 'NOT_PROVEN_ON_DISK' },
      })
    })

    it('sees what is changed while it runs', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url, { refreshEveryMs: 50 })
      expect(store.capabilities.level).toBe('disk')
      const admin = await adminOf(server.url)
      await admin.send(['CONFIG', 'SET', 'appendfsync', 'everysec'])
      await until(() => store.capabilities.level === 'process')
      await admin.send(['CONFIG', 'SET', 'appendonly', 'no'])
      await until(() => store.report().faults[0]?.code === 'NOT_PERSISTED')
      expect(store.capabilities.level).toBe('memory')
    })

    it('says of a replica that it is read-only, and refuses to append there', async () => {
      const primary = await lab.server()
      await (await lab.store(primary.url)).append([makeAppend('a')])
      const replica = await lab.server({ settings: { replicaof: `127.0.0.1 ${primary.port}` } })
      const store = await lab.store(replica.url)
      expect(store.report().faults).toMatchObject([{ code: 'READ_ONLY' }])
      expect(await failureOf(store.append([makeAppend('b')]))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        details: { reason: 'READONLY' },
      })
      await until(async () => (await readAll(store)).length === 1)
    })

    it('refuses to open with a wrong password, and tells that from an outage', async () => {
      const server = await lab.server({ password: 'right' })
      const opening = lab.store(`redis://:wrong@127.0.0.1:${server.port}`)
      expect(await failureOf(opening)).toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'DENIED' } })
      await lab.store(server.url)
    })

    it('names other data by another identity, the same data by the same', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url, { refreshEveryMs: 50 })
      const { identity } = store.report()
      expect((await lab.store(server.url)).report().identity).toBe(identity)
      await (await adminOf(server.url)).send(['FLUSHALL'])
      await until(() => store.report().identity !== identity)
      expect(store.report().identity).toMatch(/^valkey:[0-9a-f]{32}$/)
    })
  })

  describe('epochs', () => {
    it('rise when all data are lost, and the stream is listed again', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      await store.append([makeAppend('a'), makeAppend('b')])
      const before = await store.head(lobby)
      await (await adminOf(server.url)).send(['FLUSHALL'])
      const lost = await store.head(lobby)
      expect(lost).toMatchObject({ first: 1, last: 0 })
      expect(lost.epoch).toBeGreaterThan(before.epoch)
      expect(await store.append([makeAppend('a')])).toEqual([
        { kind: 'stored', position: { epoch: lost.epoch, sequence: 1 } },
      ])
      expect(await store.streams('acme')).toEqual([lobby])
    })

    it('rise when the server has less than was acknowledged', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      const admin = await adminOf(server.url)
      await store.append([makeAppend('a'), makeAppend('b')])
      const names = Object.values(keys)
      const dumps = await Promise.all(names.map((name) => admin.send(['DUMP', name])))
      await store.append([makeAppend('c')])
      const before = await store.head(lobby)
      for (const [i, name] of names.entries()) await admin.send(['RESTORE', name, '0', dumps[i] as Buffer, 'REPLACE'])
      const [result] = await store.append([makeAppend('d')])
      expect(result).toMatchObject({ kind: 'stored', position: { sequence: 3 } })
      const after = await store.head(lobby)
      expect(after.epoch).toBeGreaterThan(before.epoch)
      expect((await readAll(store)).map(({ id }) => id)).toEqual(['a', 'b', 'd'])
      // The same old state once more: an epoch that was given out is not given again.
      for (const [i, name] of names.entries()) await admin.send(['RESTORE', name, '0', dumps[i] as Buffer, 'REPLACE'])
      const third = await store.append([makeAppend('d')])
      expect(third).toMatchObject([{ kind: 'stored', position: { sequence: 3 } }])
      expect((await store.head(lobby)).epoch).toBeGreaterThan(after.epoch)
      // What was lost may come again: its id went with it.
      expect(await store.append([makeAppend('c')])).toMatchObject([{ kind: 'stored', position: { sequence: 4 } }])
    })

    it('rise when records were thrown away, and no sequence is used again', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      await store.append([makeAppend('a'), makeAppend('b')])
      const before = await store.head(lobby)
      await (await adminOf(server.url)).send(['DEL', keys.log])
      const after = await store.head(lobby)
      expect(after).toMatchObject({ first: 3, last: 2 })
      expect(after.epoch).toBeGreaterThan(before.epoch)
      expect(await store.append([makeAppend('c')])).toMatchObject([{ position: { epoch: after.epoch, sequence: 3 } }])
      expect((await readAll(store)).map(({ id }) => id)).toEqual(['c'])
      expect(await store.head(lobby)).toEqual({ ...after, last: 3 })
    })

    it('start over behind what is left of a stream whose extent is gone', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      await store.append([makeAppend('a'), makeAppend('b')])
      await (await adminOf(server.url)).send(['DEL', keys.meta])
      expect(await store.append([makeAppend('a')])).toMatchObject([{ kind: 'stored', position: { sequence: 1 } }])
      expect((await readAll(store)).map(({ id }) => id)).toEqual(['a'])
    })

    it('stay across restarts of ours and, at level disk, of the server', async () => {
      const server = await lab.server()
      const first = await lab.store(server.url)
      await first.append([makeAppend('a')])
      const { epoch } = await first.head(lobby)
      await first.close()
      await server.kill()
      await server.restart()
      const second = await lab.store(server.url)
      expect(await second.head(lobby)).toEqual({ epoch, first: 1, last: 1 })
      expect(await second.append([makeAppend('a'), makeAppend('b')])).toMatchObject([
        { kind: 'duplicate', position: { epoch, sequence: 1 } },
        { kind: 'stored', position: { epoch, sequence: 2 } },
      ])
    })

    it('rise below level disk with every restart of the server, once, also when only reading', async () => {
      const server = await lab.server({ settings: { appendfsync: 'everysec' } })
      const first = await lab.store(server.url)
      await first.append([makeAppend('a')])
      const before = await first.head(lobby)
      await first.close()
      await server.kill()
      await server.restart()
      const second = await lab.store(server.url)
      const after = await second.head(lobby)
      expect(after.epoch).toBeGreaterThan(before.epoch)
      expect(await second.head(lobby)).toEqual(after)
      expect(await second.append([makeAppend('b')])).toMatchObject([{ position: { epoch: after.epoch, sequence: 2 } }])
    })

    it('makes no key for a stream that is only asked for', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      const admin = await adminOf(server.url)
      const before = await admin.send(['DBSIZE'])
      const { epoch } = await store.head(lobby)
      await readAll(store)
      expect(await admin.send(['DBSIZE'])).toBe(before)
      expect(await store.append([makeAppend('a')])).toMatchObject([{ position: { epoch, sequence: 1 } }])
    })
  })

  it('counts the ids of a tenant right after a restart, over all its streams', async () => {
    const server = await lab.server()
    const dedup = { maxAgeMs: 600_000, maxIds: 3 }
    const elsewhere = { ...lobby, room: 'elsewhere' }
    const first = await lab.store(server.url, { dedup })
    await first.append([makeAppend('a'), makeAppend('b', { key: elsewhere })])
    await first.close()
    const second = await lab.store(server.url, { dedup })
    expect(await second.append([makeAppend('c'), makeAppend('d', { key: elsewhere }), makeAppend('a')])).toMatchObject([
      { kind: 'stored' },
      { kind: 'dedup-full' },
      { kind: 'duplicate' },
    ])
  })

  it('goes on when the server has forgotten the scripts', async () => {
    const server = await lab.server()
    const store = await lab.store(server.url)
    await store.append([makeAppend('a')])
    await (await adminOf(server.url)).send(['SCRIPT', 'FLUSH'])
    const batches = Array.from({ length: 20 }, (_, i) => store.append([makeAppend(`id-${i}`)]))
    const results = (await Promise.all(batches)).flat()
    expect(results).toMatchObject(Array.from({ length: 20 }, (_, i) => ({ position: { sequence: i + 2 } })))
  })

  it('removes what is past its age from idle streams too, and forgets ids past their window', async () => {
    const clock = createStandingClock()
    const server = await lab.server()
    const admin = await adminOf(server.url)
    const retention = { maxRecords: 1_000, maxBytes: 2 ** 40, maxAgeMs: 1_000 }
    const dedup = { maxAgeMs: 500, maxIds: 1_000 }
    const store = await lab.store(server.url, { clock, retention, dedup, tidyEveryMs: 20 })
    await store.append(Array.from({ length: 700 }, (_, i) => makeAppend(`id-${i}`, { atMs: clock.now() })))
    await store.append([makeAppend('last', { atMs: clock.now() })])
    clock.advance(1_001)
    await until(async () => (await store.head(lobby)).first === 702)
    await until(async () => (await admin.send(['HLEN', keys.ids])) === 0)
    expect(await admin.send(['LLEN', keys.order])).toBe(0)
    expect(await store.stats()).toMatchObject({ streams: 0, records: 0, bytes: 0 })
    expect(await store.append([makeAppend('more', { atMs: clock.now() })])).toMatchObject([
      { position: { sequence: 702 } },
    ])
  })

  it('keeps count of bytes and records through trims, conflicts and repeats', async () => {
    const server = await lab.server()
    const retention = { maxRecords: 50, maxBytes: 1_000, maxAgeMs: 86_400_000 }
    const store = await lab.store(server.url, { retention })
    for (let n = 0; n < 60; n++) {
      const batch = Array.from({ length: 1 + (n % 7) }, (_, i) =>
        makeAppend(`id-${(n * 5 + i) % 200}`, { frame: new Uint8Array((n * 13 + i) % 90) }),
      )
      await store.append(batch)
    }
    const records = await readAll(store)
    const bytes = records.reduce((sum, { frame }) => sum + frame.length, 0)
    expect(await store.stats()).toMatchObject({ records: records.length, bytes })
    expect(bytes).toBeLessThanOrEqual(1_000)
    expect(records.length).toBeLessThanOrEqual(50)
    const { first, last } = await store.head(lobby)
    expect(records.map(({ position }) => position.sequence)).toEqual(
      Array.from({ length: last - first + 1 }, (_, i) => first + i),
    )
  })
  it('loses nothing by a call that stores nothing and finds records past their age', async () => {
    const clock = createStandingClock()
    const server = await lab.server()
    const retention = { maxRecords: 1_000, maxBytes: 2 ** 40, maxAgeMs: 1_000 }
    const store = await lab.store(server.url, { clock, retention })
    const append = (id: string, atMs: number) => store.append([makeAppend(id, { atMs })])
    const old = clock.now()
    await append('old', old)
    clock.advance(600)
    const [young] = await append('young', clock.now())
    clock.advance(600)
    expect(await append('young', clock.now())).toMatchObject([{ kind: 'duplicate' }])
    expect(await append('new', clock.now())).toMatchObject([
      { kind: 'stored', position: { epoch: (young as { position: { epoch: number } }).position.epoch, sequence: 3 } },
    ])
    expect((await readAll(store)).map(({ id }) => id)).toEqual(['young', 'new'])
  })

  it('keeps exactly what its bounds allow, whatever was stored together', async () => {
    const server = await lab.server({ settings: { appendfsync: 'no' } })
    const batch = fc.record({
      passesMs: fc.oneof(fc.constant(0), fc.nat(400)),
      /** Of each record: its bytes, and how long before now it was taken. */
      records: fc.array(fc.tuple(fc.nat(60), fc.oneof(fc.constant(0), fc.nat(900))), { minLength: 1, maxLength: 9 }),
      repeats: fc.boolean(),
    })
    const bounds = { maxRecords: fc.integer({ min: 1, max: 12 }), maxBytes: fc.integer({ min: 40, max: 500 }) }
    let runs = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(batch, { maxLength: 20 }),
        fc.record(bounds),
        async (batches, { maxRecords, maxBytes }) => {
          const clock = createStandingClock()
          const retention = { maxRecords, maxBytes, maxAgeMs: 1_000 }
          const store = await lab.store(server.url, {
            clock,
            retention,
            family: `bounds-${runs++}`,
            tidyEveryMs: 2 ** 30,
          })
          let kept: { id: string; atMs: number; bytes: number }[] = []
          let n = 0
          for (const { passesMs, records, repeats } of batches) {
            clock.advance(passesMs)
            const nowMs = clock.now()
            const fresh = records.map(([bytes, ageMs]) => ({ id: `id-${n++}`, atMs: nowMs - ageMs, bytes }))
            const again = repeats && n > fresh.length ? [makeAppend('id-0', { atMs: nowMs })] : []
            await store.append([
              ...again,
              ...fresh.map(({ id, atMs, bytes }) => makeAppend(id, { atMs, frame: new Uint8Array(bytes) })),
            ])
            kept.push(...fresh)
            const bytesKept = () => kept.reduce((sum, { bytes }) => sum + bytes, 0)
            const isOver = () => kept.length > 1 && (kept.length > maxRecords || bytesKept() > maxBytes)
            while (kept.length > 0 && (nowMs - kept[0]!.atMs > 1_000 || isOver())) kept = kept.slice(1)
            expect((await readAll(store)).map(({ id }) => id)).toEqual(kept.map(({ id }) => id))
            const { bytes } = await store.stats()
            expect(bytes).toBeGreaterThanOrEqual(bytesKept())
            expect(bytes).toBeLessThanOrEqual(Math.max(maxBytes, bytesKept()))
          }
          await store.close()
        },
      ),
      { numRuns: 60 },
    )
  })
})
