import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../../../src/base/clock.ts'
import { BusError } from '../../../../src/base/errors.ts'
import { silentLogger } from '../../../../src/base/logger.ts'
import {
  createGuardedStore,
  type GuardedStore,
  rampMs,
  type StoreState,
} from '../../../../src/storage/guard/guarded-store.ts'
import { createMemoryStore } from '../../../../src/storage/memory/memory-store.ts'
import type { AppendRequest, FlushedRecord, HistoryStore, StreamHead } from '../../../../src/storage/store.ts'
import { historyStoreContract } from '../../../support/contracts/history-store.ts'
import { createFailingStore, type FailingStore } from '../../../support/failing-store.ts'

const key = { tenant: 'acme', room: 'lab', channel: 'one' }
const everything = { limit: 100_000, maxBytes: 1e9 }
const opened: HistoryStore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
})

function open(
  mode: 'strict' | 'degraded',
  more: Partial<Parameters<typeof createGuardedStore>[0]> = {},
): { guard: GuardedStore; store: FailingStore; states: StoreState[]; returned: StreamHead[] } {
  const retention = { maxRecords: 100_000, maxBytes: 1e9, maxAgeMs: 1e9 }
  const store = createFailingStore(
    createMemoryStore({ clock: systemClock, retention, dedup: { maxAgeMs: 1e6, maxIds: 100_000 } }),
  )
  const guard = createGuardedStore({
    mode,
    backend: 'memory',
    clock: systemClock,
    logger: silentLogger,
    inner: store,
    open: async () => store,
    accepts: async () => true,
    probeEveryMs: 5,
    rates: { flushPerSecond: 1_000_000, rampPerSecond: 1_000_000 },
    ...more,
  })
  const states: StoreState[] = []
  const returned: StreamHead[] = []
  guard.onState((state) => states.push(state))
  guard.onReturned((heads) => returned.push(...heads.map(({ head }) => head)))
  opened.push(guard)
  return { guard, store, states, returned }
}

const request = (id: string, text = id): AppendRequest => ({
  key,
  id,
  hash: new Uint8Array(16).fill(text.length),
  sender: 'arq_client_1',
  frame: new TextEncoder().encode(text),
  atMs: systemClock.now(),
})
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'ok',
    (error: { code: string }) => error.code,
  )
const until = (guard: GuardedStore, wanted: StoreState): Promise<void> =>
  new Promise((resolve) => {
    if (guard.state === wanted) resolve()
    const stop = guard.onState((state) => {
      if (state !== wanted) return
      stop()
      resolve()
    })
  })

for (const mode of ['strict', 'degraded'] as const) {
  historyStoreContract(`a ${mode} guard`, async ({ clock, retention, dedup }) => {
    const inner = createMemoryStore({ clock, retention, dedup })
    const common = { backend: 'memory', clock, logger: silentLogger, inner } as const
    return createGuardedStore({ mode, ...common, open: async () => inner, accepts: async () => true })
  })
}

