// Takes events from everywhere and hands them to whoever listens, without ever holding up the one who reports:
// emit counts, remembers and queues; delivery happens on a timer, within a budget, drop-oldest.
import { randomUUID } from 'node:crypto'
import { type Clock, toIsoTime } from '../base/clock.ts'
import type { JsonValue } from '../base/json.ts'
import { version } from '../base/version.ts'
import { type EventType, eventTypes, type Telemetry, type TelemetryEvent } from './events.ts'

/** An event as telemetry clients read it (original-contract 6). */
export interface EventView {
  readonly event_type: EventType
  readonly timestamp: string
  readonly client_id: string | null
  readonly tenant_id: string | null
  readonly metadata: Readonly<Record<string, JsonValue>>
  readonly severity: 'info' | 'warning' | 'error'
  readonly event_id: string
  readonly server_version: string
  readonly server_name: 'arqonbus'
  readonly schema_version: '1.0'
}

/** One reported event; its JSON is made once, when first asked for, and shared. */
export interface EventRecord {
  readonly type: EventType
  readonly tenant: string | undefined
  readonly view: EventView
  /** UTF-8 JSON of the view; do not change it. */
  json(): Uint8Array
}

/** Whose events are seen: those of one tenant, or, for an operator, all. */
export type Audience = { readonly tenant: string } | 'operator'

export interface Subscription {
  /** From now on only these types. */
  setTypes(types: ReadonlySet<EventType>): void
  close(): void
}

export interface HubCounts {
  readonly byType: Readonly<Record<EventType, number>>
  /** Events that left the ring of recent events to make room. */
  readonly evicted: number
  /** Events that a subscriber did not get because it was behind, or that could not be written as JSON. */
  readonly dropped: number
  readonly delivered: number
  readonly buffered: number
  readonly bufferSize: number
  readonly subscribers: number
}

export interface TelemetryHub extends Telemetry {
  /**
   * `deliver` gets records in order, some milliseconds after they were reported, and how many were left out before
   * them. It must not wait; what it throws is counted.
   */
  subscribe(audience: Audience, deliver: (records: readonly EventRecord[], missed: number) => void): Subscription
  /** The last events the audience may see, oldest first. Events of `message_published` are not kept. */
  recent(audience: Audience, limit: number): readonly EventView[]
  counts(): HubCounts
}

/** Queued per subscriber; older ones are dropped. */
const maxQueued = 1_000
const flushEveryMs = 20
/** Deliveries to all subscribers in one go: bounds what telemetry can take of a turn of the event loop. */
const flushBudget = 1_000

interface Subscriber {
  readonly audience: Audience
  readonly deliver: (records: readonly EventRecord[], missed: number) => void
  types: ReadonlySet<EventType>
  queue: EventRecord[]
  missed: number
}

/** Published messages are too many to remember, and nothing is built for them while nobody listens. */
const liveOnly: EventType = 'message_published'

export function createTelemetryHub({ clock, bufferSize }: { clock: Clock; bufferSize: number }): TelemetryHub {
  const ring: EventRecord[] = []
  let oldest = 0
  const subscribers = new Set<Subscriber>()
  const byType = Object.fromEntries(eventTypes.map((type) => [type, 0])) as Record<EventType, number>
  let evicted = 0
  let dropped = 0
  let delivered = 0
  let isScheduled = false

  function remember(record: EventRecord): void {
    if (ring.length < bufferSize) {
      ring.push(record)
      return
    }
    ring[oldest] = record
    oldest = (oldest + 1) % bufferSize
    evicted++
  }

  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    setTimeout(flush, flushEveryMs).unref()
  }

  function enqueue(subscriber: Subscriber, record: EventRecord): void {
    if (subscriber.queue.length >= maxQueued) {
      subscriber.queue.shift()
      subscriber.missed++
      dropped++
    }
    subscriber.queue.push(record)
    schedule()
  }

  function flush(): void {
    isScheduled = false
    const waiting = [...subscribers].filter(({ queue }) => queue.length > 0)
    const share = Math.max(1, Math.floor(flushBudget / waiting.length))
    for (const subscriber of waiting) {
      const batch = subscriber.queue.splice(0, share)
      const { missed } = subscriber
      subscriber.missed = 0
      if (subscriber.queue.length > 0) schedule()
      try {
        subscriber.deliver(batch, missed)
        delivered += batch.length
      } catch {
        dropped += batch.length // a listener's fault is not the reporter's, nor another listener's
      }
    }
  }

  return {
    emit(event) {
      byType[event.type]++
      let record: EventRecord | undefined
      if (event.type !== liveOnly) {
        record = createRecord(event, clock.now())
        remember(record)
      }
      for (const subscriber of subscribers) {
        if (!subscriber.types.has(event.type) || !maySee(subscriber.audience, event.tenant)) continue
        record ??= createRecord(event, clock.now())
        enqueue(subscriber, record)
      }
    },
    wants(type) {
      if (type !== liveOnly) return true
      for (const { types } of subscribers) if (types.has(type)) return true
      return false
    },
    subscribe(audience, deliver) {
      const subscriber: Subscriber = { audience, deliver, types: new Set(eventTypes), queue: [], missed: 0 }
      subscribers.add(subscriber)
      return {
        setTypes(types) {
          subscriber.types = types
          subscriber.queue = subscriber.queue.filter((record) => types.has(record.type))
        },
        close() {
          subscribers.delete(subscriber)
          subscriber.queue = []
        },
      }
    },
    recent(audience, limit) {
      const inOrder = [...ring.slice(oldest), ...ring.slice(0, oldest)]
      const seen = inOrder.filter((record) => maySee(audience, record.tenant))
      return seen.slice(-limit).map(({ view }) => view)
    },
    counts: () => ({
      byType: { ...byType },
      evicted,
      dropped,
      delivered,
      buffered: ring.length,
      bufferSize,
      subscribers: subscribers.size,
    }),
  }
}

function maySee(audience: Audience, tenant: string | undefined): boolean {
  return audience === 'operator' || audience.tenant === tenant
}

function createRecord(event: TelemetryEvent, nowMs: number): EventRecord {
  const view: EventView = {
    event_type: event.type,
    timestamp: toIsoTime(nowMs),
    client_id: event.clientId ?? null,
    tenant_id: event.tenant ?? null,
    metadata: event.metadata ?? {},
    severity: event.severity ?? 'info',
    event_id: randomUUID(),
    server_version: version,
    server_name: 'arqonbus',
    schema_version: '1.0',
  }
  let json: Uint8Array | undefined
  return {
    type: event.type,
    tenant: event.tenant,
    view,
    json() {
      json ??= Buffer.from(JSON.stringify(view))
      return json
    },
  }
}
