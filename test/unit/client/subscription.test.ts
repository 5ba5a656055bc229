import { describe, expect, it } from 'vitest'
import { createFrames } from '../../../src/client/frames.ts'
import { createMessageQueue } from '../../../src/client/message-queue.ts'
import { ClientError } from '../../../src/client/client-error.ts'
import { readJsonEnvelope } from '../../../src/client/read-json.ts'
import { type Gap, type JoinOptions, SubscriptionState, toGap } from '../../../src/client/subscription.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'

const frames = createFrames()

function delivery(sequence: number, options: { epoch?: number; channel?: string } = {}): Envelope {
  const { epoch = 1, channel = 'c' } = options
  return frames.message({ room: 'r', channel, payload: { n: sequence }, metadata: { position: { epoch, sequence } } })
}

function subscribe(channel: string, options: JoinOptions = {}) {
  const got: unknown[] = []
  const subscription = new SubscriptionState('r', channel, {
    ...options,
    onMessage: (message) => got.push((message.payload as { n: number }).n),
  })
  return { subscription, got }
}

describe('a subscription', () => {
  it('asks for nothing at first, and then for what follows the last message', () => {
    const { subscription, got } = subscribe('c')
    expect(subscription.recoverArgument()).toBeUndefined()
    subscription.joined({ position: { epoch: 1, sequence: 4 } })
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 4 })
    subscription.deliver(delivery(5), false)
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 5 })
    expect(got).toEqual([5])
  })

  it('delivers a message once, also when a replay repeats it', () => {
    const { subscription, got } = subscribe('c')
    subscription.joined({ position: { epoch: 1, sequence: 0 } })
    for (const sequence of [1, 2, 2, 1, 3]) subscription.deliver(delivery(sequence), false)
    expect(got).toEqual([1, 2, 3])
  })

  it('goes on in a new epoch, whose sequences start again', () => {
    const { subscription, got } = subscribe('c')
    subscription.joined({ position: { epoch: 1, sequence: 9 } })
    subscription.deliver(delivery(1, { epoch: 2 }), false)
    expect(got).toEqual([1])
    expect(subscription.recoverArgument()).toEqual({ epoch: 2, sequence: 1 })
  })

  it('goes on behind a gap it was told, and tells of it', () => {
    const gaps: Gap[] = []
    const { subscription, got } = subscribe('c', { onGap: (gap) => gaps.push(gap) })
    subscription.joined({ position: { epoch: 1, sequence: 2 } })
    const facts = { reason: 'overflow', policy: 'latest', missed: 4, recoverable: true, epoch: 1, from: 3, to: 6 }
    const frame = { ...delivery(0), type: 'gap' as const, payload: facts }
    const gap = toGap(frame)!
    subscription.missed(gap)
    expect(gaps).toEqual([
      {
        room: 'r',
        channel: 'c',
        reason: 'overflow',
        missed: 4,
        from: { epoch: 1, sequence: 3 },
        to: { epoch: 1, sequence: 6 },
      },
    ])
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 6 })
    for (const sequence of [5, 7]) subscription.deliver(delivery(sequence), false)
    expect(got).toEqual([7])
    // Of another life, or without positions: told, and nothing else.
    subscription.missed({ ...gap, to: { epoch: 2, sequence: 99 } })
    subscription.missed(toGap({ ...frame, payload: { reason: 'not_stored', missed: 1 } })!)
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 7 })
    expect(gaps).toHaveLength(3)
    expect(toGap({ ...frame, payload: 'no object' })).toBeUndefined()
  })

  it('counts own messages as read without delivering them', () => {
    const { subscription, got } = subscribe('c')
    subscription.joined({ position: { epoch: 1, sequence: 0 } })
    subscription.published('c', { epoch: 1, sequence: 1 })
    subscription.deliver(delivery(2), true)
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 2 })
    expect(got).toEqual([])
  })

  it('does not skip a message of others that stands before an own one', () => {
    const { subscription, got } = subscribe('c')
    subscription.joined({ position: { epoch: 1, sequence: 0 } })
    subscription.published('c', { epoch: 1, sequence: 2 })
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 0 })
    subscription.deliver(delivery(1), false)
    expect(got).toEqual([1])
  })

  it('keeps its place while a recovery is replayed, and moves to the server where there was none', () => {
    const { subscription } = subscribe('c', { recover: { epoch: 1, sequence: 3 } })
    subscription.joined({ position: { epoch: 1, sequence: 8 }, recovered: true })
    expect(subscription.recoverArgument()).toEqual({ epoch: 1, sequence: 3 })
    const answer = subscription.joined({
      position: { epoch: 2, sequence: 1 },
      recovered: false,
      reason: 'epoch_changed',
    })
    expect(answer).toMatchObject({ recovered: false, reason: 'epoch_changed', position: { epoch: 2, sequence: 1 } })
    expect(subscription.recoverArgument()).toEqual({ epoch: 2, sequence: 1 })
  })

  it('of a whole room keeps a position for each channel, whatever it is called', () => {
    const { subscription, got } = subscribe('*')
    const odd = '__proto__'
    subscription.joined({ positions: { a: { epoch: 1, sequence: 2 } } })
    subscription.deliver(delivery(3, { channel: 'a' }), false)
    subscription.deliver(delivery(1, { channel: odd }), false)
    expect(got).toEqual([3, 1])
    expect(Object.entries(subscription.recoverArgument() as object)).toEqual([
      ['a', { epoch: 1, sequence: 3 }],
      [odd, { epoch: 1, sequence: 1 }],
    ])
    const answer = subscription.joined({
      positions: { a: { epoch: 1, sequence: 7 }, b: { epoch: 1, sequence: 1 } },
      recovered: false,
      recoveries: { a: { recovered: false, reason: 'too_far_behind' } },
    })
    expect(answer).toMatchObject({ recovered: false, reason: 'too_far_behind' })
    expect(subscription.recoverArgument()).toMatchObject({ a: { sequence: 7 }, b: { sequence: 1 } })
  })

  it('takes messages of its room and channel only', () => {
    const { subscription } = subscribe('c')
    expect(subscription.matches('r', 'c')).toBe(true)
    expect(subscription.matches('r', 'd')).toBe(false)
    expect(subscription.matches('s', 'c')).toBe(false)
    expect(subscribe('*').subscription.matches('r', 'anything')).toBe(true)
  })
})

