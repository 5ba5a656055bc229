// From what the store confirmed to fan-out: each message once, in the order of the log.
//
// A stream is usually placed: its head is a position, and what is handed to fan-out next is the one after it; a hole is
// read from the log. While the store is away in degraded mode a stream is unplaced (load-stream.ts): messages are
// delivered in the order of their acceptance, and when the store is back and has taken them, the stream gets its place.
import type { Clock } from '../base/clock.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { Position, StreamKey } from '../envelope/envelope.ts'
import { Delivery } from '../rooms/delivery.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { HistoryStore, StreamHead } from '../storage/store.ts'
import { beginUnplaced } from './load-stream.ts'

export interface Confirmed {
  readonly sender: string
  readonly frame: Uint8Array
  /** Undefined where it is held for a store that is away. */
  readonly placed: Position | undefined
  /** It was delivered before. */
  readonly isDuplicate: boolean
}

export interface LogDelivery {
  /** To be called in the order in which the appends were made. */
  confirmed(key: StreamKey, message: Confirmed): void
  /** Reads the log above the stream's head and hands what is there to fan-out. */
  catchUp(stream: Stream): Promise<void>
  /** An append to the stream ended in an unknown outcome: its message may stand in the log, now or soon. */
  unknown(stream: Stream): void
  /** Gives unplaced streams their places. */
  storeReturned(heads: readonly { key: StreamKey; head: StreamHead }[]): Promise<void>
  /** Delivers what landed late in streams with unknown outcomes. */
  lookForLate(): void
  /** Resolves when nothing is being read. */
  idle(): Promise<void>
}

export interface LogDeliveryPorts {
  readonly rooms: Rooms
  readonly store: HistoryStore
  readonly clock: Clock
  readonly logger: Logger
}

/** How often, and how soon, a page is read again that did not show what is known to be stored. */
const maxMisses = 5
const missedMs = 20
const catchUpPage = { limit: 1_000, maxBytes: 4 * 1024 * 1024 }

export function createLogDelivery({ rooms, store, clock, logger }: LogDeliveryPorts): LogDelivery {
  const catchingUp = new Map<Stream, Promise<void>>()
  /** The highest confirmed sequence that was left to a reading under way. */
  const wanted = new Map<Stream, number>()
  const doubtful = new Set<Stream>()

  /** Hands a confirmed write to fan-out when it is the stream's next; otherwise the log is read for what is missing. */
  function advance(stream: Stream, { sender, frame, isDuplicate }: Confirmed, position: Position): void {
    const { epoch, sequence } = position
    if (!stream.isLoaded) {
      // A repeated message may stand anywhere in the log, so it does not tell where the stream is. Members there are
      // already joined the whole room before the stream began: all of it is new to them.
      if (isDuplicate && stream.memberCount === 0) return
      stream.epoch = epoch
      stream.head = stream.memberCount > 0 ? 0 : sequence - 1
      stream.isLoaded = true
    }
    // Where nothing stood in the log its epoch was a guess, and whatever came before this, by another process, is new.
    if (stream.epoch !== epoch) renumber(stream, { epoch, last: stream.head === 0 ? 0 : sequence - 1 })
    if (sequence <= stream.head) return
    if (sequence === stream.head + 1 && !catchingUp.has(stream)) {
      rooms.fanOut.push(stream, new Delivery(sequence, sender, frame, position))
    } else {
      wanted.set(stream, Math.max(sequence, wanted.get(stream) ?? 0))
      void catchUp(stream)
    }
  }

  /** The stream is counted from another number on; everybody has what was delivered so far. */
  function renumber(stream: Stream, { epoch, last }: { epoch: number; last: number }): void {
    if (stream.epoch !== epoch) {
      logger.warn('stream.epoch_changed', { tenant: stream.key.tenant, from: stream.epoch, to: epoch })
    }
    rooms.fanOut.flush(stream)
    stream.epoch = epoch
    stream.head = last
    for (const member of stream.allMembers()) member.cursor = last
  }

  async function place(stream: Stream, head: StreamHead): Promise<void> {
    if (stream.unplaced === undefined) return
    const last = Math.max(head.last, stream.unplaced.last)
    const isMoved = stream.epoch === head.epoch && stream.head !== last
    renumber(stream, { epoch: head.epoch, last }) // what leaves now was numbered without the store
    stream.unplaced = undefined
    stream.isBehind = false
    if (!isMoved || stream.remote.size === 0) return
    // Gateways have counted to another number in this epoch, and only a new one tells them to begin anew.
    const raised = await store.raiseEpoch?.(stream.key)
    if (raised !== undefined) renumber(stream, { epoch: raised.epoch, last })
  }

  function catchUp(stream: Stream): Promise<void> {
    let running = catchingUp.get(stream)
    if (running === undefined && stream.unplaced === undefined) {
      stream.isBehind = true
      running = readOn(stream)
      catchingUp.set(stream, running)
    }
    return running ?? Promise.resolve()
  }

  async function readOn(stream: Stream): Promise<void> {
    try {
      for (let misses = 0; misses < maxMisses; ) {
        const records = await store.readBySequence({ key: stream.key, after: stream.head, ...catchUpPage })
        if (stream.unplaced !== undefined) return
        for (const { position, sender, frame } of records) {
          if (position.epoch !== stream.epoch) renumber(stream, { epoch: position.epoch, last: position.sequence - 1 })
          if (position.sequence <= stream.head) continue
          rooms.fanOut.push(stream, new Delivery(position.sequence, sender, frame, position))
        }
        if (records.length > 0) continue
        if ((wanted.get(stream) ?? 0) <= stream.head) {
          stream.isBehind = false
          return
        }
        // Confirmed while this page was read, which did not show it yet.
        misses++
        await new Promise((resolve) => setTimeout(resolve, missedMs))
      }
    } catch (error) {
      // The next confirmed append of this stream finds the hole again and reads on.
      logger.warn('stream.catch_up_failed', describeError(error))
    } finally {
      wanted.delete(stream)
      catchingUp.delete(stream)
    }
  }

  /** The store takes writes, so what it was late with stands in the log by now. */
  async function readLate(stream: Stream): Promise<void> {
    await catchingUp.get(stream)
    await catchUp(stream)
    if (stream.unplaced === undefined) doubtful.delete(stream)
  }

  return {
    confirmed(key, message) {
      const stream = rooms.open(key)
      const { placed, isDuplicate } = message
      stream.lastActivityMs = clock.now()
      if (placed === undefined) beginUnplaced(rooms, stream)
      const { unplaced } = stream
      if (unplaced === undefined) {
        if (placed !== undefined) advance(stream, message, placed)
        return
      }
      if (placed !== undefined) {
        unplaced.last = Math.max(unplaced.last, placed.sequence)
        unplaced.from = undefined // not held
      }
      if (!isDuplicate) {
        rooms.fanOut.push(stream, new Delivery(stream.head + 1, message.sender, message.frame, undefined))
      }
    },
    catchUp,
    unknown(stream) {
      doubtful.add(stream)
      void catchUp(stream)
    },
    async storeReturned(heads) {
      try {
        for (const { key, head } of heads) {
          const stream = rooms.find(key)
          if (stream !== undefined) await place(stream, head)
        }
      } catch (error) {
        logger.warn('stream.place_failed', describeError(error)) // gateways are not told of a new epoch
      }
    },
    lookForLate() {
      for (const stream of doubtful) void readLate(stream)
    },
    idle: async () => void (await Promise.all(catchingUp.values())),
  }
}
