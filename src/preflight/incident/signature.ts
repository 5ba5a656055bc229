// Who vouches for a bundle. Its manifest holds the hash of every other file, so that signing the manifest signs them all.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { BusError } from '../../base/errors.ts'
import { isKeyText, isSignedJson, keyTextOf, signJson } from '../../waivers/sign.ts'
import { verifyBundle } from './bundle.ts'
import { whyOf } from './collection.ts'
import type { Manifest } from './judge-bundle.ts'

/** A private Ed25519 key, in PEM. Throws USAGE. */
export function readSigningKey(path: string): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(readFileSync(path))
  } catch {
    throw new BusError('USAGE', `--sign: ${path} holds no private key that can be read`)
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new BusError('USAGE', `--sign: ${path} is no Ed25519 key`)
  return key
}

const bare = (manifest: Manifest): Manifest => ({ ...manifest, signature: null })

export function signManifest(manifest: Manifest, key: KeyObject): Manifest {
  return { ...manifest, signature: { key: keyTextOf(key), sig: signJson(bare(manifest), key) } }
}

export interface Standing {
  readonly code: 'VERIFIED' | 'UNSIGNED' | 'NO_KEY' | 'OTHER_KEY' | 'BAD_SIGNATURE' | 'NOT_WHOLE'
  readonly found: string
  /** Of an archive that is whole. */
  readonly manifest?: Manifest
}

/** Under that key, which never comes from the bundle itself. Never rejects. */
export async function judgeArchive(archive: Uint8Array, publicKey: string | undefined): Promise<Standing> {
  let manifest: Manifest
  try {
    manifest = await verifyBundle(archive)
  } catch (error) {
    return { code: 'NOT_WHOLE', found: whyOf(error) }
  }
  const say = (code: Standing['code'], found: string): Standing => ({ code, found, manifest })
  const { signature } = manifest
  if (signature === null || signature === undefined) {
    return say('UNSIGNED', 'its files are as its own list has them, which whoever changed them could have changed too')
  }
  const { key, sig } = signature
  const named = isKeyText(key) ? key : 'a key that is none'
  if (publicKey === undefined) return say('NO_KEY', `it names ${named}, which proves nothing by itself`)
  if (key !== publicKey) return say('OTHER_KEY', `it was signed with ${named}, not with ${publicKey}`)
  return isSignedJson(bare(manifest), sig, publicKey)
    ? say('VERIFIED', `${manifest.files.length} files, signed with ${publicKey}`)
    : say('BAD_SIGNATURE', `its signature does not hold under ${publicKey}`)
}
