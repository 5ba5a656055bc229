// From NATS_URL to servers and a link to them.
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Secret } from '../config/secret.ts'
import { parseServerList } from '../config/urls.ts'
import type { Link } from '../link/link.ts'
import type { NatsServer } from '../link/nats-dial.ts'
import { openNatsLink } from '../link/nats-link.ts'

const defaultPort = 4222

/** Rejects with CONFIG_INVALID, LINK_UNAVAILABLE or LINK_DENIED; their texts name servers, never credentials. */
export async function openLink(natsUrl: Secret, { name, logger }: { name: string; logger: Logger }): Promise<Link> {
  return openNatsLink({ servers: parseNatsServers(natsUrl), name, logger })
}

/** The servers of a comma list. Throws CONFIG_INVALID without showing the value. */
export function parseNatsServers(natsUrl: Secret): readonly NatsServer[] {
  const urls = parseServerList(natsUrl.reveal())
  if (urls === undefined) throw badUrl(natsUrl, 'is not a list of addresses such as nats://127.0.0.1:4222')
  return urls.flatMap(({ scheme, hosts, user, password }) => {
    if (scheme !== 'nats' && scheme !== 'tls') throw badUrl(natsUrl, `takes nats:// and tls://, not ${scheme}://`)
    return hosts.map(({ host, port = defaultPort }) => ({
      host,
      port,
      isTls: scheme === 'tls',
      ...(user !== undefined && { user }),
      ...(password !== undefined && { password }),
    }))
  })
}

function badUrl({ name }: Secret, problem: string): BusError {
  return new BusError('CONFIG_INVALID', `${name} ${problem}`, { variable: name })
}
