// Where this environment keeps its schemas: a folder, or the bucket ARQON_SCHEMAS of its NATS servers.
import type { Logger } from '../base/logger.ts'
import { parseNatsServers } from '../config/nats-servers.ts'
import type { Secret } from '../config/secret.ts'
import type { SchemaRegistryConfig } from '../config/shapes.ts'
import { openFolderSource } from '../schemas/folder-source.ts'
import { schemaBucket } from '../schemas/bucket.ts'
import { bucketLimits, filesOfBucket, mapKey, pack, type SchemaSource } from '../schemas/source.ts'

/** Rejects with LINK_UNAVAILABLE or LINK_DENIED where NATS does not take us. */
export async function openSchemaSource(config: SchemaRegistryConfig, logger: Logger): Promise<SchemaSource> {
  return config.kind === 'folder' ? openFolderSource(config.folder) : openBucketSource(config.natsUrl, logger)
}

async function openBucketSource(natsUrl: Secret, logger: Logger): Promise<SchemaSource> {
  const { openBucket } = await import('../link/nats-bucket.ts') // JetStream's clients, of no use to a folder
  const bucket = await openBucket({
    servers: parseNatsServers(natsUrl),
    bucket: schemaBucket,
    name: 'arqonbus-schemas',
    logger,
    ...bucketLimits,
  })
  return {
    name: `bucket ${schemaBucket}`,
    async read() {
      return filesOfBucket(await bucket.readAll())
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
