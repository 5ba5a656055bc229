// Members that are passed over: whatever stalls, drains, joins and leaves, each is written its messages once and in
// order, and every message it is not written is in a gap told in its place. What is held stays within its bounds.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { OverflowPolicy } from '../../../src/envelope/envelope.ts'
import { Delivery } from '../../../src/rooms/delivery.ts'
import { Rooms } from '../../../src/rooms/rooms.ts'
import type { Stream } from '../../../src/rooms/stream.ts'
import { frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { createPacedRecipient, gapFrame, type PacedRecipient, type Written } from './paced-recipient.ts'

const keyOf = (channel: string) => ({ tenant: 'acme', room: 'lab', channel })
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function createRooms(bounds: { maxQueuedBytes: number; maxHeldBytes: number }, sliceSize = 500): Rooms {
  return new Rooms({
    clock: createManualClock(),
    maxMembersPerChannel: 100,
    maxChannelsPerTenant: 100,
    epoch: 1,
    startsLoaded: true,
    sliceSize,
    overflow: { ...bounds, gapFrame },
  })
}

function push(rooms: Rooms, stream: Stream, sender: string, textLength = 50): number {
  const n = stream.head + 1
  const frame = frameFromEnvelope(
    {
      id: `arq_1_${n}_abcdef`,
      timestamp: '2026-01-31T12:00:00.000Z',
      type: 'message',
      version: '1.0',
      room: 'lab',
      channel: stream.key.channel,
      payload: { n, text: 'x'.repeat(textLength) },
      args: {},
      metadata: {},
    },
    { sender },
  )
  rooms.fanOut.push(stream, new Delivery(n, sender, frame, { epoch: 1, sequence: n }))
  return n
}

/** Throws where a message is written twice, out of order, or missing without a gap; returns how far it goes. */
function checkOrder(written: readonly Written[], after: number, isOwn: (n: number) => boolean): number {
  let last = after
  const onlyOwnUpTo = (next: number): void => {
    for (let n = last + 1; n < next; n++) expect(isOwn(n), `${n} is missing behind ${last}`).toBe(true)
  }
  for (const one of written) {
    const first = 'n' in one ? one.n : one.from
    expect(first).toBeGreaterThan(last)
    onlyOwnUpTo(first)
    last = 'n' in one ? one.n : one.to
    if ('n' in one) expect(isOwn(one.n)).toBe(false)
    else expect(one.to).toBeGreaterThanOrEqual(one.from)
  }
  return last
}

type ChannelName = 'one' | 'two'
const channelNames = ['one', 'two'] as const
const policy = fc.constantFrom<OverflowPolicy>('disconnect', 'drop_oldest', 'drop_oldest', 'latest', 'latest')
const who = fc.nat(5)
const channel = fc.constantFrom<ChannelName>('one', 'two')
const textLengths = fc.array(fc.constantFrom(5, 50, 1_500), { minLength: 1, maxLength: 12 })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('push' as const), channel, who, textLengths }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('join' as const), channel, who, policy }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('joinRoom' as const), who, policy }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), channel, who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const), channel }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hide' as const), channel }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('stall' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const), who, count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resume' as const), who }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never

/** One life of a membership; a recipient that closed comes back as another. */
interface Life {
  readonly recipient: PacedRecipient
  readonly channel: ChannelName
  readonly cursor: number
  readonly policies: Set<OverflowPolicy>
  /** What had been written in the channel when it began and ended. */
  readonly begin: number
  end: number | undefined
}

