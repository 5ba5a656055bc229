// Members that chose to miss messages rather than their connection when they read too slowly (docs/wire.md).
//
// A member is behind from the moment its socket has no room for the next batch until that has drained. Meanwhile nothing
// of the stream is written to it and its cursor stays; the stream's newest messages are held once for all who are
// behind. Then it is told what is not held any more, as one gap, and written the rest, up to where the stream is.
import type { Envelope, LossyPolicy, OverflowPolicy } from '../envelope/envelope.ts'
import type { Batch } from './batch.ts'
import { Held } from './held.ts'
import type { Member } from './member.ts'
import type { Stream } from './stream.ts'

/** Messages a member will not be written: the stream's `from` to `to`, its own included, as this process counts them. */
export interface Gap {
  readonly stream: Stream
  readonly policy: LossyPolicy
  readonly from: number
  readonly to: number
}

export interface OverflowOptions {
  /** Bytes waiting in a socket from which its member is behind; and those held for the members of a stream. */
  readonly maxQueuedBytes: number
  /** Bytes held for all streams together. */
  readonly maxHeldBytes: number
  /** The frame that tells a member of its gap. */
  readonly gapFrame: (gap: Gap) => Envelope
}

export interface Overflow {
  /** Writes the batch to a member that may be passed over, or holds it; returns how many messages were written. */
  deliver(stream: Stream, batch: Batch, member: Member): number
  /** The member's policy from now on. Who must not be passed over any more is written what is held, at once. */
  change(stream: Stream, member: Member, policy: OverflowPolicy): void
  /** The member goes: what it was passed over with is told as a gap. */
  leave(stream: Stream, member: Member): void
  /** The member's connection is gone: nobody is to be told. */
  forget(stream: Stream, member: Member): void
  /** Who is behind is told all of it as a gap: before the stream's sequences begin anew, or it ends. */
  settle(stream: Stream): void
  /** Gaps told, and messages in them, by policy. */
  readonly gaps: Readonly<Record<LossyPolicy, number>>
  readonly dropped: Readonly<Record<LossyPolicy, number>>
  /** Held now, in all streams. */
  readonly heldBytes: number
  /** Messages written to members that had been behind. */
  readonly deliveries: number
}

/** A member passed over must never fill the whole queue of its client, which would cut it off. */
export function subscriptionBound(limits: {
  readonly maxQueuedBytesPerSubscription: number
  readonly maxQueuedBytesPerClient: number
}): number {
  return Math.min(limits.maxQueuedBytesPerSubscription, Math.floor(limits.maxQueuedBytesPerClient / 2))
}

export function createOverflow({ maxQueuedBytes, maxHeldBytes, gapFrame }: OverflowOptions): Overflow {
  const gaps: Record<LossyPolicy, number> = { drop_oldest: 0, latest: 0 }
  const dropped: Record<LossyPolicy, number> = { drop_oldest: 0, latest: 0 }
  let heldBytes = 0
  let deliveries = 0

  function hasRoom({ recipient }: Member, bytes: number): boolean {
    const queued = recipient.queuedBytes?.() ?? 0
    return queued === 0 || queued + bytes <= maxQueuedBytes
  }

  function hold(stream: Stream, batch: Batch): Held {
    stream.held ??= new Held(batch.first - 1)
    const { held } = stream
    const before = held.bytes
    held.add(batch, maxQueuedBytes)
    // Other streams hold the rest of what the process may: this one makes do with what is left.
    while (heldBytes - before + held.bytes > maxHeldBytes && held.dropOldest());
    heldBytes += held.bytes - before
    return held
  }

  function caughtUp(stream: Stream, member: Member): void {
    const { held } = stream
    if (!held?.behind.delete(member) || held.behind.size > 0) return
    heldBytes -= held.bytes
    stream.held = undefined
  }

  function tellGap(stream: Stream, member: Member, to: number): void {
    const from = member.cursor + 1
    if (to < from) return
    const policy = member.overflow ?? 'drop_oldest'
    gaps[policy]++
    dropped[policy] += to - from + 1
    member.cursor = to
    member.recipient.send?.(gapFrame({ stream, policy, from, to }))
  }

  function waitForRoom(stream: Stream, member: Member): void {
    member.recipient.whenWritten?.(() => {
      if (!stream.held?.behind.has(member)) return
      // Other channels share the socket: there may be no room yet. Half empty, so that few messages are not a new gap.
      if (hasRoom(member, maxQueuedBytes / 2)) writeHeld(stream, member, false)
      else waitForRoom(stream, member)
    })
  }

  /** Unless `isForced`, stops where the socket has no room, to go on later. */
  function writeHeld(stream: Stream, member: Member, isForced: boolean): void {
    const held = stream.held!
    const first = member.overflow === 'latest' ? Math.max(held.last, held.first) : held.first
    tellGap(stream, member, first - 1)
    for (const batch of held.batches) {
      if (batch.last <= member.cursor) continue
      const { frames, count } = framesFor(member, batch)
      if (count > 0) {
        if (!isForced && !hasRoom(member, frames.length)) {
          waitForRoom(stream, member)
          return
        }
        member.recipient.write(frames)
        deliveries += count
      }
      member.cursor = batch.last
    }
    caughtUp(stream, member)
  }

  function leave(stream: Stream, member: Member): void {
    const { held } = stream
    if (!held?.behind.has(member)) return
    tellGap(stream, member, held.last)
    caughtUp(stream, member)
  }

  return {
    deliver(stream, batch, member) {
      if (stream.held?.behind.has(member)) {
        hold(stream, batch)
        return 0
      }
      const { frames, count } = framesFor(member, batch)
      if (count > 0 && !hasRoom(member, frames.length)) {
        hold(stream, batch).behind.add(member)
        waitForRoom(stream, member)
        return 0
      }
      member.cursor = batch.last
      if (count > 0) member.recipient.write(frames)
      return count
    },
    change(stream, member, policy) {
      const isBehind = stream.held?.behind.has(member)
      if (policy === 'disconnect' && isBehind) writeHeld(stream, member, true)
      member.overflow = policy === 'disconnect' ? undefined : policy
    },
    leave,
    forget: caughtUp,
    settle(stream) {
      for (const member of stream.held?.behind ?? []) leave(stream, member)
    },
    gaps,
    dropped,
    get heldBytes() {
      return heldBytes
    },
    get deliveries() {
      return deliveries
    },
  }
}

/** What the member has not been written of the batch; the shared array where that is all of it. */
function framesFor({ cursor, recipient }: Member, batch: Batch): { frames: Uint8Array; count: number } {
  return cursor === batch.first - 1 && !batch.hasSender(recipient.id)
    ? { frames: batch.all(recipient.format), count: batch.count }
    : batch.since(cursor, recipient.id, recipient.format)
}
