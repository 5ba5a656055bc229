// Who answers for a recording, or for the list of what is in a bundle: its digest, signed as certificates and waivers are.
// The key in it tells who signed; whose key that is, only who pins it elsewhere can say.
import type { KeyObject } from 'node:crypto'
import { digestOf } from '../../base/canonical-json.ts'
import { isSignedJson, keyTextOf, signJson } from '../../waivers/sign.ts'

export interface DigestSignature {
  /** `ed25519:` and base64 of 32 bytes. */
  readonly key: string
  /** Base64, over the digest of all the rest. */
  readonly sig: string
}

const signatureSchema = 'arqonbus/preflight-signature/1'

export interface Signable {
  readonly schema: string
  readonly signature?: DigestSignature
}

/** As it is written: what JSON leaves out is not signed. */
function signedPart(value: Signable) {
  const { signature: _, ...rest } = JSON.parse(JSON.stringify(value)) as Signable
  return { schema: signatureSchema, digest: digestOf(rest) }
}

/** Throws a TypeError for a key that is not Ed25519. */
export function signDigest<T extends Signable>(value: T, key: KeyObject): T & Required<Signable> {
  const text = keyTextOf(key)
  return { ...value, signature: { key: text, sig: signJson(signedPart(value), key) } }
}

/** Is it as it was signed, with the key that it names? */
export function isSignatureWhole(value: Signable): boolean {
  const { signature } = value
  return signature !== undefined && isSignedJson(signedPart(value), signature.sig, signature.key)
}