describe('strict', () => {
  it('suspects the store after one failure, and trusts it again after one success', async () => {
    const { guard, store, states } = open('strict', { probeEveryMs: 1_000 })
    store.trouble = 'refuses'
    expect(await codeOf(guard.append([request('a')]))).toBe('STORE_UNAVAILABLE')
    expect(guard.state).toBe('suspect')
    store.trouble = 'none'
    expect(await codeOf(guard.append([request('a')]))).toBe('ok')
    expect(states).toEqual(['suspect', 'ready'])
  })

  it('does not slow appends after a single failure', async () => {
    const { guard, store } = open('strict', { probeEveryMs: 1_000 })
    store.trouble = 'refuses'
    await codeOf(guard.append([request('a')]))
    store.trouble = 'none'
    await guard.append([request('a')])
    expect(guard.state).toBe('ready')
    expect(guard.appendsPerSecond).toBeUndefined()
  })

  it('does not ask a store that is away, and answers at once that nothing was stored', async () => {
    const { guard, store } = open('strict', { probeEveryMs: 10_000 })
    store.trouble = 'times-out'
    for (let n = 0; n < 3; n++) expect(await codeOf(guard.append([request('a')]))).toBe('STORE_TIMEOUT')
    expect(guard.state).toBe('unavailable')
    const before = store.calls
    store.trouble = 'none'
    expect(await codeOf(guard.append([request('a')]))).toBe('STORE_UNAVAILABLE')
    expect(await codeOf(guard.head(key))).toBe('STORE_UNAVAILABLE')
    expect(await codeOf(guard.readBySequence({ key, after: 0, ...everything }))).toBe('STORE_UNAVAILABLE')
    expect(store.calls).toBe(before)
  })

  it('takes appends again only after three probes in a row', async () => {
    const { guard, store, states } = open('strict')
    store.trouble = 'refuses'
    await Promise.all([1, 2, 3].map((n) => codeOf(guard.append([request(`${n}`)]))))
    await until(guard, 'unavailable')
    store.trouble = 'none'
    await until(guard, 'recovering')
    expect(await codeOf(guard.append([request('early')]))).toBe('STORE_UNAVAILABLE')
    const calls = store.calls
    await until(guard, 'ready')
    expect(store.calls - calls).toBeGreaterThanOrEqual(2)
    expect(await codeOf(guard.append([request('late')]))).toBe('ok')
    expect(states).toEqual(['suspect', 'unavailable', 'recovering', 'ready'])
    expect((await guard.readBySequence({ key, after: 0, ...everything })).map(({ id }) => id)).toEqual(['late'])
  })

  it('does not use another store than before until an operator accepts it', async () => {
    let isAccepted = false
    const { guard, store } = open('strict', { accepts: async () => isAccepted })
    store.trouble = 'refuses'
    await Promise.all([1, 2, 3].map((n) => codeOf(guard.append([request(`${n}`)]))))
    store.trouble = 'none'
    await until(guard, 'replaced')
    const error: unknown = await guard.append([request('a')]).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'STORE_REPLACED' } })
    isAccepted = true
    await until(guard, 'ready')
    expect(await codeOf(guard.append([request('a')]))).toBe('ok')
  })
})

