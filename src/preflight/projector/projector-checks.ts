// Projector data safety (runbook L79-L84): tables before the lane, a Postgres that somebody knows, backups and drills.
import type { FaultClass, Finding } from '../../rules/rule.ts'
import { laneTables } from '../../projector/playbook/digests.ts'
import {
  type Applicability,
  type Check,
  type CheckResult,
  defineCheck,
  failed,
  type FactsOf,
  judgeAll,
  passed,
} from '../check.ts'
import type { JudgePorts } from '../check.ts'
import { common, postgresNamed, variable } from '../postgres/look.ts'
import * as probes from './projector-probes.ts'
import * as worlds from './projector-worlds.ts'
import * as shipped from './shipped.ts'

const migrate = 'arqonbus projector migrate'

const laneOn: Applicability = {
  name: 'projector-enabled',
  test({ ctx: { resolution } }) {
    const holds = resolution.values.projectorEnabled
    return { holds, because: `ARQONBUS_PROJECTOR_ENABLED=${holds}` }
  },
}

const laneOnPostgres: Applicability = {
  name: 'projector-enabled-on-postgres',
  test(ports) {
    const on = laneOn.test(ports)
    return on.holds ? postgresNamed.test(ports) : on
  },
}

const always: Applicability = { name: 'always', test: () => ({ holds: true, because: 'always' }) }

const onDatabase = { ...common, appliesWhen: laneOnPostgres } as const

const inFile = {
  phase: 'static',
  severity: 'high',
  class: 'regression',
  requires: [],
  appliesWhen: always,
  deadlineMs: 2_000,
} as const satisfies Partial<Check>

export const projectorChecks: readonly Check[] = [
  defineCheck({
    ...onDatabase,
    id: 'projector.migration-applied',
    title: 'The tables of the projector are there',
    proves:
      'The migration is in the ledger with the content it is shipped with; tables, columns, types, keys and indexes are those of this version, and every index is valid.',
    evidence: 'The ledger, the catalogue against schema.txt, pg_index.',
    fix: `Run \`${migrate}\`, or put back what was changed.`,
    runbook: ['L81', 'L82'],
    severity: 'blocker',
    class: 'config',
    requires: ['dep.postgres.migrations'],
    shape: probes.schemaShape,
    probe: probes.probeSchema,
    judge: judgeSchema,
    worlds: worlds.schema,
  }),
  defineCheck({
    ...onDatabase,
    id: 'projector.lane-gated',
    title: 'The lane is on only where it can start',
    proves: 'What the lane asks of Postgres when it starts holds now.',
    evidence: 'ARQONBUS_PROJECTOR_ENABLED, and the answer of the lane’s own gate.',
    fix: `Apply (\`${migrate}\`), then enable.`,
    runbook: ['L81'],
    severity: 'blocker',
    class: 'config',
    requires: ['bus.postgres-url-configured', 'projector.migration-applied'],
    appliesWhen: laneOn,
    shape: probes.laneShape,
    probe: probes.probeLane,
    judge: judgeLane,
    worlds: worlds.lane,
  }),
  defineCheck({
    ...inFile,
    id: 'projector.migration-file',
    title: 'The shipped migration is the one of this version',
    proves: 'The file is there with the digest that is known, and each of its statements may run twice.',
    evidence: 'SHA-256 of the file; statements without IF NOT EXISTS.',
    fix: 'Put the file back as it was released; what has to change is a new migration.',
    runbook: ['L82'],
    effects: [{ kind: 'file', what: 'scripts/migrations/20260220_continuum_projector_postgres.sql' }],
    shape: shipped.migrationShape,
    probe: () => shipped.probeMigrationFile(),
    judge: judgeMigrationFile,
    worlds: worlds.migrationFile,
  }),
  defineCheck({
    ...onDatabase,
    id: 'projector.new-environment',
    title: 'This Postgres is one that somebody knows',
    proves:
      'A preflight has said GO for this server and database before, or somebody has accepted it as a new one (tables first, then the lane).',
    evidence: 'A hash of the system identifier and the database, against preflight-known.json in ARQONBUS_DATA_DIR.',
    fix: 'Set ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT to the identity that was found, for the first start.',
    runbook: ['L81'],
    severity: 'high',
    class: 'config',
    requires: ['projector.migration-applied'],
    effects: [...common.effects, { kind: 'file', what: 'preflight-known.json in ARQONBUS_DATA_DIR' }],
    shape: probes.environmentShape,
    probe: probes.probeEnvironment,
    judge: judgeEnvironment,
    worlds: worlds.environment,
  }),
  defineCheck({
    ...inFile,
    id: 'projector.playbook-present',
    title: 'The playbook is there',
    proves:
      'The document is there; it migrates, backs up, restores, verifies and drills, on the tables of this version.',
    evidence: 'Commands and tables that the document names.',
    fix: 'Put the document back as it was released.',
    runbook: ['L83', 'L84'],
    effects: [
      {
        kind: 'file',
        what: 'docs/ArqonBus/runbooks/continuum_projector_postgres_migration_backup_restore.md',
      },
    ],
    shape: shipped.playbookShape,
    probe: () => shipped.probePlaybook(),
    judge: judgePlaybook,
    worlds: worlds.playbook,
  }),
  defineCheck({
    ...onDatabase,
    id: 'projector.backup-fresh',
    title: 'There is a backup to go back to',
    proves:
      'The newest backup of this database is young enough (policy: backupMaxAge), whole, the one of its manifest, and one that pg_restore reads. A lane without rows has nothing to lose.',
    evidence: 'Manifests in the folder of the policy (backupFolder), size and SHA-256 of the dump, pg_restore --list.',
    fix: 'Run `arqonbus projector backup <folder>/<name>.dump`.',
    runbook: ['L83'],
    severity: 'high',
    requires: ['projector.migration-applied'],
    deadlineMs: 20_000,
    effects: [
      ...common.effects,
      { kind: 'file', what: 'the folder of backups' },
      { kind: 'spawn', what: 'pg_restore --list' },
    ],
    shape: probes.backupShape,
    probe: probes.probeBackup,
    judge: judgeBackup,
    worlds: worlds.backup,
  }),
  defineCheck({
    ...onDatabase,
    id: 'projector.restore-drill',
    title: 'A backup was restored not long ago',
    proves:
      'The last drill of this database went well and is young enough (policy: restoreDrillMaxAge). A lane younger than that may still be without one: then this only advises.',
    evidence: 'The record that `arqonbus projector drill` leaves beside its backup.',
    fix: 'Run `arqonbus projector drill <folder>/<name>.dump`.',
    runbook: ['L83'],
    severity: 'high',
    requires: ['projector.migration-applied'],
    effects: [...common.effects, { kind: 'file', what: 'the folder of backups' }],
    shape: probes.drillShape,
    probe: probes.probeDrill,
    judge: judgeDrill,
    worlds: worlds.drill,
  }),
]

