// Worlds of projector-checks.ts.
import { laneTables } from '../../projector/playbook/digests.ts'
import type { FactsOf, Worlds } from '../check.ts'
import type * as probes from './projector-probes.ts'
import { type migrationShape, migrationDigest, type playbookShape } from './shipped.ts'

const on = { ARQONBUS_PROJECTOR_ENABLED: 'true' }
const dayMs = 86_400_000
const hourMs = 3_600_000
const nowMs = Date.parse('2026-02-19T12:00:00.000Z')

const conforms = { state: 'applied', isEmpty: false, missing: [], extra: [], invalidIndexes: [] }
const index = 'index CREATE INDEX idx_arqonbus_cont_proj_events_source_ts ON arqonbus_continuum_projection_events …'

export const schema: Worlds<FactsOf<typeof probes.schemaShape>> = {
  passes: [{ name: 'as this version makes them', env: on, facts: conforms }],
  fails: [
    {
      name: 'not migrated',
      env: on,
      facts: { ...conforms, state: 'pending', isEmpty: true, missing: [index] },
      expect: { code: 'NOT_APPLIED', findings: ['schema NOT_APPLIED'] },
    },
    {
      name: 'dropped after it was applied',
      env: on,
      facts: { ...conforms, isEmpty: true },
      expect: { code: 'NOT_APPLIED' },
    },
    {
      name: 'another content',
      env: on,
      facts: { ...conforms, state: 'edited' },
      expect: { code: 'ALTERED', findings: ['schema ALTERED'] },
    },
    {
      name: 'made with psql',
      env: on,
      facts: { ...conforms, state: 'pending' },
      expect: { code: 'NOT_RECORDED', findings: ['schema NOT_RECORDED'] },
    },
    {
      name: 'a dropped index',
      env: on,
      facts: { ...conforms, missing: [index] },
      expect: { code: 'DRIFT', findings: ['schema DRIFT'] },
    },
    {
      name: 'a column that must not be empty, of somebody else',
      env: on,
      facts: { ...conforms, extra: ['column arqonbus_continuum_projection.note text not null'] },
      expect: { code: 'DRIFT' },
    },
    {
      name: 'a broken index',
      env: on,
      facts: { ...conforms, invalidIndexes: ['x'] },
      expect: { code: 'INVALID_INDEX' },
    },
  ],
  ignores: [
    { name: 'with history in Postgres too', env: { ...on, ARQONBUS_STORAGE_BACKEND: 'postgres' }, facts: conforms },
  ],
}

export const lane: Worlds<FactsOf<typeof probes.laneShape>> = {
  passes: [{ name: 'it would start', env: on, facts: { isNamed: true, refusal: '' } }],
  fails: [
    {
      name: 'no Postgres is named',
      env: { ...on, ARQONBUS_POSTGRES_URL: undefined },
      facts: { isNamed: false, refusal: '' },
      expect: { code: 'NO_POSTGRES', findings: ['ARQONBUS_POSTGRES_URL NO_POSTGRES'] },
    },
    {
      name: 'it would refuse',
      env: on,
      facts: { isNamed: true, refusal: 'NEWER_SCHEMA' },
      expect: { code: 'LANE_REFUSES', findings: ['ARQONBUS_PROJECTOR_ENABLED LANE_REFUSES'] },
    },
  ],
  ignores: [
    {
      name: 'named by its parts',
      env: { ...on, ARQONBUS_POSTGRES_URL: undefined, ARQONBUS_POSTGRES_HOST: 'db.internal' },
      facts: { isNamed: true, refusal: '' },
    },
  ],
}

const released = { isThere: true, digest: migrationDigest, unrepeatable: [] }

export const migrationFile: Worlds<FactsOf<typeof migrationShape>> = {
  passes: [{ name: 'as released', facts: released }],
  fails: [
    {
      name: 'not there',
      facts: { isThere: false, digest: migrationDigest, unrepeatable: [] },
      expect: { code: 'ABSENT' },
    },
    {
      name: 'edited',
      facts: { ...released, digest: 'e'.repeat(64) },
      expect: {
        code: 'OTHER_DIGEST',
        findings: ['scripts/migrations/20260220_continuum_projector_postgres.sql OTHER_DIGEST'],
      },
    },
    {
      name: 'a statement that fails a second time',
      facts: { ...released, unrepeatable: ['CREATE TABLE t (n int)'] },
      expect: {
        code: 'NOT_REPEATABLE',
        findings: ['scripts/migrations/20260220_continuum_projector_postgres.sql NOT_REPEATABLE'],
      },
    },
  ],
  ignores: [{ name: 'the lane is off', env: { ARQONBUS_PROJECTOR_ENABLED: 'false' }, facts: released }],
}

