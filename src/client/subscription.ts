// One joined channel, or a whole room: where it has been read up to, and who gets its messages.
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import type { Envelope, OverflowPolicy, Position } from '../envelope/envelope.ts'
import type { ClientError } from './client-error.ts'
import { createMessageQueue } from './message-queue.ts'

/** A message as an application sees it. */
export interface Message {
  readonly id: string
  readonly room: string | undefined
  readonly channel: string | undefined
  /** The client id of the sender, as the server knows it. */
  readonly sender: string | undefined
  readonly payload: JsonValue
  readonly metadata: JsonObject
  /** When the sender made it: ISO 8601. */
  readonly timestamp: string
  /** Where it stands in the channel's order; absent where the server keeps no history. */
  readonly position: Position | undefined
}

export interface JoinResult {
  /** For a channel: live messages follow after it. Absent for `*`, and where the server keeps no history. */
  readonly position: Position | undefined
  /** For `*`: the same for each channel of the room. */
  readonly positions: Readonly<Record<string, Position>>
  /** Were all missed messages replayed? Undefined where nothing was asked for. */
  readonly recovered: boolean | undefined
  /**
   * Why not: what the server says (docs/commands.md), `no_history` where it keeps none, or `new_channel` for a channel
   * of a whole room that was made while this client was away and could not be asked for.
   */
  readonly reason: string | undefined
}

/** Messages of a channel that are not delivered, told in their place. */
export interface Gap {
  readonly room: string
  readonly channel: string
  /** `overflow`: this client read too slowly; otherwise what a gateway says (docs/link.md). */
  readonly reason: string
  /** How many messages, own ones included; undefined where that is not known. */
  readonly missed: number | undefined
  /** The first and the last of them, where the server keeps history: `history` may bring them. */
  readonly from: Position | undefined
  readonly to: Position | undefined
}

export interface JoinOptions {
  /**
   * What the server does when this client reads too slowly: `disconnect` (default), or, with a gap told by `onGap`,
   * `drop_oldest` or `latest` (docs/wire.md).
   */
  readonly overflow?: OverflowPolicy
  /** Called between the messages before and behind the gap. */
  readonly onGap?: (gap: Gap) => void
  /** The last position seen, to get what followed it; with `*`: channel -> position. */
  readonly recover?: Position | Readonly<Record<string, Position>>
  /** Gets each message in order; without it, iterate over the subscription. */
  readonly onMessage?: (message: Message) => void
  /** Called after each re-join of a lost connection; `recovered: false` means that messages may be missing. */
  readonly onRejoin?: (result: JoinResult) => void
}

/** Messages kept for an iteration that has not come round to them. */
const maxWaiting = 10_000

export class SubscriptionState {
  readonly room: string
  readonly channel: string
  readonly options: JoinOptions
  readonly queue = createMessageQueue<Message>(maxWaiting)
  /** Channel -> the last position delivered, or known to be this client's own. */
  readonly #read = new Map<string, Position>()
  #isJoined = false
  #hasHistory = false

