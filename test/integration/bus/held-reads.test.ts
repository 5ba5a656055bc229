// Reading while the store is away (degraded): history and recovery from memory are whole, or they are refused; through
// any order of troubles, and with a clock that is set back.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Clock, systemClock, toIsoTime } from '../../../src/base/clock.ts'
import { isBusError } from '../../../src/base/errors.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Position } from '../../../src/envelope/envelope.ts'
import { Delivery } from '../../../src/rooms/delivery.ts'
import { createMembership } from '../../../src/router/membership.ts'
import type { GuardedStore } from '../../../src/storage/guard/guarded-store.ts'
import type { AppendRequest, ReadBySequence, StoredRecord } from '../../../src/storage/store.ts'
import { noTelemetry } from '../../../src/telemetry/events.ts'
import { envelopeOfFrame, frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import type { Trouble } from '../../support/failing-store.ts'
import {
  createClient,
  createParts,
  key,
  type RecordedClient,
  turn,
  wideLimits,
} from '../../support/store-outage-lab.ts'

const numberOf = (payload: unknown): number => (payload as { n: number }).n
const numbersOf = (page: JsonObject): number[] =>
  (page['entries'] as JsonObject[]).map((entry) => numberOf((entry['envelope'] as JsonObject)['payload']))

/** A record of another writer. */
const recordOf = (n: number, atMs = systemClock.now()): AppendRequest => {
  const text = { id: `arq_1_${n}_000000`, timestamp: '2026-01-31T12:00:00.000Z', type: 'message' } as const
  const rest = { version: '1.0', room: 'lab', channel: 'one', payload: { n }, args: {}, metadata: {} }
  const frame = frameFromEnvelope({ ...text, ...rest }, { sender: 'another' })
  return { key, id: text.id, hash: new Uint8Array(16), sender: 'another', frame, atMs }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('trouble' as const),
      trouble: fc.constantFrom<Trouble>('none', 'refuses', 'refuses', 'loses-answer', 'times-out'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('join' as const), above: fc.constantFrom(-1, 0, 0, 0, 1) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('history' as const), forMs: fc.constantFrom(undefined, 0, 2, 9) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clock' as const), byMs: fc.constantFrom(50, -3, -30) }) },
)

describe('degraded, through any troubles', () => {
  it('every recovery that succeeds and every page that is given is whole', async () => {
    let recovered = 0
    let pages = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), async (steps) => {
        let nowMs = systemClock.now()
        const clock: Clock = { now: () => nowMs, monotonic: () => systemClock.monotonic() }
        const { store, line, publish, join, history, settle, sender } = createParts('degraded', { clock })
        const tracker = createClient('tracker')
        const { epoch } = (await join(tracker))['position'] as { epoch: number }
        const ids: string[] = []
        const joins: { client: RecordedClient; from: number; isTold: boolean }[] = []
        const reads: { found: number[]; sinceMs: number; isAnswered: ReadonlySet<number> }[] = []
        const asking: Promise<void>[] = []

        async function rejoin(last: number, above: number): Promise<void> {
          const from = Math.max(0, last + above)
          const client = createClient(`reader-${joins.length}`)
          const wasAway = store.state === 'unavailable'
          const facts = await join(client, { epoch, sequence: from })
          if (facts['recovered'] !== true) return
          joins.push({ client, from, isTold: from <= last })
          if (wasAway && facts['replayed'] !== 0) recovered++
        }
        async function read(sinceMs: number | undefined): Promise<void> {
          const answered = sender.answers.filter(({ type }) => type === 'message_response')
          const isAnswered = new Set(answered.map(({ id }) => ids.indexOf(id)))
          try {
            const page = await history(sinceMs)
            reads.push({ found: numbersOf(page), sinceMs: sinceMs ?? 0, isAnswered })
            if (page['durability'] === 'memory' && page['count'] !== 0) pages++
          } catch (error) {
            if (!isBusError(error)) throw error
          }
        }
        for (const one of steps) {
          nowMs++
          if (one.do === 'trouble') line.trouble = one.trouble
          else if (one.do === 'clock') nowMs += one.byMs
          else if (one.do === 'turns') for (let n = 0; n < one.count; n++) await turn()
          else if (one.do === 'publish') for (let n = 0; n < one.count; n++) ids.push(publish())
          else if (one.do === 'history') asking.push(read(one.forMs === undefined ? undefined : nowMs - one.forMs))
          else {
            const last = tracker.delivered.findLast(({ sequence }) => sequence !== undefined)?.sequence ?? 0
            asking.push(rejoin(last, one.above))
          }
        }
        await settle()
        await Promise.all(asking)
        ids.push(publish())
        await settle()

        const log = await store.readBySequence({ key, after: 0, limit: 10_000, maxBytes: 1e9 })
        const logged = log.map(({ frame }) => numberOf(envelopeOfFrame(frame).payload))
        for (const { client, from, isTold } of joins) {
          const delivered = client.delivered.map(({ n }) => n)
          const missed = logged.slice(from)
          // Who names a position that nobody was told may get what stands there once more.
          expect(isTold ? delivered : delivered.slice(delivered.length - missed.length)).toEqual(missed)
        }
        for (const { found, sinceMs, isAnswered } of reads) {
          const wanted = log.filter(({ atMs }, i) => atMs >= sinceMs && isAnswered.has(logged[i]!))
          expect(found).toEqual(expect.arrayContaining(wanted.map(({ position }) => logged[position.sequence - 1])))
          expect(new Set(found).size).toBe(found.length)
          for (const n of found) expect(log[logged.indexOf(n)]!.atMs).toBeGreaterThanOrEqual(sinceMs)
        }
      }),
      { numRuns: 300 },
    )
    // A run in which memory was hardly asked proves nothing.
    expect(recovered).toBeGreaterThan(20)
    expect(pages).toBeGreaterThan(20)
  })
})

