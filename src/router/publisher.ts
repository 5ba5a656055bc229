// From an accepted message to the log, to members, to the acknowledgement.
//
// With a store: the appends of one event-loop turn go out in one call, results are taken in the order of the calls,
// and only what the store confirmed is acknowledged or delivered (design 6). After an append whose outcome is unknown
// the log is read again from the stream's head, so that a write which landed late is delivered all the same.
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
import type { AppendRequest, AppendResult, HistoryStore } from '../storage/store.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { payloadHash, payloadOf } from '../wire/message-frame.ts'
import type { Acknowledgement, Replies } from './replies.ts'

export interface Publication {
  readonly client: Client
  readonly key: StreamKey
  readonly id: string
  /** The canonical frame: sender set by the server, no position. */
  readonly frame: Uint8Array
  readonly ack: AckRequest | undefined
  /** For the echo in the acknowledgement; given for JSON clients only. */
  readonly payload?: JsonValue
  /** Called once the last frame that answers this one has been sent. */
  readonly done: (() => void) | undefined
}

export interface Publisher {
  publish(publication: Publication): void
  /** Resolves when everything published before has been answered and written. */
  idle(): Promise<void>
  /** Reads the log above the stream's head and hands what is there to fan-out. */
  catchUp(stream: Stream): Promise<void>
  readonly counts: { published: number; duplicates: number; refused: number }
}

export interface PublisherPorts {
  readonly rooms: Rooms
  readonly store: HistoryStore | undefined
  readonly clock: Clock
  readonly replies: Replies
  readonly telemetry: Telemetry
  readonly logger: Logger
}

const catchUpPage = { limit: 1_000, maxBytes: 4 * 1024 * 1024 }

export function createPublisher(ports: PublisherPorts): Publisher {
  const { rooms, store, clock, replies, telemetry } = ports
  const counts = { published: 0, duplicates: 0, refused: 0 }
  const catchingUp = new Map<Stream, Promise<void>>()
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
      metadata: { room: key.room, channel: key.channel, message_id: id, bytes: publication.frame.length },
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

  function flush(log: HistoryStore): void {
    isScheduled = false
    const all = queue
    queue = []
    for (let start = 0; start < all.length; start += log.capabilities.maxBatch) {
      const batch = all.slice(start, start + log.capabilities.maxBatch)
      const results = log.append(batch.map((publication) => toRequest(publication, clock.now())))
      // Handled below, in order; without this a rejection would count as unhandled while an earlier batch is waited for.
      results.catch(() => undefined)
      tail = tail.then(async () => {
        try {
          settle(log, batch, await results)
        } catch (error) {
          settleFailure(batch, error)
        }
        unanswered -= batch.length
      })
    }
  }

  function settle(log: HistoryStore, batch: readonly Publication[], results: readonly AppendResult[]): void {
    batch.forEach((publication, index) => {
      const result = results[index]!
      if (result.kind === 'conflict') refuse(publication, new BusError('ID_CONFLICT'))
      else if (result.kind === 'dedup-full') refuse(publication, new BusError('DEDUP_FULL'))
      else {
        const isDuplicate = result.kind === 'duplicate'
        if (isDuplicate) counts.duplicates++
        else reportPublished(publication)
        advance(publication, result.position.epoch, result.position.sequence)
        if (publication.ack === undefined || publication.ack === 'stored') {
          acknowledge(publication, { level: log.capabilities.level, position: result.position, isDuplicate })
        }
      }
      finish(publication)
    })
  }

  /** Hands a confirmed write to fan-out when it is the stream's next; otherwise the log is read for what is missing. */
  function advance(publication: Publication, epoch: number, sequence: number): void {
    const stream = rooms.open(publication.key)
    stream.lastActivityMs = clock.now()
    if (!stream.isLoaded) {
      stream.epoch = epoch
      stream.head = sequence - 1
      stream.isLoaded = true
    }
    if (stream.epoch !== epoch) {
      ports.logger.warn('stream.epoch_changed', { tenant: stream.key.tenant, from: stream.epoch, to: epoch })
      rooms.fanOut.flush(stream)
      stream.epoch = epoch
      stream.head = sequence - 1
      for (const member of stream.allMembers()) member.cursor = stream.head
    }
    if (sequence <= stream.head) return
    if (sequence === stream.head + 1 && !catchingUp.has(stream)) {
      rooms.fanOut.push(stream, new Delivery(sequence, publication.client.id, publication.frame, { epoch, sequence }))
    } else void catchUp(stream)
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
    if (error.code === 'STORE_TIMEOUT') for (const stream of streams) void catchUp(stream)
  }

  function catchUp(stream: Stream): Promise<void> {
    let running = catchingUp.get(stream)
    if (running === undefined && store !== undefined) {
      running = readOn(store, stream).finally(() => catchingUp.delete(stream))
      catchingUp.set(stream, running)
    }
    return running ?? Promise.resolve()
  }

  async function readOn(log: HistoryStore, stream: Stream): Promise<void> {
    try {
      for (;;) {
        const records = await log.readBySequence({ key: stream.key, after: stream.head, ...catchUpPage })
        for (const { position, sender, frame } of records) {
          if (position.sequence <= stream.head) continue
          rooms.fanOut.push(stream, new Delivery(position.sequence, sender, frame, position))
        }
        if (records.length === 0) return
      }
    } catch (error) {
      // The next confirmed append of this stream finds the hole again and reads on.
      ports.logger.warn('stream.catch_up_failed', describeError(error))
    }
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
      queue.push(publication)
      if (isScheduled) return
      isScheduled = true
      setImmediate(flush, store)
    },
    async idle() {
      while (unanswered > 0) {
        if (isScheduled) await new Promise(setImmediate)
        await tail
      }
      await Promise.all(catchingUp.values())
      await rooms.fanOut.idle()
    },
    catchUp,
    counts,
  }
}

function toRequest({ key, id, client, frame }: Publication, atMs: number): AppendRequest {
  return { key, id, hash: payloadHash(frame), sender: client.id, frame, atMs }
}
