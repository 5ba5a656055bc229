// The files Shield needs before it opens anything: the schema's descriptor, certificate and key.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { envelopeDescriptorSha256 } from '../wire/generated/envelope-descriptor.ts'
import { loadSchema, type Schema } from './schema.ts'

/** A level of JSON is up to three messages (Struct, its entry, Value); around them stand the envelope's own. */
const messagesPerLevel = 3
const outerMessages = 8

export interface SchemaOptions {
  readonly schemaStrict: boolean
  /** The operator's descriptor; the shipped one when absent. */
  readonly schemaFile?: string
  /** What that descriptor has to be, in lower-case hex. */
  readonly schemaSha256?: string
  readonly maxJsonDepth: number
}

/**
 * Strict: a descriptor that cannot be loaded refuses the start. Otherwise frames go unchecked, and the log says so; one
 * that is not the pinned one refuses the start all the same.
 */
export async function openSchema(options: SchemaOptions, logger: Logger): Promise<Schema | undefined> {
  const maxDepth = options.maxJsonDepth * messagesPerLevel + outerMessages
  try {
    return loadSchema(await readSchema(options), maxDepth)
  } catch (cause) {
    const error =
      cause instanceof BusError
        ? cause
        : new BusError('START_REFUSED', 'The schema file cannot be read', { reason: 'SCHEMA_UNREADABLE' }, cause)
    if (options.schemaStrict || error.details['reason'] === hashReason) throw error
    logger.error('shield.schema_absent', describeError(error))
    return undefined
  }
}

const hashReason = 'SCHEMA_HASH'

/** The operator's file, or the shipped one, which must be the one this program was built with; pinned, only that. */
async function readSchema({ schemaFile, schemaSha256: pinned }: SchemaOptions): Promise<Uint8Array> {
  const bytes = await readFile(schemaFile ?? new URL('../wire/generated/envelope.desc', import.meta.url))
  const found = createHash('sha256').update(bytes).digest('hex')
  if (schemaFile === undefined && found !== envelopeDescriptorSha256) {
    throw new BusError('START_REFUSED', 'The shipped schema file is not the one that was built', {
      reason: 'SCHEMA_CHANGED',
    })
  }
  if (pinned !== undefined && found !== pinned) {
    throw new BusError('START_REFUSED', `The schema file's SHA-256 is ${found}, pinned is ${pinned}`, {
      reason: hashReason,
    })
  }
  return bytes
}

/** Throws START_REFUSED when either cannot be read (TLS_UNREADABLE), or they are not a pair (TLS_UNUSABLE). */
export async function readTls(files: { certFile: string; keyFile: string }): Promise<{ cert: Buffer; key: Buffer }> {
  const [cert, key] = await Promise.all([readFile(files.certFile), readFile(files.keyFile)]).catch((cause: unknown) => {
    throw refusedTls('TLS_UNREADABLE', 'The TLS certificate or key cannot be read', cause)
  })
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw refusedTls(
      'TLS_UNUSABLE',
      'SHIELD_TLS_CERT_FILE and SHIELD_TLS_KEY_FILE are no certificate and its key',
      cause,
    )
  }
  return { cert, key }
}

const refusedTls = (reason: string, message: string, cause: unknown): BusError =>
  new BusError('START_REFUSED', message, { reason }, cause)
