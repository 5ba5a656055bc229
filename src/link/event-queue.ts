// A durable queue of events over JetStream: what is published to a subject is kept by the server, given in order, and
// given again until it is acknowledged. The connection is made when it is needed and made anew when it was lost.
import {
  AckPolicy,
  type ConsumerNotification,
  jetstream,
  type JetStreamManager,
  jetstreamManager,
  type JsMsg,
} from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { BusError, isBusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { dialAny, type NatsServer } from './nats-dial.ts'
import { plain } from './nats-messages.ts'

export interface EventQueueOptions {
  readonly servers: readonly NatsServer[]
  readonly subject: string
  /** The stream that is made where none keeps the subject yet. */
  readonly stream: string
  /** Whoever names the same one shares its messages. */
  readonly consumer: string
  readonly logger: Logger
  /** What was not acknowledged after this is given again. */
  readonly ackWaitMs: number
}

export interface QueuedEvent {
  readonly data: Uint8Array
  ack(): void
}

export interface EventQueue {
  /** Up to `atMost`; waits at most a second for the first. Rejects with LINK_UNAVAILABLE or LINK_DENIED. */
  next(atMost: number): Promise<readonly QueuedEvent[]>
  /** Is there a connection now? */
  readonly isConnected: boolean
  close(): Promise<void>
}

const dialMs = 2_000
const waitMs = 1_000
/** Held here for the next call; the server holds the rest. */
const maxBuffered = 2_000
/** A stream made by us keeps events for this long, so that a lane may be away for a week. */
const keepNanos = 7 * 24 * 3_600 * 1e9
const maxAckPending = 10_000
/** The server says something this often, events or not; two that are missed in a row are a connection that is lost. */
const heartbeatMs = 3_000

interface Open {
  readonly nc: NatsConnection
  readonly buffer: JsMsg[]
  /** Those who wait for a message. */
  readonly waiting: Set<() => void>
  /** Lets the reader go on when there is room again. */
  drained: () => void
}

/** Resolves when the queue can be read. Rejects as `next` does. */
export async function openEventQueue(options: EventQueueOptions): Promise<EventQueue> {
  const { servers, subject, logger } = options
  let current: Open | undefined
  let opening: Promise<Open> | undefined
  let isClosed = false

  async function open(): Promise<Open> {
    const nc = await dialAny(servers, { name: 'arqonbus-projector', timeoutMs: dialMs })
    try {
      const manager = await jetstreamManager(nc)
      const stream = await findStream(manager, options)
      const consumer = await jetstream(nc).consumers.get(stream, options.consumer)
      const messages = await consumer.consume({
        max_messages: maxBuffered,
        // A place in the stream that was deleted is an end, not a silence: it is made anew.
        abort_on_missing_resource: true,
        idle_heartbeat: heartbeatMs,
      })
      const opened: Open = { nc, buffer: [], waiting: new Set(), drained: () => undefined }
      void read(opened, messages)
      void watch(opened, messages.status())
      void nc.closed().then(() => lose(opened))
      logger.info('projector.queue_opened', { server: nc.getServer(), stream, subject })
      current = opened
      return opened
    } catch (error) {
      await nc.close()
      throw toQueueError(error)
    }
  }

  async function read(opened: Open, messages: AsyncIterable<JsMsg>): Promise<void> {
    try {
      for await (const message of messages) {
        opened.buffer.push(message)
        wake(opened)
        if (opened.buffer.length >= maxBuffered) {
          await new Promise<void>((resolve) => {
            opened.drained = resolve
          })
        }
      }
    } catch {
      // The connection is gone, or the consumer: either way the next call opens anew.
    }
    lose(opened)
  }

  async function watch(opened: Open, notices: AsyncIterable<ConsumerNotification>): Promise<void> {
    for await (const notice of notices) {
      if (notice.type === 'heartbeats_missed') lose(opened)
    }
  }

  function lose(lost: Open): void {
    if (current !== lost) return
    current = undefined
    void lost.nc.close()
    wake(lost)
    lost.drained()
    if (!isClosed) logger.warn('projector.queue_lost', { subject })
  }

  async function opened(): Promise<Open> {
    if (isClosed) throw new BusError('LINK_UNAVAILABLE', 'The queue is closed', { reason: 'CLOSED' })
    if (current !== undefined) return current
    opening ??= open().finally(() => {
      opening = undefined
    })
    return await opening
  }

  await opened()
  return {
    get isConnected() {
      return current !== undefined
    },
    async next(atMost) {
      const from = await opened()
      if (from.buffer.length === 0) await first(from)
      if (current !== from) return [] // what is left of it will be given again
      const taken = from.buffer.splice(0, atMost)
      from.drained()
      return taken.map((message) => ({ data: plain(message.data), ack: () => message.ack() }))
    },
    async close() {
      isClosed = true
      const last = current
      current = undefined
      // Acknowledgements on their way still leave.
      await last?.nc.drain().catch(() => undefined)
      if (last === undefined) return
      wake(last)
      last.drained()
    },
  }
}

/** Waits for a message or the time; several may wait. */
async function first({ waiting }: Open): Promise<void> {
  await new Promise<void>((resolve) => {
    function end(): void {
      clearTimeout(timer)
      waiting.delete(end)
      resolve()
    }
    const timer = setTimeout(end, waitMs)
    waiting.add(end)
  })
}

function wake({ waiting }: Open): void {
  for (const end of waiting) end()
}

/** The stream that keeps the subject, made where there is none, with our place in it. */
async function findStream(manager: JetStreamManager, options: EventQueueOptions): Promise<string> {
  const { subject, stream, consumer, ackWaitMs } = options
  const found = await manager.streams.find(subject).catch(() => undefined)
  if (found === undefined) await manager.streams.add({ name: stream, subjects: [subject], max_age: keepNanos })
  const name = found ?? stream
  await manager.consumers.add(name, {
    durable_name: consumer,
    filter_subject: subject,
    ack_policy: AckPolicy.Explicit,
    ack_wait: ackWaitMs * 1e6,
    max_ack_pending: maxAckPending,
  })
  return name
}

function toQueueError(error: unknown): BusError {
  if (isBusError(error)) return error
  const text = error instanceof Error ? error.message : String(error)
  const isAbsent = /not enabled|no responders|503/i.test(text)
  const message = isAbsent
    ? 'NATS answers, but without JetStream; start nats-server with -js, or with jetstream {} in its configuration'
    : `The queue of events cannot be opened: ${text}`
  return new BusError('LINK_UNAVAILABLE', message, { reason: isAbsent ? 'NO_JETSTREAM' : 'QUEUE_FAILED' }, error)
}
