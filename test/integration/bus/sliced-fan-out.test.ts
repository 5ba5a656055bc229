// Joining, with and without recovery, while a fan-out is cut into slices of two: the position a join answers is where
// live begins, whatever is half written at that moment. Router parts on a real store; sockets are recorded.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { anonymousIdentity } from '../../../src/auth/identity.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { createMessageIds } from '../../../src/base/ids.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { Rooms } from '../../../src/rooms/rooms.ts'
import { createMembership } from '../../../src/router/membership.ts'
import { createPublisher } from '../../../src/router/publisher.ts'
import { createReplies } from '../../../src/router/replies.ts'
import type { Client } from '../../../src/session/client.ts'
import { createMemoryStore } from '../../../src/storage/memory/memory-store.ts'
import { noTelemetry } from '../../../src/telemetry/events.ts'
import { frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import { positionOf } from '../../support/launch/wire-client.ts'
import { splitWsFrames } from '../../unit/rooms/recording-recipient.ts'
import { testOverflow } from '../../support/test-overflow.ts'

interface RecordedClient extends Client {
  /** Sequences of delivered messages, in the order written. */
  readonly sequences: number[]
}

function createClient(id: string): RecordedClient {
  const sequences: number[] = []
  return {
    id,
    sequences,
    isRemote: false,
    identity: anonymousIdentity,
    format: 'json',
    address: '',
    connectedAtMs: 0,
    inflight: 0,
    isClosed: false,
    send: () => undefined,
    write(frames) {
      for (const { data } of splitWsFrames(frames)) {
        sequences.push(positionOf(JSON.parse(data.toString()) as Envelope).sequence)
      }
    },
    close: () => undefined,
  }
}

const key = { tenant: 'acme', room: 'lab', channel: 'one' }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function createParts() {
  const clock = systemClock
  const store = createMemoryStore({
    clock,
    retention: { maxRecords: 10_000, maxBytes: 1e9, maxAgeMs: 1e9 },
    dedup: { maxAgeMs: 1e6, maxIds: 10_000 },
  })
  const bounds = { maxMembersPerChannel: 1_000, maxChannelsPerTenant: 100 }
  const rooms = new Rooms({ clock, ...bounds, epoch: 1, startsLoaded: false, sliceSize: 2, overflow: testOverflow })
  const nextId = createMessageIds(clock.now())
  const replies = createReplies(clock, nextId)
  const publisher = createPublisher({
    rooms,
    store,
    clock,
    replies,
    telemetry: noTelemetry,
    logger: silentLogger,
    maxPendingBytes: 2 ** 27,
  })
  const limits = { maxJoins: 100, maxRecoverMessages: 10_000, maxRecoverBytes: 1e9, maxQueuedBytesPerClient: 1e9 }
  const membership = createMembership({ rooms, store, limits, telemetry: noTelemetry })
  const sender = createClient('sender')
  function publish(channel: string): void {
    const id = nextId()
    const envelope = { id, timestamp: '2026-01-31T12:00:00.000Z', type: 'message', version: '1.0' } as const
    const frame = frameFromEnvelope(
      { ...envelope, room: 'lab', channel, payload: {}, args: {}, metadata: {} },
      { sender: sender.id },
    )
    publisher.publish({ client: sender, key: { ...key, channel }, id, frame, ack: 'none', done: undefined })
  }
  return { store, rooms, publisher, membership, publish }
}

it('every member gets what follows the position its join answered, once and in order', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 5 }) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('join' as const),
        whole: fc.boolean(),
        back: fc.option(fc.nat(6)),
        isAwaited: fc.boolean(),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
      const { store, publisher, membership, publish } = createParts()
      const { epoch } = await store.head(key)
      const members: { client: RecordedClient; from: () => number }[] = []
      const joins: Promise<void>[] = []
      let published = 0
      for (let n = 0; n < 5; n++) {
        const client = createClient(`early-${n}`)
        await membership.join(client, key, {}, () => undefined)
        members.push({ client, from: () => 0 })
      }
      for (const one of steps) {
        if (one.do === 'publish') {
          for (let n = 0; n < one.count; n++) publish('one')
          published += one.count
        } else if (one.do === 'join') {
          const client = createClient(`joiner-${members.length}`)
          const head = (await store.head(key)).last
          const from = one.back === null ? undefined : { epoch, sequence: Math.max(0, head - one.back) }
          const recover: JsonObject | undefined = from !== undefined && one.whole ? { one: from } : from
          let answered = -1
          const joining = membership.join(
            client,
            { ...key, channel: one.whole ? '*' : 'one' },
            { recover },
            (facts) => {
              const positions = facts['positions'] as { one?: { sequence: number } } | undefined
              const position = (facts['position'] as { sequence: number } | undefined) ?? positions?.one
              if (recover !== undefined) expect(facts['recovered']).toBe(true)
              answered = from?.sequence ?? position?.sequence ?? 0
            },
          )
          joins.push(joining)
          members.push({ client, from: () => answered })
          if (one.isAwaited) await joining
        } else await turn()
      }
      await Promise.all(joins)
      await publisher.idle()
      for (const { client, from } of members) {
        const expected = Array.from({ length: published - from() }, (_, index) => from() + 1 + index)
        expect(client.sequences, client.id).toEqual(expected)
      }
      await store.close()
    }),
    { numRuns: 150 },
  )
})
