// Who vouches for a bundle: whether it is whole, and signed with the key that it should be.
import { isKeyText } from '../../waivers/sign.ts'
import { verifyBundle } from './bundle.ts'
import { whyOf } from './collection.ts'
import type { Manifest } from './judge-bundle.ts'

export interface Standing {
  readonly code: 'VERIFIED' | 'UNSIGNED' | 'NO_KEY' | 'OTHER_KEY' | 'NOT_WHOLE'
  readonly found: string
  /** Of an archive that is whole. */
  readonly manifest?: Manifest
}

/** Under that key, which never comes from the bundle itself. Never rejects. */
export async function judgeArchive(archive: Uint8Array, publicKey: string | undefined): Promise<Standing> {
  let manifest: Manifest
  try {
    manifest = await verifyBundle(archive) // the signature with the key that it names, too
  } catch (error) {
    return { code: 'NOT_WHOLE', found: whyOf(error) }
  }
  const say = (code: Standing['code'], found: string): Standing => ({ code, found, manifest })
  const { signature } = manifest
  if (signature === undefined) {
    return say('UNSIGNED', 'its files are as its own list has them, which whoever changed them could have changed too')
  }
  const { key } = signature
  if (publicKey === undefined) return say('NO_KEY', `it names ${key}, which proves nothing by itself`)
  if (!isKeyText(publicKey) || key !== publicKey)
    return say('OTHER_KEY', `it was signed with ${key}, not with ${publicKey}`)
  return say('VERIFIED', `${manifest.files.length} files, signed with ${key}`)
}
