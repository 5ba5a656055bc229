// Who at this edge is a member of what. A join listens first, is then asked of the bus, and begins at the position the
// bus answered: what came meanwhile is held for the joiner, at most 1 MiB, and released above that position.
import {
  countOf,
  edgeHeaders,
  type Head,
  type LiveFrame,
  type MembershipName,
  parseLive,
} from '../envelope/edge-protocol.ts'
import type { OverflowPolicy, StreamKey } from '../envelope/envelope.ts'
import type { MissedRange } from '../envelope/gap.ts'
import { unescapeToken } from '../envelope/names.ts'
import { outRoomSubject } from '../envelope/subjects.ts'
import type { Link, LinkMessage, LinkSubscription } from '../link/link.ts'
import { type Delivery, encodeBatch } from '../rooms/delivery.ts'
import { type Rooms, wholeRoom } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { Session } from '../session/session.ts'
import type { GapReason } from './answers.ts'
import { createEdgeOrder, type Passed, type ReadHole } from './edge-order.ts'
import type { ShieldMetrics } from './metrics.ts'

/** From where a stream's live messages follow. */
export interface JoinedAt extends StreamKey {
  readonly epoch: number
  readonly sequence: number
}

export interface Joining {
  readonly name: MembershipName
  /** The bus made the session a member: of these streams, from these positions. */
  commit(joined: readonly JoinedAt[]): void
  abort(): void
}

export interface EdgeMemberships {
  /** Listens to the membership's messages; resolves once the server does. Rejects with LINK_UNAVAILABLE. */
  begin(session: Session, name: MembershipName, overflow: OverflowPolicy | undefined): Promise<Joining>
  leave(session: Session, name: MembershipName): void
  leaveAll(session: Session): void
  /** What the session is a member of, by the names it joined. */
  of(session: Session): readonly MembershipName[]
  /** The bus has taken the session's memberships again: what was missed meanwhile is read from the log. */
  restored(session: Session, joined: readonly JoinedAt[], refused: readonly MembershipName[]): void
  /** Where the bus stands with streams; missing tails are read. */
  heard(heads: readonly Head[]): void
  /** The bus ended all memberships of the stream. */
  removed(key: StreamKey): void
  /** The bus's numbers of messages of this process; undefined where nothing is stored. */
  rangeOf(stream: Stream, from: number, to: number): MissedRange | undefined
  readonly subscriptions: number
}

export interface EdgeMembershipsPorts {
  readonly link: Link
  readonly rooms: Rooms
  readonly read: ReadHole
  readonly metrics: ShieldMetrics
  readonly maxRecoverMessages: number
  readonly tellGap: (session: Session, stream: StreamKey, reason: GapReason, facts: GapFacts) => void
}

export interface GapFacts {
  readonly epoch: number
  readonly missed?: number
}

const maxHeldBytes = 1024 * 1024

interface OpenJoining {
  readonly session: Session
  readonly overflow: OverflowPolicy | undefined
  readonly held: Map<Stream, Passed[]>
  heldBytes: number
}