describe('iterating over messages', () => {
  it('gives what came before and after the iteration began, then ends', async () => {
    const queue = createMessageQueue<number>(10)
    queue.push(1)
    const seen: number[] = []
    const reading = (async () => {
      for await (const item of queue) {
        seen.push(item)
        if (item === 1) queueMicrotask(() => queue.push(2))
        if (item === 2) queue.end()
      }
    })()
    await reading
    expect(seen).toEqual([1, 2])
  })

  it('ends with an error above its bound, after what it holds, instead of leaving a hole', async () => {
    const queue = createMessageQueue<number>(2)
    for (const item of [1, 2, 3, 4]) queue.push(item)
    const seen: number[] = []
    const reading = (async () => {
      for await (const item of queue) seen.push(item)
    })()
    await expect(reading).rejects.toBeInstanceOf(ClientError)
    expect(seen).toEqual([1, 2])
  })
})

describe('reading a frame of a newer server', () => {
  const frame = JSON.stringify({ ...delivery(1), colour: 'red', type: 'weather', sender: 5 })

  it('drops keys it does not know and fields of the wrong kind, and keeps the rest', () => {
    const envelope = readJsonEnvelope(frame)
    expect(envelope).toMatchObject({ type: 'weather', room: 'r', payload: { n: 1 } })
    expect(envelope).not.toHaveProperty('colour')
    expect(envelope.sender).toBeUndefined()
  })

  it('refuses what is no envelope', () => {
    for (const text of ['', '[]', '{}', '{"id":1,"type":"message"}', 'null']) {
      expect(() => readJsonEnvelope(text)).toThrow()
    }
  })
})
