// Which commands the gateway has a part in: memberships are kept here too, and tokens end here.
import type { Identity } from '../auth/identity.ts'
import type { JsonObject, JsonValue } from '../base/json.ts'
import type { MembershipName } from '../envelope/edge-protocol.ts'
import { type Envelope, overflowPolicies, type OverflowPolicy } from '../envelope/envelope.ts'
import { nameProblem } from '../envelope/names.ts'

export type Intent =
  | { readonly kind: 'join'; readonly name: MembershipName; readonly overflow: OverflowPolicy | undefined }
  | { readonly kind: 'leave'; readonly name: MembershipName }
  | { readonly kind: 'refresh'; readonly token: JsonValue | undefined }

/**
 * What the command asks of the gateway, or undefined when it is the bus's alone. Arguments the bus will refuse give
 * undefined too: the bus says why.
 */
export function intentOf(request: Envelope, identity: Identity): Intent | undefined {
  const { command, args } = request
  if (command === 'auth.refresh') return { kind: 'refresh', token: args['token'] }
  if (command !== 'join_channel' && command !== 'leave_channel') return undefined
  const place = placeOf(args)
  if (place === undefined) return undefined
  const tenant = tenantOf(request, identity)
  const name = { tenant, ...place }
  if (command === 'leave_channel') return { kind: 'leave', name }
  return { kind: 'join', name, overflow: overflowPolicies.find((policy) => policy === args['overflow']) }
}

/** `{room, channel}`, or `room:channel` in one of the names the bus's commands read it from. */
function placeOf(args: JsonObject): { room: string; channel: string } | undefined {
  let room = args['room'] ?? undefined
  let channel = args['channel'] ?? args['name'] ?? args['channel_id'] ?? undefined
  if (room === undefined && typeof channel === 'string') {
    const colon = channel.indexOf(':')
    if (colon > 0) {
      room = channel.slice(0, colon)
      channel = channel.slice(colon + 1)
    }
  }
  if (typeof room !== 'string' || typeof channel !== 'string' || nameProblem(room) !== undefined) return undefined
  if (channel !== '*' && nameProblem(channel) !== undefined) return undefined
  return { room, channel }
}

/** The tenant the command works in: the token's; an operator's is the one it names. */
function tenantOf({ args, metadata }: Envelope, identity: Identity): string {
  if (identity.role !== 'operator') return identity.tenant
  const named = [args['tenant_id'], metadata['tenant_id']].find((value) => typeof value === 'string')
  return named ?? 'default'
}
