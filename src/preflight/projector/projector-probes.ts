// Looks at the lane's tables, at which Postgres this is, and at backups and drills.
import { createHash } from 'node:crypto'
import { isBusError } from '../../base/errors.ts'
import { findPostgresUrl } from '../../config/load.ts'
import { sqlstateOf } from '../../postgres/failure.ts'
import type { CheckPorts, FactsOf } from '../check.ts'
import { flagIn, look, type Looking, numberIn, textIn } from '../postgres/look.ts'
import { ProbeStop } from '../stops.ts'
import { readKnown } from './known-environments.ts'

export const laneShape = {
  isNamed: 'boolean',
  /** Why the lane would refuse to start; empty when it would not. */
  refusal: 'string',
} as const

/** Asks what the lane itself asks when it starts. */
export async function probeLane(ports: CheckPorts): Promise<FactsOf<typeof laneShape>> {
  if (findPostgresUrl(ports.ctx.resolution) === undefined) return { isNamed: false, refusal: '' }
  const { requireProjectorSchema } = await import('../../projector/schema.ts')
  return await look(ports, async ({ connection }) => {
    try {
      await requireProjectorSchema(connection)
      return { isNamed: true, refusal: '' }
    } catch (error) {
      const reason = isBusError(error) && error.code === 'STORE_OPEN_FAILED' ? error.details['reason'] : undefined
      if (typeof reason !== 'string') throw error
      return { isNamed: true, refusal: reason }
    }
  })
}

export const schemaShape = {
  /** Of the ledger: applied, pending, edited. */
  state: 'string',
  isEmpty: 'boolean',
  missing: 'strings',
  extra: 'strings',
  invalidIndexes: 'strings',
} as const

export async function probeSchema(ports: CheckPorts): Promise<FactsOf<typeof schemaShape>> {
  const { readLaneSchema } = await import('../../projector/schema.ts')
  return await look(ports, async ({ connection, query }) => {
    const { state, isEmpty, missing, extra } = await readLaneSchema(connection)
    const invalid = await query(
      `SELECT i.relname AS name FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
       WHERE t.relnamespace = current_schema()::regnamespace AND starts_with(t.relname::text, 'arqonbus_continuum_')
         AND NOT (x.indisvalid AND x.indisready) ORDER BY 1`,
    )
    return { state, isEmpty, missing, extra, invalidIndexes: invalid.map((one) => textIn(one, 'name')) }
  })
}

export const environmentShape = { identity: 'string', isKnown: 'boolean' } as const

export async function probeEnvironment(ports: CheckPorts): Promise<FactsOf<typeof environmentShape>> {
  const text = await look(ports, async ({ connection, ask }) => {
    try {
      const row = await ask(
        `SELECT system_identifier::text || '/' || current_database() AS name FROM pg_control_system()`,
      )
      return textIn(row, 'name')
    } catch (error) {
      // Hosted servers may keep it to themselves; the database and its first migration are as much its own.
      if (sqlstateOf(error) !== '42501' || !connection.isAlive) throw error
      const row = await ask(
        `SELECT oid::text || '/' || datname || '/' || (SELECT min(applied_at) FROM arqonbus_migrations)::text AS name
         FROM pg_database WHERE datname = current_database()`,
      )
      return textIn(row, 'name')
    }
  })
  const identity = createHash('sha256').update(text).digest('hex').slice(0, 16)
  const known = await readKnown(ports.ctx.resolution.values.dataDir)
  return { identity, isKnown: known.includes(identity) }
}

export const backupShape = {
  /** Is there anything that could be lost? */
  holdsRows: 'boolean',
  /** Can the folder of the policy be read? */
  isReadable: 'boolean',
  /** The newest of this database: inspect.ts. */
  newest: 'object?',
} as const

export async function probeBackup(ports: CheckPorts, signal: AbortSignal): Promise<FactsOf<typeof backupShape>> {
  const { inspectNewest } = await import('../../projector/playbook/inspect.ts')
  const folder = ports.policy.backupFolder
  const { holdsRows, server } = await look(ports, async (looking) => ({
    holdsRows: await hasRows(looking),
    server: looking.address.shown,
  }))
  if (!holdsRows || folder === undefined) return { holdsRows, isReadable: folder !== undefined }
  const searchPath = ports.ctx.resolution.given.get('PATH')?.text
  const newest = await readable(() => inspectNewest(folder, { server, searchPath, signal }))
  if (newest === 'unreadable') return { holdsRows, isReadable: false }
  return { holdsRows, isReadable: true, ...(newest !== undefined && { newest: { ...newest } }) }
}

export const drillShape = {
  holdsRows: 'boolean',
  isReadable: 'boolean',
  /** When the lane's tables were made, ms since the Unix epoch. */
  madeAtMs: 'number',
  /** The last of this database: when it ended. */
  atMs: 'number?',
  ok: 'boolean?',
} as const

export async function probeDrill(ports: CheckPorts): Promise<FactsOf<typeof drillShape>> {
  const { newestDrill } = await import('../../projector/playbook/drill-record.ts')
  const folder = ports.policy.backupFolder
  const { server, ...seen } = await look(ports, async (looking) => {
    const row = await looking.ask(
      `SELECT (extract(epoch FROM applied_at) * 1000)::bigint AS ms FROM arqonbus_migrations
       WHERE name LIKE '%\\_continuum\\_projector\\_%' ORDER BY applied_at LIMIT 1`,
    )
    return { holdsRows: await hasRows(looking), madeAtMs: numberIn(row, 'ms'), server: looking.address.shown }
  })
  if (folder === undefined) return { ...seen, isReadable: false }
  const drill = await readable(() => newestDrill(folder, server))
  if (drill === 'unreadable') return { ...seen, isReadable: false }
  if (drill === undefined) return { ...seen, isReadable: true }
  return { ...seen, isReadable: true, atMs: Date.parse(drill.at), ok: drill.ok }
}

async function hasRows({ ask }: Looking): Promise<boolean> {
  const tables = ['projection', 'projection_events', 'projection_dlq']
  const some = tables.map((name) => `EXISTS (SELECT FROM arqonbus_continuum_${name})`)
  return flagIn(await ask(`SELECT ${some.join(' OR ')} AS some`), 'some')
}

async function readable<T>(read: () => Promise<T>): Promise<T | 'unreadable'> {
  try {
    return await read()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return 'unreadable'
    throw error instanceof ProbeStop || !(error instanceof Error)
      ? error
      : new ProbeStop('THREW', error.message, 'folder')
  }
}