function createModel(rooms: Rooms) {
  const senders = { one: [] as string[], two: [] as string[] }
  const lives: Life[] = []
  const recipients = new Map<number, PacedRecipient>()

  function recipientOf(index: number): PacedRecipient {
    const known = recipients.get(index) ?? createPacedRecipient(`client-${index}`, index % 2 ? 'json' : 'protobuf')
    recipients.set(index, known)
    return known
  }

  const livesOf = (recipient: PacedRecipient, name: ChannelName): Life[] =>
    lives.filter((life) => life.recipient === recipient && life.channel === name)

  function begin(recipient: PacedRecipient, name: ChannelName, wanted: OverflowPolicy): void {
    const last = livesOf(recipient, name).at(-1)
    if (last !== undefined && last.end === undefined) {
      last.policies.add(wanted)
      return
    }
    const written = writtenTo(recipient, name).length
    expect(written, 'written while it was no member').toBe(last?.end ?? 0)
    const cursor = rooms.open(keyOf(name)).head
    lives.push({ recipient, channel: name, cursor, policies: new Set([wanted]), begin: written, end: undefined })
  }

  function finish(recipient: PacedRecipient, name: ChannelName): void {
    const life = livesOf(recipient, name).find(({ end }) => end === undefined)
    if (life !== undefined) life.end = writtenTo(recipient, name).length
  }

  async function apply(one: Step): Promise<void> {
    switch (one.do) {
      case 'push':
        for (const length of one.textLengths) {
          push(rooms, rooms.open(keyOf(one.channel)), `client-${one.who}`, length)
          senders[one.channel].push(`client-${one.who}`)
        }
        return
      case 'join': {
        const stream = rooms.open(keyOf(one.channel))
        begin(recipientOf(one.who), one.channel, one.policy)
        rooms.join(stream, recipientOf(one.who), stream.head, one.policy)
        return
      }
      case 'joinRoom':
        for (const name of channelNames) begin(recipientOf(one.who), name, one.policy)
        rooms.joinRoom('acme', 'lab', recipientOf(one.who), one.policy)
        return
      case 'leave': {
        const stream = rooms.open(keyOf(one.channel))
        rooms.leave(stream, recipientOf(one.who))
        if (stream.member(recipientOf(one.who)) === undefined) finish(recipientOf(one.who), one.channel)
        return
      }
      case 'close':
        rooms.leaveAll(recipientOf(one.who))
        for (const name of channelNames) finish(recipientOf(one.who), name)
        recipients.delete(one.who)
        return
      case 'flush':
        rooms.fanOut.flush(rooms.open(keyOf(one.channel)))
        return
      case 'hide':
        rooms.hide(rooms.open(keyOf(one.channel)))
        for (const recipient of recipients.values()) finish(recipient, one.channel)
        return
      case 'stall':
        recipientOf(one.who).isStalled = true
        return
      case 'take':
        recipientOf(one.who).take(one.count)
        return
      case 'resume':
        recipientOf(one.who).isStalled = false
        recipientOf(one.who).take()
        return
      case 'turn':
        await turn()
    }
  }

  function check({ recipient, channel: name, begin: from, cursor, end, policies }: Life): void {
    const written = writtenTo(recipient, name)
    const own = written.slice(from, end)
    const isOwn = (n: number): boolean => senders[name][n - 1] === recipient.id
    const last = checkOrder(own, cursor, isOwn)
    if (policies.size === 1 && policies.has('disconnect')) expect(own.every((one) => 'n' in one)).toBe(true)
    if (end === undefined) {
      for (let n = last + 1; n <= senders[name].length; n++) expect(isOwn(n), `${n} is missing at the end`).toBe(true)
    } else if (livesOf(recipient, name).at(-1)?.end === end) expect(written).toHaveLength(end)
  }

  return { apply, check, lives, recipients }
}

function writtenTo(recipient: PacedRecipient, name: ChannelName): readonly Written[] {
  return recipient.written.get(name) ?? []
}

