// How long what NATS_URL gives as token or password is good for. A JWT ends; anything else is good until somebody changes it.
//
// NATS_URL has no place for the seed of an nkey, so that a user JWT of an operator (a .creds file) cannot be used at all. A
// JWT comes to the server as a token or a password then, for an authorization service behind it (auth_callout).
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { NatsServerAddress } from '../../config/nats-servers.ts'
import type { RuleContext } from '../../rules/rule.ts'
import type { Applicability, CheckPorts } from '../check.ts'
import { addressOf, natsInUse, serversOf } from './nats-facts.ts'

/** Of each JWT: for which server, and the seconds of `exp`, absent where it names none. */
interface Credential extends JsonObject {
  readonly server: string
  readonly expires?: number
}

export const jwtInUse: Applicability = {
  name: 'nats-credential-is-jwt',
  test(ports) {
    const inUse = natsInUse.test(ports)
    if (!inUse.holds) return inUse
    const count = credentialsOf(ports.ctx).length
    return count > 0
      ? { holds: true, because: `${count} of the servers of NATS_URL get a JWT` }
      : { holds: false, because: 'no token and no password of NATS_URL is a JWT: they do not end' }
  },
}

export const probeCredential = ({ ctx }: CheckPorts): Promise<{ credentials: readonly JsonObject[] }> =>
  Promise.resolve({ credentials: credentialsOf(ctx) })

function credentialsOf(ctx: RuleContext): readonly Credential[] {
  return listOf(ctx).flatMap((server) => {
    const claims = claimsOf(server.password ?? server.user ?? '')
    if (claims === undefined) return []
    const { exp } = claims
    return [{ server: addressOf(server), ...(typeof exp === 'number' && { expires: exp }) }]
  })
}

/** Empty for an address that is none; shield.nats-url-configured says so. */
function listOf(ctx: RuleContext): readonly NatsServerAddress[] {
  try {
    return serversOf(ctx)
  } catch {
    return []
  }
}

/** Read, not verified: that is the server's business. */
function claimsOf(text: string): JsonObject | undefined {
  const segments = text.split('.')
  if (segments.length !== 3) return undefined
  const [header, claims] = segments.map(objectIn)
  return header !== undefined && 'alg' in header ? claims : undefined
}

function objectIn(segment: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'))
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