export function createEdgeMemberships(ports: EdgeMembershipsPorts): EdgeMemberships {
  const { link, rooms, metrics } = ports
  const listening = new Map<string, { subscription: LinkSubscription; users: number }>()
  /** Joins under way, by room: each holds what passes in its channel, or in all of them. */
  const joinings = new Map<string, Set<OpenJoining & { channel: string }>>()
  const names = new Map<Session, Map<string, MembershipName>>()

  const edge = createEdgeOrder({
    rooms,
    read: ports.read,
    metrics,
    maxRecoverMessages: ports.maxRecoverMessages,
    onPassed: hold,
    onGap(stream, reason, facts) {
      for (const { recipient } of stream.local.values()) ports.tellGap(recipient as Session, stream.key, reason, facts)
    },
    onOverflow(stream) {
      for (const joining of joiningsOf(stream)) joining.session.close('LINK_LOST', 'too much came during a join')
    },
  })

  function joiningsOf({ key }: Stream): readonly (OpenJoining & { channel: string })[] {
    const inRoom = joinings.get(roomKey(key))
    if (inRoom === undefined) return []
    return [...inRoom].filter(({ channel }) => channel === wholeRoom || channel === key.channel)
  }

  function hold(stream: Stream, passed: Passed): void {
    for (const joining of joiningsOf(stream)) {
      const list = joining.held.get(stream)
      if (list === undefined) joining.held.set(stream, [passed])
      else list.push(passed)
      joining.heldBytes += passed.delivery.frame.length
      if (joining.heldBytes > maxHeldBytes) joining.session.close('LINK_LOST', 'too much came during a join')
    }
  }

  function listen(name: MembershipName): void {
    const pattern = outRoomSubject(name.tenant, name.room, name.channel)
    const known = listening.get(pattern)
    if (known !== undefined) known.users++
    else listening.set(pattern, { subscription: link.subscribe(pattern, onLive), users: 1 })
    metrics.set('shield_subscriptions', listening.size)
  }

  function unlisten(name: MembershipName): void {
    const pattern = outRoomSubject(name.tenant, name.room, name.channel)
    const known = listening.get(pattern)
    if (known === undefined || --known.users > 0) return
    known.subscription.close()
    listening.delete(pattern)
    metrics.set('shield_subscriptions', listening.size)
  }

  function onLive({ subject, data, headers }: LinkMessage): void {
    const key = keyOfSubject(subject)
    const sequence = countOf(headers[edgeHeaders.sequence])
    const epoch = countOf(headers[edgeHeaders.epoch])
    if (key === undefined || sequence === undefined || epoch === undefined) return
    let messages: readonly LiveFrame[]
    try {
      messages = parseLive(headers[edgeHeaders.live] ?? '', data)
    } catch {
      metrics.count('shield_holes_total', 'malformed') // as if it had been lost: the next head tells
      return
    }
    const stream = rooms.open(key)
    const isPositioned = headers[edgeHeaders.positioned] === '1'
    for (const [index, { sender, frame }] of messages.entries()) {
      edge.receive(stream, { epoch, sequence: sequence + index, from: sender, frame, isPositioned })
    }
  }

  /** Where the session's place in the stream is, and what was held for it; undefined when something is missing. */
  function placeOf(joining: OpenJoining, at: JoinedAt): Place | undefined {
    const { session } = joining
    const stream = rooms.open(at)
    edge.learn(stream, at.epoch, at.sequence)
    const known = edge.position(stream)!
    if (at.epoch > known.epoch) edge.catchUp(stream, { epoch: at.epoch, last: at.sequence })
    const { epoch, last } = edge.position(stream)!
    if (at.epoch < epoch) return undefined
    const cursor = stream.head + at.sequence - last
    const member = stream.member(session)
    if (member !== undefined) return { stream, cursor: Math.max(member.cursor, cursor), own: [] }
    const held = new Map<number, Delivery>()
    for (const one of joining.held.get(stream) ?? []) if (one.epoch === epoch) held.set(one.sequence, one.delivery)
    const own: Delivery[] = []
    for (let sequence = at.sequence + 1; sequence <= last; sequence++) {
      const delivery = held.get(sequence)
      if (delivery === undefined) return undefined
      if (delivery.sender !== session.id) own.push(delivery)
    }
    return { stream, cursor: Math.max(stream.head, cursor), own }
  }

  function commit(joining: OpenJoining, name: MembershipName, joined: readonly JoinedAt[]): void {
    const { session, overflow } = joining
    const isWholeRoom = name.channel === wholeRoom
    const wanted = new Map(joined.map((at) => [rooms.open(at), at]))
    if (isWholeRoom) {
      // Streams that began after the bus answered: all of theirs was held.
      for (const [stream, passed] of joining.held) {
        if (!wanted.has(stream)) wanted.set(stream, { ...stream.key, epoch: passed[0]!.epoch, sequence: 0 })
      }
    }
    const places = [...wanted.values()].map((at) => placeOf(joining, at))
    if (places.includes(undefined) || (!isWholeRoom && places.length !== 1)) {
      // The client recovers when it comes back; going on would lose messages silently.
      session.close('LINK_LOST', 'messages of a join were lost')
      return
    }
    namesOf(session).set(nameKey(name), name)
    // Before the join: what a recovery has brought is not written again by a change of policy.
    for (const place of places) {
      const member = place!.stream.member(session)
      if (member !== undefined) member.cursor = place!.cursor
    }
    if (isWholeRoom) rooms.joinRoom(name.tenant, name.room, session, overflow)
    for (const place of places) {
      const { stream, cursor, own } = place!
      if (!isWholeRoom) rooms.join(stream, session, cursor, overflow)
      const member = stream.member(session)!
      member.cursor = Math.max(member.cursor, cursor)
      if (own.length > 0) session.write(encodeBatch(own, session.format))
    }
  }

  function namesOf(session: Session): Map<string, MembershipName> {
    let own = names.get(session)
    if (own === undefined) {
      own = new Map()
      names.set(session, own)
    }
    return own
  }

  function leave(session: Session, name: MembershipName): void {
    if (!names.get(session)?.delete(nameKey(name))) return
    if (name.channel === wholeRoom) rooms.leaveRoom(name.tenant, name.room, session)
    else {
      const stream = rooms.find(name)
      if (stream !== undefined) rooms.leave(stream, session)
    }
    release(name)
  }

  /** One user fewer of what the name listens to; streams without members are forgotten, for nobody hears them now. */
  function release(name: MembershipName): void {
    unlisten(name)
    for (const stream of rooms.streams(name.tenant, name.room)) {
      if (stream.memberCount === 0 && joiningsOf(stream).length === 0) edge.forget(stream)
    }
  }

  return {
    async begin(session, name, overflow) {
      const joining = { session, overflow, channel: name.channel, held: new Map<Stream, Passed[]>(), heldBytes: 0 }
      const room = roomKey(name)
      const inRoom = joinings.get(room) ?? new Set()
      joinings.set(room, inRoom)
      inRoom.add(joining)
      let isOpen = true
      const end = (): boolean => {
        const wasOpen = isOpen
        isOpen = false
        inRoom.delete(joining)
        if (inRoom.size === 0) joinings.delete(room)
        return wasOpen
      }
      const abort = (): void => {
        if (end()) release(name)
      }
      try {
        listen(name)
        await link.flush()
      } catch (error) {
        abort()
        throw error
      }
      return {
        name,
        commit(joined) {
          // Joined twice by the same name: one use of the subscription is enough.
          const isRepeated = namesOf(session).has(nameKey(name))
          if (!isOpen) return
          if (session.isClosed) return abort()
          commit(joining, name, joined)
          end()
          if (isRepeated || session.isClosed) release(name)
        },
        abort,
      }
    },
    leave,
    leaveAll(session) {
      const own = [...(names.get(session)?.values() ?? [])]
      rooms.leaveAll(session)
      names.delete(session)
      for (const name of own) release(name)
    },
    of: (session) => [...(names.get(session)?.values() ?? [])],
    restored(session, joined, refused) {
      for (const { epoch, sequence, ...key } of joined) {
        const stream = rooms.find(key)
        if (stream !== undefined) edge.catchUp(stream, { epoch, last: sequence })
      }
      for (const name of refused) {
        leave(session, name)
        ports.tellGap(session, name, 'not_permitted', { epoch: 0 })
      }
    },
    heard: (heads) => {
      for (const head of heads) edge.heard(head)
    },
    removed(key) {
      const stream = rooms.find(key)
      if (stream === undefined) return
      const sessions = [...stream.local.values()].filter((member) => member.byChannel).map((one) => one.recipient)
      rooms.hide(stream)
      for (const session of sessions) leave(session as Session, key)
    },
    rangeOf: (stream, from, to) => edge.rangeOf(stream, from, to),
    get subscriptions() {
      return listening.size
    },
  }
}

interface Place {
  readonly stream: Stream
  readonly cursor: number
  readonly own: readonly Delivery[]
}

function roomKey({ tenant, room }: { tenant: string; room: string }): string {
  return JSON.stringify([tenant, room])
}

function nameKey({ tenant, room, channel }: MembershipName): string {
  return JSON.stringify([tenant, room, channel])
}

/** The stream in `out.t.<tenant>.r.<room>.<channel>`. */
function keyOfSubject(subject: string): StreamKey | undefined {
  const [, , tenantToken = '', , roomToken = '', channelToken = ''] = subject.split('.')
  const tenant = unescapeToken(tenantToken)
  const room = unescapeToken(roomToken)
  const channel = unescapeToken(channelToken)
  return tenant === undefined || room === undefined || channel === undefined ? undefined : { tenant, room, channel }
}
