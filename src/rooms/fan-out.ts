// Writing streams to their members: the frames of one event-loop turn are gathered per stream and leave as one write
// per member. A long fan-out is cut into slices of at most `sliceSize` writes, other work runs in between, and each
// member is looked at again before its write. Frames that arrive meanwhile wait for the next round: order holds.
import type { WireFormat } from '../envelope/envelope.ts'
import { type Delivery, encodeBatch } from './delivery.ts'
import type { Member, Stream } from './stream.ts'

/** Where deliveries leave for members in other processes. */
export interface Outlet {
  publish(stream: Stream, deliveries: readonly Delivery[]): void
}

export interface FanOut {
  /** Hands the next message of the stream to all members; it is written at the end of this turn. */
  push(stream: Stream, delivery: Delivery): void
  /** Resolves when everything pushed before has been written to sockets. */
  idle(): Promise<void>
  /** Writes of one message to one member, since the start. */
  readonly deliveries: number
}

interface Round {
  readonly stream: Stream
  readonly batch: readonly Delivery[]
  readonly members: readonly Member[]
  readonly senders: ReadonlySet<string>
  readonly shared: Map<WireFormat, Uint8Array>
  next: number
}

export function createFanOut(options: { sliceSize: number; outlet: () => Outlet | undefined }): FanOut {
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
        if (stream.pending.length > 0) dirty.push(stream)
        else stream.isDirty = false
      }
    }
    if (round !== undefined || dirty.length > 0) schedule()
    else for (const resolve of waiting.splice(0)) resolve()
  }

  function begin(stream: Stream | undefined): Round | undefined {
    if (stream === undefined) return undefined
    const batch = stream.pending
    stream.pending = []
    if (stream.remote.size > 0) options.outlet()?.publish(stream, batch)
    return {
      stream,
      batch,
      members: [...stream.local.values()],
      senders: new Set(batch.map((delivery) => delivery.sender)),
      shared: new Map(),
      next: 0,
    }
  }

  /** Writes up to `budget` members of the round; returns how many were looked at (at least 1). */
  function write(current: Round, budget: number): number {
    const { batch, members, senders, shared } = current
    const first = batch[0]!.sequence
    const last = batch[batch.length - 1]!.sequence
    const end = Math.min(members.length, current.next + budget)
    const begun = current.next
    for (; current.next < end; current.next++) {
      const member = members[current.next]!
      if (!member.isActive || member.cursor >= last) continue
      const { recipient } = member
      if (member.cursor === first - 1 && !senders.has(recipient.id)) {
        let frames = shared.get(recipient.format)
        if (frames === undefined) {
          frames = encodeBatch(batch, recipient.format)
          shared.set(recipient.format, frames)
        }
        deliveries += batch.length
        member.cursor = last
        recipient.write(frames)
      } else {
        const own = batch.filter((d) => d.sequence > member.cursor && d.sender !== recipient.id)
        deliveries += own.length
        member.cursor = last
        if (own.length > 0) recipient.write(encodeBatch(own, recipient.format))
      }
    }
    return Math.max(1, current.next - begun)
  }

  return {
    push(stream, delivery) {
      stream.head = delivery.sequence
      stream.pending.push(delivery)
      if (stream.isDirty) return
      stream.isDirty = true
      dirty.push(stream)
      schedule()
    },
    idle() {
      if (round === undefined && dirty.length === 0) return Promise.resolve()
      return new Promise((resolve) => waiting.push(resolve))
    },
    get deliveries() {
      return deliveries
    },
  }
}
