// Joining and leaving: a join answers position P, what was missed up to P follows if it was asked for, and live
// messages start at P + 1 (design 5, 6). Recovery is complete and in order, or it is refused with a reason.
import { BusError, invalid, isBusError } from '../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import type { OverflowPolicy, Position, StreamKey } from '../envelope/envelope.ts'
import { Delivery, encodeBatch } from '../rooms/delivery.ts'
import { type Rooms, wholeRoom } from '../rooms/rooms.ts'
import type { Member } from '../rooms/member.ts'
import type { Stream } from '../rooms/stream.ts'
import type { Client } from '../session/client.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { envelopeOfFrame } from '../wire/message-frame.ts'
import { heldFrom, loadStream } from './load-stream.ts'

/** Why a recovery was refused (design 5). The join itself succeeds. */
export type RecoveryRefusal =
  | 'epoch_changed'
  | 'retention_expired'
  | 'too_far_behind'
  | 'ahead_of_server'
  | 'backend_unavailable'
  | 'not_permitted'

export interface MembershipLimits {
  readonly maxJoins: number
  readonly maxRecoverMessages: number
  readonly maxRecoverBytes: number
  readonly maxQueuedBytesPerClient: number
}

export interface MembershipPorts {
  readonly rooms: Rooms
  readonly store: HistoryStore | undefined
  readonly limits: MembershipLimits
  readonly telemetry: Telemetry
}

/** What became of one stream's recovery, and what to send for it. */
interface Recovery {
  readonly stream: Stream
  readonly outcome: { recovered: true } | { recovered: false; reason: RecoveryRefusal }
  readonly missed: readonly Delivery[]
  /** What was asked for; only of a recovery that succeeded. */
  readonly from?: Position
}

/** Rounds of reading several busy streams before their recovery is given up as too far behind. */
const maxPasses = 50

export interface JoinRequest {
  readonly recover?: JsonValue | undefined
  /** Without it a new member has `disconnect`, and one that joins again keeps its own. */
  readonly overflow?: OverflowPolicy | undefined
}

export interface Membership {
  /**
   * Joins one channel, or the whole room for `*`. `answer` is called with the facts of the join at the moment the
   * membership begins; recovered messages are sent after it, before anything live.
   */
  join(client: Client, key: StreamKey, how: JoinRequest, answer: (facts: JsonObject) => void): Promise<void>
  leave(client: Client, key: StreamKey): boolean
}

