// Who is where: tenants' rooms, their streams, and members by channel or by whole room. Used by the bus and, at the
// edge, by the gateway. Holds no I/O: loading a stream's head is its caller's work.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { OverflowPolicy, StreamKey } from '../envelope/envelope.ts'
import { createFanOut, type FanOut, type Outlet } from './fan-out.ts'
import type { Member } from './member.ts'
import { createOverflow, type Overflow, type OverflowOptions } from './overflow.ts'
import type { Recipient } from './recipient.ts'
import { Stream } from './stream.ts'

/** The name by which a member joins every channel of a room, those to come included. */
export const wholeRoom = '*'

interface RoomMember {
  readonly joinedAtMs: number
  readonly overflow: OverflowPolicy | undefined
}

interface Room {
  readonly streams: Map<string, Stream>
  /** Members of the whole room. */
  readonly members: Map<Recipient, RoomMember>
}

interface Tenant {
  readonly rooms: Map<string, Room>
  streams: number
}

export interface RoomsOptions {
  readonly clock: Clock
  readonly maxMembersPerChannel: number
  readonly maxChannelsPerTenant: number
  /** The epoch of streams that no store numbers. */
  readonly epoch: number
  /** Do new streams start loaded at 0 (nothing is stored), or does a store know better? */
  readonly startsLoaded: boolean
  readonly sliceSize?: number
  readonly overflow: OverflowOptions
}

export class Rooms {
  readonly #tenants = new Map<string, Tenant>()
  readonly #memberships = new Map<Recipient, Set<Stream>>()
  readonly #roomMemberships = new Map<Recipient, Map<string, { tenant: string; room: string }>>()
  readonly #options: RoomsOptions
  readonly fanOut: FanOut
  readonly overflow: Overflow
  /** Set once by whoever carries deliveries to other processes. */
  outlet: Outlet | undefined
  /** Set once by whoever shows memberships to others: told when one by name, `*` included, has begun or ended. */
  membershipChanged: ((key: StreamKey, recipient: Recipient) => void) | undefined

  constructor(options: RoomsOptions) {
    this.#options = options
    this.overflow = createOverflow(options.overflow)
    // At most 500 sockets a turn: a 5,000-socket loop blocked for 123 ms (reliability 0.2, L24).
    this.fanOut = createFanOut({
      sliceSize: options.sliceSize ?? 500,
      outlet: () => this.outlet,
      overflow: this.overflow,
    })
  }

  find(key: StreamKey): Stream | undefined {
    return this.#tenants.get(key.tenant)?.rooms.get(key.room)?.streams.get(key.channel)
  }

  /** The stream, made when it is new. Throws LIMIT_EXCEEDED above the tenant's channels. */
  open(key: StreamKey): Stream {
    const tenant = this.#tenant(key.tenant)
    const room = roomOf(tenant, key.room)
    const known = room.streams.get(key.channel)
    if (known !== undefined) {
      known.isHidden = false
      return known
    }
    const max = this.#options.maxChannelsPerTenant
    if (tenant.streams >= max) {
      throw new BusError('LIMIT_EXCEEDED', `This tenant has its ${max} channels`, { limit: 'channels', max })
    }
    const nowMs = this.#options.clock.now()
    const { epoch, startsLoaded: isLoaded } = this.#options
    const stream = new Stream(key, { epoch, head: 0, isLoaded, nowMs })
    room.streams.set(key.channel, stream)
    tenant.streams++
    for (const [recipient, membership] of room.members)
      this.#add(stream, recipient, { ...membership, byRoom: true, cursor: 0 })
    return stream
  }

  /**
   * Makes the recipient a member that has been written up to `cursor`. Joining again keeps its cursor, and the policy
   * unless another one is named.
   */
  join(stream: Stream, recipient: Recipient, cursor: number, overflow?: OverflowPolicy): Member {
    const max = this.#options.maxMembersPerChannel
    if (stream.memberCount >= max && stream.member(recipient) === undefined) {
      throw new BusError('LIMIT_EXCEEDED', `The channel has its ${max} members`, { limit: 'members', max })
    }
    return this.#add(stream, recipient, { byRoom: false, cursor, joinedAtMs: this.#options.clock.now(), overflow })
  }