  constructor(room: string, channel: string, options: JoinOptions) {
    this.room = room
    this.channel = channel
    this.options = options
    for (const [name, position] of this.#byChannel(options.recover)) this.#read.set(name, position)
  }

  matches(room: string | undefined, channel: string | undefined): boolean {
    return room === this.room && (this.channel === '*' || channel === this.channel)
  }

  /** `recover` of the next join: undefined while no position is known. */
  recoverArgument(): JsonValue | undefined {
    if (this.#read.size === 0) return undefined
    const positions = Object.fromEntries([...this.#read].map(([name, position]) => [name, { ...position }]))
    return this.channel === '*' ? positions : positions[this.channel]
  }

  /** Did the server tell positions, so that missed messages can be asked for? */
  get hasHistory(): boolean {
    return this.#hasHistory
  }

  knows(channel: string): boolean {
    return this.#read.has(channel)
  }

  /** The next join asks for every message of a channel, whose `channel_info` is given. */
  expectAll(channel: string, info: JsonObject): void {
    const statistics = isJsonObject(info['statistics']) ? info['statistics'] : {}
    if (typeof statistics['epoch'] === 'number') this.#read.set(channel, { epoch: statistics['epoch'], sequence: 0 })
  }

  /** Takes the server's answer to a join: whatever was not recovered goes on from where the server stands now. */
  joined(data: JsonObject): JoinResult {
    const isRoom = this.channel === '*'
    const isRejoin = this.#isJoined
    this.#isJoined = true
    this.#hasHistory = data[isRoom ? 'positions' : 'position'] !== undefined
    const positions = this.#byChannel(isRoom ? data['positions'] : data['position'])
    const reasons = isRejoin && !this.#hasHistory ? ['no_history'] : refusalsOf(data)
    for (const [name, position] of positions) {
      if (wasRecovered(data, name) && this.#read.has(name)) continue
      if (isRejoin && !this.#read.has(name) && position.sequence > 0) reasons.push('new_channel')
      this.#read.set(name, position)
    }
    return {
      position: isRoom ? undefined : positions.get(this.channel),
      positions: isRoom ? Object.fromEntries(positions) : {},
      recovered: reasons.length > 0 ? false : data['recovered'] === true ? true : undefined,
      reason: reasons[0],
    }
  }

  /** Delivers a message unless it was delivered before; `isOwn` ones are only counted as read. */
  deliver(envelope: Envelope, isOwn: boolean): void {
    const position = toPosition(envelope.metadata['position'])
    if (position !== undefined) {
      const read = this.#read.get(envelope.channel ?? '')
      if (read?.epoch === position.epoch && position.sequence <= read.sequence) return
      this.#read.set(envelope.channel ?? '', position)
    }
    if (isOwn) return
    const message = toMessage(envelope)
    if (this.options.onMessage === undefined) this.queue.push(message)
    else this.options.onMessage(message)
  }

  /** Tells of messages that do not come; what was read goes on behind them. */
  missed(gap: Gap): void {
    const { channel, to } = gap
    const read = this.#read.get(channel)
    if (to !== undefined && read?.epoch === to.epoch && to.sequence > read.sequence) this.#read.set(channel, to)
    this.options.onGap?.(gap)
  }

  /** An own publish was stored here; the server does not send it back, so it counts as read when nothing is between. */
  published(channel: string, position: Position): void {
    const read = this.#read.get(channel)
    if (read?.epoch === position.epoch && position.sequence === read.sequence + 1) this.#read.set(channel, position)
  }

  end(error?: ClientError): void {
    this.queue.end(error)
  }

  #byChannel(value: unknown): Map<string, Position> {
    const entries: [string, unknown][] =
      this.channel === '*' ? Object.entries(isJsonObject(value) ? value : {}) : [[this.channel, value]]
    const positions = new Map<string, Position>()
    for (const [name, one] of entries) {
      const position = toPosition(one)
      if (position !== undefined) positions.set(name, position)
    }
    return positions
  }
}

/** Why the server could not recover: for the channel, or for each channel of a room. */
function refusalsOf(data: JsonObject): string[] {
  const single: JsonValue[] = data['recovered'] === false ? [data['reason'] ?? 'unknown'] : []
  const each = isJsonObject(data['recoveries']) ? Object.values(data['recoveries']) : []
  const reasons = each.map((one) => (isJsonObject(one) ? one['reason'] : undefined))
  return [...reasons, ...single].filter((reason) => typeof reason === 'string')
}

function wasRecovered(data: JsonObject, channel: string): boolean {
  const one = isJsonObject(data['recoveries']) ? data['recoveries'][channel] : data
  return isJsonObject(one) && one['recovered'] === true
}

/** What a `gap` frame tells, or undefined when it names no channel. */
export function toGap({ room, channel, payload }: Envelope): Gap | undefined {
  if (room === undefined || channel === undefined || !isJsonObject(payload)) return undefined
  const { reason, missed, epoch, from, to } = payload as Readonly<Record<string, JsonValue | undefined>>
  return {
    room,
    channel,
    reason: typeof reason === 'string' ? reason : 'unknown',
    missed: typeof missed === 'number' ? missed : undefined,
    from: toPosition({ epoch, sequence: from }),
    to: toPosition({ epoch, sequence: to }),
  }
}

export function toMessage(envelope: Envelope): Message {
  const { id, room, channel, sender, payload, metadata, timestamp } = envelope
  return { id, room, channel, sender, payload, metadata, timestamp, position: toPosition(metadata['position']) }
}

/** The position a value holds, or undefined when it holds none. */
export function toPosition(value: unknown): Position | undefined {
  if (!isJsonObject(value)) return undefined
  const { epoch, sequence } = value as { epoch?: JsonValue; sequence?: JsonValue }
  return typeof epoch === 'number' && typeof sequence === 'number' ? { epoch, sequence } : undefined
}
