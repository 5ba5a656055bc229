// A restore: the whole dump is read and compared with its manifest before anything is touched; then everything comes in
// one transaction, so that one that is interrupted leaves the target as it was; then what came is counted.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BusError } from '../../base/errors.ts'
import type { PostgresAddress } from '../../postgres/address.ts'
import { openConnection, type PostgresConnection, slowLimits } from '../../postgres/connection.ts'
import { type Manifest, readManifest } from './backup.ts'
import { differing, digestSettings, laneTables, readDigests } from './digests.ts'
import { type ToolOptions, withTool } from './pg-tools.ts'

export interface RestoreOptions extends ToolOptions {
  readonly file: string
  /** What is in the target's tables is replaced; otherwise they must not be there, or be empty. */
  readonly replaces: boolean
  readonly onProgress?: (what: string, done: number, of: number) => void
}

/** Rejects with STORE_CORRUPT for a damaged dump, USAGE for a target that holds something, and as pg_restore does. */
export async function restore(options: RestoreOptions): Promise<Manifest> {
  const { address, file, replaces, onProgress } = options
  const manifest = await readManifest(file)
  await checkDump(file, manifest, onProgress)
  if (!replaces) await requireEmpty(address)
  const args = ['--single-transaction', '--exit-on-error', '--no-password', '--dbname', address.reveal().database]
  // In a scratch database owners and rights of the source may not exist; in the live one they come back as they were.
  args.push('--clean', '--if-exists', ...(replaces ? [] : ['--no-owner', '--no-privileges']))
  await withTool('pg_restore', args, options, async ({ child, ended }) => {
    child.stdout!.resume()
    let done = 0
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, next) {
        done += chunk.length
        onProgress?.('restoring', done, manifest.dump.bytes)
        next(null, chunk)
      },
    })
    // When it ends early its own words are the reason, not the broken pipe.
    await pipeline(createReadStream(file), measure, child.stdin!).catch(() => undefined)
    await ended
  })
  await requireSame(address, manifest)
  return manifest
}

async function checkDump(file: string, { dump }: Manifest, onProgress: RestoreOptions['onProgress']): Promise<void> {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
      hash.update(chunk)
      bytes += chunk.length
      onProgress?.('checking', bytes, dump.bytes)
    }
  } catch (error) {
    throw new BusError('USAGE', `The dump cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`)
  }
  if (bytes === dump.bytes && hash.digest('hex') === dump.sha256) return
  const message = 'The dump is not the one that its manifest describes: it was damaged or cut off; nothing was changed'
  throw new BusError('STORE_CORRUPT', message, { reason: 'DUMP_DAMAGED', expected: dump.bytes, found: bytes })
}

async function requireEmpty(address: PostgresAddress): Promise<void> {
  await withConnection(address, async (connection) => {
    for (const table of laneTables) {
      const [there] = await connection.query({
        text: 'SELECT to_regclass($1) IS NOT NULL AS is_there',
        values: [table],
      })
      if (there?.['is_there'] !== true) continue
      const [row] = await connection.query({ text: `SELECT EXISTS (SELECT FROM ${table}) AS is_filled` })
      if (row?.['is_filled'] !== true) continue
      const message = `${address.shown} holds rows of the projector; name an empty database, or see --into-live`
      throw new BusError('USAGE', message, { reason: 'TARGET_NOT_EMPTY' })
    }
  })
}

async function requireSame(address: PostgresAddress, manifest: Manifest): Promise<void> {
  const tables = await withConnection(address, async (connection) => {
    await connection.query({ text: digestSettings })
    return await readDigests((statement) => connection.query(statement))
  })
  const different = differing(manifest.tables, tables)
  if (different.length === 0) return
  const message = `What was restored differs from the manifest in ${different.join(', ')}`
  throw new BusError('STORE_CORRUPT', message, { reason: 'RESTORE_DIFFERS', tables: different })
}

async function withConnection<T>(
  address: PostgresAddress,
  work: (connection: PostgresConnection) => Promise<T>,
): Promise<T> {
  const connection = await openConnection({ address, limits: slowLimits })
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}