export function createMembership(ports: MembershipPorts): Membership {
  const { rooms, store, limits } = ports
  // A recovery is written at once: one that a client may not have queued would close it, at every attempt. In JSON a
  // frame can be about twice as long as in the log.
  const maxRecoverBytes = Math.min(limits.maxRecoverBytes, Math.floor(limits.maxQueuedBytesPerClient / 2))

  const load = (stream: Stream): Promise<void> => loadStream(rooms, store, stream)

  async function loadRoom(key: StreamKey): Promise<void> {
    if (store === undefined) return
    const known = store.isHolding ? [] : await store.streams(key.tenant, key.room)
    for (const one of known) await load(rooms.open(one))
    for (const stream of rooms.streams(key.tenant, key.room)) await load(stream)
  }

  function isLoaded({ tenant, room }: StreamKey): boolean {
    return [...rooms.streams(tenant, room)].every((stream) => stream.isLoaded)
  }

  function countJoin(client: Client, isMember: boolean): void {
    if (isMember || rooms.joins(client) < limits.maxJoins) return
    throw new BusError('LIMIT_EXCEEDED', `A client may join ${limits.maxJoins} channels; leave one first`, {
      limit: 'joins',
      max: limits.maxJoins,
    })
  }

  /**
   * What followed, where the store is away and it is certain that memory has all of it. `isCounted`: the position is not
   * the client's word but where an earlier reading ended, which may be within what is held.
   */
  function fromMemory(stream: Stream, { epoch, sequence }: Position, isCounted: boolean): Delivery[] | undefined {
    const start = heldFrom(stream)
    if (start === undefined || start.epoch !== epoch) return undefined
    if (isCounted ? sequence < start.sequence : sequence !== start.sequence) return undefined
    const held = store?.heldLog?.ofStream(stream.key)
    const handedOn = stream.head - start.sequence // the rest is on its way, and is delivered live
    if (held === undefined || held.length < handedOn) return undefined
    const missed = held.slice(sequence - start.sequence, handedOn)
    return missed.map(({ sender, frame }, i) => new Delivery(sequence + 1 + i, sender, frame, undefined))
  }

  const isTooMuch = (missed: readonly Delivery[]): boolean =>
    missed.length > limits.maxRecoverMessages || bytesOf(missed) > maxRecoverBytes

  /** Reads what the client missed of a stream: all of it, or nothing and why. */
  async function recover(stream: Stream, from: Position, isCounted = false): Promise<Recovery> {
    const refused = (reason: RecoveryRefusal): Recovery => refuse(stream, reason)
    const held = fromMemory(stream, from, isCounted)
    if (held !== undefined) {
      return isTooMuch(held) ? refused('too_far_behind') : succeed(stream, held, from)
    }
    if (store === undefined || stream.unplaced !== undefined) return refused('backend_unavailable')
    try {
      if (from.epoch !== stream.epoch) return refused('epoch_changed')
      const head = await store.head(stream.key)
      if (head.epoch !== from.epoch) return refused('epoch_changed')
      if (from.sequence > Math.max(head.last, stream.head)) return refused('ahead_of_server')
      if (from.sequence + 1 < head.first) return refused('retention_expired')
      const missed: Delivery[] = []
      let bytes = 0
      let after = from.sequence
      // Until nothing that was handed to fan-out is missing: from then on the membership itself delivers.
      while (after < Math.max(stream.head, head.last)) {
        const limit = limits.maxRecoverMessages + 1 - missed.length
        const page = await store.readBySequence({ key: stream.key, after, limit, maxBytes: maxRecoverBytes })
        const next = page[0]
        if (next === undefined || next.position.sequence !== after + 1) return refused('retention_expired')
        for (const { position, sender, frame } of page) {
          bytes += frame.length
          missed.push(new Delivery(position.sequence, sender, frame, position))
        }
        if (missed.length > limits.maxRecoverMessages || bytes > maxRecoverBytes) return refused('too_far_behind')
        after = page[page.length - 1]!.position.sequence
      }
      return succeed(stream, missed, from)
    } catch (error) {
      if (isBusError(error)) return refused('backend_unavailable')
      throw error
    }
  }

  /** Adds to a recovery what came since. */
  async function readOn(stream: Stream, from: Position, known: Recovery | undefined): Promise<Recovery> {
    if (known === undefined) return recover(stream, from)
    const more = await recover(stream, { ...from, sequence: Math.max(from.sequence, lastOf(known)) }, true)
    if (!more.outcome.recovered) return more
    const missed = [...known.missed, ...more.missed]
    return isTooMuch(missed) ? refuse(stream, 'too_far_behind') : succeed(stream, missed, from)
  }

  /** Recovers several streams to one common moment: while one is read, another must not run ahead unnoticed. */
  async function recoverAll(key: StreamKey, positions: readonly [string, Position][]): Promise<Recovery[]> {
    const wanted = positions.map(([channel, from]) => ({ stream: rooms.open({ ...key, channel }), from }))
    const found = new Map<Stream, Recovery>()
    let stale = wanted
    for (let pass = 0; stale.length > 0; pass++) {
      // All at once, and only what is new: one after the other, the first would have run ahead before the last is read.
      const read = stale.map(async ({ stream, from }) => {
        await load(stream)
        const recovery =
          pass < maxPasses ? await readOn(stream, from, found.get(stream)) : refuse(stream, 'too_far_behind')
        found.set(stream, recovery)
      })
      await Promise.all(read)
      stale = wanted.filter(({ stream }) => isStale(found.get(stream)!))
    }
    let bytes = 0
    return [...found.values()].map((recovery) => {
      bytes += bytesOf(recovery.missed)
      return bytes > maxRecoverBytes ? refuse(recovery.stream, 'too_far_behind') : recovery
    })
  }

  /** Who has not read what it was sent before is not sent so much more that its queue would be too long. */
  function fitting(client: Client, recoveries: Recovery[]): Recovery[] {
    const room = (limits.maxQueuedBytesPerClient - (client.queuedBytes?.() ?? 0)) / 2
    const bytes = recoveries.reduce((sum, { missed }) => sum + bytesOf(missed), 0)
    return bytes <= room ? recoveries : recoveries.map(({ stream }) => refuse(stream, 'too_far_behind'))
  }

  async function joinChannel(
    client: Client,
    key: StreamKey,
    { recover: from, overflow }: JoinRequest,
    answer: (facts: JsonObject) => void,
  ): Promise<void> {
    const stream = rooms.open(key)
    countJoin(client, stream.member(client)?.byChannel ?? false)
    await load(stream)
    const position = from === undefined ? undefined : parsePosition(from)
    let found: Recovery | undefined
    // Again where more was handed to fan-out in the moment between the reading and here.
    while (position !== undefined && (found === undefined || isStale(found))) {
      found = await readOn(stream, position, found)
    }
    if (client.isClosed) return
    const recovery = found && fitting(client, [found])[0]
    const reached = Math.max(stream.head, lastOf(recovery))
    // Who was a member already has been written up to its own cursor: what is on its way, or held for it, still comes,
    // unless the recovery below brings it.
    const known = stream.member(client)
    if (known !== undefined && recovery?.outcome.recovered) known.cursor = Math.max(known.cursor, reached)
    const member = rooms.join(stream, client, reached, overflow)
    const sequence = member.cursor
    const told = positionOf(stream, member, recovery)
    answer({
      ...(overflow !== undefined && { overflow }),
      ...(told !== undefined && { position: told }),
      ...(recovery !== undefined && { ...recovery.outcome, replayed: recovery.missed.length }),
      members: stream.memberCount,
    })
    if (recovery !== undefined) replay(client, recovery)
    client.joined?.(key, { epoch: stream.epoch, sequence })
  }

  /** Where the member stands, to come back with; undefined while that is not known. */
  function positionOf(stream: Stream, member: Member, recovery: Recovery | undefined): JsonObject | undefined {
    if (store === undefined) return undefined
    const { unplaced, epoch } = stream
    if (unplaced === undefined) return { epoch, sequence: member.cursor }
    // It has all that is held, and asks for it again from there: what is held has no positions yet.
    return recovery?.outcome.recovered && unplaced.from ? { ...unplaced.from } : undefined
  }

  async function joinWholeRoom(
    client: Client,
    key: StreamKey,
    { recover: from, overflow }: JoinRequest,
    answer: (facts: JsonObject) => void,
  ): Promise<void> {
    countJoin(client, rooms.isWholeRoomMember(key.tenant, key.room, client))
    const positions = from === undefined ? undefined : parsePositions(from)
    let recoveries: Recovery[] = []
    // A channel made meanwhile has no position yet, and while that is asked for, another may run ahead.
    const isDone = (): boolean => isLoaded(key) && !recoveries.some(isStale)
    for (let pass = 0; pass === 0 || (pass < maxPasses && !isDone()); pass++) {
      await loadRoom(key)
      recoveries = await recoverAll(key, positions ?? [])
    }
    if (client.isClosed) return
    recoveries = recoveries.map((one) => (isStale(one) ? refuse(one.stream, 'too_far_behind') : one))
    recoveries = fitting(client, recoveries)
    skipRecovered(client, recoveries)
    rooms.joinRoom(key.tenant, key.room, client, overflow)
    skipRecovered(client, recoveries)
    const recoveryOf = new Map(recoveries.map((recovery) => [recovery.stream, recovery]))
    const heads: { key: StreamKey; position: Position }[] = []
    const at: JsonObject = {}
    for (const stream of rooms.streams(key.tenant, key.room)) {
      const member = stream.member(client)
      if (member === undefined || !stream.isLoaded) continue
      const position = { epoch: stream.epoch, sequence: member.cursor }
      heads.push({ key: stream.key, position })
      const told = positionOf(stream, member, recoveryOf.get(stream))
      if (told !== undefined) at[stream.key.channel] = told
    }
    const outcomes: JsonObject = {}
    for (const { stream, outcome } of recoveries) outcomes[stream.key.channel] = { ...outcome }
    answer({
      ...(overflow !== undefined && { overflow }),
      ...(store !== undefined && { positions: at }),
      ...(positions !== undefined && {
        recovered: recoveries.every((one) => one.outcome.recovered),
        recoveries: outcomes,
        replayed: recoveries.reduce((sum, one) => sum + one.missed.length, 0),
      }),
    })
    for (const recovery of recoveries) replay(client, recovery)
    for (const { key: joined, position } of heads) client.joined?.(joined, position)
  }

  return {
    async join(client, key, how, answer) {
      await (key.channel === wholeRoom
        ? joinWholeRoom(client, key, how, answer)
        : joinChannel(client, key, how, answer))
      const { tenant, room, channel } = key
      ports.telemetry.emit({ type: 'channel_joined', tenant, clientId: client.id, metadata: { room, channel } })
    },
    leave(client, key) {
      if (key.channel === wholeRoom) return rooms.leaveRoom(key.tenant, key.room, client)
      const stream = rooms.find(key)
      return stream !== undefined && rooms.leave(stream, client)
    },
  }
}

