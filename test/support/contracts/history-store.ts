// The promises of src/storage/store.ts as tests: every backend runs this suite, and none is a store before it passes.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import type { StreamKey } from '../../../src/envelope/envelope.ts'
import type {
  AppendRequest,
  AppendResult,
  DedupWindow,
  HistoryStore,
  Retention,
  StoredRecord,
} from '../../../src/storage/store.ts'

export interface StoreUnderTest {
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
}

const startMs = Date.UTC(2026, 0, 1)

/** A clock that stands still until it is told how much later it is. */
export function createStandingClock(): Clock & { advance(ms: number): void } {
  let nowMs = startMs
  return {
    now: () => nowMs,
    monotonic: () => nowMs,
    advance(ms) {
      nowMs += ms
    },
  }
}

const keepAll: Retention = { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 365 * 86_400_000 }
const wideWindow: DedupWindow = { maxAgeMs: 600_000, maxIds: 1_000_000 }
const everything = { limit: 1_000_000, maxBytes: 2 ** 40 }
const lobby: StreamKey = { tenant: 'acme', room: 'lobby', channel: 'general' }

const hashOf = (text: string) =>
  new Uint8Array(16).fill(text.length).map((byte, i) => byte + text.charCodeAt(i % text.length))
const sequences = (records: readonly StoredRecord[]) => records.map((record) => record.position.sequence)
const ids = (records: readonly StoredRecord[]) => records.map((record) => record.id)
const outcomes = (results: readonly AppendResult[]) =>
  results.map((result) => ('position' in result ? `${result.kind} ${result.position.sequence}` : result.kind))

