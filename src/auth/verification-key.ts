// The key that tokens are verified with: always a KeyObject of the one algorithm's kind, so that a public key can
// never serve as a shared secret. The only place that judges keys.
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { BusError } from '../base/errors.ts'

export const algorithms = ['HS256', 'RS256', 'ES256', 'EdDSA'] as const
export type Algorithm = (typeof algorithms)[number]

/** RFC 7518, 3.2: a key at least as long as the hash. */
export const minSecretBytes = 32
const minRsaBits = 2_048

export interface KeySource {
  readonly algorithm: Algorithm
  /** HS256 only. */
  readonly secret?: string
  /** The others: a public key in PEM. */
  readonly publicKeyPem?: string
}

/** Throws `CONFIG_INVALID` with a reason; no message shows any of the key. */
export function openVerificationKey({ algorithm, secret, publicKeyPem }: KeySource): KeyObject {
  if (algorithm === 'HS256') return secretKey(secret)
  if (publicKeyPem === undefined) throw bad('KEY_MISSING', `${algorithm} needs a public key in PEM`)
  if (publicKeyPem.includes('PRIVATE KEY'))
    throw bad('KEY_PRIVATE', 'this is a private key; a server that only verifies must not hold it')
  const key = publicKey(publicKeyPem)
  const fault = keyFault(key, algorithm)
  if (fault !== undefined) throw bad(fault.reason, fault.message)
  return key
}

/** Why a public key may not verify tokens of that algorithm. */
export function keyFault(key: KeyObject, algorithm: Algorithm): { reason: string; message: string } | undefined {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = key
  if (algorithm === 'RS256') {
    if (kind !== 'rsa') return { reason: 'KEY_KIND', message: 'RS256 needs an RSA key' }
    const bits = details?.modulusLength ?? 0
    if (bits >= minRsaBits) return undefined
    return { reason: 'KEY_WEAK', message: `the RSA key has ${bits} bits; ${minRsaBits} are needed` }
  }
  if (algorithm === 'ES256') {
    const isP256 = kind === 'ec' && details?.namedCurve === 'prime256v1'
    return isP256 ? undefined : { reason: 'KEY_KIND', message: 'ES256 needs a P-256 key' }
  }
  return kind === 'ed25519' ? undefined : { reason: 'KEY_KIND', message: 'EdDSA needs an Ed25519 key' }
}

/** An HS256 key. Throws `CONFIG_INVALID` when it is absent, short, or a PEM text given by mistake. */
export function secretKey(secret: string | undefined): KeyObject {
  if (secret === undefined) throw bad('KEY_MISSING', 'HS256 needs a secret')
  if (secret.includes('-----BEGIN ')) throw bad('KEY_KIND', 'the HS256 secret is a PEM key; a public key is no secret')
  const bytes = Buffer.byteLength(secret)
  if (bytes < minSecretBytes)
    throw bad('SECRET_TOO_SHORT', `the secret has ${bytes} bytes; at least ${minSecretBytes} are needed`)
  return createSecretKey(secret, 'utf8')
}

function publicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch (cause) {
    throw bad('KEY_UNREADABLE', 'the key file is not a public key in PEM', cause)
  }
}

function bad(reason: string, message: string, cause?: unknown): BusError {
  return new BusError('CONFIG_INVALID', `Token verification: ${message}`, { reason }, cause)
}
