// Whatever the link does to deliveries, a stream comes out of the edge once, in order, without holes, or with a gap told.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { Rooms } from '../../../src/rooms/rooms.ts'
import { createEdgeOrder, type Live } from '../../../src/shield/edge-order.ts'
import { createShieldMetrics } from '../../../src/shield/metrics.ts'
import { frameFromEnvelope } from '../../../src/wire/message-frame.ts'

const key = { tenant: 'acme', room: 'ops', channel: 'a' }
const frame = frameFromEnvelope(
  {
    id: 'arq_1795417006860163159_1_55420b',
    timestamp: '2026-11-23T12:00:00.000Z',
    type: 'message',
    version: '1.0',
    payload: {},
    args: {},
    metadata: {},
  },
  { sender: 's' },
)

const gapEnvelope: Envelope = {
  id: 'arq_1_1_abcdef',
  timestamp: '2026-11-23T12:00:00.000Z',
  type: 'gap',
  version: '1.0',
  payload: {},
  args: {},
  metadata: {},
}

function live(sequence: number, epoch = 1, isPositioned = true): Live {
  return { epoch, sequence, from: 's', frame, isPositioned }
}

/** An edge with one member, over a log that ends at `last` and has lost what is before `first`. */
function setUp(log: { first: number; last: number; failures?: number }, maxRecoverMessages = 1_000) {
  const passed: string[] = []
  const gaps: string[] = []
  let failures = log.failures ?? 0
  const rooms = new Rooms({
    clock: systemClock,
    maxMembersPerChannel: 10,
    maxChannelsPerTenant: 10,
    epoch: 1,
    startsLoaded: true,
    overflow: {
      maxQueuedBytes: 150,
      maxHeldBytes: 10_000,
      gapFrame({ stream: of, from, to }) {
        const range = order.rangeOf(of, from, to)
        gaps.push(`overflow ${range === undefined ? to - from + 1 : `${range.epoch}:${range.from}-${range.to}`}`)
        return gapEnvelope
      },
    },
  })
  const order = createEdgeOrder({
    rooms,
    metrics: createShieldMetrics(undefined),
    maxRecoverMessages,
    async read(_key, _epoch, after) {
      await new Promise(setImmediate)
      if (failures-- > 0) return undefined
      const records = []
      for (let n = Math.max(after + 1, log.first); n <= log.last && records.length < 7; n++) {
        records.push({ sequence: n, sender: 's', frame })
      }
      return records
    },
    onPassed: (_stream, one) => passed.push(`${one.epoch}:${one.sequence}`),
    onGap: (_stream, reason, facts) => gaps.push(`${reason} ${facts.missed ?? ''}`.trim()),
    onOverflow: () => gaps.push('overflow'),
  })
  const stream = rooms.open(key)
  rooms.join(stream, { id: 'm', format: 'protobuf', isRemote: false, write: () => undefined }, 0)
  return { order, stream, passed, gaps, rooms }
}

async function settled(): Promise<void> {
  // Reads take a turn each, and a failed one is tried again after at most 0.4 s.
  for (let i = 0; i < 40; i++) await new Promise(setImmediate)
}

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => `1:${from + i}`)

test('lost, repeated and reordered deliveries come out whole', async () => {
  const total = 40
  const arrivals = fc.array(fc.integer({ min: 1, max: total }), { maxLength: 120 })
  await fc.assert(
    fc.asyncProperty(
      arrivals,
      fc.nat(30),
      fc.array(fc.boolean(), { minLength: 120, maxLength: 120 }),
      async (seen, start, pauses) => {
        const { order, stream, passed, gaps } = setUp({ first: 1, last: total })
        for (const [index, sequence] of seen.entries()) {
          if (index === Math.min(5, seen.length - 1)) order.learn(stream, 1, start)
          order.receive(stream, live(sequence))
          if (pauses[index]) await new Promise(setImmediate)
        }
        order.learn(stream, 1, start)
        order.heard({ ...key, epoch: 1, last: total, isPositioned: true })
        await settled()
        // A stream with members that nothing was known of begins at 1: its members came before it.
        const first = Number(passed.find((one) => one.startsWith('1:'))!.slice(2))
        expect(passed.filter((one, i) => passed.indexOf(one) === i)).toEqual(passed)
        expect(passed).toEqual(numbers(first, total))
        expect(gaps).toEqual([])
      },
    ),
    { numRuns: 60 },
  )
})

test('what the log has not kept is told as a gap, and the rest follows', async () => {
  const { order, stream, passed, gaps } = setUp({ first: 6, last: 9 })
  order.learn(stream, 1, 0)
  order.receive(stream, live(1))
  order.receive(stream, live(9))
  await settled()
  expect(passed).toEqual(['1:1', ...numbers(6, 9)])
  expect(gaps).toEqual(['retention_expired 4'])
})

