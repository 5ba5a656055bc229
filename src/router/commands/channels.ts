// create_channel, delete_channel, list_channels, channel_info, presence: what channels there are and who is in them.
import { toIsoTime } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import type { JsonObject } from '../../base/json.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { parseName } from '../../envelope/names.ts'
import type { Member } from '../../rooms/member.ts'
import type { Stream } from '../../rooms/stream.ts'
import { optionalText, requiredText, roomAndChannel } from '../args.ts'
import { type Command, type CommandPorts, keyOf } from '../command.ts'

/** The original gives rooms and channels opaque ids; ours are their names, which are unique in a tenant. */
function idsOf({ room, channel }: StreamKey): JsonObject {
  return { room_id: room, room_name: room, channel_id: `${room}:${channel}`, channel_name: channel }
}

function visible(stream: Stream | undefined): Stream | undefined {
  return stream?.isHidden ? undefined : stream
}

/** Does the channel exist: in use here, or in the log? */
async function findChannel(key: StreamKey, ports: CommandPorts): Promise<Stream | undefined> {
  const known = ports.rooms.find(key)
  if (known !== undefined) return visible(known)
  const head = await ports.store?.head(key)
  return head !== undefined && head.last > 0 ? ports.rooms.open(key) : undefined
}

async function requireChannel(key: StreamKey, ports: CommandPorts): Promise<Stream> {
  const stream = await findChannel(key, ports)
  if (stream === undefined) throw new BusError('CHANNEL_NOT_FOUND')
  return stream
}

interface Members {
  readonly data: {
    readonly member_count: number
    readonly members: JsonObject[]
    /** Other processes could not be asked: these are the members of this one. */
    readonly partial?: true
  }
  /** Has anybody joined the channel by its name at another process? */
  readonly isUsedElsewhere: boolean
}

/** The members here, as they are this moment, and those at other processes. */
async function membersOf(key: StreamKey, ports: CommandPorts): Promise<Members> {
  const { members: others, isPartial } = await ports.hot.presence.elsewhere(key)
  const rows = new Map<string, JsonObject>()
  const add = (clientId: string, subject: string, joinedAtMs: number): void =>
    void rows.set(clientId, { client_id: clientId, subject, joined_at: toIsoTime(joinedAtMs) })
  for (const { clientId, subject, joinedAtMs } of others) add(clientId, subject, joinedAtMs)
  for (const { recipient, joinedAtMs } of membersHere(key, ports)) {
    add(recipient.id, ports.clients.find(recipient.id)?.identity.subject ?? '', joinedAtMs)
  }
  return {
    data: { member_count: rows.size, members: [...rows.values()], ...(isPartial && { partial: true }) },
    isUsedElsewhere: others.some(({ byRoom }) => !byRoom),
  }
}

function* membersHere(key: StreamKey, { rooms }: CommandPorts): Iterable<Pick<Member, 'recipient' | 'joinedAtMs'>> {
  const stream = rooms.find(key)
  if (stream !== undefined) yield* visible(stream)?.allMembers() ?? []
  // Not used here yet: it will have those of the whole room.
  else
    for (const [recipient, { joinedAtMs }] of rooms.roomMembers(key.tenant, key.room)) yield { recipient, joinedAtMs }
}

export const createChannel: Command = {
  summary: 'Create a channel; joining or publishing to a new name creates it as well',
  args: { room: 'room name', channel: 'channel name (or `name`)', description: 'text, optional' },
  permission: 'channel_management',
  async run({ args, tenant, client }, ports) {
    const { room, channel } = roomAndChannel(args)
    const description = optionalText(args, 'description')
    const key = keyOf(tenant, room, channel)
    if ((await findChannel(key, ports)) !== undefined) throw new BusError('CHANNEL_EXISTS')
    const stream = ports.rooms.open(key)
    stream.createdBy = client.id
    stream.description = description
    stream.createdAtMs = ports.clock.now()
    return {
      message: 'Channel created',
      data: {
        ...idsOf(key),
        ...(description !== undefined && { description }),
        created_by: client.id,
        created_at: toIsoTime(stream.createdAtMs),
      },
    }
  },
}

export const deleteChannel: Command = {
  summary: 'Delete a channel: its members leave; stored history stays until its retention ends',
  args: { room: 'room name', channel: 'channel name' },
  permission: 'channel_management',
  async run({ args, tenant, client }, ports) {
    const { room, channel } = roomAndChannel(args)
    const stream = await requireChannel(keyOf(tenant, room, channel), ports)
    const removed = stream.memberCount
    ports.rooms.hide(stream)
    return {
      message: 'Channel deleted',
      data: {
        ...idsOf(stream.key),
        members_removed: removed,
        deleted_by: client.id,
        deleted_at: toIsoTime(ports.clock.now()),
      },
    }
  },
}

export const listChannels: Command = {
  summary: 'List the channels of a room, in use or in history',
  args: { room: 'room name' },
  permission: 'channel_view',
  async run({ args, tenant, client }, ports) {
    const room = parseName('room', requiredText(args, 'room'))
    const rows = new Map<string, JsonObject>()
    for (const key of (await ports.store?.streams(tenant, room)) ?? []) {
      rows.set(key.channel, { ...idsOf(key), member_count: 0 })
    }
    for (const stream of ports.rooms.streams(tenant, room)) {
      if (stream.isHidden) rows.delete(stream.key.channel)
      else rows.set(stream.key.channel, { ...idsOf(stream.key), member_count: stream.memberCount })
    }
    const channels = [...rows.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
    return {
      message: `${channels.length} channels`,
      data: {
        room_id: room,
        room_name: room,
        total_channels: channels.length,
        channels,
        queried_by: client.id,
        queried_at: toIsoTime(ports.clock.now()),
      },
    }
  },
}

export const channelInfo: Command = {
  summary: 'Show one channel: members, times, position',
  args: { room: 'room name', channel: 'channel name' },
  permission: 'channel_view',
  async run({ args, tenant }, ports) {
    const { room, channel } = roomAndChannel(args)
    const key = keyOf(tenant, room, channel)
    const { data: members, isUsedElsewhere } = await membersOf(key, ports)
    const stream = (await findChannel(key, ports)) ?? (isUsedElsewhere ? ports.rooms.open(key) : undefined)
    if (stream === undefined) throw new BusError('CHANNEL_NOT_FOUND')
    const head = await ports.store?.head(key)
    return {
      message: 'Channel found',
      data: {
        ...idsOf(stream.key),
        ...(stream.description !== undefined && { description: stream.description }),
        ...members,
        created_at: toIsoTime(stream.createdAtMs),
        last_activity: toIsoTime(stream.lastActivityMs),
        statistics:
          head === undefined ? {} : { epoch: head.epoch, first_sequence: head.first, last_sequence: head.last },
      },
    }
  },
}

export const presence: Command = {
  summary: 'Who is in a channel now',
  args: { room: 'room name', channel: 'channel name' },
  permission: 'channel_view',
  async run({ args, tenant }, ports) {
    const { room, channel } = roomAndChannel(args)
    const key = keyOf(tenant, room, channel)
    const { data: members } = await membersOf(key, ports)
    return { message: `${members.member_count} members`, data: { ...idsOf(key), ...members } }
  },
}