function judgeSchema(facts: FactsOf<typeof probes.schemaShape>): CheckResult {
  const { state, isEmpty, missing, extra, invalidIndexes } = facts
  const what = 'schema'
  if (isEmpty) return failed('NOT_APPLIED', what, 'none of the tables is there', migrate)
  if (state === 'edited') {
    const fix = 'put the file back as it was applied, and add a new one for what has to change'
    return failed('ALTERED', what, 'the migration was applied with another content', fix)
  }
  const findings: Finding[] = []
  const fix =
    state === 'pending' ? migrate : 'put back what was changed by hand; `arqonbus migrate verify` shows all of it'
  if (state === 'pending') {
    findings.push({ code: 'NOT_RECORDED', variable: what, found: 'the tables are there, the ledger has no row', fix })
  }
  if (missing.length > 0)
    findings.push({ code: 'DRIFT', variable: what, found: `missing: ${describeFew(missing)}`, fix })
  if (extra.length > 0) findings.push({ code: 'DRIFT', variable: what, found: `not ours: ${describeFew(extra)}`, fix })
  for (const name of invalidIndexes) {
    findings.push({
      code: 'INVALID_INDEX',
      variable: name,
      found: 'not valid',
      fix: `REINDEX INDEX CONCURRENTLY ${name}`,
    })
  }
  return judgeAll(findings, 'as this version makes them')
}

const describeFew = (lines: readonly string[]): string => lines.slice(0, 3).join('; ')

function judgeLane({ isNamed, refusal }: FactsOf<typeof probes.laneShape>): CheckResult {
  if (!isNamed) return failed('NO_POSTGRES', variable, 'the lane is on, and no Postgres is named', `set ${variable}`)
  if (refusal === '') return passed('it would start')
  return failed('LANE_REFUSES', 'ARQONBUS_PROJECTOR_ENABLED', `the lane would not start: ${refusal}`, migrate)
}

function judgeMigrationFile({ isThere, digest, unrepeatable }: FactsOf<typeof shipped.migrationShape>): CheckResult {
  const what = 'scripts/migrations/20260220_continuum_projector_postgres.sql'
  const fix = 'put the file back as it was released'
  if (!isThere) return failed('ABSENT', what, 'it is not there', fix)
  const findings: Finding[] = []
  if (digest !== shipped.migrationDigest) {
    findings.push({ code: 'OTHER_DIGEST', variable: what, found: `sha256 ${digest}`, fix })
  }
  for (const text of unrepeatable) findings.push({ code: 'NOT_REPEATABLE', variable: what, found: text, fix })
  return judgeAll(findings, `sha256 ${digest}`)
}

function judgeEnvironment(facts: FactsOf<typeof probes.environmentShape>, { ctx }: JudgePorts): CheckResult {
  const key = 'ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT'
  if (facts.isKnown) return passed('known', { environment: 'known' })
  if (ctx.resolution.values.projectorAcceptedEnvironment === facts.identity) {
    return passed('new, and accepted', { environment: 'accepted' })
  }
  const fix = `apply the migration first, then set ${key} to the identity that was found`
  return failed('NEW_ENVIRONMENT', key, `no preflight has said GO for ${facts.identity}`, fix)
}

