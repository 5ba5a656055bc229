// Signatures of approvers: Ed25519 over the canonical JSON of the waiver without its approvals, who approves and when.
// Whatever is changed afterwards, if it is a letter of the reason, leaves no approval standing.
import { createPublicKey, type KeyObject, sign as signBytes, verify as verifyBytes } from 'node:crypto'
import { canonicalJson } from '../base/canonical-json.ts'
import { type Approval, type Waiver, waiverSchema } from './waiver.ts'

const keyPrefix = 'ed25519:'
const publicKeyBytes = 32
const signatureBytes = 64

/** Only the one spelling that encoding gives: two texts are never one signature. */
function isBase64Of(text: string, bytes: number): boolean {
  const raw = Buffer.from(text, 'base64')
  return raw.length === bytes && raw.toString('base64') === text
}

/** `ed25519:` and base64 of 32 bytes? */
export const isKeyText = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith(keyPrefix) && isBase64Of(value.slice(keyPrefix.length), publicKeyBytes)

export const isSignatureText = (value: unknown): value is string =>
  typeof value === 'string' && isBase64Of(value, signatureBytes)

/** The public half of a key, as the policy lists it. Throws a TypeError for a key of another kind. */
export function keyTextOf(key: KeyObject): string {
  if (key.asymmetricKeyType !== 'ed25519') throw new TypeError('not an Ed25519 key')
  const { x } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  return `${keyPrefix}${Buffer.from(x!, 'base64url').toString('base64')}`
}

function keyOf(text: string): KeyObject {
  const x = Buffer.from(text.slice(keyPrefix.length), 'base64').toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}

/** Ed25519 over the canonical JSON of a value, in base64. The value should name its purpose: a schema id. */
export const signatureOf = (value: object, key: KeyObject): string =>
  signBytes(null, Buffer.from(canonicalJson(value), 'utf8'), key).toString('base64')

/** Does it stand under that key? Never throws. */
export function isSignatureOf(value: object, sig: unknown, keyText: unknown): boolean {
  if (!isSignatureText(sig) || !isKeyText(keyText)) return false
  try {
    return verifyBytes(null, Buffer.from(canonicalJson(value), 'utf8'), keyOf(keyText), Buffer.from(sig, 'base64'))
  } catch {
    return false
  }
}

/** The schema id is in it, so that what was signed for another purpose never counts here. */
const signedOf = (signed: Waiver, by: string, at: string): object => {
  const waiver = { ...signed, approvals: undefined } // what is undefined is not in the canonical form
  return { schema: waiverSchema, waiver, by, at }
}

/** `at` in RFC 3339; the key is a private Ed25519 key. */
export function approve(waiver: Waiver, by: string, at: string, key: KeyObject): Approval {
  return { by, at, key: keyTextOf(key), sig: signatureOf(signedOf(waiver, by, at), key) }
}

/** Does it stand under that key (the policy's, never the file's)? Never throws. */
export const isApproved = (waiver: Waiver, { by, at, sig }: Approval, keyText: string): boolean =>
  isSignatureOf(signedOf(waiver, by, at), sig, keyText)
