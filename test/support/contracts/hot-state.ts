// The promises of src/hot/hot-state.ts as tests: every adapter runs this suite.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { createRevocations, type Revocations } from '../../../src/auth/revocations.ts'
import type { HotState, ValueLimits, ValueName } from '../../../src/hot/hot-state.ts'
import { createManualClock, type ManualClock } from '../manual-clock.ts'

export interface HotStateUnderTest {
  readonly clock: ManualClock
  readonly limits: ValueLimits
  readonly revocations: Revocations
}

const startMs = Date.UTC(2026, 0, 1)
const wide: ValueLimits = { maxKeys: 10_000, maxBytes: 2 ** 26 }
/** Names that a careless key would confuse. */
const hostile = [
  'a',
  'a:b',
  'b',
  'b:c',
  ':',
  'a=3Ab',
  '=',
  '#bytes',
  '*',
  '\u00e9',
  'e\u0301',
  '\u{1f600}',
  '__proto__',
  'constructor',
  ' ',
  'A',
  'tenant:b',
]

/** `open` gives new, empty hot state each time. */
export function hotStateContract(name: string, open: (given: HotStateUnderTest) => Promise<HotState>): void {
  describe(`${name} keeps the promises of hot state`, () => {
    const opened: HotState[] = []
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((hot) => hot.close()))
    })

    async function setUp(limits: Partial<ValueLimits> = {}) {
      const clock = createManualClock(startMs)
      const revocations = createRevocations(clock)
      const hot = await open({ clock, limits: { ...wide, ...limits }, revocations })
      opened.push(hot)
      return { clock, revocations, hot, values: hot.values }
    }
    const at = (key: string, namespace = 'ns', tenant = 'acme'): ValueName => ({ tenant, namespace, key })
    const full = (limit: string) =>
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', details: expect.objectContaining({ limit }) })

    describe('values', () => {
      it('are what was set last, and are gone when deleted', async () => {
        const { values } = await setUp()
        expect(await values.get(at('k'))).toBeUndefined()
        expect(await values.set(at('k'), '"\u{1f600}"')).toEqual({ updated: false })
        expect(await values.get(at('k'))).toBe('"\u{1f600}"')
        expect(await values.set(at('k'), '2')).toEqual({ updated: true })
        expect(await values.get(at('k'))).toBe('2')
        expect(await values.delete(at('k'))).toBe(true)
        expect(await values.delete(at('k'))).toBe(false)
        expect(await values.get(at('k'))).toBeUndefined()
        expect(await values.list('acme', 'ns')).toEqual([])
      })

      it('are never confused, whatever their names', async () => {
        const { values } = await setUp()
        const names = ['acme', 'b', 'a'].flatMap((tenant) =>
          hostile.flatMap((namespace) => hostile.map((key) => at(key, namespace, tenant))),
        )
        for (const one of names) expect(await values.set(one, JSON.stringify(one))).toEqual({ updated: false })
        for (const one of names) expect(await values.get(one)).toBe(JSON.stringify(one))
        const sorted = hostile.toSorted((a, b) => (a < b ? -1 : 1))
        for (const tenant of ['acme', 'b']) {
          for (const namespace of hostile) expect(await values.list(tenant, namespace)).toEqual(sorted)
        }
        expect(await values.list('nobody', 'a')).toEqual([])
      })

      it('are bounded by the keys of their tenant, over all its namespaces', async () => {
        const { values } = await setUp({ maxKeys: 2 })
        await values.set(at('a'), '1')
        await values.set(at('a', 'other'), '1')
        await expect(values.set(at('b'), '1')).rejects.toEqual(full('store-keys'))
        expect(await values.set(at('a'), '2')).toEqual({ updated: true })
        expect(await values.set(at('b', 'ns', 'globex'), '1')).toEqual({ updated: false })
        await values.delete(at('a', 'other'))
        expect(await values.set(at('b'), '1')).toEqual({ updated: false })
        expect(await values.list('acme', 'ns')).toEqual(['a', 'b'])
      })

      it('are bounded by the bytes of names and values together', async () => {
        const { values } = await setUp({ maxBytes: 20 })
        await values.set(at('k'), '"1234567"') // 2 + 1 + 9 = 12
        await expect(values.set(at('l'), '"1234"')).rejects.toEqual(full('store-bytes')) // 2 + 1 + 6 more
        await expect(values.set(at('k'), `"${'x'.repeat(16)}"`)).rejects.toEqual(full('store-bytes'))
        expect(await values.get(at('k'))).toBe('"1234567"')
        expect(await values.get(at('l'))).toBeUndefined()
        await values.set(at('l'), '"123"') // 8
        await values.set(at('k'), '1') // 4
        await values
          .set(at('m'), '"\u00e9\u00e9"') // 2 + 1 + 6 more: 4 + 8 + 9 > 20
          .then(
            () => expect.unreachable(),
            (error: unknown) => expect(error).toEqual(full('store-bytes')),
          )
        await values.delete(at('l'))
        expect(await values.set(at('m'), '"\u00e9\u00e9"')).toEqual({ updated: false })
        for (const key of ['k', 'm']) await values.delete(at(key))
        expect(await values.set(at('n'), `"${'x'.repeat(15)}"`)).toEqual({ updated: false }) // 20 again: nothing leaked
      })

      it('answer any run of commands as a map for each tenant would', async () => {
        const step = fc.record({
          what: fc.constantFrom('set', 'set', 'get', 'delete', 'list'),
          tenant: fc.constantFrom('a', 'b'),
          namespace: fc.constantFrom('a', 'a:b', 'b', 'tenant:a'),
          key: fc.constantFrom('a', 'b', 'b:a', '\u00e9'),
          text: fc.constantFrom('1', '"two"', '[3]'),
        })
        await fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
            const { hot, values } = await setUp({ maxKeys: 5 })
            const model = new Map<string, Map<string, string>>()
            for (const { what, text, ...one } of steps) {
              const own = model.get(one.tenant) ?? new Map<string, string>()
              model.set(one.tenant, own)
              const id = JSON.stringify([one.namespace, one.key])
              if (what === 'get') expect(await values.get(one)).toBe(own.get(id))
              else if (what === 'delete') expect(await values.delete(one)).toBe(own.delete(id))
              else if (what === 'list') {
                const keys = [...own.keys()].map((key) => JSON.parse(key) as [string, string])
                const wanted = keys.filter(([namespace]) => namespace === one.namespace).map(([, key]) => key)
                expect(await values.list(one.tenant, one.namespace)).toEqual(wanted.sort())
              } else if (!own.has(id) && own.size === 5) {
                await expect(values.set(one, text)).rejects.toEqual(full('store-keys'))
              } else {
                expect(await values.set(one, text)).toEqual({ updated: own.has(id) })
                own.set(id, text)
              }
            }
            await hot.close()
          }),
          { numRuns: 30 },
        )
      })
    })

    describe('revocations', () => {
      it('are in force here when they are kept', async () => {
        const { clock, hot, revocations } = await setUp()
        const untilMs = clock.now() + 1_000
        await hot.revocations.add({ tenant: 'acme', subject: 'a:b', untilMs })
        await hot.revocations.add({ tenant: 'globex', untilMs })
        expect(revocations.isRevoked({ tenant: 'acme', subject: 'a:b' })).toBe(true)
        expect(revocations.isRevoked({ tenant: 'acme', subject: 'a' })).toBe(false)
        expect(revocations.isRevoked({ tenant: 'globex', subject: 'anyone' })).toBe(true)
        clock.advance(1_000)
        expect(revocations.isRevoked({ tenant: 'globex', subject: 'anyone' })).toBe(false)
      })
    })

    describe('counters', () => {
      it('allow so many uses in a window, each name, subject and tenant for itself', async () => {
        const { hot } = await setUp()
        const use = { tenant: 'acme', name: 'handshakes', max: 2, windowMs: 60_000 }
        const take = async (more: object = {}) => (await hot.counters.take({ ...use, ...more })).isAllowed
        expect([await take(), await take(), await take()]).toEqual([true, true, false])
        expect(await take({ tenant: 'globex' })).toBe(true)
        expect(await take({ subject: 'a' })).toBe(true)
        expect(await take({ subject: 'a:rate_limit' })).toBe(true)
        expect(await take({ name: 'other' })).toBe(true)
        const { retryAfterMs } = await hot.counters.take(use)
        expect(retryAfterMs).toBeGreaterThan(0)
        expect(retryAfterMs).toBeLessThanOrEqual(60_000)
      })

      it('never allow more when asked all at once', async () => {
        const { hot } = await setUp()
        const use = { tenant: 'acme', name: 'n', max: 7, windowMs: 60_000 }
        const answers = await Promise.all(Array.from({ length: 50 }, () => hot.counters.take(use)))
        expect(answers.filter(({ isAllowed }) => isAllowed)).toHaveLength(7)
      })
    })

    describe('presence', () => {
      it('never shows the members of this process as others', async () => {
        const { hot } = await setUp()
        const key = { tenant: 'acme', room: 'lab', channel: 'general' }
        hot.presence.follow({
          find: (_key, clientId) => ({ clientId, subject: 's', joinedAtMs: startMs }),
          isUsed: () => true,
          all: () => [{ key, clientId: 'one' }],
        })
        hot.presence.changed(key, 'two')
        expect(await hot.presence.elsewhere(key)).toEqual({ members: [], isPartial: false })
      })
    })

    describe('its life', () => {
      it('is whole once it is open', async () => {
        const { hot } = await setUp()
        expect(hot.report()).toMatchObject({ state: 'up', failures: { values: 0, presence: 0, revocations: 0 } })
      })

      it('closes twice, and refuses everything afterwards without hanging', async () => {
        const { hot, values } = await setUp()
        await values.set(at('k'), '1')
        await Promise.all([hot.close(), hot.close()])
        const closed = { code: 'STORE_UNAVAILABLE' }
        await expect(values.get(at('k'))).rejects.toMatchObject(closed)
        await expect(values.set(at('k'), '1')).rejects.toMatchObject(closed)
        await expect(values.list('acme', 'ns')).rejects.toMatchObject(closed)
        await expect(hot.revocations.add({ tenant: 'acme', untilMs: startMs + 1 })).rejects.toMatchObject(closed)
        hot.presence.changed({ tenant: 'acme', room: 'r', channel: 'c' }, 'one')
        await hot.counters.take({ tenant: 'acme', name: 'n', max: 1, windowMs: 1_000 })
      })
    })
  })
}