describe('members that are passed over', () => {
  it('get what follows their cursor once and in order, less what a gap tells of', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1_000, max: 4_000 }),
        fc.integer({ min: 600, max: 12_000 }),
        fc.array(step, { maxLength: 80, size: 'max' }),
        async (sliceSize, maxQueuedBytes, maxHeldBytes, steps) => {
          const rooms = createRooms({ maxQueuedBytes, maxHeldBytes }, sliceSize)
          const { apply, check, lives, recipients } = createModel(rooms)
          for (const one of steps) {
            await apply(one)
            expect(rooms.overflow.heldBytes).toBeLessThanOrEqual(maxHeldBytes)
          }
          await rooms.fanOut.idle()
          for (const recipient of recipients.values()) {
            recipient.isStalled = false
            recipient.take()
          }
          expect(rooms.overflow.heldBytes).toBe(0)
          for (const life of lives) check(life)
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('drop_oldest', () => {
  it('loses nothing while what is held has room, and drops the oldest when it has not', async () => {
    const rooms = createRooms({ maxQueuedBytes: 4_000, maxHeldBytes: 100_000 })
    const stream = rooms.open(keyOf('one'))
    const slow = createPacedRecipient('slow', 'json')
    const quick = createPacedRecipient('quick', 'json')
    for (const recipient of [slow, quick]) rooms.join(stream, recipient, 0, 'drop_oldest')
    slow.isStalled = true
    let pushed = 0
    const pushUntil = async (isEnough: () => boolean): Promise<void> => {
      while (!isEnough()) {
        pushed = push(rooms, stream, 'x', 500)
        await rooms.fanOut.idle()
      }
    }
    await pushUntil(() => stream.held !== undefined)
    await pushUntil(() => pushed === stream.head && stream.held!.batches.length === 2)
    slow.take()
    expect(slow.written.get('one')).toEqual(Array.from({ length: pushed }, (_, i) => ({ n: i + 1 })))

    const before = pushed
    await pushUntil(() => pushed === before + 40)
    slow.isStalled = false
    slow.take()
    const written = slow.written.get('one')!
    const gap = written.find((one) => 'from' in one)
    expect(written.filter((one) => 'from' in one)).toHaveLength(1)
    expect(checkOrder(written, 0, () => false)).toBe(pushed)
    expect(rooms.overflow.gaps).toEqual({ drop_oldest: 1, latest: 0 })
    expect(rooms.overflow.dropped.drop_oldest).toBe(gap!.to - gap!.from + 1)
    // As many of the newest as fit: their frames of about 650 bytes, and what each batch costs.
    expect(pushed - gap!.to).toBe(3)
    expect(quick.written.get('one')).toHaveLength(pushed)
  })
})

describe('latest', () => {
  it('brings only the newest, behind the gap of all others', async () => {
    const rooms = createRooms({ maxQueuedBytes: 4_000, maxHeldBytes: 100_000 })
    const stream = rooms.open(keyOf('one'))
    const slow = createPacedRecipient('slow', 'protobuf')
    rooms.join(stream, slow, 0, 'latest')
    slow.isStalled = true
    for (let n = 1; n <= 50; n++) {
      push(rooms, stream, 'x', 500)
      await rooms.fanOut.idle()
    }
    const queued = slow.written.get('one')!.length
    slow.isStalled = false
    slow.take()
    expect(slow.written.get('one')!.slice(queued)).toEqual([{ from: queued + 1, to: 49 }, { n: 50 }])
    expect(rooms.overflow.dropped).toEqual({ drop_oldest: 0, latest: 49 - queued })
  })
})

describe('a member that is behind', () => {
  async function behind(policyGiven: OverflowPolicy) {
    const rooms = createRooms({ maxQueuedBytes: 2_000, maxHeldBytes: 100_000 })
    const stream = rooms.open(keyOf('one'))
    const slow = createPacedRecipient('slow', 'json')
    rooms.join(stream, slow, 0, policyGiven)
    slow.isStalled = true
    for (let n = 1; n <= 20; n++) {
      push(rooms, stream, 'x', 500)
      await rooms.fanOut.idle()
    }
    expect(stream.held?.behind.size).toBe(1)
    return { rooms, stream, slow, queued: slow.written.get('one')!.length }
  }

  it.each(['leave', 'hide', 'flush'] as const)('is told all it misses when it is over: %s', async (what) => {
    const { rooms, stream, slow, queued } = await behind('drop_oldest')
    if (what === 'leave') rooms.leave(stream, slow)
    else if (what === 'hide') rooms.hide(stream)
    else rooms.fanOut.flush(stream)
    expect(slow.written.get('one')!.slice(queued)).toEqual([{ from: queued + 1, to: 20 }])
    slow.take()
    expect(slow.written.get('one')).toHaveLength(queued + 1)
    expect(rooms.overflow.heldBytes).toBe(0)
  })

  it('is told nothing when its connection is gone, and nothing is held for it', async () => {
    const { rooms, slow, queued } = await behind('latest')
    rooms.leaveAll(slow)
    expect(slow.written.get('one')).toHaveLength(queued)
    expect(rooms.overflow.heldBytes).toBe(0)
    expect(rooms.overflow.gaps.latest).toBe(0)
  })

  it('is written what is held at once when it may not be passed over any more', async () => {
    const { rooms, stream, slow } = await behind('drop_oldest')
    rooms.join(stream, slow, stream.head, 'disconnect')
    const written = slow.written.get('one')!
    expect(checkOrder(written, 0, () => false)).toBe(20)
    push(rooms, stream, 'x')
    await rooms.fanOut.idle()
    expect(written.at(-1)).toEqual({ n: 21 })
    expect(stream.held).toBeUndefined()
  })

  it('keeps its policy when it joins again without one', async () => {
    const { rooms, stream, slow, queued } = await behind('latest')
    rooms.join(stream, slow, stream.head)
    slow.isStalled = false
    slow.take()
    expect(slow.written.get('one')!.slice(queued)).toEqual([{ from: queued + 1, to: 19 }, { n: 20 }])
  })
})