  /** Makes the recipient a member of every stream of the room, from each stream's head on. */
  joinRoom(tenantName: string, roomName: string, recipient: Recipient, overflow?: OverflowPolicy): void {
    const room = roomOf(this.#tenant(tenantName), roomName)
    const policy = overflow ?? room.members.get(recipient)?.overflow
    const membership = { joinedAtMs: this.#options.clock.now(), overflow: policy }
    room.members.set(recipient, membership)
    this.membershipChanged?.({ tenant: tenantName, room: roomName, channel: wholeRoom }, recipient)
    let rooms = this.#roomMemberships.get(recipient)
    if (rooms === undefined) {
      rooms = new Map()
      this.#roomMemberships.set(recipient, rooms)
    }
    rooms.set(JSON.stringify([tenantName, roomName]), { tenant: tenantName, room: roomName })
    for (const stream of room.streams.values()) {
      this.#add(stream, recipient, { ...membership, overflow, byRoom: true, cursor: stream.head })
    }
  }

  /** False when it was not a member by that name. */
  leave(stream: Stream, recipient: Recipient): boolean {
    const member = stream.member(recipient)
    if (member === undefined || !member.byChannel) return false
    member.byChannel = false
    this.#dropIfUnused(stream, member)
    this.membershipChanged?.(stream.key, recipient)
    return true
  }

  leaveRoom(tenantName: string, roomName: string, recipient: Recipient): boolean {
    const room = this.#tenants.get(tenantName)?.rooms.get(roomName)
    if (room === undefined || !room.members.delete(recipient)) return false
    this.#roomMemberships.get(recipient)?.delete(JSON.stringify([tenantName, roomName]))
    this.membershipChanged?.({ tenant: tenantName, room: roomName, channel: wholeRoom }, recipient)
    for (const stream of room.streams.values()) {
      const member = stream.member(recipient)
      if (member === undefined) continue
      member.byRoom = false
      this.#dropIfUnused(stream, member)
    }
    return true
  }

  /** Ends every membership of the recipient; returns the streams it was in. */
  leaveAll(recipient: Recipient): readonly Stream[] {
    const streams = [...(this.#memberships.get(recipient) ?? [])]
    for (const stream of streams) this.overflow.forget(stream, stream.member(recipient)!)
    for (const { tenant, room } of this.#roomMemberships.get(recipient)?.values() ?? []) {
      this.leaveRoom(tenant, room, recipient)
    }
    this.#roomMemberships.delete(recipient)
    for (const stream of streams) this.leave(stream, recipient)
    this.#memberships.delete(recipient)
    return streams
  }

  /** Ends all memberships and hides the stream until it is used again; its head and what a store holds stay. */
  hide(stream: Stream): void {
    this.overflow.settle(stream)
    const members = [...stream.allMembers()]
    for (const member of members) {
      member.isActive = false
      this.#memberships.get(member.recipient)?.delete(stream)
    }
    stream.local.clear()
    stream.remote.clear()
    stream.isHidden = true
    for (const { byChannel, recipient } of members) if (byChannel) this.membershipChanged?.(stream.key, recipient)
  }

  /** Streams of a tenant, or of one of its rooms. */
  *streams(tenantName: string, roomName?: string): Iterable<Stream> {
    const tenant = this.#tenants.get(tenantName)
    if (tenant === undefined) return
    for (const [name, room] of tenant.rooms) {
      if (roomName === undefined || name === roomName) yield* room.streams.values()
    }
  }

  *allStreams(): Iterable<Stream> {
    for (const name of this.#tenants.keys()) yield* this.streams(name)
  }

  /** Rooms that somebody has joined as a whole. */
  *wholeRooms(): Iterable<{ readonly tenant: string; readonly room: string }> {
    for (const [tenant, { rooms }] of this.#tenants) {
      for (const [room, { members }] of rooms) if (members.size > 0) yield { tenant, room }
    }
  }

  isWholeRoomMember(tenantName: string, roomName: string, recipient: Recipient): boolean {
    return this.#tenants.get(tenantName)?.rooms.get(roomName)?.members.has(recipient) ?? false
  }

  /** Those who joined the whole room, and when. */
  roomMembers(tenantName: string, roomName: string): ReadonlyMap<Recipient, { readonly joinedAtMs: number }> {
    return this.#tenants.get(tenantName)?.rooms.get(roomName)?.members ?? noMembers
  }

  /** When the recipient joined by that name (a channel, or `*` for the whole room); undefined when it has not. */
  joinedAtMs({ tenant, room, channel }: StreamKey, recipient: Recipient): number | undefined {
    const place = this.#tenants.get(tenant)?.rooms.get(room)
    if (channel === wholeRoom) return place?.members.get(recipient)?.joinedAtMs
    const member = place?.streams.get(channel)?.member(recipient)
    return member?.byChannel === true ? member.joinedAtMs : undefined
  }

  /** Has anybody joined by that name? */
  isJoined({ tenant, room, channel }: StreamKey): boolean {
    const place = this.#tenants.get(tenant)?.rooms.get(room)
    if (channel === wholeRoom) return (place?.members.size ?? 0) > 0
    for (const { byChannel } of place?.streams.get(channel)?.allMembers() ?? []) if (byChannel) return true
    return false
  }

  /** Every membership by name; a whole room's has the channel `*`. */
  *memberships(): Iterable<{ readonly key: StreamKey; readonly recipient: Recipient }> {
    for (const [recipient, rooms] of this.#roomMemberships) {
      for (const at of rooms.values()) yield { key: { ...at, channel: wholeRoom }, recipient }
    }
    for (const [recipient, streams] of this.#memberships) {
      for (const { key } of streams) if (this.joinedAtMs(key, recipient) !== undefined) yield { key, recipient }
    }
  }

  /** How many names (channels and whole rooms) the recipient has joined. */
  joins(recipient: Recipient): number {
    let count = this.#roomMemberships.get(recipient)?.size ?? 0
    for (const stream of this.#memberships.get(recipient) ?? []) if (stream.member(recipient)?.byChannel) count++
    return count
  }

  counts(): { tenants: number; rooms: number; streams: number; memberships: number } {
    let rooms = 0
    let streams = 0
    let memberships = 0
    for (const tenant of this.#tenants.values()) {
      rooms += tenant.rooms.size
      streams += tenant.streams
    }
    for (const set of this.#memberships.values()) memberships += set.size
    return { tenants: this.#tenants.size, rooms, streams, memberships }
  }

  #tenant(name: string): Tenant {
    let tenant = this.#tenants.get(name)
    if (tenant === undefined) {
      tenant = { rooms: new Map(), streams: 0 }
      this.#tenants.set(name, tenant)
    }
    return tenant
  }

  #add(
    stream: Stream,
    recipient: Recipient,
    how: { byRoom: boolean; cursor: number; joinedAtMs: number; overflow: OverflowPolicy | undefined },
  ): Member {
    let member = stream.member(recipient)
    if (member === undefined) {
      member = {
        recipient,
        cursor: how.cursor,
        isActive: true,
        byChannel: false,
        byRoom: false,
        joinedAtMs: how.joinedAtMs,
        overflow: undefined,
      }
      stream.membersOf(recipient).set(recipient, member)
      let set = this.#memberships.get(recipient)
      if (set === undefined) {
        set = new Set()
        this.#memberships.set(recipient, set)
      }
      set.add(stream)
    }
    if (how.byRoom) member.byRoom = true
    else if (!member.byChannel) {
      member.byChannel = true
      this.membershipChanged?.(stream.key, recipient)
    }
    // Who is behind a gateway is passed over there, where its socket is.
    if (how.overflow !== undefined && !recipient.isRemote) this.overflow.change(stream, member, how.overflow)
    return member
  }

  #dropIfUnused(stream: Stream, member: Member): void {
    if (member.byChannel || member.byRoom) return
    this.overflow.leave(stream, member)
    member.isActive = false
    stream.membersOf(member.recipient).delete(member.recipient)
    this.#memberships.get(member.recipient)?.delete(stream)
  }
}

const noMembers: ReadonlyMap<Recipient, { readonly joinedAtMs: number }> = new Map()

function roomOf(tenant: Tenant, name: string): Room {
  let room = tenant.rooms.get(name)
  if (room === undefined) {
    room = { streams: new Map(), members: new Map() }
    tenant.rooms.set(name, room)
  }
  return room
}
