// History on Valkey while the server dies, freezes, is full or cut off: what was acknowledged is there, once.
import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Position } from '../../../src/envelope/envelope.ts'
import { openValkey } from '../../../src/valkey/valkey-client.ts'
import { printFigures } from '../../support/print-figures.ts'
import { chooseSeed, createSeeded } from '../../support/launch/seeded.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { createTcpProxy } from '../../support/tcp-proxy.ts'
import {
  appendUntilAnswered,
  createValkeyLab,
  failureOf,
  lobby,
  makeAppend,
  readAll,
  until,
} from '../../support/valkey-history.ts'

const tinyMemory = { maxmemory: '6mb', 'maxmemory-policy': 'noeviction' }

describe.skipIf(skipWithout('valkey'))('history on Valkey', () => {
  const lab = createValkeyLab()

  describe('when the server is killed', () => {
    // With `everysec` the server answers before it has written while an fsync of its takes long: those last ones may go,
    // but none of before them, and the epoch says so.
    it.each([
      ['always', true, 'nothing'],
      ['no', false, 'nothing'],
      ['everysec', false, 'at most the last'],
    ])('with appendfsync %s', { timeout: 60_000 }, async (appendfsync, keepsEpoch, mayLose) => {
      const server = await lab.server({ settings: { appendfsync } })
      const store = await lab.store(server.url)
      const acked = new Map<string, Position>()
      let isDone = false
      let next = 0
      async function publish(): Promise<void> {
        while (!isDone) {
          const batch = Array.from({ length: 5 }, () => makeAppend(`id-${next++}`))
          const { results } = await appendUntilAnswered(store, batch)
          for (const [i, result] of results.entries()) {
            if (!('position' in result)) throw new Error(`answered ${result.kind}`)
            acked.set(batch[i]!.id, result.position)
          }
        }
      }
      const publishers = Array.from({ length: 8 }, publish)
      const epochs = new Set([(await store.head(lobby)).epoch])
      for (let kill = 0; kill < 4; kill++) {
        const enough = acked.size + 500
        await until(() => acked.size >= enough)
        await server.kill()
        await server.restart()
        await until(async () => (await store.head(lobby).catch(() => undefined)) !== undefined)
        epochs.add((await store.head(lobby)).epoch)
      }
      isDone = true
      await Promise.all(publishers)

      const records = await readAll(store)
      const found = new Map(records.map((record) => [record.id, record.position.sequence]))
      expect(acked.size).toBeGreaterThan(2_000)
      expect(found.size).toBe(records.length)
      const lost = [...acked].filter(([id, { sequence }]) => found.get(id) !== sequence)
      printFigures(`killed with appendfsync ${appendfsync}`, { acked: acked.size, lost: lost.length })
      if (mayLose === 'nothing') expect(lost).toEqual([])
      for (const [, { epoch, sequence }] of lost) {
        const later = [...acked].filter(([id, at]) => at.epoch === epoch && at.sequence > sequence && found.has(id))
        expect(later).toEqual([])
      }
      expect(epochs.size).toBe(keepsEpoch ? 1 : 5)
      expect([...epochs]).toEqual([...epochs].toSorted((a, b) => a - b))
    })
  })

  describe('when the server freezes', () => {
    it('answers within 2 s that the outcome is unknown, refuses at once after that, and knows the id later', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      await store.append([makeAppend('before')])
      await server.freeze()
      const startedAt = performance.now()
      const late = makeAppend('late')
      expect(await failureOf(store.append([late]))).toMatchObject({ code: 'STORE_TIMEOUT' })
      expect(performance.now() - startedAt).toBeLessThan(2_200)
      const againAt = performance.now()
      expect(await failureOf(store.append([makeAppend('other')]))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(await failureOf(store.head(lobby))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(await failureOf(store.probe())).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - againAt).toBeLessThan(50)
      server.thaw()
      const { results } = await appendUntilAnswered(store, [late])
      expect(results).toMatchObject([{ kind: 'duplicate', position: { sequence: 2 } }])
      expect((await readAll(store)).map(({ id }) => id)).toEqual(['before', 'late'])
    })
  })

  describe('when replies are cut off', () => {
    /** Publishes with retries through a proxy that cuts, and says what the store then holds. */
    async function publishThroughCuts(windowMs: number) {
      const seed = chooseSeed()
      const server = await lab.server({ settings: { appendfsync: 'everysec' } })
      const proxy = await createTcpProxy(server.port, { random: createSeeded(seed), oneIn: 40 })
      lab.closeLater(() => proxy.close())
      const store = await openThroughCuts(`redis://127.0.0.1:${proxy.port}`, windowMs)
      const total = 12_000
      let next = 0
      let retries = 0
      async function publish(): Promise<void> {
        while (next < total) {
          const batch = Array.from({ length: 4 }, () => makeAppend(`id-${next++}`))
          const sent = await appendUntilAnswered(store, batch)
          retries += sent.retries
        }
      }
      await Promise.all(Array.from({ length: 4 }, publish))
      const direct = await lab.store(server.url)
      const ids = (await readAll(direct)).map(({ id }) => id)
      return { seed, cuts: proxy.repliesCut, retries, published: next, stored: ids.length, unique: new Set(ids).size }
    }

    async function openThroughCuts(url: string, windowMs: number) {
      for (;;) {
        const store = await lab.store(url, { dedup: { maxAgeMs: windowMs, maxIds: 1_000_000 } }).catch(() => undefined)
        if (store !== undefined) return store
      }
    }

    it('stores each id once, though publishers send again', { timeout: 90_000 }, async () => {
      const { seed, cuts, retries, published, stored, unique } = await publishThroughCuts(600_000)
      printFigures('replies cut off', { seed, cuts, retries, published })
      expect(cuts).toBeGreaterThan(20)
      expect({ seed, unique, stored }).toEqual({ seed, unique: published, stored: published })
    })

    it('would store some twice without the window of ids', { timeout: 90_000 }, async () => {
      const { unique, published, stored } = await publishThroughCuts(0)
      expect(unique).toBe(published)
      expect(stored).toBeGreaterThan(published)
    })
  })

  describe('when the server cannot store', () => {
    it('says so when memory is full, keeps what it acknowledged, and goes on when there is room', async () => {
      const server = await lab.server({ settings: tinyMemory })
      const store = await lab.store(server.url)
      const acked: string[] = []
      let failure: unknown
      for (let n = 0; failure === undefined && n < 5_000; n++) {
        const id = `id-${n}`
        await store.append([makeAppend(id, { frame: new Uint8Array(16_384) })]).then(
          () => acked.push(id),
          (error: unknown) => {
            failure = error
          },
        )
      }
      expect(failure).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'OOM' } })
      expect(acked.length).toBeGreaterThan(50)
      expect((await readAll(store)).map(({ id }) => id)).toEqual(acked)
      expect((await store.head(lobby)).last).toBe(acked.length)
      await config(server.url, 'maxmemory', '0')
      expect(await store.append([makeAppend('more')])).toMatchObject([{ position: { sequence: acked.length + 1 } }])
    })

    it('says so when the disk is full, keeps what it acknowledged, and goes on when there is room', async (context) => {
      const disk = mountSmallDisk(8)
      if (disk === undefined) return context.skip('only root can mount a small disk')
      lab.closeLater(async () => disk.unmount())
      const server = await lab.server({ settings: { dir: disk.path, appendfsync: 'everysec' } })
      const store = await lab.store(server.url)
      const acked: string[] = []
      let failure: unknown
      await until(async () => {
        const id = `id-${acked.length}`
        await store.append([makeAppend(id, { frame: new Uint8Array(65_536) })]).then(
          () => acked.push(id),
          (error: unknown) => {
            failure = error
          },
        )
        return failure !== undefined
      })
      expect(failure).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'MISCONF' } })
      expect((await readAll(store)).map(({ id }) => id)).toEqual(acked)
      disk.grow(64)
      const { results } = await appendUntilAnswered(store, [makeAppend('more')])
      expect(results).toMatchObject([{ kind: 'stored', position: { sequence: acked.length + 1 } }])
    })

    it('says that the server loads, while it loads', { timeout: 60_000 }, async () => {
      const server = await lab.server({ settings: { 'key-load-delay': '400' } })
      const store = await lab.store(server.url)
      await store.append([makeAppend('a'), makeAppend('b')])
      // The server lets others in only after each thousand commands that it loads.
      const client = await openValkey({ url: server.url, name: 'test', logger: silentLogger })
      const fillers = Array.from({ length: 10_000 }, (_, i) => client.send(['SET', 'filler', String(i)]))
      await Promise.all(fillers)
      await client.close()
      await server.kill()
      const restarted = server.restart()
      const reasons = new Set<unknown>()
      await until(async () => {
        const error = await store.head(lobby).then(
          () => undefined,
          (failure: unknown) => failure,
        )
        if (isBusError(error)) reasons.add(error.details['reason'])
        return error === undefined
      }, 30_000)
      await restarted
      expect([...reasons]).toContain('LOADING')
      expect((await store.head(lobby)).last).toBe(2)
    })

    it('refuses a server that dies on the way without saying that nothing was stored', async () => {
      const server = await lab.server()
      const store = await lab.store(server.url)
      await store.append([makeAppend('before')])
      await server.freeze()
      const pending = failureOf(store.append([makeAppend('a')]))
      await new Promise((resolve) => setTimeout(resolve, 100)) // written by then
      await server.kill()
      expect(await pending).toMatchObject({ code: 'STORE_TIMEOUT' })
      expect(await failureOf(lab.store(server.url))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        details: { reason: 'ECONNREFUSED' },
      })
    })
  })

  async function config(url: string, name: string, value: string): Promise<void> {
    const client = await openValkey({ url, name: 'test', logger: silentLogger })
    await client.send(['CONFIG', 'SET', name, value])
    await client.close()
  }
})

/** A file system of so many MiB; undefined where this user may not mount one. */
function mountSmallDisk(mebibytes: number) {
  const path = mkdtempSync(join(tmpdir(), 'arqonbus-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=777`, 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  return {
    path,
    grow: (to: number) => execFileSync('mount', ['-o', `remount,size=${to}m`, path]),
    unmount: () => execFileSync('umount', ['-l', path]),
  }
}