const identity = '0123456789abcdef'
const accepts = (text: string) => ({ ...on, ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT: text })

export const environment: Worlds<FactsOf<typeof probes.environmentShape>> = {
  passes: [
    { name: 'seen in a green run', env: on, facts: { identity, isKnown: true } },
    { name: 'new, and accepted', env: accepts(identity), facts: { identity, isKnown: false } },
  ],
  fails: [
    {
      name: 'new',
      env: on,
      facts: { identity, isKnown: false },
      expect: { code: 'NEW_ENVIRONMENT', findings: ['ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT NEW_ENVIRONMENT'] },
    },
    {
      name: 'another was accepted',
      env: accepts('fedcba9876543210'),
      facts: { identity, isKnown: false },
      expect: { code: 'NEW_ENVIRONMENT' },
    },
  ],
  ignores: [{ name: 'an acceptance that was left behind', env: accepts('x'), facts: { identity, isKnown: true } }],
}

const commands = ['backfill', 'backup', 'dlq', 'drill', 'migrate', 'restore', 'verify']
const written = { isThere: true, commands, tables: [...laneTables] }

export const playbook: Worlds<FactsOf<typeof playbookShape>> = {
  passes: [{ name: 'as released', facts: written }],
  fails: [
    { name: 'not there', facts: { ...written, isThere: false }, expect: { code: 'ABSENT' } },
    ...['migrate', 'backup', 'restore', 'verify', 'drill'].map((step) => ({
      name: `no ${step}`,
      facts: { ...written, commands: commands.filter((one) => one !== step) },
      expect: { code: 'STEP_MISSING' },
    })),
    {
      name: 'a command that is none',
      facts: { ...written, commands: [...commands, 'export'] },
      expect: { code: 'UNKNOWN_COMMAND', findings: ['the playbook UNKNOWN_COMMAND'] },
    },
    {
      name: 'a table is not named',
      facts: { ...written, tables: laneTables.slice(1) },
      expect: { code: 'TABLE_MISSING', findings: ['the playbook TABLE_MISSING'] },
    },
    {
      name: 'a table of another version',
      facts: { ...written, tables: [...laneTables, 'arqonbus_continuum_old'] },
      expect: { code: 'UNKNOWN_TABLE', findings: ['the playbook UNKNOWN_TABLE'] },
    },
  ],
  ignores: [
    {
      name: 'dead letters are not mentioned',
      facts: { ...written, commands: commands.filter((one) => one !== 'dlq') },
    },
    {
      name: 'a table for rebuilds is',
      facts: { ...written, tables: [...laneTables, 'arqonbus_continuum_projection_shadow'] },
    },
    { name: 'and another', facts: { ...written, tables: [...laneTables, 'arqonbus_continuum_projection_backfill'] } },
  ],
}

const folder = { backupFolder: '/var/backups/arqonbus' }
const newest = {
  file: 'monday.dump',
  createdAtMs: nowMs - 26 * hourMs,
  bytes: 9,
  bytesOnDisk: 9,
  digest: 'same',
  listing: 'good',
}
const backed = { holdsRows: true, isReadable: true, newest }
const backedBy = (changes: Partial<typeof newest>) => ({ ...backed, newest: { ...newest, ...changes } })
const none = { holdsRows: true, isReadable: true }

