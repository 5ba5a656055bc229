// A backup: the lane's tables as pg_dump's custom format, and a manifest that says what is in it. Both are of one
// snapshot, written beside their names and renamed when they are whole and on the disk.
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Clock, toIsoTime } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json.ts'
import { openConnection, slowLimits } from '../../postgres/connection.ts'
import { requireProjectorSchema } from '../schema.ts'
import { type Digests, digestSettings, laneTables, readDigests } from './digests.ts'
import { type ToolOptions, withTool } from './pg-tools.ts'

export interface Manifest {
  readonly format: 1
  readonly createdAt: string
  readonly server: string
  readonly serverVersion: string
  readonly dump: { readonly file: string; readonly bytes: number; readonly sha256: string }
  readonly tables: Digests
}

export interface BackupOptions extends ToolOptions {
  readonly clock: Clock
  /** The dump; its manifest is put beside it. */
  readonly file: string
  readonly onProgress?: (what: string, bytes: number) => void
}

export const manifestEnding = '.manifest.json'
export const manifestOf = (file: string): string => `${file}${manifestEnding}`

/** Rejects with a BusError, and with neither file there, when it fails. */
export async function backUp(options: BackupOptions): Promise<Manifest> {
  const { address, clock, file, onProgress } = options
  const connection = await openConnection({ address, limits: slowLimits })
  const part = `${file}.part`
  try {
    await requireProjectorSchema(connection)
    await connection.query({ text: digestSettings })
    await connection.query({ text: 'SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0' })
    await connection.query({ text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' })
    const [row] = await connection.query({
      text: `SELECT pg_export_snapshot() AS snapshot, current_setting('server_version') AS version`,
    })
    await mkdir(dirname(file), { recursive: true })
    await refuseExisting(file)
    const args = [
      '--format=custom',
      '--no-password',
      `--snapshot=${String(row?.['snapshot'])}`,
      '--table=arqonbus_continuum_*',
    ]
    const dump = await withTool('pg_dump', args, options, async ({ child, ended }) => {
      child.stdin!.end()
      const hash = createHash('sha256')
      let bytes = 0
      const measure = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          hash.update(chunk)
          bytes += chunk.length
          onProgress?.('dumping', bytes)
          done(null, chunk)
        },
      })
      await pipeline(child.stdout!, measure, createWriteStream(part, { mode: 0o600 })).catch((error: unknown) => {
        throw diskError(error)
      })
      await ended
      return { file: basename(file), bytes, sha256: hash.digest('hex') }
    })
    const tables = await readDigests(
      (statement) => connection.query(statement),
      (table) => onProgress?.(`counting ${table}`, dump.bytes),
    )
    await connection.query({ text: 'COMMIT' })
    const manifest: Manifest = {
      format: 1,
      createdAt: toIsoTime(clock.now()),
      server: address.shown,
      serverVersion: String(row?.['version']),
      dump,
      tables,
    }
    await keep(part, file, manifest)
    return manifest
  } catch (error) {
    // pg_dump works on the snapshot of this connection: without it, whatever it says has one reason.
    if (connection.isAlive) throw error
    const message = 'The connection to Postgres was lost during the backup; nothing of it was kept'
    throw new BusError('STORE_UNAVAILABLE', message, { reason: 'CONNECTION_LOST' }, error)
  } finally {
    await connection.close()
    await rm(part, { force: true })
  }
}

async function refuseExisting(file: string): Promise<void> {
  for (const name of [file, manifestOf(file)]) {
    const found = await open(name).catch(() => undefined)
    if (found === undefined) continue
    await found.close()
    throw new BusError('USAGE', `${basename(name)} is there already; a backup does not replace another`)
  }
}

async function keep(part: string, file: string, manifest: Manifest): Promise<void> {
  const manifestPart = `${manifestOf(file)}.part`
  try {
    const handle = await open(manifestPart, 'w', 0o600)
    try {
      await handle.writeFile(`${JSON.stringify(manifest, null, 2)}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    const dump = await open(part, 'r+')
    try {
      await dump.sync()
    } finally {
      await dump.close()
    }
    await rename(part, file)
    // Last: a dump with its manifest is whole.
    await rename(manifestPart, manifestOf(file))
  } catch (error) {
    await rm(file, { force: true })
    throw diskError(error)
  } finally {
    await rm(manifestPart, { force: true })
  }
}

function diskError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code
  if (code !== 'ENOSPC' && code !== 'EFBIG' && code !== 'EDQUOT' && code !== 'EACCES' && code !== 'ENOENT') return error
  const isFull = code === 'ENOSPC' || code === 'EFBIG' || code === 'EDQUOT'
  const message = isFull
    ? 'The disk for the backup is full; nothing of it was kept'
    : `The backup cannot be written (${code})`
  return new BusError('EXECUTION_ERROR', message, { reason: isFull ? 'DISK_FULL' : 'NOT_WRITABLE' }, error)
}

/** Rejects with USAGE where there is none, with STORE_CORRUPT where it is not one of ours. */
export async function readManifest(file: string): Promise<Manifest> {
  const path = manifestOf(file)
  const text = await readFile(path, 'utf8').catch(() => {
    throw new BusError('USAGE', `${basename(path)} is not there: a dump without its manifest proves nothing`)
  })
  try {
    const value: unknown = JSON.parse(text)
    if (isManifest(value)) return value
  } catch {
    // said below
  }
  throw new BusError('STORE_CORRUPT', `${basename(path)} is not a manifest of a backup`, { reason: 'BAD_MANIFEST' })
}

function isManifest(value: unknown): value is Manifest {
  if (!isJsonObject(value) || value['format'] !== 1) return false
  const { dump, tables } = value
  return (
    isJsonObject(dump) &&
    typeof dump['sha256'] === 'string' &&
    typeof dump['bytes'] === 'number' &&
    isJsonObject(tables) &&
    laneTables.every((table) => isJsonObject(tables[table]))
  )
}