test('a hole larger than the limit is not read at all', async () => {
  const { order, stream, passed, gaps } = setUp({ first: 1, last: 99 }, 10)
  order.learn(stream, 1, 0)
  order.receive(stream, live(50))
  await settled()
  expect(passed).toEqual(['1:50'])
  expect(gaps).toEqual(['too_far_behind 49'])
})

test('a read that fails is tried again, and meanwhile nothing later comes out', async () => {
  const { order, stream, passed, gaps } = setUp({ first: 1, last: 3, failures: 1 })
  order.learn(stream, 1, 0)
  order.receive(stream, live(3))
  await new Promise(setImmediate)
  expect(passed).toEqual([])
  const deadline = performance.now() + 5_000
  while (passed.length < 3 && performance.now() < deadline) await new Promise(setImmediate)
  expect(passed).toEqual(numbers(1, 3))
  expect(gaps).toEqual([])
})

test('where nothing is stored a hole is a gap at once', async () => {
  const { order, stream, passed, gaps } = setUp({ first: 1, last: 0 })
  order.learn(stream, 1, 0)
  order.receive(stream, live(1, 1, false))
  order.receive(stream, live(4, 1, false))
  await settled()
  expect(passed).toEqual(['1:1', '1:4'])
  expect(gaps).toEqual(['not_stored 2'])
})

test('a new epoch begins where its first message stands; late ones of the old epoch are dropped', async () => {
  const { order, stream, passed, gaps, rooms } = setUp({ first: 1, last: 0 })
  order.learn(stream, 1, 0)
  order.receive(stream, live(1))
  order.receive(stream, live(2))
  order.receive(stream, live(1, 2))
  order.receive(stream, live(3, 1))
  order.receive(stream, live(2, 2))
  await rooms.fanOut.idle()
  expect(passed).toEqual(['1:1', '1:2', '2:1', '2:2'])
  expect(gaps).toEqual(['epoch_changed'])
  // Members' own numbering went on: every one of the four was written.
  expect([...stream.local.values()][0]!.cursor).toBe(4)
})

test.each([
  { what: 'a new epoch', next: live(1, 2), told: 'epoch_changed', later: [2, 3] },
  { what: 'a loss where nothing is stored', next: live(9, 1, false), told: 'not_stored 3', later: [10, 11] },
] as const)('who is behind is told what it misses before $what, in the numbers of the bus', async (one) => {
  const isPositioned = one.next.isPositioned
  const { order, stream, gaps, rooms } = setUp({ first: 1, last: 0 })
  let queued = 0
  const slow = {
    id: 'slow',
    format: 'protobuf' as const,
    isRemote: false,
    write(bytes: Uint8Array) {
      queued += bytes.length
    },
    send: () => undefined,
    queuedBytes: () => queued,
    whenWritten: () => undefined,
  }
  order.learn(stream, 1, 2) // the bus is ahead of this process's own count
  rooms.join(stream, slow, stream.head, 'drop_oldest')
  for (const sequence of [3, 4, 5]) {
    order.receive(stream, live(sequence, 1, isPositioned))
    await rooms.fanOut.idle()
  }
  const written = [...stream.local.values()].find(({ recipient }) => recipient === slow)!.cursor
  expect(stream.held?.behind.size).toBe(1)
  order.receive(stream, one.next)
  const missed = 3 - written
  expect(gaps).toEqual([isPositioned ? `overflow 1:${3 + written}-5` : `overflow ${missed}`, one.told])
  expect(stream.held).toBeUndefined()
  queued = 0
  await rooms.fanOut.idle()
  for (const sequence of one.later) {
    order.receive(stream, live(sequence, one.next.epoch, isPositioned))
    queued = 0
    await rooms.fanOut.idle()
  }
  expect(gaps).toHaveLength(2)
})

test('what comes before the position is known waits for it, within bounds', () => {
  const { order, passed, gaps, rooms } = setUp({ first: 1, last: 0 })
  const empty = rooms.open({ ...key, channel: 'b' })
  order.receive(empty, live(4))
  order.receive(empty, live(3))
  order.receive(empty, live(3))
  expect(passed).toEqual([])
  order.learn(empty, 1, 2)
  expect(passed).toEqual(['1:3', '1:4'])
  const busy = rooms.open({ ...key, channel: 'c' })
  const large = { ...live(1), frame: new Uint8Array(600_000) }
  order.receive(busy, large)
  order.receive(busy, { ...large, sequence: 2 })
  expect(gaps).toEqual(['overflow'])
})
