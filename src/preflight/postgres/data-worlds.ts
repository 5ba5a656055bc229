// Worlds of data-checks.ts.
import type { FactsOf, Worlds } from '../check.ts'
import type * as probes from './data-probes.ts'

const history = { ARQONBUS_STORAGE_BACKEND: 'postgres' }
const mirror = { ...history, ARQONBUS_POSTGRES_MIRROR: 'true' }
const lane = { ARQONBUS_PROJECTOR_ENABLED: 'true' }

const files = [
  '20260215_history.sql',
  '20260216_audit.sql',
  '20260217_message_history.sql',
  '20260220_continuum_projector_postgres.sql',
] as const
type File = (typeof files)[number]

const states = (changes: Partial<Record<File, string>> = {}) =>
  files.map((name) => ({ name, state: changes[name] ?? 'applied' }))
const upToDate = { migrations: states(), isLocked: false, missing: [] }

const indexLine =
  'index CREATE INDEX arqonbus_records_by_time ON arqonbus_records USING btree (stream_row, at_ms, sequence)'

export const migrations: Worlds<FactsOf<typeof probes.migrationsShape>> = {
  passes: [
    { name: 'all applied', facts: upToDate },
    { name: 'all applied, history in Postgres', env: mirror, facts: upToDate },
  ],
  fails: [
    {
      name: 'no table of history, which is kept there',
      env: history,
      facts: { ...upToDate, migrations: states({ '20260215_history.sql': 'pending' }) },
      expect: { code: 'PENDING', findings: ['20260215_history.sql PENDING'] },
    },
    {
      name: 'no audit log',
      facts: { ...upToDate, migrations: states({ '20260216_audit.sql': 'pending' }) },
      expect: { code: 'PENDING', findings: ['20260216_audit.sql PENDING'] },
    },
    {
      name: 'no table to copy to',
      env: mirror,
      facts: { ...upToDate, migrations: states({ '20260217_message_history.sql': 'pending' }) },
      expect: { code: 'PENDING', findings: ['20260217_message_history.sql PENDING'] },
    },
    {
      name: 'a file of which nobody has said who needs it',
      facts: { ...upToDate, migrations: [...states(), { name: '20270101_more.sql', state: 'pending' }] },
      expect: { code: 'PENDING' },
    },
    {
      name: 'a file was edited',
      facts: { ...upToDate, migrations: states({ '20260215_history.sql': 'edited' }) },
      expect: { code: 'ALTERED', findings: ['20260215_history.sql ALTERED'] },
    },
    {
      name: 'a newer version was here',
      facts: { ...upToDate, migrations: [...states(), { name: '20270101_more.sql', state: 'unknown' }] },
      expect: { code: 'AHEAD' },
    },
    {
      name: 'a migration runs',
      facts: { ...upToDate, isLocked: true },
      expect: { code: 'LOCKED', findings: ['migrations LOCKED'] },
    },
    {
      name: 'an index was dropped',
      env: history,
      facts: { ...upToDate, missing: [indexLine] },
      expect: { code: 'DRIFT', findings: ['schema DRIFT'] },
    },
    {
      name: 'a column of the audit log was dropped',
      facts: { ...upToDate, missing: ['column arqonbus_audit.subject text not null'] },
      expect: { code: 'DRIFT' },
    },
    {
      name: 'may not read the ledger',
      stopped: { code: 'NO_PERMISSION', observed: 'SQLSTATE 42501', step: 'query' },
      expect: { code: 'NO_PERMISSION', class: 'config' },
    },
  ],
  ignores: [
    {
      name: 'history is kept elsewhere, and its tables are not there',
      facts: { ...upToDate, migrations: states({ '20260215_history.sql': 'pending' }), missing: [indexLine] },
    },
    {
      name: 'history is kept by nobody',
      env: { ...history, ARQONBUS_ENABLE_PERSISTENCE: 'false' },
      facts: { ...upToDate, migrations: states({ '20260215_history.sql': 'pending' }), missing: [indexLine] },
    },
    {
      name: 'nothing is copied to the table of earlier systems',
      env: history,
      facts: { ...upToDate, migrations: states({ '20260217_message_history.sql': 'pending' }) },
    },
    {
      name: 'the lane has a check of its own',
      env: lane,
      facts: {
        ...upToDate,
        migrations: states({ '20260220_continuum_projector_postgres.sql': 'pending' }),
        missing: ['column arqonbus_continuum_projection.deleted boolean not null default false'],
      },
    },
  ],
}

const granted = { denied: [], absent: [], asked: 4 }
const denies = (name: string, right: string) => ({ ...granted, denied: [{ name, right }] })

export const privileges: Worlds<FactsOf<typeof probes.privilegesShape>> = {
  passes: [{ name: 'everything is granted', facts: granted }],
  fails: [
    ...(
      [
        [{}, 'arqonbus_audit', 'INSERT'],
        [history, 'arqonbus_records', 'DELETE'],
        [history, 'arqonbus_append', 'EXECUTE'],
        [mirror, 'arqonbus_message_history_id_seq', 'USAGE'],
        [lane, 'arqonbus_continuum_projection', 'UPDATE'],
      ] as const
    ).map(([env, name, right]) => ({
      name: `no ${right} on ${name}`,
      env,
      facts: denies(name, right),
      expect: { code: 'MISSING_GRANT' },
    })),
    {
      name: 'a table is not there',
      facts: { ...granted, absent: ['arqonbus_audit'] },
      expect: { code: 'ABSENT', findings: ['arqonbus_audit ABSENT'] },
    },
  ],
  ignores: [
    { name: 'a right on what nobody uses', facts: denies('arqonbus_records', 'INSERT') },
    { name: 'a table that nobody uses', facts: { ...granted, absent: ['arqonbus_mirrored'] } },
  ],
}

const back = { mode: 'committed', isSame: true, deleted: 1 }

export const roundtrip: Worlds<FactsOf<typeof probes.roundtripShape>> = {
  passes: [
    { name: 'committed and read', facts: back },
    { name: 'rolled back', facts: { ...back, mode: 'rolled back' } },
  ],
  fails: [
    {
      name: 'another server answered',
      facts: { ...back, isSame: false },
      expect: { code: 'NOT_READ', findings: ['ARQONBUS_POSTGRES_URL NOT_READ'] },
    },
    {
      name: 'nothing to delete',
      facts: { ...back, deleted: 0 },
      expect: { code: 'NOT_DELETED', findings: ['ARQONBUS_POSTGRES_URL NOT_DELETED'] },
    },
    { name: 'more deleted than written', facts: { ...back, deleted: 2 }, expect: { code: 'NOT_DELETED' } },
    {
      name: 'the disk is full',
      stopped: { code: 'DISK_FULL', observed: 'SQLSTATE 53100', step: 'query' },
      expect: { code: 'DISK_FULL', class: 'dependency' },
    },
    {
      name: 'it became read-only',
      stopped: { code: 'READ_ONLY', observed: 'SQLSTATE 25006', step: 'query' },
      expect: { code: 'READ_ONLY', class: 'dependency' },
    },
    {
      name: 'no standby confirms the commit',
      stopped: { code: 'NO_ANSWER', observed: 'Query read timeout', step: 'query' },
      expect: { status: 'error', code: 'NO_ANSWER', class: 'dependency' },
    },
  ],
  ignores: [{ name: 'the same in staging', env: { ARQONBUS_ENVIRONMENT: 'staging' }, facts: back }],
}