/** Waits until `isTrue`, asking again and again; trimming is promised soon, not at once. */
async function eventually(isTrue: () => Promise<boolean>, deadlineMs = 5_000): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error('did not come true in time')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** `open` gives a new, empty store each time. */
export function historyStoreContract(name: string, open: (given: StoreUnderTest) => Promise<HistoryStore>): void {
  describe(`${name} keeps the promises of a history store`, () => {
    const opened: HistoryStore[] = []
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((store) => store.close()))
    })

    async function setUp({
      retention = {},
      dedup = {},
    }: {
      retention?: Partial<Retention>
      dedup?: Partial<DedupWindow>
    } = {}) {
      const clock = createStandingClock()
      const store = await open({ clock, retention: { ...keepAll, ...retention }, dedup: { ...wideWindow, ...dedup } })
      opened.push(store)
      const make = (id: string, more: Partial<AppendRequest> = {}): AppendRequest => ({
        key: lobby,
        id,
        hash: hashOf(id),
        sender: 'arq_client_1',
        frame: new TextEncoder().encode(`frame of ${id}`),
        atMs: clock.now(),
        ...more,
      })
      const append = async (...requests: AppendRequest[]) => outcomes(await store.append(requests))
      const readAll = (key = lobby) => store.readBySequence({ key, after: 0, ...everything })
      return { clock, store, make, append, readAll }
    }

    describe('appending', () => {
      it('counts from 1 in the order of the batch and of the calls, each stream for itself', async () => {
        const { store, make, append, readAll } = await setUp()
        const other = { ...lobby, channel: 'other' }
        expect(await append(make('a'), make('b'), make('x', { key: other }), make('c'))).toEqual([
          'stored 1',
          'stored 2',
          'stored 1',
          'stored 3',
        ])
        expect(await append(make('d'))).toEqual(['stored 4'])
        expect(ids(await readAll())).toEqual(['a', 'b', 'c', 'd'])
        expect(ids(await readAll(other))).toEqual(['x'])
        expect(await append()).toEqual([])
        expect((await store.head(lobby)).epoch).toBeGreaterThanOrEqual(1)
      })

      it('leaves no hole and keeps the order of calls under 200 concurrent batches', async () => {
        const { store, make, readAll } = await setUp()
        const batches = Array.from({ length: 200 }, (_, b) => Array.from({ length: 7 }, (_, i) => make(`${b}-${i}`)))
        const results = await Promise.all(batches.map((batch) => store.append(batch)))
        const given = results.flat().map((result) => (result.kind === 'stored' ? result.position.sequence : 0))
        expect(given).toEqual(Array.from({ length: 1_400 }, (_, i) => i + 1))
        expect(ids(await readAll())).toEqual(batches.flat().map((request) => request.id))
      })

      it('raises the epoch of one stream where it can, and counts on in it', async (context) => {
        const { store, make, append } = await setUp()
        if (store.raiseEpoch === undefined) context.skip('one epoch for all streams of this store')
        const other = { ...lobby, channel: 'other' }
        await append(make('a'), make('x', { key: other }))
        const [before, beside] = [await store.head(lobby), await store.head(other)]
        const raised = await store.raiseEpoch!(lobby)
        expect(raised.epoch).toBeGreaterThan(before.epoch)
        expect(raised.last).toBe(1)
        expect(await append(make('b'))).toEqual(['stored 2'])
        expect((await store.head(lobby)).epoch).toBe(raised.epoch)
        expect(await store.head(other)).toEqual(beside)
      })

      it('can read what it has just acknowledged', async () => {
        const { store, make } = await setUp()
        for (let n = 1; n <= 50; n++) {
          await store.append([make(`id-${n}`)])
          expect((await store.head(lobby)).last).toBe(n)
          expect(ids(await store.readBySequence({ key: lobby, after: n - 1, limit: 1, maxBytes: 1 }))).toEqual([
            `id-${n}`,
          ])
        }
      })

      it('gives every field and byte back as it was, whatever becomes of the array given', async () => {
        const { clock, store, make, readAll } = await setUp()
        const all = Uint8Array.from({ length: 512 }, (_, i) => i)
        const inBuffer = new Uint8Array(new ArrayBuffer(4_096), 100, 512)
        inBuffer.set(all)
        await store.append([
          make('empty', { frame: new Uint8Array() }),
          make('window', { frame: inBuffer, sender: 'ü' }),
        ])
        inBuffer.fill(0)
        const [empty, window] = await readAll()
        expect(empty?.frame).toEqual(new Uint8Array())
        const { epoch } = await store.head(lobby)
        expect({ ...window, frame: new Uint8Array(window!.frame) }).toEqual({
          key: lobby,
          position: { epoch, sequence: 2 },
          id: 'window',
          sender: 'ü',
          atMs: clock.now(),
          frame: all,
        })
      })

      it('refuses a batch above its maximum as not stored, and takes one at it', async () => {
        const { store, make } = await setUp()
        const { maxBatch } = store.capabilities
        const batch = Array.from({ length: maxBatch + 1 }, (_, i) => make(`id-${i}`))
        await expect(store.append(batch)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
        expect((await store.head(lobby)).last).toBe(0)
        expect(await store.append(batch.slice(1))).toHaveLength(maxBatch)
      })
    })

    describe('remembering ids', () => {
      it('answers a repeated id with its first position and stores it once, in one batch and across calls', async () => {
        const { store, make, append, readAll } = await setUp()
        expect(await append(make('a'), make('b'), make('a'))).toEqual(['stored 1', 'stored 2', 'duplicate 1'])
        expect(await append(make('b'), make('c'))).toEqual(['duplicate 2', 'stored 3'])
        const racing = await Promise.all(Array.from({ length: 20 }, () => store.append([make('d')])))
        expect(outcomes(racing.flat()).sort()).toEqual([...Array.from({ length: 19 }, () => 'duplicate 4'), 'stored 4'])
        expect(ids(await readAll())).toEqual(['a', 'b', 'c', 'd'])
      })

      it('answers an id with another hash as a conflict, and stores nothing', async () => {
        const { make, append, readAll } = await setUp()
        const changed = make('a', { hash: hashOf('other') })
        expect(await append(make('a'), changed)).toEqual(['stored 1', 'conflict'])
        expect(await append(changed)).toEqual(['conflict'])
        expect(await append(make('a'))).toEqual(['duplicate 1'])
        expect(ids(await readAll())).toEqual(['a'])
      })

      it('knows an id in its own stream only', async () => {
        const { make, append } = await setUp()
        const others = [
          { ...lobby, channel: 'x' },
          { ...lobby, room: 'x' },
          { ...lobby, tenant: 'x' },
        ]
        expect(await append(make('a'), ...others.map((key) => make('a', { key })))).toEqual(Array(4).fill('stored 1'))
      })

      it('refuses new ids of a tenant whose window is full, still knows the old, and leaves no hole', async () => {
        const { clock, make, append, readAll } = await setUp({ dedup: { maxIds: 3 } })
        const elsewhere = { ...lobby, room: 'elsewhere' }
        expect(await append(make('a'), make('b', { key: elsewhere }), make('c'), make('d'), make('a'))).toEqual([
          'stored 1',
          'stored 1',
          'stored 2',
          'dedup-full',
          'duplicate 1',
        ])
        expect(await append(make('c', { hash: hashOf('other') }))).toEqual(['conflict'])
        expect(await append(make('a', { key: { ...lobby, tenant: 'another' } }))).toEqual(['stored 1'])
        clock.advance(wideWindow.maxAgeMs)
        expect(await append(make('d'), make('e'))).toEqual(['stored 3', 'stored 4'])
        expect(ids(await readAll())).toEqual(['a', 'c', 'd', 'e'])
      })

      it('remembers to the last millisecond of the window, and no longer', async () => {
        const { clock, make, append } = await setUp()
        await append(make('a'))
        clock.advance(wideWindow.maxAgeMs - 1)
        expect(await append(make('a'))).toEqual(['duplicate 1'])
        clock.advance(1)
        expect(await append(make('a'))).toEqual(['stored 2'])
        expect(await append(make('a'))).toEqual(['duplicate 2'])
      })

      it('remembers ids whose records are trimmed', async () => {
        const { store, make, append } = await setUp({ retention: { maxRecords: 1 } })
        await append(make('a'), make('b'))
        await eventually(async () => (await store.head(lobby)).first === 2)
        expect(await append(make('a'))).toEqual(['duplicate 1'])
      })
    })

    describe('trimming', () => {
      it('keeps the newest by count, and never numbers anew', async () => {
        const { store, make, append, readAll } = await setUp({ retention: { maxRecords: 3 } })
        for (let n = 1; n <= 10; n++) await append(make(`id-${n}`))
        await eventually(async () => (await store.head(lobby)).first === 8)
        expect(await store.head(lobby)).toMatchObject({ first: 8, last: 10 })
        expect(sequences(await readAll())).toEqual([8, 9, 10])
        expect(await store.stats()).toMatchObject({ streams: 1, records: 3 })
        expect(await append(make('more'))).toEqual(['stored 11'])
      })

      it('keeps the newest by bytes, the newest of all however large', async () => {
        const { store, make, append } = await setUp({ retention: { maxBytes: 100 } })
        for (let n = 1; n <= 5; n++) await append(make(`id-${n}`, { frame: new Uint8Array(40) }))
        await eventually(async () => (await store.head(lobby)).first === 4)
        expect(await store.stats()).toMatchObject({ records: 2, bytes: 80 })
        await append(make('giant', { frame: new Uint8Array(1_000) }))
        await eventually(async () => (await store.head(lobby)).first === 6)
        expect(await store.stats()).toMatchObject({ records: 1, bytes: 1_000 })
      })

      it('removes what is past its age, to the last record, and goes on counting', async () => {
        const { clock, store, make, append, readAll } = await setUp({ retention: { maxAgeMs: 1_000 } })
        const idle = { ...lobby, channel: 'idle' }
        await append(make('a'), make('b'), make('x', { key: idle }))
        clock.advance(1_000)
        await append(make('c'))
        expect(await store.head(lobby)).toMatchObject({ first: 1, last: 3 })
        clock.advance(1)
        await append(make('d'))
        await eventually(async () => (await store.head(lobby)).first === 3)
        expect(ids(await readAll())).toEqual(['c', 'd'])
        clock.advance(2_000)
        await append(make('y', { key: { ...lobby, channel: 'busy' } }))
        await append(make('e'))
        await eventually(async () => (await store.head(lobby)).first === 5)
        expect(await append(make('f'))).toEqual(['stored 6'])
      })
    })

    describe('reading by sequence', () => {
      it('gives an empty head and no records for a stream nobody wrote to', async () => {
        const { store, readAll } = await setUp()
        expect(await store.head(lobby)).toMatchObject({ first: 1, last: 0 })
        expect(await readAll()).toEqual([])
        expect(await store.streams('acme')).toEqual([])
        expect(await store.stats()).toMatchObject({ streams: 0, records: 0, bytes: 0 })
        expect(await store.readByTime({ tenant: 'acme', order: 'newest', ...everything })).toEqual([])
      })

      it('starts after the given sequence and ends at the limit, the bytes, or the end', async () => {
        const { store, make, append } = await setUp()
        await append(...Array.from({ length: 10 }, (_, i) => make(`id-${i}`, { frame: new Uint8Array(10) })))
        const read = async (after: number, limit: number, maxBytes: number) =>
          sequences(await store.readBySequence({ key: lobby, after, limit, maxBytes }))
        expect(await read(0, 3, 1_000)).toEqual([1, 2, 3])
        expect(await read(-5, 1, 1_000)).toEqual([1])
        expect(await read(8, 100, 1_000)).toEqual([9, 10])
        expect(await read(9, 1, 1_000)).toEqual([10])
        expect(await read(10, 100, 1_000)).toEqual([])
        expect(await read(11, 100, 1_000)).toEqual([])
        expect(await read(0, 0, 1_000)).toEqual([])
        expect(await read(2, 100, 30)).toEqual([3, 4, 5])
        expect(await read(2, 100, 29)).toEqual([3, 4])
        expect(await read(2, 100, 1)).toEqual([3])
      })

      it('counts an empty frame as a record', async () => {
        const { store, make, append } = await setUp()
        await append(make('empty', { frame: new Uint8Array() }), make('large', { frame: new Uint8Array(100) }))
        const read = { limit: 10, maxBytes: 50 }
        expect(ids(await store.readBySequence({ key: lobby, after: 0, ...read }))).toEqual(['empty'])
        expect(ids(await store.readByTime({ tenant: 'acme', order: 'oldest', ...read }))).toEqual(['empty'])
      })

      it('gives one record larger than the bytes asked for, alone', async () => {
        const { store, make, append } = await setUp()
        await append(make('small'), make('giant', { frame: new Uint8Array(300_000).fill(7) }), make('last'))
        const giant = await store.readBySequence({ key: lobby, after: 1, limit: 10, maxBytes: 100 })
        expect(ids(giant)).toEqual(['giant'])
        expect(giant[0]?.frame).toEqual(new Uint8Array(300_000).fill(7))
        const both = await store.readBySequence({ key: lobby, after: 0, limit: 10, maxBytes: 100 })
        expect(ids(both)).toEqual(['small'])
      })
    })

    describe('reading by time', () => {
      async function setUpTimes() {
        const given = await setUp()
        const at = (id: string, room: string, channel: string, second: number) =>
          given.make(id, {
            key: { tenant: 'acme', room, channel },
            atMs: startMs + second,
            frame: new Uint8Array(10),
          })
        await given.store.append([
          at('b1', 'r1', 'b', 1),
          at('a1', 'r1', 'a', 1),
          at('c2', 'r2', 'c', 2),
          at('a3', 'r1', 'a', 3),
          at('a3+', 'r1', 'a', 3),
          at('b4', 'r1', 'b', 4),
          given.make('foreign', { key: { tenant: 'other', room: 'r1', channel: 'a' }, atMs: startMs + 2 }),
        ])
        const read = async (query: Partial<Parameters<HistoryStore['readByTime']>[0]>) =>
          ids(await given.store.readByTime({ tenant: 'acme', order: 'oldest', ...everything, ...query }))
        return { ...given, read }
      }

      it('sorts the channels of a room, and the rooms of a tenant, into one order', async () => {
        const { read } = await setUpTimes()
        const all = ['a1', 'b1', 'c2', 'a3', 'a3+', 'b4']
        expect(await read({})).toEqual(all)
        expect(await read({ order: 'newest' })).toEqual(all.toReversed())
        expect(await read({ room: 'r1' })).toEqual(['a1', 'b1', 'a3', 'a3+', 'b4'])
        expect(await read({ room: 'r1', channel: 'a' })).toEqual(['a1', 'a3', 'a3+'])
        expect(await read({ room: 'r1', channel: 'a', order: 'newest' })).toEqual(['a3+', 'a3', 'a1'])
        expect(await read({ channel: 'c' })).toEqual(['c2'])
        expect(await read({ room: 'nowhere' })).toEqual([])
        expect(await read({ tenant: 'other' })).toEqual(['foreign'])
      })

      it('takes both bounds as inside', async () => {
        const { read } = await setUpTimes()
        expect(await read({ sinceMs: startMs + 2, untilMs: startMs + 3 })).toEqual(['c2', 'a3', 'a3+'])
        expect(await read({ sinceMs: startMs + 4 })).toEqual(['b4'])
        expect(await read({ sinceMs: startMs + 5 })).toEqual([])
        expect(await read({ untilMs: startMs })).toEqual([])
        expect(await read({ sinceMs: startMs + 3, untilMs: startMs + 2 })).toEqual([])
        expect(await read({ untilMs: startMs + 1, order: 'newest', limit: 1 })).toEqual(['b1'])
      })

      it('ends at the limit or the bytes from the side the order starts at', async () => {
        const { read } = await setUpTimes()
        expect(await read({ limit: 2 })).toEqual(['a1', 'b1'])
        expect(await read({ limit: 2, order: 'newest' })).toEqual(['b4', 'a3+'])
        expect(await read({ limit: 0 })).toEqual([])
        expect(await read({ maxBytes: 30 })).toEqual(['a1', 'b1', 'c2'])
        expect(await read({ maxBytes: 29 })).toEqual(['a1', 'b1'])
        expect(await read({ maxBytes: 1, order: 'newest' })).toEqual(['b4'])
      })

      it('sorts by time also what arrived out of its order, or all at one moment', async () => {
        const { store, make } = await setUp()
        const times = [5, 3, 9, 3, 1, 9, ...Array.from({ length: 100 }, () => 4)]
        await store.append(times.map((atMs, i) => make(`${i}`, { atMs: startMs + atMs })))
        const expected = times.map((atMs, i) => ({ atMs, i })).sort((a, b) => a.atMs - b.atMs || a.i - b.i)
        const read = async (order: 'oldest' | 'newest', limit: number) =>
          ids(await store.readByTime({ tenant: 'acme', order, limit, maxBytes: 2 ** 40 }))
        expect(await read('oldest', 1_000)).toEqual(expected.map(({ i }) => `${i}`))
        expect(await read('newest', 30)).toEqual(
          expected
            .toReversed()
            .slice(0, 30)
            .map(({ i }) => `${i}`),
        )
      })
    })

    describe('names', () => {
      it('never takes one stream for another', async () => {
        const { store, make, append } = await setUp()
        const names = [
          'a',
          'a:b',
          'b',
          'b:c',
          ':',
          '1:a',
          'a\u00e9',
          'ae\u0301',
          '\u{1f600}',
          '\uffff',
          '__proto__',
          'constructor',
          '%',
          "'",
          '"',
          '?1',
          'A',
        ]
        const keys = names.flatMap((room) => names.map((channel) => ({ tenant: 'acme', room, channel })))
        for (const key of keys) expect(await append(make('same', { key }))).toEqual(['stored 1'])
        for (const key of keys) {
          const [record, ...others] = await store.readBySequence({ key, after: 0, ...everything })
          expect(record?.key).toEqual(key)
          expect(others).toEqual([])
        }
        const sorted = names.toSorted((a, b) => (a < b ? -1 : 1))
        expect(await store.streams('acme')).toEqual(
          sorted.flatMap((room) => sorted.map((channel) => ({ tenant: 'acme', room, channel }))),
        )
        expect((await store.streams('acme', 'a:b')).map((key) => key.channel)).toEqual(sorted)
        expect((await store.readByTime({ tenant: 'acme', order: 'oldest', ...everything })).map((r) => r.key)).toEqual(
          sorted.flatMap((room) => sorted.map((channel) => ({ tenant: 'acme', room, channel }))),
        )
      })

      it('never mixes tenants', async () => {
        const { store, make, append } = await setUp()
        const tenants = ['a', 'A', 'a-', 'a_', '__proto__', 'constructor', 'aa']
        for (const [i, tenant] of tenants.entries()) {
          for (let n = 0; n <= i; n++) await append(make(`${tenant}${n}`, { key: { ...lobby, tenant } }))
        }
        for (const [i, tenant] of tenants.entries()) {
          const records = await store.readByTime({ tenant, order: 'oldest', ...everything })
          expect(ids(records)).toEqual(Array.from({ length: i + 1 }, (_, n) => `${tenant}${n}`))
          expect(await store.stats(tenant)).toMatchObject({ streams: 1, records: i + 1 })
          expect(await store.streams(tenant)).toEqual([{ ...lobby, tenant }])
        }
        expect(await store.stats()).toMatchObject({ streams: tenants.length, records: 28 })
        expect(await store.stats('nobody')).toMatchObject({ streams: 0, records: 0, bytes: 0 })
      })
    })

    describe('its life', () => {
      it('proves that it can be written and leaves nothing behind', async () => {
        const { store } = await setUp()
        await store.probe()
        await store.probe()
        expect(await store.stats()).toMatchObject({ streams: 0, records: 0 })
      })

      it('settles what was begun before it closes, closes twice, and refuses everything afterwards', async () => {
        const { store, make } = await setUp()
        const begun = Array.from({ length: 50 }, (_, i) => store.append([make(`id-${i}`)]))
        await Promise.all([store.close(), store.close()])
        const results = await Promise.all(begun)
        expect(outcomes(results.flat())).toEqual(Array.from({ length: 50 }, (_, i) => `stored ${i + 1}`))
        const closed = { code: 'STORE_UNAVAILABLE' }
        await expect(store.append([make('late')])).rejects.toMatchObject(closed)
        await expect(store.head(lobby)).rejects.toMatchObject(closed)
        await expect(store.readBySequence({ key: lobby, after: 0, ...everything })).rejects.toMatchObject(closed)
        await expect(store.readByTime({ tenant: 'acme', order: 'newest', ...everything })).rejects.toMatchObject(closed)
        await expect(store.streams('acme')).rejects.toMatchObject(closed)
        await expect(store.stats()).rejects.toMatchObject(closed)
        await expect(store.probe()).rejects.toMatchObject(closed)
        await store.close()
      })
    })

    it('answers any run of appends as a list and a map would', async () => {
      const anyAppend = fc.record({
        tenant: fc.constantFrom('a', 'b'),
        channel: fc.constantFrom('x', 'y', 'z'),
        id: fc.integer({ min: 0, max: 12 }),
        payload: fc.constantFrom('p', 'q'),
        laterMs: fc.constantFrom(0, 0, 1, 400),
      })
      const runs = fc.array(fc.array(anyAppend, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 12 })
      await fc.assert(
        fc.asyncProperty(runs, async (batches) => {
          const dedup = { maxAgeMs: 1_000, maxIds: 8 }
          const { clock, store, make } = await setUp({ dedup })
          const model = createModel(dedup)
          for (const batch of batches) {
            clock.advance(batch[0]!.laterMs)
            const requests = batch.map(({ tenant, channel, id, payload }) =>
              make(`id-${id}`, { key: { tenant, room: 'room', channel }, hash: hashOf(payload) }),
            )
            const expected = requests.map((request) => model.append(request, clock.now()))
            expect(outcomes(await store.append(requests))).toEqual(expected)
          }
          for (const [tenant, channels] of model.streams) {
            for (const [channel, stored] of channels) {
              const key = { tenant, room: 'room', channel }
              expect(ids(await store.readBySequence({ key, after: 0, ...everything }))).toEqual(stored)
            }
          }
          await store.close()
        }),
        { numRuns: 25 },
      )
    })
  })
}

/** What a store is, without regard to speed, size or loss. */
function createModel(dedup: DedupWindow) {
  const streams = new Map<string, Map<string, string[]>>()
  let window: { tenant: string; name: string; hash: string; sequence: number; atMs: number }[] = []
  return {
    streams,
    append({ key: { tenant, channel }, id, hash }: AppendRequest, nowMs: number): string {
      window = window.filter((entry) => nowMs - entry.atMs < dedup.maxAgeMs)
      const name = `${tenant} ${channel} ${id}`
      const earlier = window.find((entry) => entry.name === name)
      if (earlier !== undefined) return earlier.hash === hash.join() ? `duplicate ${earlier.sequence}` : 'conflict'
      if (window.filter((entry) => entry.tenant === tenant).length >= dedup.maxIds) return 'dedup-full'
      const channels = streams.get(tenant) ?? new Map<string, string[]>()
      streams.set(tenant, channels)
      const stored = channels.get(channel) ?? []
      channels.set(channel, stored)
      const sequence = stored.push(id)
      window.push({ tenant, name, hash: hash.join(), sequence, atMs: nowMs })
      return `stored ${sequence}`
    },
  }
}
