// Parts of a bus on a real store behind its guard, which is told when to fail: sockets are recorded.
import { onTestFinished } from 'vitest'
import { anonymousIdentity } from '../../src/auth/identity.ts'
import { systemClock, toIsoTime } from '../../src/base/clock.ts'
import { createMessageIds } from '../../src/base/ids.ts'
import type { JsonObject } from '../../src/base/json.ts'
import { silentLogger } from '../../src/base/logger.ts'
import type { AckRequest, Envelope, Position } from '../../src/envelope/envelope.ts'
import { Rooms } from '../../src/rooms/rooms.ts'
import { createClientRegistry } from '../../src/router/clients.ts'
import type { CommandPorts } from '../../src/router/command.ts'
import { historyGet } from '../../src/router/commands/history.ts'
import { createMembership } from '../../src/router/membership.ts'
import { createPublisher } from '../../src/router/publisher.ts'
import { createReplies } from '../../src/router/replies.ts'
import type { Client } from '../../src/session/client.ts'
import { createGuardedStore } from '../../src/storage/guard/guarded-store.ts'
import { createMemoryStore } from '../../src/storage/memory/memory-store.ts'
import { noTelemetry } from '../../src/telemetry/events.ts'
import { frameFromEnvelope } from '../../src/wire/message-frame.ts'
import { splitWsFrames } from '../unit/rooms/recording-recipient.ts'
import { createFailingStore } from './failing-store.ts'
import { createLabHotState } from './lab-hot-state.ts'
import { testOverflow } from './test-overflow.ts'

export interface Delivered {
  readonly n: number
  readonly sequence: number | undefined
}

export interface RecordedClient extends Client {
  readonly delivered: Delivered[]
  readonly answers: Envelope[]
}

export function createClient(id: string): RecordedClient {
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

export const key = { tenant: 'acme', room: 'lab', channel: 'one' }
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
export const wideLimits = {
  maxJoins: 100,
  maxRecoverMessages: 10_000,
  maxRecoverBytes: 1e9,
  maxQueuedBytesPerClient: 1e9,
}
const quick = { flushPerSecond: 1_000_000, rampPerSecond: 1_000_000 }

const emptyCommand = {
  id: 'arq_1_1_000000',
  timestamp: '2026-01-31T12:00:00.000Z',
  type: 'command',
  version: '1.0',
  payload: {},
  metadata: {},
} as const

export function createParts(mode: 'strict' | 'degraded', { clock = systemClock, rates = quick } = {}) {
  const retention = { maxRecords: 10_000, maxBytes: 1e9, maxAgeMs: 1e9 }
  const line = createFailingStore(createMemoryStore({ clock, retention, dedup: { maxAgeMs: 1e6, maxIds: 10_000 } }))
  const common = { mode, backend: 'memory', clock, logger: silentLogger } as const
  const accepts = async (): Promise<boolean> => true
  const store = createGuardedStore({ ...common, inner: line, open: async () => line, accepts, probeEveryMs: 0, rates })
  onTestFinished(() => store.close())
  const bounds = { maxMembersPerChannel: 1_000, maxChannelsPerTenant: 100 }
  const rooms = new Rooms({ clock, ...bounds, epoch: 1, startsLoaded: false, sliceSize: 2, overflow: testOverflow })
  const nextId = createMessageIds(clock.now())
  const ports = { rooms, store, clock, replies: createReplies(clock, nextId), telemetry: noTelemetry }
  const publisher = createPublisher({ ...ports, logger: silentLogger, maxPendingBytes: 2 ** 27 })
  store.onReturned((heads) => publisher.storeReturned(heads))
  store.onFlushed((records) => publisher.flushed(records))
  // As the bus does it: after a change for the better, what landed late is looked for.
  store.onState((state) => {
    if (state === 'ready') publisher.storeReturned([])
  })
  const membership = createMembership({ rooms, store, limits: wideLimits, telemetry: noTelemetry })
  const commands: CommandPorts = {
    ...ports,
    clients: createClientRegistry(),
    membership,
    hot: createLabHotState(),
    maxHistoryPageBytes: 1e9,
    maxStoreValueBytes: 1,
    status: () => ({}),
    refreshIdentity: async () => undefined,
  }
  const sender = createClient('sender')
  const isRead: boolean[] = []
  sender.pauseReading = (isPaused) => void isRead.push(!isPaused)
  let published = 0
  function publish({ id = nextId(), n = published++, ack = undefined as AckRequest | undefined } = {}): string {
    const envelope = { id, timestamp: '2026-01-31T12:00:00.000Z', type: 'message', version: '1.0' } as const
    const rest = { room: 'lab', channel: 'one', payload: { n }, args: {}, metadata: {} }
    const frame = frameFromEnvelope({ ...envelope, ...rest }, { sender: sender.id })
    publisher.publish({ client: sender, key, id, frame, ack, done: undefined })
    return id
  }
  const join = async (client: Client, recover?: Position): Promise<JsonObject> => {
    let facts: JsonObject = {}
    await membership.join(client, key, { recover: recover && { ...recover } }, (given) => {
      facts = given
    })
    return facts
  }
  /** Of the channel, newest first; `since` in milliseconds. Rejects as the command does. */
  async function history(sinceMs?: number): Promise<JsonObject> {
    const args = { room: key.room, channel: key.channel, limit: 1_000 }
    const since = sinceMs === undefined ? {} : { since: toIsoTime(sinceMs) }
    const request = { ...emptyCommand, args: { ...args, ...since } }
    const call = { client: sender, request, args: request.args, tenant: key.tenant, answer: () => undefined }
    return (await historyGet.run(call, commands))!.data
  }
  async function settle(): Promise<void> {
    line.trouble = 'none'
    await publisher.idle() // what was sent into the trouble has met it
    while (store.state !== 'ready') await turn()
    await publisher.idle()
  }
  return { line, store, rooms, publisher, membership, publish, join, history, settle, sender, isRead }
}
