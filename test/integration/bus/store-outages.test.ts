// A store that goes away and comes back under a bus: what members get, what publishers are told and what the log holds,
// in both modes and through any order of troubles. Router parts on a real store behind its guard; sockets are recorded.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { envelopeOfFrame } from '../../../src/wire/message-frame.ts'
import type { Trouble } from '../../support/failing-store.ts'
import { createClient, createParts, key, turn } from '../../support/store-outage-lab.ts'

const isUpgrade = ({ metadata }: Envelope): boolean => 'durability' in metadata

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('trouble' as const),
      trouble: fc.constantFrom<Trouble>('none', 'refuses', 'loses-answer', 'times-out'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 8 }) }) },
)

describe.each(['strict', 'degraded'] as const)('%s, through any troubles', (mode) => {
  it('members, answers and log agree: each message once, in one order, nothing refused and delivered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), async (steps) => {
        const { line, store, publish, join, settle, sender } = createParts(mode)
        const members = [createClient('one'), createClient('two')]
        for (const member of members) await join(member)
        const ids: string[] = []
        for (const one of steps) {
          if (one.do === 'trouble') line.trouble = one.trouble
          else if (one.do === 'turns') for (let n = 0; n < one.count; n++) await turn()
          else for (let n = 0; n < one.count; n++) ids.push(publish())
        }
        await settle()
        ids.push(publish())
        await settle()

        const upgrades = sender.answers.filter(isUpgrade)
        const first = sender.answers.filter((answer) => !isUpgrade(answer))
        const answers = new Map(first.map((answer) => [answer.request_id ?? answer.id, answer]))
        expect(first).toHaveLength(ids.length)
        const log = await store.readBySequence({ key, after: 0, limit: 10_000, maxBytes: 1e9 })
        const logged = log.map(({ frame }) => (envelopeOfFrame(frame).payload as { n: number }).n)
        expect(new Set(logged).size).toBe(logged.length)
        ids.forEach((id, n) => {
          const answer = answers.get(id)!
          if (answer.type === 'message_response') expect(logged).toContain(n)
          else if (answer.error_code === 'STORE_UNAVAILABLE') expect(logged).not.toContain(n)
          else expect(answer.error_code).toBe('STORE_TIMEOUT')
        })
        if (mode === 'degraded') expect(logged).toEqual(ids.map((_, n) => n))
        // Each whose first answer told less than there is now, once, after that answer, with its place in the log.
        const isLess = ({ type, metadata }: Envelope): boolean =>
          mode === 'degraded' && (type === 'error' || metadata['position'] === undefined)
        expect(upgrades.map(({ id }) => id)).toEqual(ids.filter((id) => isLess(answers.get(id)!)))
        for (const upgrade of upgrades) {
          expect(sender.answers.indexOf(upgrade)).toBeGreaterThan(sender.answers.indexOf(answers.get(upgrade.id)!))
          const { sequence } = upgrade.metadata['position'] as { sequence: number }
          expect(log[sequence - 1]!.id).toBe(upgrade.id)
        }
        for (const { delivered } of members) {
          expect(delivered.map(({ n }) => n)).toEqual(logged)
          delivered.forEach(({ sequence }, i) => {
            if (sequence !== undefined) expect(sequence).toBe(i + 1)
          })
          expect(delivered.at(-1)?.sequence).toBe(log.length)
        }
      }),
      { numRuns: 150 },
    )
  })
})

describe('degraded', () => {
  it('lets clients join while the store is away, without a position, and gives them one with the next message', async () => {
    const { line, store, publish, join, settle } = createParts('degraded')
    line.trouble = 'refuses'
    publish()
    while (!store.isHolding) await turn()
    const member = createClient('late')
    expect(await join(member)).not.toHaveProperty('position')
    publish()
    await settle()
    publish()
    await settle()
    expect(member.delivered).toEqual([
      { n: 1, sequence: undefined },
      { n: 2, sequence: 3 },
    ])
  })

  it('tells level memory for what is held', async () => {
    const { line, publish, settle, sender } = createParts('degraded')
    line.trouble = 'refuses'
    publish()
    while (sender.answers.length === 0) await turn()
    await settle()
    expect(sender.answers[0]).toMatchObject({ type: 'message_response', metadata: { level: 'memory' } })
    expect(sender.answers[0]!.metadata).not.toHaveProperty('position')
  })

  it('does not acknowledge what was under way, and answers it sent again as the same message', async () => {
    const { line, store, publish, join, settle, sender } = createParts('degraded')
    const member = createClient('member')
    await join(member)
    line.trouble = 'loses-answer'
    const id = publish({ n: 1 })
    while (sender.answers.length < 1) await turn()
    expect(sender.answers[0]).toMatchObject({ request_id: id, error_code: 'STORE_TIMEOUT' })
    expect(sender.answers[0]!.payload).toMatchObject({ outcome: 'unknown', retryable: true })
    publish({ id, n: 1 })
    while (sender.answers.length < 2) await turn()
    expect(sender.answers[1]).toMatchObject({ id, metadata: { level: 'memory', duplicate: true } })
    publish({ n: 2, ack: 'accepted' }) // wants to know no more than that
    publish({ n: 3, ack: 'none' })
    await settle()
    publish({ id, n: 1 })
    await settle()
    const position = { sequence: 1 }
    expect(sender.answers.slice(2)).toMatchObject([
      { metadata: { level: 'memory' } },
      { type: 'message_response', id, metadata: { level: 'memory', durability: 'memory', position } },
      { id, metadata: { duplicate: true, position } },
    ])
    expect(member.delivered.map(({ n }) => n)).toEqual([1, 2, 3])
    expect((await store.head(key)).last).toBe(3)
  })
})

describe('a store that is back', () => {
  it('is given so many appends a second, in order; who publishes more is not read, refused or kept waiting for long', async () => {
    let passedMs = 0
    const clock: Clock = { now: () => systemClock.now(), monotonic: () => passedMs }
    const rates = { flushPerSecond: 1_000, rampPerSecond: 1_600 } // 400 at first, 20 at once
    const { line, store, publisher, publish, settle, sender, isRead } = createParts('strict', { clock, rates })
    line.trouble = 'refuses'
    for (let n = 0; n < 3; n++) publish()
    while (store.state !== 'unavailable') {
      await turn()
      publish()
    }
    await settle()
    sender.answers.length = 0
    /** Two looks of the publisher later. */
    const pass = async (ms: number): Promise<void> => {
      passedMs += ms
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const ids = Array.from({ length: 200 }, () => publish())
    await pass(0)
    expect(sender.answers).toHaveLength(20)
    ids.push(publish())
    expect(isRead).toEqual([false])
    await pass(25)
    expect(sender.answers).toHaveLength(30)
    for (let n = 0; n < 2; n++) await pass(500) // as long as anybody waits
    await publisher.idle()
    expect(sender.answers.map(({ type, id }) => [type, id])).toEqual(ids.map((id) => ['message_response', id]))
    expect(isRead).toEqual([false, true])
  })
})
