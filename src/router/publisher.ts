// From an accepted message to the log, to members, to the acknowledgement.
//
// With a store: the appends of one event-loop turn go out in one call, results are taken in the order of the calls,
// and only what the store confirmed, or holds, is acknowledged or delivered (design 6; log-delivery.ts).
// Without a store: the same order and the same answers from a window of remembered ids; no position is shown.
import type { Clock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import type { JsonValue } from '../base/json.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { AckRequest, StreamKey } from '../envelope/envelope.ts'
import { Delivery } from '../rooms/delivery.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { Client } from '../session/client.ts'
import type { AppendRequest, AppendResult, FlushedRecord, HistoryStore, StreamHead } from '../storage/store.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { payloadHash, payloadOf } from '../wire/message-frame.ts'
import { createLogDelivery } from './log-delivery.ts'
import { createPace, paceMs } from './pace.ts'
import type { Acknowledgement, Replies } from './replies.ts'
import { createUpgrades } from './upgrades.ts'

export interface Publication {
  readonly client: Client
  readonly key: StreamKey
  readonly id: string
  /** The canonical frame: sender set by the server, no position. */
  readonly frame: Uint8Array
  /** Of its payload, where that is known already. */
  readonly hash?: Uint8Array | undefined
  readonly ack: AckRequest | undefined
  /** For the echo in the acknowledgement; given for JSON clients only. */
  readonly payload?: JsonValue
  /** Of a trace that is recorded. */
  readonly traceparent?: string
  /** Called once the last frame that answers this one has been sent. */
  readonly done: (() => void) | undefined
}

export interface Publisher {
  publish(publication: Publication): void
  /** Resolves when everything published before has been answered and written. */
  idle(): Promise<void>
  /**
   * The store is back after it was away: streams that were delivered without it get their places, `heads` first, and
   * what landed late is delivered. Takes effect behind everything appended before the call.
   */
  storeReturned(heads: readonly { key: StreamKey; head: StreamHead }[]): void
  /** Delivers what another process has appended to the stream. */
  catchUp(stream: Stream): void
  /** What was held is stored: those who were told less are told so, behind what they were told. */
  flushed(records: readonly FlushedRecord[]): void
  readonly counts: { published: number; duplicates: number; refused: number }
  /** Bytes of frames that wait for the store. */
  readonly pendingBytes: number
}

export interface PublisherPorts {
  readonly rooms: Rooms
  readonly store: HistoryStore | undefined
  readonly clock: Clock
  readonly replies: Replies
  readonly telemetry: Telemetry
  readonly logger: Logger
  /** Bytes of frames that wait for the store; above it their publishers are not read until half of it is answered. */
  readonly maxPendingBytes: number
  /** Told of each message that has its place in the log. */
  readonly onStored?: ((key: StreamKey) => void) | undefined
}

export function createPublisher(ports: PublisherPorts): Publisher {
  const { rooms, store, clock, replies, telemetry } = ports
  const counts = { published: 0, duplicates: 0, refused: 0 }
  const log = store === undefined ? undefined : createLogDelivery({ rooms, store, clock, logger: ports.logger })
  const paused = new Set<Client>()
  const upgrades = createUpgrades(replies)
  const pace = createPace(clock)
  let pendingBytes = 0
  let queue: Publication[] = []
  let isScheduled = false
  /** Results are handled one batch after the other, in the order of the calls. */
  let tail: Promise<void> = Promise.resolve()
  let unanswered = 0

  function acknowledge(publication: Publication, ack: Acknowledgement): void {
    const { client, id, payload } = publication
    replies.acknowledge(client, id, payload === undefined ? ack : { ...ack, payload })
  }

  function finish(publication: Publication): void {
    publication.client.inflight--
    publication.done?.()
  }

  function refuse(publication: Publication, error: BusError): void {
    const { client, id, key } = publication
    counts.refused++
    client.send(replies.error(error, { requestId: id, room: key.room, channel: key.channel }))
    telemetry.emit({
      type: 'message_refused',
      tenant: key.tenant,
      clientId: client.id,
      severity: 'warning',
      metadata: { code: error.code, room: key.room, channel: key.channel },
    })
  }

  function reportPublished(publication: Publication): void {
    counts.published++
    if (telemetry.wants?.('message_published') === false) return
    const { key, client, id } = publication
    telemetry.emit({
      type: 'message_published',
      tenant: key.tenant,
      clientId: client.id,
      metadata: {
        room: key.room,
        channel: key.channel,
        message_id: id,
        bytes: publication.frame.length,
        ...(publication.traceparent !== undefined && { traceparent: publication.traceparent }),
      },
    })
  }

  function publishUnstored(publication: Publication): void {
    const { client, key, id, frame } = publication
    const payload = payloadOf(frame)
    const stream = rooms.open(key)
    const idBytes = Buffer.from(id)
    const seen = stream.recentIds.note(
      { bytes: idBytes, start: 0, end: idBytes.length },
      { bytes: payload, start: 0, end: payload.length },
    )
    if (seen === 'conflict') {
      refuse(publication, new BusError('ID_CONFLICT'))
    } else {
      const isDuplicate = seen === 'duplicate'
      if (isDuplicate) counts.duplicates++
      else {
        stream.lastActivityMs = clock.now()
        rooms.fanOut.push(stream, new Delivery(stream.head + 1, client.id, frame, undefined))
        reportPublished(publication)
      }
      if (publication.ack !== 'none') acknowledge(publication, { level: 'memory', isDuplicate })
    }
    finish(publication)
  }

  /** A publisher faster than the store is not read on: its own socket holds what it sends, not this process. */
  function admit({ client, frame }: Publication): void {
    pendingBytes += frame.length
    const isWithin = pendingBytes <= ports.maxPendingBytes && !pace.isTooMuch(queue.length)
    if (isWithin || client.pauseReading === undefined) return
    client.pauseReading(true)
    paused.add(client)
  }

  function release(batch: readonly Publication[]): void {
    for (const { frame } of batch) pendingBytes -= frame.length
    if (paused.size === 0 || pendingBytes > ports.maxPendingBytes / 2 || pace.isTooMuch(queue.length * 2)) return
    for (const client of paused) client.pauseReading?.(false)
    paused.clear()
  }

  function flush(history: HistoryStore): void {
    isScheduled = false
    const going = pace.take(queue.length, history.appendsPerSecond)
    const all = going === queue.length ? queue : queue.slice(0, going)
    queue = going === queue.length ? [] : queue.slice(going)
    if (queue.length > 0) {
      isScheduled = true
      setTimeout(flush, paceMs, history)
    }
    for (let start = 0; start < all.length; start += history.capabilities.maxBatch) {
      const batch = all.slice(start, start + history.capabilities.maxBatch)
      const atMs = clock.now()
      const results = history.append(batch.map((publication) => toRequest(publication, atMs)))
      // Handled below, in order; without this a rejection would count as unhandled while an earlier batch is waited for.
      results.catch(() => undefined)
      tail = tail.then(async () => {
        try {
          settle(history, batch, await results)
        } catch (error) {
          settleFailure(batch, error)
        }
        unanswered -= batch.length
        release(batch)
      })
    }
  }

  function settle(history: HistoryStore, batch: readonly Publication[], results: readonly AppendResult[]): void {
    batch.forEach((publication, index) => {
      settleOne(history, publication, results[index]!)
      finish(publication)
    })
  }

  function settleOne(history: HistoryStore, publication: Publication, result: AppendResult): void {
    const refusal = refusals[result.kind]
    if (refusal !== undefined) {
      refuse(publication, new BusError(refusal))
      return
    }
    const placed = 'position' in result ? result.position : undefined
    const isDuplicate = result.kind === 'duplicate' || (result.kind === 'held' && result.isDuplicate)
    if (isDuplicate) counts.duplicates++
    else reportPublished(publication)
    if (placed !== undefined) ports.onStored?.(publication.key)
    log?.confirmed(publication.key, { sender: publication.client.id, frame: publication.frame, placed, isDuplicate })
    const isAwaited = publication.ack === undefined || publication.ack === 'stored'
    if (placed === undefined && isAwaited) upgrades.expect(publication)
    if (result.kind === 'held' && result.isUnknown) {
      refuse(publication, new BusError('STORE_TIMEOUT', undefined, { reason: 'HELD' }))
      return
    }
    if (!isAwaited) return
    if (placed === undefined) acknowledge(publication, { level: 'memory', isDuplicate })
    else acknowledge(publication, { level: history.capabilities.level, position: placed, isDuplicate })
  }

  function settleFailure(batch: readonly Publication[], cause: unknown): void {
    const error = isBusError(cause) ? cause : new BusError('STORE_TIMEOUT', undefined, {}, cause)
    ports.logger.error('store.append_failed', { count: batch.length, ...describeError(cause) })
    const streams = new Set<Stream>()
    for (const publication of batch) {
      refuse(publication, error)
      finish(publication)
      const stream = rooms.find(publication.key)
      if (stream?.isLoaded) streams.add(stream)
    }
    if (error.code !== 'STORE_TIMEOUT') return
    for (const stream of streams) log?.unknown(stream)
  }

  return {
    publish(publication) {
      rooms.open(publication.key) // throws where the tenant has too many channels: before anything is stored
      publication.client.inflight++
      if (store === undefined) {
        publishUnstored(publication)
        return
      }
      if (publication.ack === 'accepted') acknowledge(publication, { level: 'memory' })
      unanswered++
      admit(publication)
      queue.push(publication)
      if (!isScheduled) {
        isScheduled = true
        setImmediate(flush, store)
      } else if (queue.length === store.capabilities.fullBatch && store.appendsPerSecond === undefined) {
        flush(store)
      }
    },
    async idle() {
      while (unanswered > 0) {
        if (isScheduled) await new Promise((resolve) => setTimeout(resolve, 1))
        await tail
      }
      await log?.idle()
      await rooms.fanOut.idle()
    },
    storeReturned(heads) {
      tail = tail.then(() => log?.storeReturned(heads))
      if (heads.length > 0) tail = tail.then(() => upgrades.forget()) // told of what was held: nothing is any more
      log?.lookForLate()
    },
    catchUp: (stream) => void log?.catchUp(stream),
    flushed(records) {
      const level = store?.capabilities.level ?? 'memory'
      for (const { key } of records) ports.onStored?.(key)
      tail = tail.then(() => {
        for (const record of records) upgrades.tell(record, level)
      })
    },
    counts,
    get pendingBytes() {
      return pendingBytes
    },
  }
}

const refusals: Partial<Record<AppendResult['kind'], 'ID_CONFLICT' | 'DEDUP_FULL' | 'BUFFER_FULL'>> = {
  conflict: 'ID_CONFLICT',
  'dedup-full': 'DEDUP_FULL',
  'hold-full': 'BUFFER_FULL',
}

function toRequest({ key, id, client, frame, hash }: Publication, atMs: number): AppendRequest {
  return { key, id, hash: hash ?? payloadHash(frame), sender: client.id, frame, atMs }
}
