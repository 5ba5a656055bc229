// Does the database have the lane's tables, exactly as this version made them? Judged by the catalogue, since the file
// may have been applied with psql, and by the ledger, where there is one.
import { BusError } from '../base/errors.ts'
import { expectedCatalogue, readCatalogue } from '../postgres/catalogue.ts'
import type { PostgresConnection } from '../postgres/connection.ts'
import { compare, isProjectorMigration } from '../postgres/migrations.ts'

const isLanes = (line: string): boolean => /\barqonbus_continuum_/.test(line)
/** What somebody else may add without harm: an index, or a column that may be empty. */
const isHarmless = (line: string): boolean =>
  line.startsWith('index CREATE INDEX') || (line.startsWith('column ') && !line.includes(' not null'))

export interface LaneSchema {
  /** A migration that this version does not know. */
  readonly newer?: string
  /** Of the lane's migrations in the ledger; `pending` also where the file was applied with psql. */
  readonly state: 'applied' | 'pending' | 'edited'
  /** The name of the edited one. */
  readonly edited?: string
  /** None of the tables is there. */
  readonly isEmpty: boolean
  /** Lines of the schema that the database lacks. */
  readonly missing: readonly string[]
  /** Lines that it should not have; what is harmless is left out. */
  readonly extra: readonly string[]
}

/** What the database has of the lane. Rejects as the connection does. */
export async function readLaneSchema(connection: Pick<PostgresConnection, 'query'>): Promise<LaneSchema> {
  const status = await compare(connection)
  const newer = status.find(({ state }) => state === 'unknown')
  const ours = status.filter(({ name }) => isProjectorMigration(name))
  const edited = ours.find(({ state }) => state === 'edited')
  const isPending = ours.some(({ state }) => state === 'pending')
  const found = new Set((await readCatalogue(connection)).filter(isLanes))
  const expected = new Set(expectedCatalogue().filter(isLanes))
  return {
    ...(newer !== undefined && { newer: newer.name }),
    ...(edited !== undefined && { edited: edited.name }),
    state: edited !== undefined ? 'edited' : isPending ? 'pending' : 'applied',
    isEmpty: found.size === 0,
    missing: [...expected].filter((line) => !found.has(line)),
    extra: [...found].filter((line) => !expected.has(line) && !isHarmless(line)),
  }
}

/** Throws STORE_OPEN_FAILED with the command that helps: SCHEMA_MISSING, EDITED_MIGRATION, SCHEMA_DRIFT, NEWER_SCHEMA. */
export async function requireProjectorSchema(connection: Pick<PostgresConnection, 'query'>): Promise<void> {
  const { newer, edited, state, isEmpty, missing, extra } = await readLaneSchema(connection)
  if (newer !== undefined) {
    throw refused('NEWER_SCHEMA', `A newer version has changed this database (${newer}); use that version`)
  }
  if (edited !== undefined) {
    const message = `${edited} was applied with another content; put the file back as it was (arqonbus migrate status)`
    throw refused('EDITED_MIGRATION', message)
  }
  if (isEmpty) {
    throw refused(
      'SCHEMA_MISSING',
      'The database does not have the tables of the projector; run `arqonbus projector migrate`',
    )
  }
  if (missing.length + extra.length === 0) return
  const shown = [...missing.map((line) => `missing: ${line}`), ...extra.map((line) => `not ours: ${line}`)].slice(0, 3)
  const help =
    state === 'pending'
      ? 'run `arqonbus projector migrate`, and if that is not enough put back what was changed by hand'
      : 'put back what was changed by hand (arqonbus migrate verify)'
  throw refused(
    'SCHEMA_DRIFT',
    `The tables of the projector differ from those of this version (${shown.join('; ')}); ${help}`,
  )
}

function refused(reason: string, message: string): BusError {
  return new BusError('STORE_OPEN_FAILED', message, { reason })
}