describe('degraded, while the store is away', () => {
  const positionIn = (facts: JsonObject): Position => facts['position'] as unknown as Position
  const refused = { recovered: false, reason: 'backend_unavailable' }
  const unavailable = expect.objectContaining({ code: 'STORE_UNAVAILABLE' }) as unknown

  it('a recovery from where the log stood tells that position again: it is good for the next one, too', async () => {
    const { store, line, publish, join, settle } = createParts('degraded')
    publish()
    await settle()
    const first = createClient('first')
    const at = positionIn(await join(first))
    line.trouble = 'refuses'
    while (store.state !== 'unavailable') await store.probe().catch(() => undefined)
    expect(await join(createClient('before'), at)).toMatchObject({ recovered: true, replayed: 0, position: at })
    publish()
    publish()
    while (store.held.records < 2) await turn()
    for (const reader of [createClient('one'), createClient('two')]) {
      expect(await join(reader, at)).toMatchObject({ recovered: true, replayed: 2, position: at })
      expect(reader.delivered.map(({ n, sequence }) => [n, sequence])).toEqual([
        [1, undefined],
        [2, undefined],
      ])
    }
    for (const sequence of [at.sequence - 1, at.sequence + 1]) {
      expect(await join(createClient('off'), { ...at, sequence })).toMatchObject(refused)
    }
    expect(await join(createClient('other'), { ...at, epoch: at.epoch + 1 })).toMatchObject(refused)
    await settle()
    expect(await join(createClient('later'), at)).toMatchObject({ recovered: true, replayed: 2 })
  })

  it('whoever joins while messages are being held gets each of them once, at whichever moment', async () => {
    for (let moment = 0; moment < 16; moment++) {
      const { store, line, publish, join, settle } = createParts('degraded')
      const at = positionIn(await join(createClient('first')))
      const reader = createClient('reader')
      const joinThen = async (): Promise<JsonObject> => {
        for (let n = 0; n < moment; n++) await Promise.resolve()
        return await join(reader, at)
      }
      const joined = new Promise<JsonObject>((resolve) => {
        store.onState((state) => {
          if (state === 'unavailable') resolve(joinThen())
        })
      })
      line.trouble = 'refuses'
      for (let n = 0; n < 3; n++) publish()
      await joined
      publish()
      await settle()
      expect([moment, reader.delivered.map(({ n }) => n)]).toEqual([moment, [0, 1, 2, 3]])
    }
  })

  it('answers nothing of a channel that was not used here before', async () => {
    const { store, line, publish, join, history } = createParts('degraded')
    await line.append([recordOf(100)])
    line.trouble = 'refuses'
    publish()
    while (!store.isHolding) await turn()
    expect(await join(createClient('reader'), { epoch: 1, sequence: 0 })).toMatchObject(refused)
    await expect(history()).rejects.toEqual(unavailable)
  })

  it('answers nothing of a channel whose log is known to hold more than was delivered', async () => {
    const { store, line, publish, join, history } = createParts('degraded')
    const at = positionIn(await join(createClient('first')))
    await line.append([recordOf(100)]) // not by this bus
    const calls = line.calls
    publish()
    while (line.calls === calls) await turn()
    line.trouble = 'refuses' // so that the hole cannot be read
    publish()
    while (!store.isHolding) await turn()
    while (store.held.records === 0) await turn()
    expect(await join(createClient('reader'), at)).toMatchObject(refused)
    await expect(history()).rejects.toEqual(unavailable)
  })

  it('answers a page from after the last that was given to the store, and none from before', async () => {
    let nowMs = systemClock.now()
    const { store, line, publish, history, settle } = createParts('degraded', {
      clock: { now: () => nowMs, monotonic: () => systemClock.monotonic() },
    })
    publish()
    await settle()
    line.trouble = 'refuses'
    nowMs += 10
    publish()
    while (!store.isHolding) await turn()
    const failedAtMs = nowMs
    nowMs += 10
    publish()
    while (store.held.records < 2) await turn()
    const page = await history(failedAtMs + 1)
    expect(page).toMatchObject({ count: 1, durability: 'memory' })
    expect(page['entries']).toMatchObject([
      { envelope: { payload: { n: 2 } }, stored_at: toIsoTime(nowMs), storage_metadata: { durability: 'memory' } },
    ])
    expect((page['entries'] as JsonObject[])[0]!['envelope']).not.toHaveProperty('metadata.position')
    await expect(history(failedAtMs)).rejects.toEqual(unavailable)
    await expect(history()).rejects.toEqual(unavailable)
  })

  it('answers all of a channel that had nothing stored, and nothing once some of it is being written', async () => {
    const { store, line, publish, join, history, settle } = createParts('degraded', {
      rates: { flushPerSecond: 40, rampPerSecond: 1e6 },
    })
    const at = positionIn(await join(createClient('first')))
    line.trouble = 'refuses'
    const count = 25 // more than two parts of ten
    for (let n = 0; n < count; n++) publish()
    while (store.held.records < count) await turn()
    expect(numbersOf(await history())).toEqual(Array.from({ length: count }, (_, n) => count - 1 - n))
    const during = new Promise<unknown[]>((resolve) => {
      const stop = store.onFlushed(() => {
        stop()
        resolve(Promise.all([history().catch((error: unknown) => error), join(createClient('reader'), at)]))
      })
    })
    line.trouble = 'none'
    const states: string[] = []
    store.onState((state) => states.push(state))
    expect(await during).toEqual([unavailable, expect.objectContaining(refused)])
    await settle()
    expect(states).toEqual(['recovering', 'ready']) // whoever asks meanwhile does not send it away again
    expect(numbersOf(await history())).toHaveLength(count)
  })
})

