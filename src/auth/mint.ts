// Makes HS256 tokens: for development, the command line and the preflight. Servers only verify.
import { SignJWT } from 'jose'
import { systemClock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { maxLifetimeSeconds } from './claims.ts'
import type { Role } from './identity.ts'
import { secretKey } from './verification-key.ts'

export interface MintOptions {
  readonly secret: string
  readonly subject: string
  /** `*` for an operator. */
  readonly tenant: string
  readonly role?: Role
  /** 1 to 86,400. */
  readonly ttlSeconds: number
  /** Milliseconds since the epoch; the machine's clock when absent. */
  readonly nowMs?: number
  readonly permissions?: readonly string[]
  readonly issuer?: string
  readonly audience?: string
}

/** Rejects with `CONFIG_INVALID` for a weak secret, `VALIDATION_ERROR` for a lifetime no server would accept. */
export async function mintToken(options: MintOptions): Promise<string> {
  const { subject, tenant, role = 'user', ttlSeconds, permissions, issuer, audience } = options
  const key = secretKey(options.secret)
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > maxLifetimeSeconds) {
    throw new BusError('VALIDATION_ERROR', `A token lives 1 to ${maxLifetimeSeconds} seconds`, {
      reason: 'BAD_TTL',
      max: maxLifetimeSeconds,
    })
  }
  const issuedAt = Math.floor((options.nowMs ?? systemClock.now()) / 1_000)
  const claims = {
    sub: subject,
    tenant_id: tenant,
    role,
    iat: issuedAt,
    exp: issuedAt + ttlSeconds,
    ...(permissions !== undefined && { permissions: [...permissions] }),
    ...(issuer !== undefined && { iss: issuer }),
    ...(audience !== undefined && { aud: audience }),
  }
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(key)
}
