// The newest backup of a folder, as it is on the disk now: whole, the one of its manifest, and one that pg_restore reads.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Manifest, manifestEnding, readManifest } from './backup.ts'

export interface Inspection {
  /** Name of the dump, without its folder. */
  readonly file: string
  readonly createdAtMs: number
  /** As the manifest says. */
  readonly bytes: number
  /** 0 where there is no dump. */
  readonly bytesOnDisk: number
  /** `not read`: larger than what is read for this. */
  readonly digest: 'same' | 'differs' | 'not read'
  readonly listing: 'good' | 'bad' | 'no tool'
}

export interface InspectOptions {
  /** Host, port and database whose backups count. */
  readonly server: string
  /** Where pg_restore is looked for. */
  readonly searchPath: string | undefined
  readonly signal: AbortSignal
}

/** Larger dumps are not read whole: it would take longer than anybody waits for a preflight. */
const readWholeBytes = 256 * 1024 * 1024

/** Undefined where the folder holds none of that server. Rejects where the folder cannot be read. */
export async function inspectNewest(folder: string, options: InspectOptions): Promise<Inspection | undefined> {
  const manifests: { dump: string; manifest: Manifest }[] = []
  for (const name of await readdir(folder)) {
    if (!name.endsWith(manifestEnding)) continue
    const dump = join(folder, name.slice(0, -manifestEnding.length))
    const manifest = await readManifest(dump).catch(() => undefined)
    const isDated = manifest !== undefined && !Number.isNaN(Date.parse(manifest.createdAt))
    if (isDated && manifest.server === options.server) manifests.push({ dump, manifest })
  }
  const newest = manifests.sort((a, b) => Date.parse(b.manifest.createdAt) - Date.parse(a.manifest.createdAt))[0]
  if (newest === undefined) return undefined
  const { dump, manifest } = newest
  const bytesOnDisk = await stat(dump).then(
    ({ size }) => size,
    () => 0,
  )
  return {
    file: basename(dump),
    createdAtMs: Date.parse(manifest.createdAt),
    bytes: manifest.dump.bytes,
    bytesOnDisk,
    digest: bytesOnDisk > readWholeBytes ? 'not read' : await compareDigest(dump, manifest, options.signal),
    listing: await listDump(dump, options),
  }
}

async function compareDigest(dump: string, manifest: Manifest, signal: AbortSignal): Promise<'same' | 'differs'> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(dump, { signal }) as AsyncIterable<Buffer>) hash.update(chunk)
  } catch {
    return 'differs'
  }
  return hash.digest('hex') === manifest.dump.sha256 ? 'same' : 'differs'
}

async function listDump(dump: string, { searchPath, signal }: InspectOptions): Promise<Inspection['listing']> {
  const child = spawn('pg_restore', ['--list', dump], {
    stdio: 'ignore',
    env: { LC_ALL: 'C', ...(searchPath !== undefined && { PATH: searchPath }) },
    signal,
  })
  return await new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ENOENT' ? 'no tool' : 'bad'))
    child.once('close', (code) => resolve(code === 0 ? 'good' : 'bad'))
  })
}