export const backup: Worlds<FactsOf<typeof probes.backupShape>> = {
  passes: [
    { name: 'as old as it may be', env: on, policy: folder, facts: backed },
    { name: 'a lane without rows', env: on, facts: { holdsRows: false, isReadable: false } },
    { name: 'clocks a little apart', env: on, policy: folder, facts: backedBy({ createdAtMs: nowMs + 300_000 }) },
  ],
  fails: [
    {
      name: 'no folder is named',
      env: on,
      facts: none,
      expect: { code: 'NO_FOLDER', findings: ['backupFolder NO_FOLDER'], class: 'config' },
    },
    {
      name: 'the folder cannot be read',
      env: on,
      policy: folder,
      facts: { holdsRows: true, isReadable: false },
      expect: { code: 'FOLDER_UNREADABLE', findings: ['backupFolder FOLDER_UNREADABLE'], class: 'config' },
    },
    {
      name: 'no backup',
      env: on,
      policy: folder,
      facts: none,
      expect: { code: 'NO_BACKUP', findings: ['backupFolder NO_BACKUP'] },
    },
    {
      name: 'a moment too old',
      env: on,
      policy: folder,
      facts: backedBy({ createdAtMs: newest.createdAtMs - 1 }),
      expect: { code: 'STALE', findings: ['backup STALE'] },
    },
    {
      name: 'too old for a stricter policy',
      env: on,
      policy: { ...folder, backupMaxAge: 2 },
      facts: backedBy({ createdAtMs: nowMs - 3 * hourMs }),
      expect: { code: 'STALE' },
    },
    {
      name: 'from the future',
      env: on,
      policy: folder,
      facts: backedBy({ createdAtMs: nowMs + 300_001 }),
      expect: { code: 'FROM_THE_FUTURE', findings: ['backup FROM_THE_FUTURE'] },
    },
    {
      name: 'cut off',
      env: on,
      policy: folder,
      facts: backedBy({ bytesOnDisk: 8 }),
      expect: { code: 'DAMAGED', findings: ['backup DAMAGED'] },
    },
    {
      name: 'empty, and said to be',
      env: on,
      policy: folder,
      facts: backedBy({ bytes: 0, bytesOnDisk: 0 }),
      expect: { code: 'DAMAGED' },
    },
    {
      name: 'a bit fell over',
      env: on,
      policy: folder,
      facts: backedBy({ digest: 'differs' }),
      expect: { code: 'DAMAGED' },
    },
    {
      name: 'nothing that pg_restore reads',
      env: on,
      policy: folder,
      facts: backedBy({ listing: 'bad' }),
      expect: { code: 'NOT_LISTABLE', findings: ['backup NOT_LISTABLE'] },
    },
    {
      name: 'no pg_restore',
      env: on,
      policy: folder,
      facts: backedBy({ listing: 'no tool' }),
      expect: { code: 'TOOL_ABSENT', findings: ['PATH TOOL_ABSENT'], class: 'config' },
    },
  ],
  ignores: [{ name: 'too large to be read whole', env: on, policy: folder, facts: backedBy({ digest: 'not read' }) }],
}

const drilled = { holdsRows: true, isReadable: true, madeAtMs: nowMs - 900 * dayMs, atMs: nowMs - 90 * dayMs, ok: true }
const { atMs: _at, ok: _ok, ...undrilled } = drilled

export const drill: Worlds<FactsOf<typeof probes.drillShape>> = {
  passes: [
    { name: 'as long ago as it may be', env: on, policy: folder, facts: drilled },
    { name: 'a lane without rows', env: on, facts: { ...undrilled, holdsRows: false } },
    {
      name: 'a young lane, not drilled yet',
      env: on,
      policy: folder,
      facts: { ...undrilled, madeAtMs: nowMs - 90 * dayMs },
    },
    { name: 'clocks a little apart', env: on, policy: folder, facts: { ...drilled, atMs: nowMs + 300_000 } },
  ],
  fails: [
    {
      name: 'a moment too long ago',
      env: on,
      policy: folder,
      facts: { ...drilled, atMs: drilled.atMs - 1 },
      expect: { code: 'OVERDUE', findings: ['drill OVERDUE'] },
    },
    {
      name: 'too long ago for a stricter policy',
      env: on,
      policy: { ...folder, restoreDrillMaxAge: 30 },
      facts: { ...drilled, atMs: nowMs - 31 * dayMs },
      expect: { code: 'OVERDUE' },
    },
    {
      name: 'from the future',
      env: on,
      policy: folder,
      facts: { ...drilled, atMs: nowMs + 300_001 },
      expect: { code: 'OVERDUE' },
    },
    {
      name: 'the last one failed',
      env: on,
      policy: folder,
      facts: { ...drilled, ok: false },
      expect: { code: 'DRILL_FAILED', findings: ['drill DRILL_FAILED'] },
    },
    {
      name: 'never, and no longer young',
      env: on,
      policy: folder,
      facts: { ...undrilled, madeAtMs: nowMs - 90 * dayMs - 1 },
      expect: { code: 'OVERDUE' },
    },
    {
      name: 'no folder is named',
      env: on,
      facts: { ...undrilled, isReadable: false },
      expect: { code: 'OVERDUE' },
    },
  ],
  ignores: [
    {
      name: 'a young lane whose folder is not named yet',
      env: on,
      facts: { ...undrilled, isReadable: false, madeAtMs: nowMs - dayMs },
    },
  ],
}
