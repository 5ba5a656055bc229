// Writes a record, and reads one: a file of --record, or an incident bundle.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { sha256, unpackFiles, writeArchive } from '../incident/archive.ts'
import type { Redactor } from '../incident/redact.ts'
import { badRecord, parseRecord, type RunRecord } from './record.ts'
import { isSignatureWhole, type Signable } from './signature.ts'

/** Throws where a known secret is left in it, and for a path that cannot be written. */
export async function writeRecord(path: string, record: RunRecord, redactor: Redactor): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`, 'utf8')
  const place = resolve(path)
  await writeArchive(place, bytes, (written) => {
    const left = redactor.remains(written)
    if (left.length > 0) return Promise.reject(new Error(`${left.join(', ')} could not be taken out of it`))
    return Promise.resolve()
  })
}

export interface FoundRecord {
  readonly record: RunRecord
  readonly notes: readonly string[]
}

const gzipStart = Buffer.from([0x1f, 0x8b])

/** Throws CONFIG_INVALID (BAD_RECORD) for what is neither, and where a signature does not hold. */
export async function readRecord(path: string): Promise<FoundRecord> {
  const bytes = readOrRefuse(path)
  if (!bytes.subarray(0, 2).equals(gzipStart)) return { record: parseRecord(bytes.toString('utf8')), notes: [] }
  const files = await bundleFiles(bytes)
  const inputs = files.get('replay/inputs.json')
  if (inputs === undefined) throw badRecord('the bundle has no replay/inputs.json')
  const record = parseRecord(inputs.toString('utf8'))
  const expected = files.get('replay/expected-digest')?.toString('utf8').trim()
  if (record.signature !== undefined && (expected ?? record.digest) !== record.digest) {
    throw badRecord('replay/expected-digest is not that of the signed recording')
  }
  return {
    record: expected === undefined ? record : { ...record, digest: expected },
    notes: changedSince(files, ['replay/inputs.json', 'replay/expected-digest']),
  }
}

export async function bundleFiles(bytes: Uint8Array): Promise<ReadonlyMap<string, Buffer>> {
  try {
    return await unpackFiles(bytes)
  } catch {
    throw badRecord('it is no bundle')
  }
}

export function readOrRefuse(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw badRecord(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}

/**
 * Those that are not as the bundle's own list has them. Where somebody signed the list, one that differs, or a signature
 * that does not hold, is refused.
 */
export function changedSince(files: ReadonlyMap<string, Buffer>, paths: readonly string[]): string[] {
  const manifest = manifestIn(files.get('MANIFEST.json'))
  const isSigned = 'signature' in manifest
  if (isSigned && !isSignatureWhole(manifest)) throw badRecord('the signature of MANIFEST.json does not hold')
  const list = Array.isArray(manifest['files']) ? manifest['files'].filter(isJsonObject) : []
  const listed = new Map(list.map((entry) => [entry['path'], entry['sha256']]))
  const changed = paths.flatMap((path) => {
    const bytes = files.get(path)
    return bytes === undefined || listed.get(path) === sha256(bytes) ? [] : [`${path} is not as MANIFEST.json has it`]
  })
  if (isSigned && changed.length > 0) throw badRecord(changed.join(', '))
  return changed
}

/** Whatever cannot be read lists nothing. */
function manifestIn(bytes: Buffer | undefined): JsonObject & Signable {
  try {
    const manifest: unknown = JSON.parse(bytes?.toString('utf8') ?? '{}')
    if (isJsonObject(manifest)) return { schema: '', ...manifest } as JsonObject & Signable // judged by its signature
  } catch {
    // As for one that is no object.
  }
  return { schema: '' }
}
