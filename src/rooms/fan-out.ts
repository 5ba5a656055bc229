// Writing streams to their members: the frames of one event-loop turn are gathered per stream and leave as one write
// per member. A long fan-out is cut into slices of at most `sliceSize` writes, other work runs in between, and each
// member is looked at again before its write. Frames that arrive meanwhile wait for the next round: order holds.
import { Batch } from './batch.ts'
import type { Delivery } from './delivery.ts'
import type { Member } from './member.ts'
import type { Overflow } from './overflow.ts'
import type { Stream } from './stream.ts'

/** Where deliveries leave for members in other processes. */
export interface Outlet {
  publish(stream: Stream, deliveries: readonly Delivery[]): void
}

export interface FanOut {
  /** Hands the next message of the stream to all members; it is written at the end of this turn. */
  push(stream: Stream, delivery: Delivery): void
  /**
   * The same without a copy: room for the stream's next message of `length` bytes, which the caller writes into
   * `bytes` at `payload` at once. Only for streams without members behind gateways.
   */
  reserve(stream: Stream, sender: string, length: number): Batch
  /**
   * Writes what waits for the stream's members at once, and tells those behind what they do not get: before its sequences
   * begin anew.
   */
  flush(stream: Stream): void
  /** Resolves when everything pushed before has been written to sockets. */
  idle(): Promise<void>
  /** Writes of one message to one member, since the start. */
  readonly deliveries: number
}

interface Round {
  readonly stream: Stream
  readonly batch: Batch
  readonly members: readonly Member[]
  next: number
}

export function createFanOut(options: {
  sliceSize: number
  outlet: () => Outlet | undefined
  overflow: Overflow
}): FanOut {
  const { overflow } = options
  const dirty: Stream[] = []
  const waiting: (() => void)[] = []
  let round: Round | undefined
  let isScheduled = false
  let deliveries = 0

  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    setImmediate(turn)
  }

  function turn(): void {
    isScheduled = false
    let budget = options.sliceSize
    while (budget > 0) {
      round ??= begin(dirty.shift())
      if (round === undefined) break
      budget -= write(round, budget)
      if (round.next === round.members.length) {
        const { stream } = round
        round = undefined
        if (stream.batch !== undefined) dirty.push(stream)
        else stream.isDirty = false
      }
    }
    if (round !== undefined || dirty.length > 0) schedule()
    else for (const resolve of waiting.splice(0)) resolve()
  }

  function begin(stream: Stream | undefined): Round | undefined {
    if (stream === undefined) return undefined
    const { batch } = stream
    if (batch === undefined) return undefined
    stream.batch = undefined
    stream.expectedBytes = batch.byteLength + (batch.byteLength >> 2)
    if (batch.deliveries.length > 0) options.outlet()?.publish(stream, batch.deliveries)
    return { stream, batch, members: [...stream.local.values()], next: 0 }
  }

  /** Writes up to `budget` members of the round; returns how many were looked at (at least 1). */
  function write(current: Round, budget: number): number {
    const { batch, members } = current
    const { first, last, count } = batch
    const end = Math.min(members.length, current.next + budget)
    const begun = current.next
    for (; current.next < end; current.next++) {
      const member = members[current.next]!
      if (!member.isActive || member.cursor >= last) continue
      if (member.overflow !== undefined) {
        deliveries += overflow.deliver(current.stream, batch, member)
        continue
      }
      const { recipient } = member
      if (member.cursor === first - 1 && !batch.hasSender(recipient.id)) {
        member.cursor = last
        deliveries += count
        recipient.write(batch.all(recipient.format))
      } else {
        const own = batch.since(member.cursor, recipient.id, recipient.format)
        member.cursor = last
        deliveries += own.count
        if (own.count > 0) recipient.write(own.frames)
      }
    }
    return Math.max(1, current.next - begun)
  }

  /** The batch the stream's next message joins. */
  function batchOf(stream: Stream): Batch {
    let { batch } = stream
    if (batch === undefined) {
      batch = new Batch(stream.head + 1, stream.expectedBytes)
      stream.batch = batch
    }
    if (!stream.isDirty) {
      stream.isDirty = true
      dirty.push(stream)
      schedule()
    }
    return batch
  }

  return {
    push(stream, delivery) {
      if (stream.memberCount === 0 && stream.batch === undefined) {
        stream.head = delivery.sequence // whoever joins later begins behind it
        return
      }
      const batch = batchOf(stream)
      batch.add(delivery)
      if (stream.remote.size > 0) batch.deliveries.push(delivery)
      stream.head = delivery.sequence
    },
    reserve(stream, sender, length) {
      const batch = batchOf(stream)
      batch.payload = batch.reserve(sender, length)
      stream.head++
      return batch
    },
    flush(stream) {
      if (round?.stream === stream) {
        write(round, Number.POSITIVE_INFINITY)
        round = undefined
      }
      const rest = begin(stream)
      if (rest !== undefined) write(rest, Number.POSITIVE_INFINITY)
      const waitingAt = dirty.indexOf(stream)
      if (waitingAt >= 0) dirty.splice(waitingAt, 1)
      stream.isDirty = false
      overflow.settle(stream)
    },
    idle() {
      if (round === undefined && dirty.length === 0) return Promise.resolve()
      return new Promise((resolve) => waiting.push(resolve))
    },
    get deliveries() {
      return deliveries + overflow.deliveries
    },
  }
}