describe('degraded', () => {
  it('holds what cannot be stored, says so, and writes it once when the store is back', async () => {
    const { guard, store, returned } = open('degraded')
    await guard.append([request('before')])
    store.trouble = 'refuses'
    expect(await guard.append([request('a'), request('b')])).toEqual([
      { kind: 'held', isDuplicate: false },
      { kind: 'held', isDuplicate: false },
    ])
    expect(await guard.append([request('a')])).toEqual([{ kind: 'held', isDuplicate: true }])
    expect(await guard.append([request('b', 'other text')])).toEqual([{ kind: 'conflict' }])
    expect(guard.isHolding).toBe(true)
    expect(guard.held.records).toBe(2)
    store.trouble = 'none'
    await until(guard, 'ready')
    expect(guard.held).toEqual({ records: 0, bytes: 0 })
    expect(returned.map(({ last }) => last)).toEqual([3])
    expect((await guard.readBySequence({ key, after: 0, ...everything })).map(({ id }) => id)).toEqual([
      'before',
      'a',
      'b',
    ])
    expect(await guard.append([request('a')])).toMatchObject([{ kind: 'duplicate', position: { sequence: 2 } }])
  })

  it('refuses what does not fit, and drops nothing', async () => {
    const { guard, store } = open('degraded', { limits: { perStream: 2, bytes: 1_000, ageMs: 1e6 } })
    store.trouble = 'refuses'
    const results = await guard.append(['a', 'b', 'c'].map((id) => request(id)))
    expect(results.map(({ kind }) => kind)).toEqual(['held', 'held', 'hold-full'])
    store.trouble = 'none'
    await until(guard, 'ready')
    expect((await guard.readBySequence({ key, after: 0, ...everything })).map(({ id }) => id)).toEqual(['a', 'b'])
  })

  it('does not claim what was under way, holds it, and knows it when it is sent again', async () => {
    for (const trouble of ['times-out', 'loses-answer'] as const) {
      const { guard, store } = open('degraded', { limits: { perStream: 1, bytes: 1_000, ageMs: 1e6 } })
      store.trouble = trouble
      expect(await guard.append([request('a'), request('b')])).toEqual([
        { kind: 'held', isDuplicate: false, isUnknown: true },
        { kind: 'held', isDuplicate: false, isUnknown: true }, // beyond the bound too: it may be stored
      ])
      expect(await guard.append([request('a'), request('c')])).toEqual([
        { kind: 'held', isDuplicate: true },
        { kind: 'hold-full' },
      ])
      store.trouble = 'none'
      await until(guard, 'ready')
      expect(await guard.append([request('a')])).toMatchObject([{ kind: 'duplicate', position: { sequence: 1 } }])
      expect((await guard.readBySequence({ key, after: 0, ...everything })).map(({ id }) => id)).toEqual(['a', 'b'])
    }
  })

  it('writes what it held no faster than told, behind it what comes meanwhile, and tells of each', async () => {
    const perSecond = 100
    const { guard, store, states } = open('degraded', { rates: { flushPerSecond: perSecond, rampPerSecond: 1e6 } })
    store.trouble = 'refuses'
    const ids = Array.from({ length: 75 }, (_, n) => `${n}`)
    await guard.append(ids.map((id) => request(id)))
    const flushed: FlushedRecord[] = []
    const parts: { atMs: number; count: number }[] = []
    const answered: unknown[] = []
    guard.onFlushed((records) => {
      flushed.push(...records)
      parts.push({ atMs: systemClock.monotonic(), count: records.length })
      if (parts.length !== 1) return
      expect(guard.isHolding).toBe(true)
      expect(guard.appendsPerSecond).toBe(perSecond / 2)
      for (const id of ['0', 'meanwhile']) {
        void guard.append([request(id)]).then((results) => answered.push(...results))
      }
    })
    store.trouble = 'none'
    await until(guard, 'ready')
    expect(answered).toMatchObject([
      { kind: 'duplicate', position: { sequence: 1 } },
      { kind: 'held', isDuplicate: false },
    ])
    expect(states.at(-1)).toBe('ready')
    const log = await guard.readBySequence({ key, after: 0, ...everything })
    expect(log.map(({ id }) => id)).toEqual([...ids, 'meanwhile'])
    expect(flushed.map(({ id, position }) => [id, position.sequence])).toEqual(
      log.map(({ id, position }) => [id, position.sequence]),
    )
    expect(parts.length).toBeGreaterThan(3)
    const before = parts.slice(0, -1).reduce((sum, { count }) => sum + count, 0)
    // Each timer may be a millisecond early.
    expect(parts.at(-1)!.atMs - parts[0]!.atMs).toBeGreaterThanOrEqual((before / perSecond) * 1_000 - parts.length)
  })

  it('gives pages of what it holds: by time, from after all that was ever given to the store, also where clocks were set back', async () => {
    const { guard, store } = open('degraded')
    const startMs = systemClock.now() + 1_000
    const at = (id: string, channel: string, afterMs: number): AppendRequest => ({
      ...request(id),
      key: { ...key, channel },
      atMs: startMs + afterMs,
    })
    const read = (sinceMs: number, order: 'newest' | 'oldest' = 'oldest', more: object = {}): string[] | undefined =>
      guard.heldLog
        ?.byTime({ tenant: 'acme', order, ...everything, sinceMs: startMs + sinceMs, ...more }, false)
        ?.map(({ id }) => id)
    expect(guard.heldLog).toBeUndefined()
    store.trouble = 'refuses'
    await guard.append([at('failed', 'one', 0)])
    await guard.append([at('b', 'two', 20), at('a', 'one', 20), at('early', 'one', 10)])
    await guard.append([{ ...at('foreign', 'one', 20), key: { ...key, tenant: 'globex' } }])
    expect(read(0)).toBeUndefined()
    expect(read(1)).toEqual(['early', 'a', 'b'])
    expect(read(1, 'newest', { limit: 2 })).toEqual(['b', 'a'])
    expect(read(1, 'oldest', { maxBytes: 6 })).toEqual(['early', 'a'])
    expect(read(1, 'oldest', { untilMs: startMs + 19 })).toEqual(['early'])
    expect(read(1, 'newest', { room: 'lab', channel: 'two' })).toEqual(['b'])
    expect(read(1, 'newest', { room: 'hall' })).toEqual([])
    store.trouble = 'none'
    await until(guard, 'ready')
    store.trouble = 'refuses'
    await guard.append([at('again', 'one', 5)])
    expect(read(20)).toBeUndefined() // stored from memory by now
    expect(read(21)).toEqual([])
  })

  it.each([
    ['postgres', { backend: 'postgres' }],
    ['a Valkey that others were seen on', { backend: 'valkey', isShared: () => true }],
  ] as const)('gives no page where other processes may append too: %s', async (_name, more) => {
    const { guard, store } = open('degraded', more)
    store.trouble = 'refuses'
    await guard.append([request('a')])
    expect(guard.isHolding).toBe(true)
    expect(guard.heldLog).toBeUndefined()
  })

  it('logs how much is lost when it ends without its store', async () => {
    const lines: unknown[] = []
    const note = (event: string, facts?: object): void => void lines.push({ event, ...facts })
    const uncounted = { ...key, room: 'own' }
    const logger = { ...silentLogger, warn: note }
    const { guard, store } = open('degraded', { logger, uncounted, probeEveryMs: 10_000 })
    store.trouble = 'refuses'
    await guard.append([request('a'), { ...request('c'), key: uncounted, frame: new Uint8Array() }, request('bc')])
    await guard.close()
    expect(lines).toContainEqual({ event: 'store.lost_on_exit', records: 2, bytes: 3 })
  })

  it('starts without its store and uses it when it can be opened', async () => {
    let isThere = false
    const base = open('degraded')
    const { guard } = open('degraded', {
      inner: undefined,
      async open() {
        if (!isThere) throw new BusError('STORE_UNAVAILABLE')
        return base.store
      },
    })
    expect(guard.state).toBe('unavailable')
    expect(await guard.append([request('a')])).toEqual([{ kind: 'held', isDuplicate: false }])
    isThere = true
    await until(guard, 'ready')
    expect((await base.store.readBySequence({ key, after: 0, ...everything })).map(({ id }) => id)).toEqual(['a'])
  })

  it('keeps the order of the calls through any troubles, stores every accepted id once, and loses none', async () => {
    const trouble = fc.constantFrom('none', 'refuses', 'loses-answer', 'times-out')
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 4 }) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('trouble' as const), trouble }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), async (steps) => {
        const { guard, store, returned } = open('degraded', { probeEveryMs: 0 })
        const appends: Promise<readonly { kind: string }[]>[] = []
        const ids: string[] = []
        for (const one of steps) {
          if (one.do === 'trouble') store.trouble = one.trouble as FailingStore['trouble']
          else if (one.do === 'turn') await new Promise((resolve) => setImmediate(resolve))
          else {
            const batch = Array.from({ length: one.count }, (_, i) => `${ids.length + i}`)
            ids.push(...batch)
            appends.push(guard.append(batch.map((id) => request(id))))
          }
        }
        store.trouble = 'none'
        const results = (await Promise.all(appends)).flat()
        await until(guard, 'ready')
        expect(results.every(({ kind }) => kind === 'stored' || kind === 'held')).toBe(true)
        const log = await guard.readBySequence({ key, after: 0, ...everything })
        expect(log.map(({ id }) => id)).toEqual(ids)
        for (const head of returned) expect(head.last).toBeLessThanOrEqual(ids.length)
      }),
      { numRuns: 150 },
    )
  })
})

describe.each(['strict', 'degraded'] as const)('%s, a store that is back', (mode) => {
  it('is given a quarter of the rate at first, all of it after 10 s, then what there is', async () => {
    let passedMs = 0
    const clock: Clock = { now: () => systemClock.now(), monotonic: () => passedMs }
    const rates = { flushPerSecond: 1_000_000, rampPerSecond: 1_000 }
    const { guard, store } = open(mode, { clock, rates })
    expect(guard.appendsPerSecond).toBeUndefined()
    const fall = async (): Promise<void> => {
      store.trouble = 'refuses'
      await Promise.all([1, 2, 3].map((n) => codeOf(guard.append([request(`${passedMs}-${n}`)]))))
      await until(guard, 'unavailable')
      expect(guard.appendsPerSecond).toBeUndefined() // what is refused or held does not wait for it
      store.trouble = 'none'
      await until(guard, 'ready')
    }
    await fall()
    expect(guard.appendsPerSecond).toBe(250)
    passedMs = rampMs / 2
    expect(guard.appendsPerSecond).toBe(625)
    await fall()
    expect(guard.appendsPerSecond).toBe(250)
    passedMs += rampMs
    expect(guard.appendsPerSecond).toBeUndefined()
  })
})
