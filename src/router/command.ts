// What a command is, and the ports it may touch.
import type { Clock } from '../base/clock.ts'
import type { JsonObject } from '../base/json.ts'
import type { Envelope, StreamKey } from '../envelope/envelope.ts'
import type { HotState } from '../hot/hot-state.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Client } from '../session/client.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { ClientRegistry } from './clients.ts'
import type { Membership } from './membership.ts'
import type { ProjectorPort } from './projector-port.ts'

/** The permissions the built-in commands ask for (original-contract 4.7); `admin` is a role, which no list gives. */
export type Permission = 'none' | 'channel_access' | 'channel_view' | 'channel_management' | 'store_access' | 'admin'

export interface CommandResult {
  readonly message: string
  readonly data: JsonObject
}

export interface CommandCall {
  readonly client: Client
  readonly request: Envelope
  readonly args: JsonObject
  /** The tenant the command works in: the token's, or the one an operator named. */
  readonly tenant: string
  /** Sends the answer before the command is over, where frames must follow it. At most once. */
  readonly answer: (result: CommandResult) => void
}

export interface CommandPorts {
  readonly clock: Clock
  readonly rooms: Rooms
  readonly clients: ClientRegistry
  readonly membership: Membership
  readonly store: HistoryStore | undefined
  readonly hot: HotState
  /** Absent where it is off. */
  readonly projector?: ProjectorPort | undefined
  readonly maxHistoryPageBytes: number
  readonly maxStoreValueBytes: number
  /** Facts for `status`: counts and component states, never secrets. */
  readonly status: () => JsonObject
  /** Ends in a new identity for the client, or throws AUTHENTICATION_FAILED. */
  readonly refreshIdentity: (client: Client, token: string) => Promise<void>
}

export interface Command {
  /** One line for `help` and docs/commands.md. */
  readonly summary: string
  /** Argument names with what they take, for `help` and the docs. */
  readonly args: Readonly<Record<string, string>>
  readonly permission: Permission
  /** The result becomes the answer, unless `call.answer` was used. */
  run(call: CommandCall, ports: CommandPorts): CommandResult | undefined | Promise<CommandResult | undefined>
}

/** The key of the channel a command names. */
export function keyOf(tenant: string, room: string, channel: string): StreamKey {
  return { tenant, room, channel }
}
