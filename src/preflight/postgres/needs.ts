// What the configured programs need of Postgres: which migrations, which rights on which objects, how many connections.
// Held to the code that uses them by a test in which a user with exactly these rights does all of it.
import type { Values } from '../../config/keys.ts'
import type { RuleContext } from '../../rules/rule.ts'

export type PartName = 'history' | 'mirror' | 'audit' | 'activation' | 'projector'

export interface NeededObject {
  readonly kind: 'table' | 'sequence' | 'function'
  readonly name: string
  readonly rights: readonly string[]
}

interface Part {
  readonly isOn: (values: Values) => boolean
  /** Names of files in scripts/migrations. */
  readonly migrations: readonly string[]
  readonly objects: readonly NeededObject[]
  /** Connections that one process holds. */
  readonly connections: number
}

const table = (name: string, rights: string): NeededObject => ({
  kind: 'table',
  name: `arqonbus_${name}`,
  rights: rights.split(' '),
})
const all = 'SELECT INSERT UPDATE DELETE'
const keepsHistory = ({ storageBackend, enablePersistence }: Values): boolean =>
  storageBackend === 'postgres' && enablePersistence

export const parts: Readonly<Record<PartName, Part>> = {
  history: {
    isOn: keepsHistory,
    migrations: ['20260215_history.sql'],
    objects: [
      table('migrations', 'SELECT'),
      ...['history', 'tenants', 'streams', 'records', 'remembered', 'probe'].map((name) => table(name, all)),
      ...['append', 'forget', 'forget_some', 'read', 'trim'].map(
        (name): NeededObject => ({
          kind: 'function',
          name: `arqonbus_${name}`,
          rights: ['EXECUTE'],
        }),
      ),
    ],
    connections: 4, // appends, trimming, two for reads
  },
  mirror: {
    isOn: (values) => keepsHistory(values) && values.postgresMirror,
    migrations: ['20260217_message_history.sql'],
    objects: [
      table('message_history', 'SELECT INSERT'),
      { kind: 'sequence', name: 'arqonbus_message_history_id_seq', rights: ['USAGE'] },
      table('mirrored', 'SELECT INSERT UPDATE'),
    ],
    connections: 1,
  },
  audit: {
    isOn: ({ postgresUrl, storageBackend }) => postgresUrl !== undefined || storageBackend === 'postgres',
    migrations: ['20260216_audit.sql'],
    objects: [table('audit', 'SELECT INSERT'), table('audit_head', 'SELECT UPDATE')],
    connections: 1,
  },
  activation: {
    isOn: ({ postgresUrl, storageBackend, preflightPublicKey }) =>
      preflightPublicKey !== undefined && (postgresUrl !== undefined || storageBackend === 'postgres'),
    migrations: ['20260224_preflight_activations.sql'],
    objects: [table('preflight_activations', 'SELECT INSERT'), table('preflight_break_glass', 'SELECT INSERT')],
    connections: 0, // one for a moment, at a start
  },
  projector: {
    isOn: ({ projectorEnabled }) => projectorEnabled,
    migrations: ['20260220_continuum_projector_postgres.sql'],
    objects: [
      table('migrations', 'SELECT'),
      table('continuum_projection', all),
      // The update is never made: it is what Postgres asks of who locks the table while a rebuild is swapped in.
      table('continuum_projection_events', 'SELECT INSERT UPDATE'),
      table('continuum_projection_dlq', all),
      table('continuum_projection_dlq_raw', 'SELECT INSERT UPDATE'),
      table('continuum_projection_checkpoint', 'SELECT INSERT UPDATE'),
      table('continuum_projection_shadow', 'SELECT INSERT UPDATE TRUNCATE'),
      table('continuum_projection_backfill', all),
    ],
    connections: 4, // two for the lane and its commands, two for questions
  },
}

const partNames = Object.keys(parts) as PartName[] // its own keys

export function partsInUse({ resolution }: RuleContext): readonly PartName[] {
  return partNames.filter((name) => parts[name].isOn(resolution.values))
}

/** Each object once. */
export function objectsOf(names: readonly PartName[]): readonly NeededObject[] {
  const byName = new Map(names.flatMap((name) => parts[name].objects).map((object) => [object.name, object]))
  return [...byName.values()]
}

/** Does this configuration need the migration? One that no part names is needed by all. */
export function isNeeded(migration: string, names: readonly PartName[]): boolean {
  const owner = partNames.find((name) => parts[name].migrations.includes(migration))
  return owner === undefined || names.includes(owner)
}

/** For commands that open one for themselves: a rebuild, a look at the audit log. */
const forCommands = 1

export function connectionsOf(names: readonly PartName[], instances: number): number {
  return (names.reduce((sum, name) => sum + parts[name].connections, 0) + forCommands) * instances
}
