// Reads the schemas of payloads as Shield does, and puts samples to them.
import { isBusError } from '../../base/errors.ts'
import type { JsonObject } from '../../base/json.ts'
import { silentLogger } from '../../base/logger.ts'
import { parseNatsServers } from '../../config/nats-servers.ts'
import { schemaBucket } from '../../schemas/bucket.ts'
import type { SchemaFiles } from '../../schemas/registry.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'

export interface SchemaFacts {
  /** Why Shield would refuse them; empty when it would not. */
  readonly refused: string
  readonly about: string
  /** Of what was loaded. */
  readonly digest: string
  /** For each schema, and each rule that asks for one: `schema`, `message`, `samples`, and names of samples judged wrongly. */
  readonly shapes: readonly JsonObject[]
}

export async function probeSchemas(ports: CheckPorts): Promise<SchemaFacts> {
  try {
    return await judgeSamples(await readFiles(ports))
  } catch (error) {
    if (!isBusError(error) || error.code !== 'START_REFUSED') throw error
    const reason = error.details['reason']
    return { refused: typeof reason === 'string' ? reason : error.code, about: error.message, digest: '', shapes: [] }
  }
}

async function readFiles({ ctx, runId }: CheckPorts): Promise<SchemaFiles> {
  const { schemaSource, schemaDir = '', natsUrl } = ctx.resolution.values
  if (schemaSource === 'folder') return await readFolder(schemaDir)
  const [{ openBucket }, { bucketLimits, filesOfBucket }] = await Promise.all([
    import('../../link/nats-bucket.ts'),
    import('../../schemas/source.ts'),
  ])
  try {
    const bucket = await openBucket({
      servers: parseNatsServers(natsUrl),
      bucket: schemaBucket,
      name: `arqon-preflight-${runId}`,
      logger: silentLogger,
      ...bucketLimits,
    })
    try {
      return await filesOfBucket(await bucket.readAll())
    } finally {
      await bucket.close()
    }
  } catch (error) {
    throw toStop(error)
  }
}

async function readFolder(folder: string): Promise<SchemaFiles> {
  const { openFolderSource } = await import('../../schemas/folder-source.ts')
  const source = openFolderSource(folder)
  try {
    return await source.read()
  } catch (error) {
    if (isBusError(error)) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new ProbeStop('FOLDER_UNREADABLE', `the folder of SHIELD_SCHEMA_DIR: ${code ?? 'cannot be read'}`, 'read')
  } finally {
    await source.close()
  }
}

const linkCodes: Readonly<Record<string, string>> = {
  NATS_AUTHORIZATION: 'AUTH_REFUSED',
  NATS_PERMISSIONS: 'NO_PERMISSION',
  NOT_NATS: 'NOT_THE_PROTOCOL',
}

function toStop(error: unknown): unknown {
  if (!isBusError(error) || error.code === 'START_REFUSED') return error
  const reason = String(error.details['reason'] ?? 'NO_ANSWER')
  return new ProbeStop(linkCodes[reason] ?? reason, error.message, 'bucket')
}

/** Throws START_REFUSED as a strict Shield would. */
async function judgeSamples(files: SchemaFiles): Promise<SchemaFacts> {
  const [{ loadRegistry }, { readDescriptorSet }, { compileShape }, { samplesOf }] = await Promise.all([
    import('../../schemas/registry.ts'),
    import('../../schemas/descriptor-set.ts'),
    import('../../schemas/json-shape.ts'),
    import('../../schemas/samples.ts'),
  ])
  const { digest, map } = loadRegistry(files)
  const shapes: JsonObject[] = []
  for (const [id, { message: name }] of Object.entries(map.schemas).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const message = readDescriptorSet(files.sets.get(id)!).message(name)!
    const requirements = [[], ...map.rules.filter(({ schema }) => schema === id).map(({ required = [] }) => required)]
    for (const required of requirements) {
      const shape = compileShape(message, required)
      const { valid, invalid } = samplesOf(message, required)
      const isTaken = ({ value }: (typeof valid)[number]): boolean => shape.check(value) === undefined
      shapes.push({
        schema: id,
        message: name,
        samples: valid.length + invalid.length,
        refused: valid.filter((sample) => !isTaken(sample)).map((sample) => sample.name),
        accepted: invalid.filter(isTaken).map((sample) => sample.name),
      })
    }
  }
  return { refused: '', about: '', digest, shapes }
}
