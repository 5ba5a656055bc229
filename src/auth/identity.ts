// Who is at the other end of a session: what a verified token said, and nothing a frame said.

export type Role = 'user' | 'admin' | 'operator'

export interface Identity {
  readonly tenant: string
  /** The token's `sub`; `anonymous` where authentication is off. */
  readonly subject: string
  /** `admin` rules its own tenant; only `operator` (token tenant `*`) may cross tenants (design 4). */
  readonly role: Role
  /** When the token ends, in milliseconds since the epoch; absent where authentication is off. */
  readonly expiresAtMs?: number
  /** The token's `permissions`, when it has any: the built-in commands ask for them (original-contract 4.7). */
  readonly permissions?: readonly string[]
}

/** Why a token was refused. The code goes to logs and metrics; clients read only `Invalid token`. */
export const authRefusals = [
  'AUTH_MISSING',
  'AUTH_SCHEME',
  'AUTH_MALFORMED',
  'AUTH_TOO_LARGE',
  'AUTH_ALG_NOT_ALLOWED',
  'AUTH_TYPE_NOT_ALLOWED',
  'AUTH_KEY_UNKNOWN',
  /** The keys are too old to be trusted and no newer ones can be had: no fault of the token. */
  'AUTH_KEYS_UNAVAILABLE',
  'AUTH_SIGNATURE',
  'AUTH_EXP_REQUIRED',
  'AUTH_EXP_INVALID',
  'AUTH_EXPIRED',
  'AUTH_NOT_YET_VALID',
  'AUTH_CLAIMS_INVALID',
  'AUTH_ISSUER',
  'AUTH_AUDIENCE',
  'AUTH_REVOKED',
] as const
export type AuthRefusal = (typeof authRefusals)[number]

export type AuthResult =
  | { readonly ok: true; readonly identity: Identity }
  | { readonly ok: false; readonly refusal: AuthRefusal }

/** Turns a bearer token into an identity; never throws for anything a token can hold. */
export interface Authenticator {
  authenticate(token: string): Promise<AuthResult>
}

/** Everyone, where authentication is off (development only). Nobody is an admin then (original-contract 3.1). */
export const anonymousIdentity: Identity = { tenant: 'default', subject: 'anonymous', role: 'user' }