/** What a recovery brings is not written again to who is, or was already, a member. */
function skipRecovered(client: Client, recoveries: readonly Recovery[]): void {
  for (const recovery of recoveries) {
    const member = recovery.outcome.recovered ? recovery.stream.member(client) : undefined
    if (member !== undefined) member.cursor = Math.max(member.cursor, lastOf(recovery))
  }
}

function succeed(stream: Stream, missed: readonly Delivery[], from: Position): Recovery {
  return { stream, outcome: { recovered: true }, missed, from }
}

function refuse(stream: Stream, reason: RecoveryRefusal): Recovery {
  return { stream, outcome: { recovered: false, reason }, missed: [] }
}

/** The sequence of the last message a recovery brings; 0 when it brings none. */
function lastOf(recovery: Recovery | undefined): number {
  return recovery?.missed.at(-1)?.sequence ?? 0
}

/** Has more been handed to fan-out than the recovery brings? */
function isStale(recovery: Recovery): boolean {
  const { stream, from } = recovery
  return from !== undefined && stream.head > Math.max(from.sequence, lastOf(recovery))
}

const bytesOf = (missed: readonly Delivery[]): number => missed.reduce((sum, { frame }) => sum + frame.length, 0)

/** Sends recovered messages, the client's own included: it asked for the log. */
function replay(client: Client, { missed }: Recovery): void {
  if (missed.length === 0) return
  if (client.isRemote) {
    for (const { frame, position } of missed) client.send(envelopeOfFrame(frame, position))
    return
  }
  client.write(encodeBatch(missed, client.format))
}

function parsePosition(value: JsonValue): Position {
  const epoch = isJsonObject(value) ? value['epoch'] : undefined
  const sequence = isJsonObject(value) ? value['sequence'] : undefined
  if (typeof epoch !== 'number' || typeof sequence !== 'number' || !isCount(epoch) || !isCount(sequence)) {
    throw invalid('BAD_RECOVER', 'recover must be {epoch, sequence} with whole numbers', { field: 'recover' })
  }
  return { epoch, sequence }
}

function parsePositions(value: JsonValue): [string, Position][] {
  if (!isJsonObject(value)) {
    throw invalid('BAD_RECOVER', 'with channel *, recover maps channel names to {epoch, sequence}', {
      field: 'recover',
    })
  }
  return Object.entries(value).map(([channel, position]) => [channel, parsePosition(position)])
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
