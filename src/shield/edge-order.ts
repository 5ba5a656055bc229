// The order of each stream at the edge: what the bus publishes comes out once, in sequence and without holes. A hole is
// filled from the log before anything after it is delivered; what cannot be had any more is told to members as a gap.
//
// The bus numbers a stream by (epoch, sequence). Members' cursors count what this process has handed to fan-out, a
// number that never goes back and has no holes; between two gaps the two numbers differ by a constant.
import { backoffMs } from '../base/backoff.ts'
import type { Head } from '../envelope/edge-protocol.ts'
import type { MissedRange } from '../envelope/gap.ts'
import type { StreamKey } from '../envelope/envelope.ts'
import { Delivery } from '../rooms/delivery.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { GapReason } from './answers.ts'
import type { ShieldMetrics } from './metrics.ts'

/** One message as it came over the link; the frame is a copy. */
export interface Live {
  readonly epoch: number
  readonly sequence: number
  readonly from: string
  readonly frame: Uint8Array
  readonly isPositioned: boolean
}

/** A message that was handed to fan-out, with the bus's numbers. */
export interface Passed {
  readonly epoch: number
  readonly sequence: number
  readonly delivery: Delivery
}

/** Records above a sequence, ascending; undefined when the log cannot be read now. */
export type ReadHole = (
  key: StreamKey,
  epoch: number,
  after: number,
) => Promise<readonly { sequence: number; sender: string; frame: Uint8Array }[] | undefined>

export interface EdgeOrderPorts {
  readonly rooms: Rooms
  readonly read: ReadHole
  readonly metrics: ShieldMetrics
  readonly maxRecoverMessages: number
  /** Called for each message that passes, for joins under way. */
  readonly onPassed: (stream: Stream, passed: Passed) => void
  /** Members of the stream miss messages for good. */
  readonly onGap: (stream: Stream, reason: GapReason, facts: { epoch: number; missed?: number }) => void
  /** Messages before the first known position were too many to hold. */
  readonly onOverflow: (stream: Stream) => void
}

export interface EdgeOrder {
  /** Takes a message from the link. */
  receive(stream: Stream, live: Live): void
  /** Tells a stream nothing was known of where it stands; what came early is then put in order. */
  learn(stream: Stream, epoch: number, sequence: number): void
  /** Reads what is missing up to there, now. */
  catchUp(stream: Stream, head: { epoch: number; last: number; isPositioned?: boolean }): void
  /** As `catchUp`, for a stream that may not be here at all. */
  heard(head: Head): void
  /** Where the stream stands, or undefined when that is not known. */
  position(stream: Stream): { epoch: number; last: number } | undefined
  /** The bus's numbers of messages handed to fan-out since the last gap or new epoch; undefined where nothing is stored. */
  rangeOf(stream: Stream, from: number, to: number): MissedRange | undefined
  /** The stream has no members here any more. */
  forget(stream: Stream): void
}

interface State {
  isKnown: boolean
  epoch: number
  /** The bus's sequence handed to fan-out last. */
  last: number
  isPositioned: boolean
  early: Live[]
  earlyBytes: number
  /** Beyond a hole, by sequence. */
  readonly waiting: Map<number, Live>
  waitingBytes: number
  /** The bus is known to have got this far. */
  target: number
  isFilling: boolean
}

/** Held back for one stream, before its position is known or behind a hole. */
const maxHeldBytes = 1024 * 1024
const readAttempts = 3

