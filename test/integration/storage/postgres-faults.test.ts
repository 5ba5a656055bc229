// The Postgres store under the faults of a real server: killed, frozen, answers lost, disk full, sessions ended.
import { execFile } from 'node:child_process'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HistoryStore } from '../../../src/storage/store.ts'
import {
  appendUntilCertain,
  eventually,
  everything,
  labKey,
  labRequest,
  openPostgresLab,
  type PostgresLab,
} from '../../support/postgres-lab.ts'
import { createReplyCuttingProxy } from '../../support/reply-cutting-proxy.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const run = promisify(execFile)

async function readIds(store: HistoryStore): Promise<string[]> {
  const records = await store.readBySequence({ key: labKey, after: 0, ...everything })
  expect(records.map(({ position }) => position.sequence)).toEqual(records.map((_, i) => i + 1))
  return records.map(({ id }) => id)
}

/** Publishes `count` ids from 8 publishers, each retried until certain; gives the ids by sequence. */
async function publishAll(store: HistoryStore, count: number): Promise<Map<number, string>> {
  const acked = new Map<number, string>()
  let next = 0
  async function publisher(): Promise<void> {
    while (next < count) {
      const id = `id-${next++}`
      const result = await appendUntilCertain(store, labRequest(id))
      if (!('position' in result)) throw new Error(result.kind)
      acked.set(result.position.sequence, id)
    }
  }
  await Promise.all(Array.from({ length: 8 }, publisher))
  return acked
}

