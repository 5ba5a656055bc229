// A store that goes away and comes back under a bus: what members get, what publishers are told and what the log holds,
// in both modes and through any order of troubles. Router parts on a real store behind its guard; sockets are recorded.
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
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
import { createGuardedStore } from '../../../src/storage/guard/guarded-store.ts'
import { createMemoryStore } from '../../../src/storage/memory/memory-store.ts'
import type { HistoryStore } from '../../../src/storage/store.ts'
import { noTelemetry } from '../../../src/telemetry/events.ts'
import { envelopeOfFrame, frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import { testOverflow } from '../../support/test-overflow.ts'
import { createFailingStore, type Trouble } from '../../support/failing-store.ts'
import { splitWsFrames } from '../../unit/rooms/recording-recipient.ts'

interface Delivered {
  readonly n: number
  readonly sequence: number | undefined
}

interface RecordedClient extends Client {
  readonly delivered: Delivered[]
  readonly answers: Envelope[]
}

function createClient(id: string): RecordedClient {
  const delivered: Delivered[] = []
  const answers: Envelope[] = []
  return {
    id,
    delivered,
    answers,
    isRemote: false,
    identity: anonymousIdentity,
    format: 'json',
    address: '',
    connectedAtMs: 0,
    inflight: 0,
    isClosed: false,
    send: (envelope) => void answers.push(envelope),
    write(frames) {
      for (const { data } of splitWsFrames(frames)) {
        const { payload, metadata } = JSON.parse(data.toString()) as Envelope
        const position = metadata['position'] as { sequence: number } | undefined
        delivered.push({ n: (payload as { n: number }).n, sequence: position?.sequence })
      }
    },
    close: () => undefined,
  }
}

const key = { tenant: 'acme', room: 'lab', channel: 'one' }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const opened: HistoryStore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
})

function createParts(mode: 'strict' | 'degraded') {
  const clock = systemClock
  const retention = { maxRecords: 10_000, maxBytes: 1e9, maxAgeMs: 1e9 }
  const line = createFailingStore(createMemoryStore({ clock, retention, dedup: { maxAgeMs: 1e6, maxIds: 10_000 } }))
  const common = { mode, backend: 'memory', clock, logger: silentLogger } as const
  const accepts = async (): Promise<boolean> => true
  const store = createGuardedStore({ ...common, inner: line, open: async () => line, accepts, probeEveryMs: 0 })
  opened.push(store)
  const bounds = { maxMembersPerChannel: 1_000, maxChannelsPerTenant: 100 }
  const rooms = new Rooms({ clock, ...bounds, epoch: 1, startsLoaded: false, sliceSize: 2, overflow: testOverflow })
  const nextId = createMessageIds(clock.now())
  const ports = { rooms, store, clock, replies: createReplies(clock, nextId), telemetry: noTelemetry }
  const publisher = createPublisher({ ...ports, logger: silentLogger, maxPendingBytes: 2 ** 27 })
  store.onReturned((heads) => publisher.storeReturned(heads))
  // As the bus does it: after a change for the better, what landed late is looked for.
  store.onState((state) => {
    if (state === 'ready') publisher.storeReturned([])
  })
  const limits = { maxJoins: 100, maxRecoverMessages: 10_000, maxRecoverBytes: 1e9, maxQueuedBytesPerClient: 1e9 }
  const membership = createMembership({ rooms, store, limits, telemetry: noTelemetry })
  const sender = createClient('sender')
  let published = 0
  function publish(): string {
    const id = nextId()
    const envelope = { id, timestamp: '2026-01-31T12:00:00.000Z', type: 'message', version: '1.0' } as const
    const rest = { room: 'lab', channel: 'one', payload: { n: published++ }, args: {}, metadata: {} }
    const frame = frameFromEnvelope({ ...envelope, ...rest }, { sender: sender.id })
    publisher.publish({ client: sender, key, id, frame, ack: undefined, done: undefined })
    return id
  }
  const join = async (client: Client): Promise<JsonObject> => {
    let facts: JsonObject = {}
    await membership.join(client, key, {}, (given) => {
      facts = given
    })
    return facts
  }
  async function settle(): Promise<void> {
    line.trouble = 'none'
    await publisher.idle() // what was sent into the trouble has met it
    while (store.state !== 'ready') await turn()
    await publisher.idle()
  }
  return { line, store, rooms, publisher, membership, publish, join, settle, sender, published: () => published }
}

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

        const answers = new Map(sender.answers.map((answer) => [answer.request_id ?? answer.id, answer]))
        expect(sender.answers).toHaveLength(ids.length)
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
})
