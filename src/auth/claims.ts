// Judges the claims of a token whose signature is good: each rule of reliability 3.1 rows 4 to 10, with its refusal.
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import type { AuthRefusal, AuthResult, Role } from './identity.ts'
import { defaultTenant, everyTenant, isReservedTenantName, isTenantName } from './tenants.ts'

/** Clocks may differ by this much (reliability 4). */
export const skewSeconds = 30
/** No token may live longer (reliability 4). */
export const maxLifetimeSeconds = 24 * 60 * 60

export interface ClaimRules {
  readonly issuer?: string
  readonly audience?: string
  /** May tokens name the reserved `arqon-` tenants? */
  readonly allowReservedTenants: boolean
  /** Shield's rules (original-contract 10.2): tenant_id and iat required, whole seconds, no `aud` unless configured. */
  readonly requireClaims: boolean
}

/** `nowMs` in milliseconds since the epoch. */
export function judgeClaims(claims: JsonObject, rules: ClaimRules, nowMs: number): AuthResult {
  const refusal = judgeTimes(claims, rules, nowMs / 1_000) ?? judgeParties(claims, rules)
  if (refusal !== undefined) return { ok: false, refusal }
  const subject = claims['sub']
  const role = roleOf(claims['role'])
  const permissions = claims['permissions']
  if (!isSubject(subject) || role === undefined || !isPermissions(permissions)) return invalidClaims
  const tenant = tenantOf(claims['tenant_id'], role, rules)
  if (tenant === undefined) return invalidClaims
  return {
    ok: true,
    identity: {
      tenant,
      subject,
      role,
      expiresAtMs: (claims['exp'] as number) * 1_000, // judged above
      ...(permissions !== undefined && { permissions }),
    },
  }
}

const invalidClaims: AuthResult = { ok: false, refusal: 'AUTH_CLAIMS_INVALID' }

function judgeTimes(claims: JsonObject, rules: ClaimRules, now: number): AuthRefusal | undefined {
  const { exp, iat, nbf } = claims
  if (exp === undefined) return 'AUTH_EXP_REQUIRED'
  const isTime = rules.requireClaims ? isWholeSeconds : isSeconds
  if (!isTime(exp)) return 'AUTH_EXP_INVALID'
  if ((iat !== undefined && !isTime(iat)) || (nbf !== undefined && !isSeconds(nbf))) return 'AUTH_CLAIMS_INVALID'
  if (iat === undefined && rules.requireClaims) return 'AUTH_CLAIMS_INVALID'
  const lifetime = exp - (iat ?? now)
  if (lifetime > maxLifetimeSeconds || (iat !== undefined && lifetime < 0)) return 'AUTH_EXP_INVALID'
  if (now >= exp + skewSeconds) return 'AUTH_EXPIRED'
  if ((iat ?? 0) > now + skewSeconds || (nbf ?? 0) > now + skewSeconds) return 'AUTH_NOT_YET_VALID'
  return undefined
}

function judgeParties({ iss, aud }: JsonObject, rules: ClaimRules): AuthRefusal | undefined {
  if (rules.issuer !== undefined && iss !== rules.issuer) return 'AUTH_ISSUER'
  if (rules.audience !== undefined) {
    const audiences = Array.isArray(aud) ? aud : [aud]
    if (!audiences.includes(rules.audience)) return 'AUTH_AUDIENCE'
  } else if (rules.requireClaims && aud !== undefined) return 'AUTH_AUDIENCE' // meant for somebody else (RFC 7519, 4.1.3)
  return undefined
}

/** The tenant of the identity, or undefined when the token may not have it. */
function tenantOf(claim: JsonValue | undefined, role: Role, rules: ClaimRules): string | undefined {
  // Only both together make an operator: half of it is a mistake in the token, not a smaller power.
  if (role === 'operator' || claim === everyTenant)
    return role === 'operator' && claim === everyTenant ? everyTenant : undefined
  if (claim === undefined) return rules.requireClaims ? undefined : defaultTenant
  if (typeof claim !== 'string' || !isTenantName(claim)) return undefined
  return isReservedTenantName(claim) && !rules.allowReservedTenants ? undefined : claim
}

function roleOf(claim: JsonValue | undefined): Role | undefined {
  if (claim === undefined) return 'user'
  const name = typeof claim === 'string' ? claim.toLowerCase() : ''
  return name === 'user' || name === 'admin' || name === 'operator' ? name : undefined
}

function isSeconds(claim: JsonValue | undefined): claim is number {
  return typeof claim === 'number' && Number.isFinite(claim) && claim >= 0
}

function isWholeSeconds(claim: JsonValue | undefined): claim is number {
  return Number.isSafeInteger(claim) && (claim as number) >= 0
}

const control = /\p{Cc}/u

function isSubject(claim: JsonValue | undefined): claim is string {
  return (
    typeof claim === 'string' &&
    claim.length >= 1 &&
    claim.length <= 256 &&
    claim.isWellFormed() &&
    !control.test(claim)
  )
}

function isPermissions(claim: JsonValue | undefined): claim is string[] | undefined {
  return claim === undefined || (Array.isArray(claim) && claim.every((entry) => typeof entry === 'string'))
}

/** The object a JSON text holds, or undefined: not JSON, or not an object. */
export function parseJsonObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