describe('a recovery', () => {
  it('brings what is handed to members in the moment before it ends, at whichever moment', async () => {
    for (let moment = 0; moment < 12; moment++) {
      const { store, rooms, publish, join, settle, publisher } = createParts('strict')
      await join(createClient('first'))
      publish()
      await settle()
      const stream = rooms.find(key)!
      const read = (query: ReadBySequence): Promise<readonly StoredRecord[]> => store.readBySequence(query)
      let isDone = false
      // What is stored while the page is on its way, and confirmed so many moments after it came.
      const slow: GuardedStore = Object.assign(Object.create(store) as GuardedStore, {
        async readBySequence(query: ReadBySequence) {
          const page = await read(query)
          if (isDone) return page
          isDone = true
          const [result] = await store.append([recordOf(1)])
          if (result?.kind !== 'stored') throw new Error('not stored')
          const { sequence } = result.position
          const push = async (): Promise<void> => {
            for (let n = 0; n < moment; n++) await Promise.resolve()
            rooms.fanOut.push(stream, new Delivery(sequence, 'another', recordOf(1).frame, result.position))
          }
          void push()
          return page
        },
      })
      const membership = createMembership({ rooms, store: slow, limits: wideLimits, telemetry: noTelemetry })
      const reader = createClient('reader')
      const recover = { epoch: stream.epoch, sequence: 0 }
      await membership.join(reader, key, { recover }, () => undefined)
      await publisher.idle()
      publish({ n: 2 })
      await settle()
      expect([moment, reader.delivered.map(({ n }) => n)]).toEqual([moment, [0, 1, 2]])
    }
  })
})