const known = {
  tables: [...laneTables, 'arqonbus_continuum_projection_shadow', 'arqonbus_continuum_projection_backfill'],
}
const neededCommands = ['migrate', 'backup', 'restore', 'verify', 'drill']
const knownCommands = [...neededCommands, 'dlq', 'backfill']

function judgePlaybook({ isThere, commands, tables }: FactsOf<typeof shipped.playbookShape>): CheckResult {
  const what = 'the playbook'
  const fix = 'put the document back as it was released'
  if (!isThere) return failed('ABSENT', what, 'it is not there', fix)
  const findings: Finding[] = []
  const find = (code: string, names: readonly string[], words: string): void => {
    if (names.length > 0) findings.push({ code, variable: what, found: `${words}: ${names.join(', ')}`, fix })
  }
  const without = (all: readonly string[], others: readonly string[]) => all.filter((name) => !others.includes(name))
  find('STEP_MISSING', without(neededCommands, commands), 'no command')
  find('UNKNOWN_COMMAND', without(commands, knownCommands), 'no command of this version')
  find('TABLE_MISSING', without(laneTables, tables), 'no word of')
  find('UNKNOWN_TABLE', without(tables, known.tables), 'no table of this version')
  return judgeAll(findings, `${commands.length} commands, ${tables.length} tables`)
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** Clocks of two machines may differ by so much. */
const aheadMs = 300_000

const because = (fault: FaultClass, code: string, what: string, found: string, fix: string): CheckResult => ({
  status: 'fail',
  findings: [{ code, variable: what, found, fix }],
  class: fault,
})

const nameFolder = 'name the folder of the backups in the policy (backupFolder)'

function judgeBackup(facts: FactsOf<typeof probes.backupShape>, { policy, now }: JudgePorts): CheckResult {
  if (!facts.holdsRows) return passed('the lane has no rows yet: nothing can be lost', { backup: 'not needed yet' })
  if (policy.backupFolder === undefined) return because('config', 'NO_FOLDER', 'backupFolder', 'not set', nameFolder)
  const fix = 'arqonbus projector backup <folder>/<name>.dump'
  if (!facts.isReadable) {
    return because('config', 'FOLDER_UNREADABLE', 'backupFolder', 'it cannot be read', 'correct it, or grant the right')
  }
  if (facts.newest === undefined) return failed('NO_BACKUP', 'backupFolder', 'none of this database', fix)
  const { bytes, bytesOnDisk, digest, listing, createdAtMs } = facts.newest
  if (bytesOnDisk === 0 || bytesOnDisk !== bytes || digest === 'differs') {
    return failed('DAMAGED', 'backup', 'the dump is not the one of its manifest', fix)
  }
  if (listing === 'no tool') {
    const install = 'install the client programs of PostgreSQL (Debian: postgresql-client)'
    return because('config', 'TOOL_ABSENT', 'PATH', 'pg_restore cannot be run', install)
  }
  if (listing !== 'good') return failed('NOT_LISTABLE', 'backup', 'pg_restore does not read it', fix)
  const ageMs = now - Number(createdAtMs)
  const hours = `${Math.floor(ageMs / hourMs)} hours old`
  if (ageMs < -aheadMs) return failed('FROM_THE_FUTURE', 'backup', hours, 'look at the clocks, then back up again')
  if (ageMs > policy.backupMaxAge * hourMs) return failed('STALE', 'backup', hours, fix)
  return passed(hours, { backup: 'fresh' })
}

function judgeDrill(facts: FactsOf<typeof probes.drillShape>, { policy, now }: JudgePorts): CheckResult {
  if (!facts.holdsRows) return passed('the lane has no rows yet', { drill: 'not needed yet' })
  const fix = 'arqonbus projector drill <folder>/<name>.dump'
  const maxMs = policy.restoreDrillMaxAge * dayMs
  if (facts.ok === false) return failed('DRILL_FAILED', 'drill', 'the last drill failed', fix)
  if (facts.atMs !== undefined) {
    const ageMs = now - facts.atMs
    if (ageMs >= -aheadMs && ageMs <= maxMs) {
      return passed(`${Math.floor(ageMs / dayMs)} days ago`, { drill: 'fresh' })
    }
    return failed('OVERDUE', 'drill', `the last drill was ${Math.floor(ageMs / dayMs)} days ago`, fix)
  }
  if (now - facts.madeAtMs <= maxMs) {
    return passed(`advice: no drill yet; ${fix}`, { drill: 'none yet' })
  }
  const found = facts.isReadable ? 'no drill of this database is recorded' : 'no folder of backups can be read'
  return failed('OVERDUE', 'drill', found, facts.isReadable ? fix : `${nameFolder}, then: ${fix}`)
}
