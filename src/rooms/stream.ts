// One channel as this process sees it: where its log stands, who is a member and how far each has been written.
//
// `head` is the sequence handed to fan-out last. A member's `cursor` is the sequence it has been written up to; only
// frames above it are written, so whoever joins in the middle of a turn, or recovers from the log, gets each frame once.
import type { Position, StreamKey } from '../envelope/envelope.ts'
import type { Batch } from './batch.ts'
import type { Held } from './held.ts'
import type { Member } from './member.ts'
import { RecentIds } from './recent-ids.ts'
import type { Recipient } from './recipient.ts'

/** Ids remembered per stream without a store (design 6). */
const rememberedIds = 10_000

export class Stream {
  readonly key: StreamKey
  epoch: number
  head: number
  /** Does `head` stand for what the log holds? Until then nobody may be told a position. */
  isLoaded: boolean
  /**
   * Set while the store is away and messages are delivered without it: `head` then counts what was delivered, no
   * position is shown, and `last` is the highest sequence the store has confirmed meanwhile. `from` is where the log
   * stood when it began, where everything since is held: undefined where that is not certain.
   */
  unplaced: { last: number; from: Position | undefined } | undefined
  /** The log is known, or feared, to hold more than was handed to fan-out. */
  isBehind = false
  /** Members this process writes to. */
  readonly local = new Map<Recipient, Member>()
  /** Members behind gateways: while there are any, deliveries also leave through the outlet. */
  readonly remote = new Map<Recipient, Member>()
  /** Handed to fan-out, not yet written. */
  batch: Batch | undefined
  isDirty = false
  /** While members are behind: who, and what is kept for them. */
  held: Held | undefined
  /** How large the last batch was, and a little more: the next one's first buffer. */
  expectedBytes = 0
  /** Used where nothing is stored; a store keeps its own. */
  readonly recentIds = new RecentIds(rememberedIds)
  createdAtMs: number
  lastActivityMs: number
  /** Deleted by a command, and not used since. */
  isHidden = false
  description: string | undefined
  createdBy: string | undefined

  constructor(key: StreamKey, start: { epoch: number; head: number; isLoaded: boolean; nowMs: number }) {
    this.key = key
    this.epoch = start.epoch
    this.head = start.head
    this.isLoaded = start.isLoaded
    this.createdAtMs = start.nowMs
    this.lastActivityMs = start.nowMs
  }
  /** The last sequence that has left; what waits for the end of the turn has not. */
  get flushedHead(): number {
    return this.batch === undefined ? this.head : this.batch.first - 1
  }

  get memberCount(): number {
    return this.local.size + this.remote.size
  }

  membersOf(recipient: Recipient): Map<Recipient, Member> {
    return recipient.isRemote ? this.remote : this.local
  }

  member(recipient: Recipient): Member | undefined {
    return this.membersOf(recipient).get(recipient)
  }

  *allMembers(): Iterable<Member> {
    yield* this.local.values()
    yield* this.remote.values()
  }
}
