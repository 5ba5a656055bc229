// From configuration to the verifier of tokens.
import { readFile } from 'node:fs/promises'
import { type AuthenticatorOptions, createAuthenticator } from '../auth/authenticator.ts'
import type { Authenticator } from '../auth/identity.ts'
import { BusError } from '../base/errors.ts'
import type { AuthConfig } from '../config/shapes.ts'

/** Rejects with CONFIG_INVALID when the key is missing, unreadable, weak or of the wrong kind. */
export async function openAuthenticator(
  auth: AuthConfig,
  options: Pick<AuthenticatorOptions, 'clock' | 'revocations' | 'allowReservedTenants' | 'requireClaims'>,
): Promise<Authenticator> {
  const { secret, keyFile, algorithm, issuer, audience } = auth
  return createAuthenticator({
    algorithm,
    ...(secret !== undefined && { secret: secret.reveal() }),
    ...(keyFile !== undefined && { publicKeyPem: await readKey(keyFile) }),
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
    ...options,
  })
}

async function readKey(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new BusError(
      'CONFIG_INVALID',
      `The key file ${path} cannot be read`,
      { variable: 'ARQONBUS_AUTH_JWT_KEY_FILE' },
      cause,
    )
  }
}
