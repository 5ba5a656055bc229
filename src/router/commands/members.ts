// join_channel and leave_channel.
import { toIsoTime } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import type { JsonObject } from '../../base/json.ts'
import { overflowPolicies } from '../../envelope/envelope.ts'
import { optionalChoice, roomAndChannel } from '../args.ts'
import { type Command, keyOf } from '../command.ts'

/** By name, and under the names the original answers with. */
function placeOf(room: string, channel: string): JsonObject {
  return { room, channel, room_id: room, channel_id: `${room}:${channel}`, channel_name: channel }
}

export const joinChannel: Command = {
  summary: 'Join a channel, or every channel of a room with `*`; `recover` replays what was missed first',
  args: {
    room: 'room name',
    channel: 'channel name, or `*` for the whole room',
    overflow:
      '`disconnect` (default), `drop_oldest` or `latest`: what becomes of a member that reads too slowly; optional',
    recover: '{epoch, sequence} of the last message seen; with `*` a map of channel to position; optional',
  },
  permission: 'channel_access',
  async run({ client, args, tenant, answer }, ports) {
    const { room, channel } = roomAndChannel(args, true)
    const key = keyOf(tenant, room, channel)
    const how = { recover: args['recover'], overflow: optionalChoice(args, 'overflow', overflowPolicies) }
    await ports.membership.join(client, key, how, (facts) =>
      answer({
        message: `Joined ${room}:${channel}`,
        data: {
          ...placeOf(room, channel),
          joined_by: client.id,
          joined_at: toIsoTime(ports.clock.now()),
          room_joined: true,
          ...facts,
        },
      }),
    )
    return undefined
  },
}

export const leaveChannel: Command = {
  summary: 'Leave a channel, or a whole room joined with `*`',
  args: { room: 'room name', channel: 'channel name or `*`' },
  permission: 'channel_access',
  run({ client, args, tenant }, ports) {
    const { room, channel } = roomAndChannel(args, true)
    if (!ports.membership.leave(client, keyOf(tenant, room, channel))) throw new BusError('NOT_JOINED')
    return {
      message: `Left ${room}:${channel}`,
      data: {
        ...placeOf(room, channel),
        left_by: client.id,
        left_at: toIsoTime(ports.clock.now()),
        room_left: true,
      },
    }
  },
}
