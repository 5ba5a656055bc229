// Where schemas are kept, as a port: a folder, or a bucket of NATS. Both hold one map and one set for each schema.
import { gunzip, gzip } from 'node:zlib'
import { promisify } from 'node:util'
import { setLimits } from './descriptor-set.ts'
import { isSchemaId, mapLimits, type SchemaFiles } from './registry.ts'

export interface SchemaSource {
  /** For people and logs: a folder, or the bucket's name. Never an address. */
  readonly name: string
  /** All there is, read anew. Rejects with LINK_UNAVAILABLE, START_REFUSED or an error of the file system. */
  read(): Promise<SchemaFiles>
  /** Called when something has changed, and when the source is away or back; returns a function that stops it. */
  onChange(listener: () => void): () => void
  /** Undefined while it can be read; else what is wrong, for health. */
  readonly trouble: string | undefined
  /** Replaces the map, and before it one set where one is given. */
  write(change: SchemaChange): Promise<void>
  close(): Promise<void>
}

export interface SchemaChange {
  readonly map: Uint8Array
  readonly set?: { readonly id: string; readonly bytes: Uint8Array }
}

/** The key of the map, which no schema's id can be. */
export const mapKey = '_map'

/** What is read of a bucket at most. */
export const bucketLimits = {
  maxKeys: mapLimits.schemas * 2,
  maxValueBytes: setLimits.bytes,
  maxBytesInAll: 64 * 1024 * 1024,
} as const

const unpackAsync = promisify(gunzip)
const packAsync = promisify(gzip)

export function pack(bytes: Uint8Array): Promise<Uint8Array> {
  return packAsync(bytes)
}

/**
 * The bytes behind a key's value. What is no gzip, or would be larger than its key may hold, stays as it is: whoever
 * reads it refuses it by name, and whoever replaces it does not have to read it.
 */
export async function unpack(bytes: Uint8Array, key: string): Promise<Uint8Array> {
  try {
    return await unpackAsync(bytes, { maxOutputLength: key === mapKey ? mapLimits.bytes : setLimits.bytes })
  } catch {
    return bytes
  }
}

/** What the values of a bucket are. */
export async function filesOfBucket(values: ReadonlyMap<string, Uint8Array>): Promise<SchemaFiles> {
  const map = values.get(mapKey)
  const sets = new Map<string, Uint8Array>()
  for (const [id, value] of values) if (isSchemaId(id)) sets.set(id, await unpack(value, id))
  return { map: map === undefined ? undefined : await unpack(map, mapKey), sets }
}
