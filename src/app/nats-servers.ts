// From NATS_URL to a link.
import type { Logger } from '../base/logger.ts'
import { parseNatsServers } from '../config/nats-servers.ts'
import type { Secret } from '../config/secret.ts'
import type { Link } from '../link/link.ts'
import { openNatsLink } from '../link/nats-link.ts'

/** Rejects with CONFIG_INVALID, LINK_UNAVAILABLE or LINK_DENIED; their texts name servers, never credentials. */
export async function openLink(natsUrl: Secret, { name, logger }: { name: string; logger: Logger }): Promise<Link> {
  return openNatsLink({ servers: parseNatsServers(natsUrl), name, logger })
}
