// Where this environment keeps its schemas: a folder, or the bucket ARQON_SCHEMAS of its NATS servers.
import type { Logger } from '../base/logger.ts'
import type { Secret } from '../config/secret.ts'
import type { SchemaRegistryConfig } from '../config/shapes.ts'
import { openBucket } from '../link/nats-bucket.ts'
import { setLimits } from '../schemas/descriptor-set.ts'
import { openFolderSource } from '../schemas/folder-source.ts'
import { isSchemaId, mapLimits } from '../schemas/registry.ts'
import { mapKey, pack, type SchemaSource, unpack } from '../schemas/source.ts'
import { parseNatsServers } from './nats-servers.ts'

/** The original's name; each key is a schema's id, each value a gzip of its FileDescriptorSet. */
export const schemaBucket = 'ARQON_SCHEMAS'
const maxBytesInAll = 64 * 1024 * 1024

/** Rejects with LINK_UNAVAILABLE or LINK_DENIED where NATS does not take us. */
export async function openSchemaSource(config: SchemaRegistryConfig, logger: Logger): Promise<SchemaSource> {
  return config.kind === 'folder' ? openFolderSource(config.folder) : openBucketSource(config.natsUrl, logger)
}

async function openBucketSource(natsUrl: Secret, logger: Logger): Promise<SchemaSource> {
  const bucket = await openBucket({
    servers: parseNatsServers(natsUrl),
    bucket: schemaBucket,
    name: 'arqonbus-schemas',
    logger,
    maxKeys: mapLimits.schemas * 2,
    maxValueBytes: setLimits.bytes,
    maxBytesInAll,
  })
  return {
    name: `bucket ${schemaBucket}`,
    async read() {
      const values = await bucket.readAll()
      const map = values.get(mapKey)
      const sets = new Map<string, Uint8Array>()
      for (const [id, value] of values) if (isSchemaId(id)) sets.set(id, await unpack(value, id))
      return { map: map === undefined ? undefined : await unpack(map, mapKey), sets }
    },
    onChange: (listener) => bucket.onChange(listener),
    get trouble() {
      return bucket.isConnected ? undefined : 'NATS is away'
    },
    async write({ map, set }) {
      if (set !== undefined) await bucket.put(set.id, await pack(set.bytes))
      await bucket.put(mapKey, await pack(map))
    },
    close: () => bucket.close(),
  }
}
