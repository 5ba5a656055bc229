// Brings a database to the schema of this version: the SQL files of scripts/migrations in the order of their names, each
// in a transaction of its own, once. Any number may run at the same time; one applies, the others find it done.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { BusError } from '../base/errors.ts'
import type { PostgresAddress } from './address.ts'
import { hotLimits, openConnection, type PostgresConnection } from './connection.ts'
import { sqlstateOf, toOpenError } from './failure.ts'

export interface Migration {
  readonly name: string
  readonly sql: string
  /** SHA-256 of the file, hex. */
  readonly checksum: string
}

export type MigrationState = 'applied' | 'pending' | 'edited' | 'unknown'

export interface MigrationStatus {
  readonly name: string
  /** `edited`: applied with another content; `unknown`: applied by a newer version. */
  readonly state: MigrationState
  /** UTC; absent when it is not applied. */
  readonly appliedAt?: string
}

// Any number will do that nobody else uses for an advisory lock in this database.
export const lockKey = 4_917_203_311
const lockWithinMs = 60_000
/** How long one file may take. */
const fileWithinMs = 600_000

// From src/postgres and from dist/postgres alike.
const folder = new URL('../../scripts/migrations/', import.meta.url)

export function readMigrations(from: URL = folder): readonly Migration[] {
  return readdirSync(from)
    .filter((name) => /^\d{8}_\w+\.sql$/.test(name))
    .sort()
    .map((name) => {
      const sql = readFileSync(new URL(name, from), 'utf8')
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
    })
}

export interface MigrationOptions {
  readonly address: PostgresAddress
  /** Default: those of this version. */
  readonly migrations?: readonly Migration[]
  /** Names of those to apply; default all. One ledger holds them all, whoever applies which. */
  readonly only?: (name: string) => boolean
}

/** The projector's: the lane can live in a database that holds nothing else of ours. */
export const isProjectorMigration = (name: string): boolean => name.includes('_continuum_projector_')

/** Rejects with STORE_OPEN_FAILED or STORE_UNAVAILABLE. */
export async function migrationStatus(options: MigrationOptions): Promise<readonly MigrationStatus[]> {
  return await withConnection(options, async (connection, migrations) => await compare(connection, migrations))
}

/**
 * Applies what is pending; resolves with the names it applied itself. Rejects with STORE_OPEN_FAILED, and changes
 * nothing, when a file was edited after it was applied (EDITED_MIGRATION) or a newer version has been here
 * (NEWER_SCHEMA); with MIGRATION_FAILED when a file does not run: it is rolled back, those before it stay.
 */
export async function migrateUp(options: MigrationOptions): Promise<readonly string[]> {
  return await withConnection(options, async (connection, migrations) => {
    await takeLock(connection)
    try {
      const { only = () => true } = options
      const known = requireKnown(await compare(connection, migrations))
      const wanted = known.filter(({ name, state }) => state === 'pending' && only(name))
      for (const { name } of wanted) await apply(connection, migrations.find((one) => one.name === name)!)
      return wanted.map(({ name }) => name)
    } finally {
      if (connection.isAlive) await connection.query({ text: `SELECT pg_advisory_unlock(${lockKey})` })
    }
  })
}

/** Throws STORE_OPEN_FAILED for a schema that was edited or is newer; gives the status back otherwise. */
export function requireKnown(status: readonly MigrationStatus[]): readonly MigrationStatus[] {
  const unknown = status.find(({ state }) => state === 'unknown')
  if (unknown !== undefined) {
    const message = `A newer version has changed this database (${unknown.name}); use that version`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'NEWER_SCHEMA', migration: unknown.name })
  }
  const edited = status.find(({ state }) => state === 'edited')
  if (edited !== undefined) {
    const message = `${edited.name} was applied with another content; put the file back as it was, and add a new one`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'EDITED_MIGRATION', migration: edited.name })
  }
  return status
}

async function withConnection<T>(
  { address, migrations = readMigrations() }: MigrationOptions,
  work: (connection: PostgresConnection, migrations: readonly Migration[]) => Promise<T>,
): Promise<T> {
  const connection = await openConnection({ address, limits: hotLimits })
  try {
    return await work(connection, migrations)
  } catch (error) {
    throw toOpenError(error, address.shown)
  } finally {
    await connection.close()
  }
}

async function takeLock(connection: PostgresConnection): Promise<void> {
  const untilMs = performance.now() + lockWithinMs
  for (;;) {
    const [row] = await connection.query({ text: `SELECT pg_try_advisory_lock(${lockKey}) AS taken` })
    if (row?.['taken'] === true) return
    if (performance.now() > untilMs) {
      throw new BusError('STORE_UNAVAILABLE', 'Another migration is still running', { reason: 'LOCKED' })
    }
    await pause(50)
  }
}

/** What the database says it has, against what this version has; in the order of names. */
export async function compare(
  connection: Pick<PostgresConnection, 'query'>,
  migrations: readonly Migration[] = readMigrations(),
): Promise<readonly MigrationStatus[]> {
  const applied = new Map<string, { checksum: unknown; appliedAt: string }>()
  for (const row of await readApplied(connection)) {
    applied.set(String(row['name']), { checksum: row['checksum'], appliedAt: String(row['applied_at']) })
  }
  const known = migrations.map(({ name, checksum }): MigrationStatus => {
    const found = applied.get(name)
    applied.delete(name)
    if (found === undefined) return { name, state: 'pending' }
    return { name, state: found.checksum === checksum ? 'applied' : 'edited', appliedAt: found.appliedAt }
  })
  const unknown = [...applied].map(([name, { appliedAt }]): MigrationStatus => ({ name, state: 'unknown', appliedAt }))
  return [...known, ...unknown].sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function readApplied(connection: Pick<PostgresConnection, 'query'>) {
  const time = `to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  try {
    return await connection.query({ text: `SELECT name, checksum, ${time} AS applied_at FROM arqonbus_migrations` })
  } catch (error) {
    if (sqlstateOf(error) === '42P01') return [] // no such table: nothing is applied
    throw error
  }
}

async function apply(connection: PostgresConnection, { name, sql, checksum }: Migration): Promise<void> {
  await connection.query({ text: 'BEGIN' })
  try {
    await connection.query({ text: 'SET LOCAL statement_timeout = 0' })
    await connection.query({
      text: `CREATE TABLE IF NOT EXISTS arqonbus_migrations (
        name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
    })
    await connection.query({ text: sql, answerMs: fileWithinMs })
    await connection.query({
      text: 'INSERT INTO arqonbus_migrations (name, checksum) VALUES ($1, $2)',
      values: [name, checksum],
    })
    await connection.query({ text: 'COMMIT', answerMs: fileWithinMs })
  } catch (error) {
    if (connection.isAlive) await connection.query({ text: 'ROLLBACK' })
    const open = toOpenError(error, '')
    const state = sqlstateOf(error)
    // A file that does not run is ours to mend; a server that cannot be used, or a privilege, is the operator's.
    const isOurs = state !== undefined && /^(22|23|42|54|0A)/.test(state) && open.details['reason'] !== 'DENIED'
    if (!isOurs) throw error
    const message = `${name} does not run here (SQLSTATE ${state}); nothing of it was kept`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'MIGRATION_FAILED', migration: name }, open.cause)
  }
}
