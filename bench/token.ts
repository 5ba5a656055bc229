// A token for servers under measurement; the secret is random, and of this run only.
import { mintToken } from '../src/auth/mint.ts'

export const benchSecret = Buffer.from(crypto.getRandomValues(new Uint8Array(48))).toString('base64')

export function benchToken(): Promise<string> {
  return mintToken({ secret: benchSecret, subject: 'bench', tenant: 'bench', ttlSeconds: 3_600 })
}
