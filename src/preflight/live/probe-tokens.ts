// Tokens of the probes: good ones for the reserved tenants, and every kind of bad one. Made in memory, never written.
import { createHmac } from 'node:crypto'
import { mintToken } from '../../auth/mint.ts'
import type { Role } from '../../auth/identity.ts'
import type { Values } from '../../config/keys.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { defaultName, signingDefaults } from './case-names.ts'

/** Tenants nobody else can have (design 4). */
export const probeTenant = 'arqon-preflight'
export const otherProbeTenant = 'arqon-preflight-b'

const ttlSeconds = 120

type SharedSecret = Pick<Values, 'jwtSecret' | 'busJwtSecret'>

export function shieldToken(ports: CheckPorts, tenant: string): Promise<string> {
  return mint(ports, ({ jwtSecret }) => jwtSecret, tenant, 'user')
}

/** For the bus and its telemetry: absent where the bus asks for none. */
export async function busToken(ports: CheckPorts, tenant: string): Promise<string | undefined> {
  if (!ports.ctx.resolution.values.enableAuth) return undefined
  return mint(ports, ({ busJwtSecret, jwtSecret }) => busJwtSecret ?? jwtSecret, tenant, 'user')
}

async function mint(
  { ctx, clock }: CheckPorts,
  choose: (values: SharedSecret) => Values['jwtSecret'],
  tenant: string,
  role: Role,
): Promise<string> {
  const { values } = ctx.resolution
  const secret = choose(values)
  if (secret === undefined) throw new ProbeStop('NO_SECRET', 'no secret to sign with', 'token')
  return mintToken({
    secret: secret.reveal(),
    subject: 'preflight',
    tenant,
    role,
    ttlSeconds,
    nowMs: clock.now(),
    ...(values.jwtIssuer !== undefined && { issuer: values.jwtIssuer }),
    ...(values.jwtAudience !== undefined && { audience: values.jwtAudience }),
  })
}

export interface BadToken {
  readonly name: string
  /** The Authorization header. */
  readonly authorization?: string
  /** A token for the query string instead. */
  readonly query?: string
}

/** Each refused for one reason: apart from it, it is the token that would be let in. */
export async function badTokens(ports: CheckPorts): Promise<readonly BadToken[]> {
  const { ctx, clock } = ports
  const { values } = ctx.resolution
  const good = await shieldToken(ports, probeTenant)
  const secret = values.jwtSecret?.reveal() ?? ''
  const [, payload = ''] = good.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown> // minted above
  const now = Math.floor(clock.now() / 1_000)
  const bearer = (name: string, token: string): BadToken => ({ name, authorization: `Bearer ${token}` })
  const { tenant_id: _, ...withoutTenant } = claims
  return [
    { name: 'empty', authorization: 'Bearer ' },
    { name: 'wrong-scheme', authorization: `Basic ${good}` },
    bearer('garbage', 'not-a-token'),
    bearer('alg-none', `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`),
    bearer('wrong-signature', sign({ alg: 'HS256' }, claims, `${ports.nonce()}${ports.nonce()}`)),
    bearer('expired', sign({ alg: 'HS256' }, { ...claims, iat: now - 7_200, exp: now - 3_600 }, secret)),
    bearer('not-yet-valid', sign({ alg: 'HS256' }, { ...claims, nbf: now + 3_600, exp: now + 7_200 }, secret)),
    bearer('missing-tenant', sign({ alg: 'HS256' }, withoutTenant, secret)),
    bearer('algorithm-confusion', sign({ alg: 'RS256' }, claims, secret)),
    { name: 'token-in-query', query: good },
    ...signingDefaults.map((known, index) => bearer(defaultName(index), sign({ alg: 'HS256' }, claims, known))),
  ]
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs with HMAC-SHA-256 whatever the header says and however weak the secret: jose would refuse both. */
function sign(header: { alg: string }, claims: object, secret: string): string {
  const input = `${encode({ ...header, typ: 'JWT' })}.${encode(claims)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}