export function createEdgeOrder(ports: EdgeOrderPorts): EdgeOrder {
  const { rooms, metrics } = ports
  const states = new Map<Stream, State>()

  function stateOf(stream: Stream): State {
    let state = states.get(stream)
    if (state === undefined) {
      state = {
        isKnown: false,
        epoch: 0,
        last: 0,
        isPositioned: true,
        early: [],
        earlyBytes: 0,
        waiting: new Map(),
        waitingBytes: 0,
        target: 0,
        isFilling: false,
      }
      states.set(stream, state)
    }
    return state
  }

  function toPassed(stream: Stream, live: Live, offset: number): Passed {
    const { epoch, sequence, from, frame, isPositioned } = live
    const position = isPositioned ? { epoch, sequence } : undefined
    return { epoch, sequence, delivery: new Delivery(stream.head + offset, from, frame, position) }
  }

  function pass(stream: Stream, state: State, live: Live): void {
    const passed = toPassed(stream, live, 1)
    state.last = live.sequence
    rooms.fanOut.push(stream, passed.delivery)
    metrics.count('shield_deliveries_total')
    metrics.count('shield_messages_total', 'out')
    ports.onPassed(stream, passed)
  }

  /** What lies between is given up, and members are told. */
  function skipTo(stream: Stream, state: State, sequence: number, reason: GapReason): void {
    rooms.fanOut.flush(stream) // what came before leaves before the gap is told, and is counted as it was
    const missed = sequence - state.last
    state.last = sequence
    // Fan-out counts on without a hole; a member that was ahead is ahead by so much less.
    for (const member of stream.local.values()) {
      if (member.cursor > stream.head) member.cursor = Math.max(stream.head, member.cursor - missed)
    }
    metrics.count('shield_holes_total', reason)
    ports.onGap(stream, reason, { epoch: state.epoch, missed })
  }

  function restart(stream: Stream, state: State, epoch: number, last: number): void {
    rooms.fanOut.flush(stream)
    state.epoch = epoch
    state.last = last
    state.target = 0
    state.waiting.clear()
    state.waitingBytes = 0
    // A member that was ahead of this process is ahead of nothing now.
    for (const member of stream.local.values()) member.cursor = Math.min(member.cursor, stream.head)
    const reason = state.isPositioned ? 'epoch_changed' : 'not_stored'
    metrics.count('shield_holes_total', reason)
    ports.onGap(stream, reason, { epoch })
  }

  function order(stream: Stream, state: State, live: Live): void {
    state.isPositioned = live.isPositioned
    if (live.epoch < state.epoch) return
    if (live.epoch > state.epoch) restart(stream, state, live.epoch, live.sequence - 1)
    if (live.sequence <= state.last) return
    if (live.sequence === state.last + 1) {
      pass(stream, state, live)
      drain(stream, state)
      return
    }
    if (!state.waiting.has(live.sequence)) {
      state.waiting.set(live.sequence, live)
      state.waitingBytes += live.frame.length
    }
    state.target = Math.max(state.target, live.sequence)
    if (live.isPositioned && state.waitingBytes > maxHeldBytes) {
      state.waiting.clear() // the log has them all
      state.waitingBytes = 0
    }
    void fill(stream, state)
  }

  function drain(stream: Stream, state: State): void {
    if (state.waiting.size === 0) return
    for (let live = state.waiting.get(state.last + 1); live !== undefined; live = state.waiting.get(state.last + 1)) {
      state.waiting.delete(live.sequence)
      state.waitingBytes -= live.frame.length
      pass(stream, state, live)
    }
    for (const [sequence, live] of state.waiting) {
      if (sequence > state.last) continue
      state.waiting.delete(sequence)
      state.waitingBytes -= live.frame.length
    }
  }

  async function fill(stream: Stream, state: State): Promise<void> {
    if (state.isFilling) return
    state.isFilling = true
    // A stream that was left and joined again meanwhile has another state: this one is nobody's.
    for (let attempt = 0; attempt < readAttempts && states.get(stream) === state; ) {
      drain(stream, state)
      const next = state.waiting.size === 0 ? undefined : Math.min(...state.waiting.keys())
      const end = next === undefined ? state.target : next - 1
      if (end <= state.last) break
      if (!state.isPositioned) {
        skipTo(stream, state, end, 'not_stored')
        continue
      }
      if (end - state.last > ports.maxRecoverMessages) {
        skipTo(stream, state, end, 'too_far_behind')
        continue
      }
      const { epoch, last } = state
      const records = await ports.read(stream.key, epoch, last)
      if (state.epoch !== epoch || states.get(stream) !== state) continue
      if (records === undefined) {
        // Whoever gives up here tries again with the next head or message.
        await new Promise((resolve) => setTimeout(resolve, backoffMs(attempt++, Math.random())))
        continue
      }
      attempt = 0
      takeRecords(stream, state, records, end)
    }
    state.isFilling = false
  }

  function takeRecords(
    stream: Stream,
    state: State,
    records: readonly { sequence: number; sender: string; frame: Uint8Array }[],
    end: number,
  ): void {
    const first = records.find((record) => record.sequence > state.last)
    if (first === undefined && end > state.last) skipTo(stream, state, end, 'retention_expired')
    if (first !== undefined && first.sequence > state.last + 1) {
      skipTo(stream, state, first.sequence - 1, 'retention_expired')
    }
    for (const { sequence, sender, frame } of records) {
      if (sequence !== state.last + 1) continue
      pass(stream, state, { epoch: state.epoch, sequence, from: sender, frame, isPositioned: true })
      metrics.count('shield_holes_total', 'filled')
    }
  }

  function learn(stream: Stream, epoch: number, sequence: number): void {
    const state = stateOf(stream)
    if (state.isKnown) return
    state.isKnown = true
    state.epoch = epoch
    state.last = sequence
    const early = state.early.sort((a, b) => a.epoch - b.epoch || a.sequence - b.sequence)
    state.early = []
    state.earlyBytes = 0
    for (const live of early) {
      // Not for those who are here from this position on, perhaps for a join that began before it.
      if (live.epoch === epoch && live.sequence <= sequence) ports.onPassed(stream, toPassed(stream, live, 0))
      order(stream, state, live)
    }
  }

  function catchUp(stream: Stream, head: { epoch: number; last: number; isPositioned?: boolean }): void {
    const state = stateOf(stream)
    if (!state.isKnown || head.epoch < state.epoch) return
    state.isPositioned = head.isPositioned ?? state.isPositioned
    if (head.epoch > state.epoch) restart(stream, state, head.epoch, head.last)
    if (head.last <= state.last) return
    state.target = Math.max(state.target, head.last)
    void fill(stream, state)
  }

  return {
    receive(stream, live) {
      const isNew = !states.has(stream)
      const state = stateOf(stream)
      // Whoever is in a stream this process has not heard of joined the whole room before the stream began.
      if (isNew && stream.memberCount > 0) learn(stream, live.epoch, 0)
      if (state.isKnown) {
        order(stream, state, live)
        return
      }
      state.early.push(live)
      state.earlyBytes += live.frame.length
      if (state.earlyBytes <= maxHeldBytes) return
      state.early = []
      state.earlyBytes = 0
      ports.onOverflow(stream)
    },
    learn,
    catchUp,
    heard({ epoch, last, isPositioned, ...key }) {
      const stream = rooms.find(key)
      if (stream !== undefined && states.has(stream)) catchUp(stream, { epoch, last, isPositioned })
    },
    position(stream) {
      const state = states.get(stream)
      return state?.isKnown ? { epoch: state.epoch, last: state.last } : undefined
    },
    rangeOf(stream, from, to) {
      const state = states.get(stream)
      if (!state?.isPositioned) return undefined
      const shift = state.last - stream.head
      return { epoch: state.epoch, from: from + shift, to: to + shift }
    },
    forget: (stream) => void states.delete(stream),
  }
}
