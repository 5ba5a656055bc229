// Verifies bearer tokens: pinned algorithm and key, signature before any claim is believed, one refusal code per
// fault (reliability 2.2 and 3.1). A token has exactly one accepted spelling. Never throws for anything a token holds.
import type { KeyObject } from 'node:crypto'
import { compactVerify } from 'jose'
import type { Clock } from '../base/clock.ts'
import type { JsonObject } from '../base/json.ts'
import { judgeClaims, parseJsonObject } from './claims.ts'
import type { Authenticator, AuthRefusal, AuthResult } from './identity.ts'
import { hasDuplicateKeys } from './json-keys.ts'
import { createKeySet } from './key-set.ts'
import type { Revocations } from './revocations.ts'
import { type Algorithm, openVerificationKey } from './verification-key.ts'

/** Longer tokens are refused before they are looked at (reliability 3.1, row 9). */
export const maxTokenBytes = 8 * 1_024

/** Where the key of a token comes from. */
export interface TokenKeys {
  /** Waits only where the place the keys come from has to be asked; never rejects. */
  find(kid: string | undefined): FoundKey | Promise<FoundKey>
}
/** `unavailable`: which key is meant cannot be known now. */
export type FoundKey = KeyObject | 'unknown' | 'unavailable'

export interface AuthenticatorOptions {
  /** The one accepted `alg`, compared exactly. */
  readonly algorithm: Algorithm
  /** Keys that change while the process runs; otherwise there is one, of the next three. */
  readonly keys?: TokenKeys
  /** HS256: at least 32 bytes. */
  readonly secret?: string
  /** RS256 (2048 bits or more), ES256 (P-256), EdDSA (Ed25519). */
  readonly publicKeyPem?: string
  /** Name of the key. When set, a token with another `kid` is refused; a token without one is not. */
  readonly keyId?: string
  readonly issuer?: string
  readonly audience?: string
  readonly clock: Clock
  readonly allowReservedTenants?: boolean
  /** Shield's rules: `sub`, `tenant_id`, `exp` and `iat` are all required. */
  readonly requireClaims?: boolean
  readonly revocations?: Revocations
}

/** Rejects with `CONFIG_INVALID` when the key is absent, weak or of another kind than the algorithm needs. */
export async function createAuthenticator(options: AuthenticatorOptions): Promise<Authenticator> {
  const { algorithm, clock, keyId, revocations, issuer, audience } = options
  const keys = options.keys ?? fixedKey(openVerificationKey(options), keyId)
  const rules = {
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
    allowReservedTenants: options.allowReservedTenants ?? false,
    requireClaims: options.requireClaims ?? false,
  }

  return {
    async authenticate(token) {
      const parts = splitToken(token)
      if (typeof parts === 'string') return refused(parts)
      const refusal = judgeHeader(parts.header, algorithm)
      if (refusal !== undefined) return refused(refusal)
      const kid = parts.header['kid']
      if (kid !== undefined && typeof kid !== 'string') return refused('AUTH_KEY_UNKNOWN')
      const key = await keys.find(kid)
      if (key === 'unknown') return refused('AUTH_KEY_UNKNOWN')
      if (key === 'unavailable') return refused('AUTH_KEYS_UNAVAILABLE')
      if (!(await hasGoodSignature(token, key, algorithm))) return refused('AUTH_SIGNATURE')
      const claims = parseJsonObject(parts.payload)
      if (claims === undefined) return refused('AUTH_MALFORMED')
      if (hasDuplicateKeys(parts.payload)) return refused('AUTH_CLAIMS_INVALID')
      const result = judgeClaims(claims, rules, clock.now())
      return result.ok && revocations?.isRevoked(result.identity) === true ? refused('AUTH_REVOKED') : result
    },
  }
}

function refused(refusal: AuthRefusal): AuthResult {
  return { ok: false, refusal }
}

interface TokenParts {
  readonly header: JsonObject
  /** Text of the claims; to be parsed only once the signature is good. */
  readonly payload: string
}

function splitToken(token: string): TokenParts | AuthRefusal {
  if (token === '') return 'AUTH_MISSING'
  if (token.length > maxTokenBytes) return 'AUTH_TOO_LARGE'
  const [head = '', body = '', signature, ...more] = token.split('.')
  const headerText = decodeSegment(head)
  const payload = decodeSegment(body)
  const isSigned = signature !== undefined && isCanonical(signature) // empty in unsigned tokens: `alg` refuses those
  if (headerText === undefined || payload === undefined || !isSigned || more.length > 0) return 'AUTH_MALFORMED'
  const header = parseJsonObject(headerText)
  if (header === undefined || hasDuplicateKeys(headerText)) return 'AUTH_MALFORMED'
  return { header, payload }
}

/** Without this, the spare bits of a last character give one signature four spellings (reliability 0.2, L16). */
function isCanonical(segment: string): boolean {
  return Buffer.from(segment, 'base64url').toString('base64url') === segment
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeSegment(segment: string): string | undefined {
  if (segment === '' || !isCanonical(segment)) return undefined
  try {
    return decoder.decode(Buffer.from(segment, 'base64url'))
  } catch {
    return undefined // not UTF-8
  }
}

function fixedKey(key: KeyObject, keyId: string | undefined): TokenKeys {
  const set = createKeySet(keyId === undefined ? { unnamed: key } : { named: new Map([[keyId, key]]) })
  return { find: (kid) => set.find(kid) ?? 'unknown' }
}

/** Tokens of other types (RFC 8725, 3.11) are signed with the same keys and mean something else. */
const tokenTypes: ReadonlySet<string> = new Set(['jwt', 'at+jwt'])

/** `jku`, `x5u`, `jwk` and `x5c` are never looked at: keys come from the configuration alone. */
function judgeHeader(header: JsonObject, algorithm: Algorithm): AuthRefusal | undefined {
  const { alg, typ, crit, b64 } = header
  if (alg !== algorithm) return 'AUTH_ALG_NOT_ALLOWED'
  if (crit !== undefined || b64 !== undefined) return 'AUTH_MALFORMED'
  if (typ === undefined) return undefined
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : ''
  return tokenTypes.has(type) ? undefined : 'AUTH_TYPE_NOT_ALLOWED'
}

async function hasGoodSignature(token: string, key: KeyObject, algorithm: Algorithm): Promise<boolean> {
  try {
    await compactVerify(token, key, { algorithms: [algorithm] })
    return true
  } catch {
    return false // whatever it was: the key and the algorithm are fixed, so the token is at fault
  }
}
