// From what was collected to an archive that holds no known secret: redacted, checked file by file, packed, written,
// read back and checked again. What cannot be made clean is left out and named; an archive that is not clean is not made.
import type { KeyObject } from 'node:crypto'
import { join } from 'node:path'
import type { BundleFinding } from '../report.ts'
import { openFolder, packFiles, prune, sha256, unpackFiles, writeArchive } from './archive.ts'
import type { Collection, Missing } from './collection.ts'
import { judgeBundle, type Manifest, type ManifestFile } from './judge-bundle.ts'
import type { InstallationKey } from '../../certificate/installation-key.ts'
import { isSignatureWhole, signDigest } from '../replay/signature.ts'
import type { Redactor } from './redact.ts'

export interface BundleHead {
  readonly runId: string
  readonly verdict: string
  readonly digest: string
  readonly commit?: string
  readonly label?: string
  readonly classes: readonly string[]
}

export interface MadeBundle {
  /** Without the suffix: the folder in the archive. */
  readonly name: string
  readonly files: ReadonlyMap<string, Buffer>
  readonly manifest: Manifest
  readonly missing: readonly Missing[]
  readonly findings: readonly BundleFinding[]
}

/** Newest bundles that stay in a folder. */
export const keptBundles = 20

/** Pure: equal contents give equal files. `signWith`: private, Ed25519. */
export function makeBundle(
  { files: collected, missing: lacking }: Collection,
  head: BundleHead,
  redactor: Redactor,
  { scope, because }: Omit<InstallationKey, 'key'>,
  signWith?: KeyObject,
): MadeBundle {
  const files = new Map<string, Buffer>()
  const redacted = new Map<string, Readonly<Record<string, number>>>()
  const missing = [...lacking]
  const quarantined: string[] = []

  const add = (path: string, original: Buffer): void => {
    const { bytes, counts } = redactor.redact(original)
    const left = redactor.remains(Buffer.concat([Buffer.from(`${path}\n`, 'utf8'), bytes]))
    const why =
      left.length > 0 ? `quarantined: ${left.join(', ')} could not be taken out of it` : brokenJson(path, bytes)
    if (why === undefined) {
      files.set(path, bytes)
      redacted.set(path, counts)
      return
    }
    // A path may hold what has to stay out; then it is not named either.
    const shown = redactor.remains(Buffer.from(path, 'utf8')).length === 0 ? redactor.text(path) : 'a file'
    quarantined.push(shown)
    missing.push({ path: shown, why })
  }

  for (const [path, bytes] of sorted(collected)) add(path, bytes)
  const report = {
    order: ['exact', 'unescaped', 'structure'],
    // Planted into the environments of children: where it had to be taken out, something printed one of them.
    canaryTakenOutOf: [...files].filter(([, bytes]) => bytes.includes('«secret:canary:')).map(([path]) => path),
    key: scope === 'installation' ? 'of the installation' : `of this run only: ${because ?? ''}`,
    ...redactor.facts(),
    quarantined: [...quarantined],
    byFile: Object.fromEntries([...redacted].filter(([, counts]) => Object.keys(counts).length > 0)),
  }
  add('redaction/report.json', json(report))
  const before = manifestOf(head, files, redacted)
  const findings = judgeBundle(before, missing)
  // The rules of this array: empty when nothing is missing.
  const incomplete = [
    ...missing.sort((a, b) => (a.path < b.path ? -1 : 1)),
    ...findings.map(({ id, severity, code, found }) => ({ finding: id, severity, code, why: found })),
  ]
  add('INCOMPLETE.json', json(incomplete))
  if (!files.has('INCOMPLETE.json')) throw new Error('what is missing could not be said without a secret')
  const bare = manifestOf(head, files, redacted)
  const manifest = signWith === undefined ? bare : signDigest(bare, signWith)
  files.set('MANIFEST.json', json(manifest))
  return { name: nameOf(head), files, manifest, missing, findings }
}

/** Throws where the archive could not be made, or would not be clean; no file of its name is there then. */
export async function writeBundle(
  { name, files }: MadeBundle,
  folder: string,
  redactor: Redactor,
  nowMs: number,
): Promise<string> {
  openFolder(folder)
  const path = join(folder, `${name}.tar.gz`)
  await writeArchive(path, await packFiles(files, name), async (written) => {
    await verifyBundle(written, redactor)
  })
  prune(folder, keptBundles, nowMs)
  return path
}

/** Every file as MANIFEST.json has it, none beside, and no known secret in any. Throws with what is wrong. */
export async function verifyBundle(archive: Uint8Array, redactor?: Redactor): Promise<Manifest> {
  const files = await unpackFiles(archive)
  const text = files.get('MANIFEST.json')?.toString('utf8')
  if (text === undefined) throw new Error('there is no MANIFEST.json')
  const manifest = JSON.parse(text) as Manifest // its files are compared one by one below
  if ('signature' in manifest && !isSignatureWhole(manifest))
    throw new Error('the signature of MANIFEST.json does not hold')
  const listed = manifest.files.map(({ path }) => path)
  const there = [...files.keys()].filter((path) => path !== 'MANIFEST.json').sort()
  if (there.join('\n') !== listed.join('\n')) throw new Error('its files are not those of MANIFEST.json')
  for (const { path, sha256: hash } of manifest.files) {
    if (sha256(files.get(path)!) !== hash) throw new Error(`${path} is not as MANIFEST.json has it`)
  }
  for (const [path, bytes] of redactor === undefined ? [] : files) {
    if (redactor!.remains(Buffer.concat([Buffer.from(`${path}\n`, 'utf8'), bytes])).length > 0) {
      throw new Error('a known secret is left in it')
    }
  }
  return manifest
}

const json = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`, 'utf8')

const sorted = <T>(files: ReadonlyMap<string, T>): [string, T][] => [...files].sort(([a], [b]) => (a < b ? -1 : 1))

/** `preflight-incident-4b1d2c7-3fa9c1e2`. */
const nameOf = ({ commit, runId }: BundleHead): string =>
  `preflight-incident-${commit?.slice(0, 7) ?? 'unknown'}-${runId}`

function brokenJson(path: string, bytes: Buffer): string | undefined {
  if (!path.endsWith('.json')) return undefined
  try {
    JSON.parse(bytes.toString('utf8'))
    return undefined
  } catch {
    return 'quarantined: without its secrets it is no JSON any more'
  }
}

function manifestOf(
  head: BundleHead,
  files: ReadonlyMap<string, Buffer>,
  redacted: ReadonlyMap<string, Readonly<Record<string, number>>>,
): Manifest {
  const rows = sorted(files).map(
    ([path, bytes]): ManifestFile => ({
      path,
      size: bytes.length,
      sha256: sha256(bytes),
      redacted: redacted.get(path) ?? {},
    }),
  )
  return { schema: 'arqonbus/preflight-incident/1.0', ...head, files: rows }
}
