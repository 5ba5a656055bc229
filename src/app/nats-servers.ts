// From NATS_URL to a link.
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { parseNatsServers } from '../config/nats-servers.ts'
import type { Secret } from '../config/secret.ts'
import type { Link } from '../link/link.ts'
import { openNatsLink } from '../link/nats-link.ts'
import { linkOverheadBytes } from '../relay/relay.ts'

/** Rejects with CONFIG_INVALID, LINK_UNAVAILABLE or LINK_DENIED; their texts name servers, never credentials. */
export async function openLink(natsUrl: Secret, { name, logger }: { name: string; logger: Logger }): Promise<Link> {
  return openNatsLink({ servers: parseNatsServers(natsUrl), name, logger })
}

/** Both sides check this again for any link; here an operator is told what to change. */
export function requireRoom({ maxPayload }: Link, maxMessageBytes: number, variable: string): void {
  const needed = maxMessageBytes + linkOverheadBytes
  if (maxPayload >= needed) return
  throw new BusError(
    'START_REFUSED',
    `The NATS server takes ${maxPayload} bytes a message, and messages of ${maxMessageBytes} need ${needed}. Set max_payload: ${needed} or more in its configuration, or ${variable}=${maxPayload - linkOverheadBytes} or less.`,
    { reason: 'LINK_PAYLOAD_TOO_SMALL' },
  )
}
