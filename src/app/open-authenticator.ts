// From configuration to the verifier of tokens: one secret, a key file that may change, or an identity provider's keys.
import { type AuthenticatorOptions, createAuthenticator } from '../auth/authenticator.ts'
import { type KeyState, type LiveKeys, openFileKeys } from '../auth/file-keys.ts'
import type { Authenticator } from '../auth/identity.ts'
import { openRemoteKeys } from '../auth/remote-keys.ts'
import { secretKey } from '../auth/verification-key.ts'
import type { Logger } from '../base/logger.ts'
import type { AuthConfig } from '../config/shapes.ts'
import { publishedEntry } from '../rules/published-secrets.ts'
import { estimateBits, minSecretBits } from '../rules/secret-strength.ts'
import type { ComponentReport } from '../telemetry/health.ts'

export interface OpenAuthenticator extends Authenticator {
  /** How the keys are, for health; undefined where they cannot change. */
  keys(): ComponentReport | undefined
  close(): void
}

type Options = Pick<AuthenticatorOptions, 'clock' | 'revocations' | 'allowReservedTenants' | 'requireClaims'> & {
  readonly logger: Logger
}

/**
 * Rejects with CONFIG_INVALID when a key is missing, unreadable, weak or of the wrong kind, with KEYS_UNAVAILABLE when
 * the provider does not give its keys.
 */
export async function openAuthenticator(auth: AuthConfig, options: Options): Promise<OpenAuthenticator> {
  const { clock, revocations, allowReservedTenants, requireClaims } = options
  const { secret, algorithm, issuer, audience } = auth
  const keys = await openKeys(auth, options)
  const authenticator = await createAuthenticator({
    algorithm,
    ...(keys === undefined ? secret !== undefined && { secret: secret.reveal() } : { keys }),
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
    clock,
    ...(revocations !== undefined && { revocations }),
    ...(allowReservedTenants !== undefined && { allowReservedTenants }),
    ...(requireClaims !== undefined && { requireClaims }),
  })
  return {
    authenticate: (token) => authenticator.authenticate(token),
    keys: () => keys && reportOf(keys.state()),
    close: () => keys?.close(),
  }
}

async function openKeys(auth: AuthConfig, { clock, logger }: Options): Promise<LiveKeys | undefined> {
  const { algorithm, keyFile, keysUrl, keysMaxStaleMs, secret } = auth
  if (keysUrl !== undefined && algorithm !== 'HS256') {
    return openRemoteKeys({ url: keysUrl, algorithm, maxStaleMs: keysMaxStaleMs, clock, logger })
  }
  if (keyFile === undefined) return undefined
  return openFileKeys({
    path: keyFile,
    algorithm,
    ...(algorithm === 'HS256' && secret !== undefined && { secret: secretKey(secret.reveal()) }),
    weaknessOf,
    logger,
  })
}

/** Secrets of the file are held to the rules of those in variables. */
function weaknessOf(secret: string): string | undefined {
  if (publishedEntry(secret) !== undefined) return 'it is a published default'
  return estimateBits(secret) < minSecretBits ? 'it repeats, runs or follows a sequence' : undefined
}

function reportOf({ state, detail }: KeyState): ComponentReport {
  return { name: 'keys', state, ...(detail !== undefined && { detail }) }
}