describe.skipIf(skipWithout('postgres'))('the Postgres store', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab()
  })
  afterAll(() => lab.close())

  it('loses nothing and stores nothing twice when the server is killed and restarted under appends', async () => {
    const database = await lab.newDatabase()
    const store = await database.open()
    const { epoch } = await store.head(labKey)
    const publishing = publishAll(store, 4_000)
    for (let kill = 1; kill <= 4; kill++) {
      await eventually(async () => (await store.head(labKey)).last >= kill * 400)
      await lab.server.kill()
      await lab.server.restart()
    }
    const acked = await publishing
    // The last append may have been answered before the last kill: whoever reads then waits for the server.
    await eventually(async () => (await store.head(labKey)).last === 4_000)
    const ids = await readIds(store)
    expect(ids.length).toBe(4_000)
    expect(new Set(ids).size).toBe(4_000)
    for (const [sequence, id] of acked) expect(ids[sequence - 1]).toBe(id)
    expect((await store.head(labKey)).epoch).toBe(epoch)
    expect(lab.server.log()).toContain('automatic recovery in progress')
  }, 60_000)

  it('answers STORE_TIMEOUT within 2 s when the server stands still, and knows what landed late', async () => {
    const database = await lab.newDatabase()
    const store = await database.open()
    await store.append([labRequest('before')])
    await lab.server.freeze()
    const startedAt = performance.now()
    const settled = await Promise.allSettled([
      store.append([labRequest('late')]),
      store.head(labKey),
      store.readBySequence({ key: labKey, after: 0, ...everything }),
      store.readByTime({ tenant: 'acme', order: 'newest', ...everything }),
      store.stats(),
      store.probe(),
    ])
    for (const call of settled) expect(call).toMatchObject({ status: 'rejected', reason: { code: 'STORE_TIMEOUT' } })
    expect(performance.now() - startedAt).toBeLessThan(2_050)
    // From then on it is certain that nothing is sent.
    await expect(store.append([labRequest('never')])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(database.open()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    lab.server.thaw()
    await eventually(async () => (await store.head(labKey)).last === 2)
    await eventually(async () => {
      await store.probe()
      return true
    })
    expect(await store.append([labRequest('late'), labRequest('never')])).toMatchObject([
      { kind: 'duplicate', position: { sequence: 2 } },
      { kind: 'stored', position: { sequence: 3 } },
    ])
  })

  it('closes within a second on a server that stands still', async () => {
    const database = await lab.newDatabase()
    const store = await database.open()
    await lab.server.freeze()
    try {
      const startedAt = performance.now()
      await store.close()
      expect(performance.now() - startedAt).toBeLessThan(1_000)
    } finally {
      lab.server.thaw()
    }
  })

  describe('behind a proxy that loses answers', () => {
    async function publishThroughLoss(windowMs: number) {
      const database = await lab.newDatabase()
      let seed = 12_345
      const random = (): number => {
        seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
        return seed / 2 ** 31
      }
      const proxy = await createReplyCuttingProxy(lab.server.port, random)
      const url = database.url.replace(/:\d+\//, `:${proxy.port}/`)
      const store = await database.open({ url, dedup: { maxAgeMs: windowMs } })
      proxy.setLoss(0.03)
      const acked = await publishAll(store, 3_000)
      proxy.setLoss(0)
      const { cuts } = proxy
      const ids = await readIds(await database.open())
      await store.close()
      await proxy.close()
      return { acked, ids, cuts, repeated: ids.length - new Set(ids).size }
    }

    it('stores each id once, at the position it acknowledges', async () => {
      const { acked, ids, cuts, repeated } = await publishThroughLoss(600_000)
      expect(cuts).toBeGreaterThan(20)
      expect([repeated, ids.length, acked.size]).toEqual([0, 3_000, 3_000])
      for (const [sequence, id] of acked) expect(ids[sequence - 1]).toBe(id)
    }, 60_000)

    it('would store some twice without dedup, so the test can fail', async () => {
      expect((await publishThroughLoss(0)).repeated).toBeGreaterThan(0)
    }, 60_000)
  })

  it('lets two stores retry the same ids at once: each is stored once, nothing deadlocks', async () => {
    const database = await lab.newDatabase()
    const stores = [await database.open(), await database.open()]
    const tenants = ['a', 'b', 'c']
    const ids = Array.from({ length: 400 }, (_, i) => `id-${i}`)
    const requests = ids.map((id, i) =>
      labRequest(id, { key: { tenant: tenants[i % 3]!, room: 'r', channel: `c${i % 7}` } }),
    )
    const shuffled = fc.sample(fc.shuffledSubarray(requests, { minLength: requests.length }), { numRuns: 8, seed: 7 })
    const kinds = new Map<string, string[]>()
    await Promise.all(
      shuffled.map(async (order, n) => {
        for (let at = 0; at < order.length; at += 20) {
          const batch = order.slice(at, at + 20)
          const results = await stores[n % 2]!.append(batch)
          for (const [i, { id }] of batch.entries()) kinds.set(id, [...(kinds.get(id) ?? []), results[i]!.kind])
        }
      }),
    )
    for (const id of ids) {
      expect(kinds.get(id)!.filter((kind) => kind === 'stored')).toHaveLength(1)
      expect(kinds.get(id)!.filter((kind) => kind === 'duplicate')).toHaveLength(7)
    }
    expect(await stores[0]!.stats()).toMatchObject({ records: 400, streams: 21 })
    const [row] = await database.query('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()')
    expect(row).toEqual({ deadlocks: '0' })
  })

  it('trims while it appends: nothing deadlocks, nothing is refused, and the newest stay', async () => {
    const database = await lab.newDatabase()
    const retention = { maxRecords: 50 }
    const stores = [await database.open({ retention }), await database.open({ retention })]
    const channels = Array.from({ length: 10 }, (_, i) => ({ ...labKey, channel: `c${i}` }))
    await Promise.all(
      stores.flatMap((store, s) =>
        Array.from({ length: 4 }, async (_, p) => {
          for (let n = 0; n < 100; n++) {
            await store.append(channels.map((key) => labRequest(`id-${s}-${p}-${n}`, { key })))
          }
        }),
      ),
    )
    const store = stores[0]!
    await eventually(async () => (await store.stats()).records === 500)
    for (const key of channels) expect(await store.head(key)).toMatchObject({ first: 751, last: 800 })
    const [row] = await database.query(
      'SELECT count(*)::int AS n, sum(octet_length(frame))::int AS bytes FROM arqonbus_records',
    )
    expect(row).toEqual({ n: 500, bytes: (await store.stats()).bytes })
    const [deadlocks] = await database.query(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    )
    expect(deadlocks).toEqual({ deadlocks: '0' })
  })

  it('refuses for certain what the server can no longer write, reads on, and writes again without a restart', async () => {
    const database = await lab.newDatabase()
    const store = await database.open()
    await store.append([labRequest('before')])
    const endSessions = () =>
      database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'arqonbus'")
    await database.query(`ALTER DATABASE ${database.name} SET default_transaction_read_only = on`)
    await endSessions()
    await eventually(async () => store.report().faults.some(({ code }) => code === 'READ_ONLY'))
    const refused = { code: 'STORE_UNAVAILABLE', details: { reason: 'READ_ONLY' } }
    await eventually(async () => (await store.head(labKey)).last === 1)
    await expect(store.append([labRequest('not')])).rejects.toMatchObject(refused)
    await expect(store.probe()).rejects.toMatchObject(refused)
    await lab.server.query(`ALTER DATABASE ${database.name} RESET default_transaction_read_only`)
    await endSessions()
    await eventually(async () => store.report().faults.length === 0)
    expect(await appendUntilCertain(store, labRequest('not'))).toMatchObject({
      kind: 'stored',
      position: { sequence: 2 },
    })
  })

  it('refuses with DISK_FULL while the disk is full, and stores again when there is room', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'arqonbus-full-'))
    const mounting = ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs', folder]
    const isMounted = await run('mount', mounting).then(
      () => true,
      () => false,
    )
    if (!isMounted) {
      await rm(folder, { recursive: true })
      test.skip('a disk of limited size needs the right to mount')
    }
    const uid = Number((await run('id', ['-u', 'postgres'])).stdout)
    const space = join(folder, 'space')
    try {
      await run('install', ['-d', '-o', 'postgres', '-m', '0700', space])
      await chown(folder, uid, -1)
      await lab.server.query(`CREATE TABLESPACE small LOCATION '${space}'`)
      const database = await lab.newDatabase()
      await lab.server.query(`ALTER DATABASE ${database.name} SET TABLESPACE small`)
      const store = await database.open()
      const frame = new Uint8Array(100_000).fill(1)
      let stored = 0
      const filling = async (): Promise<never> => {
        for (;;) {
          await store.append([labRequest(`id-${stored}`, { frame })])
          stored++
        }
      }
      await expect(filling()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'DISK_FULL' } })
      expect(await readIds(store)).toHaveLength(stored)
      await run('mount', ['-o', 'remount,size=64m', folder])
      expect(await store.append([labRequest(`id-${stored}`, { frame })])).toMatchObject([
        { kind: 'stored', position: { sequence: stored + 1 } },
      ])
      await store.close()
      await lab.server.query(`DROP DATABASE ${database.name} WITH (FORCE)`)
      await lab.server.query('DROP TABLESPACE small')
    } finally {
      await run('umount', ['-l', folder])
      await rm(folder, { recursive: true })
    }
  })
})
