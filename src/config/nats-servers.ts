// From NATS_URL to servers.
import { BusError } from '../base/errors.ts'
import type { Secret } from './secret.ts'
import { parseServerList } from './urls.ts'

/** As the link takes it. */
export interface NatsServerAddress {
  /** A name, an IPv4 address, or an IPv6 address in brackets. */
  readonly host: string
  readonly port: number
  readonly isTls: boolean
  /** Without a password it is a token. */
  readonly user?: string
  readonly password?: string
}

const defaultPort = 4222

/** The servers of a comma list. Throws CONFIG_INVALID without showing the value. */
export function parseNatsServers(natsUrl: Secret): readonly NatsServerAddress[] {
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
