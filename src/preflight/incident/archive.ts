// A folder as one file: the same content gives the same bytes, whoever packs it, whenever. Written under a temporary
// name, read back and compared, and only then given its own name: a file of that name is whole.
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { extract, pack } from 'tar-stream'

export type Files = ReadonlyMap<string, Buffer>

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** tar.gz: entries in code-unit order, no time, owner 0, mode 0600. */
export async function packFiles(files: Files, root: string): Promise<Buffer> {
  const tar = pack()
  const chunks: Buffer[] = []
  const read = (async () => {
    for await (const chunk of tar) chunks.push(chunk as Buffer) // the stream is one of bytes
  })()
  for (const [path, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const header = { name: `${root}/${path}`, mode: 0o600, uid: 0, gid: 0, mtime: new Date(0), uname: '', gname: '' }
    await new Promise<void>((resolve, reject) =>
      tar.entry(header, bytes, (error) => (error ? reject(error) : resolve())),
    )
  }
  tar.finalize()
  await read
  const zipped = gzipSync(Buffer.concat(chunks), { level: 9 })
  zipped[9] = 0xff // "unknown": the operating system is no part of the content
  return zipped
}

/** The files without the common folder. Throws for what is no such archive. */
export async function unpackFiles(archive: Uint8Array): Promise<Map<string, Buffer>> {
  const tar = extract()
  const files = new Map<string, Buffer>()
  tar.end(gunzipSync(archive))
  for await (const entry of tar) {
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer) // as above
    const path = entry.header.name.slice(entry.header.name.indexOf('/') + 1)
    // Whoever unpacks it otherwise could find the other one.
    if (files.has(path)) throw new Error(`${path} is in it twice`)
    files.set(path, Buffer.concat(chunks))
  }
  return files
}

/** As far as it got: what is left of a process that died while it wrote. */
const temporary = /^\.preflight-incident-.*\.tmp$/
const finished = /^preflight-incident-.*\.tar\.gz$/
const abandonedAfterMs = 60 * 60 * 1_000

/** `verify` sees the bytes as they are on the disk, and throws where they must not get their name. */
export async function writeArchive(
  path: string,
  bytes: Uint8Array,
  verify: (written: Buffer) => Promise<void>,
): Promise<void> {
  const folder = dirname(path)
  const unfinished = join(folder, `.${basename(path)}.${randomBytes(4).toString('hex')}.tmp`)
  const file = openSync(unfinished, 'wx', 0o600)
  try {
    writeFileSync(file, bytes)
    fsyncSync(file)
    closeSync(file)
    await verify(readFileSync(unfinished))
    renameSync(unfinished, path)
    syncFolder(folder)
  } catch (error) {
    rmSync(unfinished, { force: true })
    throw error
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** Made when it is not there; nobody else may look into it. */
export function openFolder(folder: string): void {
  makeFolder(folder)
  chmodSync(folder, 0o700)
}

/** Not `recursive`: below a file system that takes no folders (/proc), Node would try for ever. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return
  makeFolder(dirname(folder))
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // another run was first
  }
}

/** The newest `keep` bundles stay; what a process left half-written more than an hour before `nowMs` goes. */
export function prune(folder: string, keep: number, nowMs: number): void {
  const names = readdirSync(folder).sort()
  const ageOf = (name: string): number => statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const bundles = names.filter((name) => finished.test(name)).sort((a, b) => ageOf(b) - ageOf(a))
  const abandoned = names.filter((name) => temporary.test(name) && ageOf(name) < nowMs - abandonedAfterMs)
  for (const name of [...bundles.slice(keep), ...abandoned]) rmSync(join(folder, name), { force: true })
}
