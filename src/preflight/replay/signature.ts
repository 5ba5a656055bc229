// Who answers for a recording: its digest, signed as certificates and waivers are. The key in it tells whose recording it
// is; whose key that is, only who pins it elsewhere can say.
import type { KeyObject } from 'node:crypto'
import { digestOf } from '../../base/canonical-json.ts'
import { isSignedJson, keyTextOf, signJson } from '../../waivers/sign.ts'

export interface RecordSignature {
  /** `ed25519:` and base64 of 32 bytes. */
  readonly key: string
  /** Base64, over the digest of all the rest. */
  readonly sig: string
}

const signatureSchema = 'arqonbus/preflight-record-signature/1'

export interface Signable {
  readonly schema: string
  readonly signature?: RecordSignature
}

/** As it is written: what JSON leaves out is not signed. */
function signedPart(record: Signable) {
  const { signature: _, ...rest } = JSON.parse(JSON.stringify(record)) as Signable
  return { schema: signatureSchema, record: digestOf(rest) }
}

/** Throws a TypeError for a key that is not Ed25519. */
export function signRecord<T extends Signable>(record: T, key: KeyObject): T & Required<Signable> {
  const text = keyTextOf(key)
  return { ...record, signature: { key: text, sig: signJson(signedPart(record), key) } }
}

/** Is it as it was signed, with the key that it names? */
export function isSignatureWhole(record: Signable): boolean {
  const { signature } = record
  return signature !== undefined && isSignedJson(signedPart(record), signature.sig, signature.key)
}
