// What of the configuration concerns NATS: when its checks apply, what the processes need of it, which servers.
import { parseNatsServers, type NatsServerAddress } from '../../config/nats-servers.ts'
import { isExplicit } from '../../rules/explicit.ts'
import { isProduction } from '../../rules/predicates.ts'
import type { RuleContext } from '../../rules/rule.ts'
import type { Applicability } from '../check.ts'

/** The bus joins NATS only where it is told to; Shield cannot do without. */
export const natsInUse: Applicability = {
  name: 'nats-in-use',
  test({ ctx }) {
    if (isExplicit(ctx, 'natsUrl')) return { holds: true, because: 'NATS_URL is set' }
    if (isProduction(ctx)) return { holds: true, because: `profile=${ctx.profile}: Shield needs NATS` }
    return { holds: false, because: 'NATS_URL is not set: the bus stands alone' }
  },
}

/** The program has no switch of its own: whoever runs it in production sets one of the variables that only it reads. */
const projectorKeys = [
  'projectorMetricsHost',
  'projectorMetricsPort',
  'projectorWorkers',
  'projectorAckWaitMs',
] as const

export type JetStreamUser = 'schemas' | 'projector'

/** Who of us needs JetStream: Shield's schemas in a bucket, and `arqonbus projector`. The link itself does not. */
export function jetStreamUsers(ctx: RuleContext): readonly JetStreamUser[] {
  return [
    ...(ctx.resolution.values.schemaSource === 'nats' ? (['schemas'] as const) : []),
    ...(projectorKeys.some((key) => isExplicit(ctx, key)) ? (['projector'] as const) : []),
  ]
}

export const jetStreamInUse: Applicability = {
  name: 'jetstream-in-use',
  test(ports) {
    const inUse = natsInUse.test(ports)
    const users = jetStreamUsers(ports.ctx)
    if (!inUse.holds || users.length > 0) return inUse.holds ? { holds: true, because: users.join(', ') } : inUse
    return { holds: false, because: 'SHIELD_SCHEMA_SOURCE is not nats, and no key of arqonbus projector is set' }
  },
}

/** Of ours only the projector's side publishes to JetStream and acknowledges; Shield reads a bucket. */
export const projectorOnNats: Applicability = {
  name: 'projector-on-nats',
  test(ports) {
    const inUse = jetStreamInUse.test(ports)
    if (!inUse.holds || jetStreamUsers(ports.ctx).includes('projector')) return inUse
    return { holds: false, because: 'no key of arqonbus projector is set' }
  },
}

/** Beyond the largest message, for the link's headers; relay and Shield refuse to start with less. */
const linkOverheadBytes = 16 * 1024

/** The `max_payload` that bus and Shield need. */
export function neededPayload({ resolution: { limits } }: RuleContext): number {
  return Math.max(limits.bus['maxMessageBytes']!, limits.shield['maxMessageBytes']!) + linkOverheadBytes
}

/** Throws CONFIG_INVALID, which the rules of the static phase have found before. */
export const serversOf = ({ resolution }: RuleContext): readonly NatsServerAddress[] =>
  parseNatsServers(resolution.values.natsUrl)

/** Without credentials. */
export const addressOf = ({ host, port }: NatsServerAddress): string => `${host}:${port}`
