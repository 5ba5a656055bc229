// Are the tables there as this version made them, may the user do with them what we do, and is what was written read?
import type { Finding } from '../../rules/rule.ts'
import { type Check, type CheckResult, defineCheck, failed, type FactsOf, judgeAll, passed } from '../check.ts'
import type { JudgePorts } from '../check.ts'
import * as probes from './data-probes.ts'
import * as worlds from './data-worlds.ts'
import { common, variable, wordOf } from './look.ts'
import { isNeeded, objectsOf, partsInUse } from './needs.ts'

const role = `<the user of ${variable}>`
const migrate = 'arqonbus migrate up'

export const dataChecks: readonly Check[] = [
  defineCheck({
    ...common,
    id: 'dep.postgres.migrations',
    title: 'The database has the schema of this version',
    proves:
      'Every migration that the configuration needs is applied with the content it is shipped with, no newer version was here, nobody migrates now, and nothing of the tables is missing. A migration that fails leaves no row: each is one transaction.',
    evidence: 'The ledger against the shipped files by SHA-256, the advisory lock, the catalogue against schema.txt.',
    fix: `Run \`${migrate}\`, or put back what was changed.`,
    severity: 'blocker',
    requires: ['dep.postgres.writable'],
    shape: probes.migrationsShape,
    probe: probes.probeMigrations,
    judge: judgeMigrations,
    worlds: worlds.migrations,
    hints: {
      NO_PERMISSION: `GRANT USAGE ON SCHEMA <that of the tables> TO ${role}; GRANT SELECT ON arqonbus_migrations TO ${role}`,
    },
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.privileges',
    title: 'The user may do what we do',
    proves: 'Each right on each table, sequence and function that the configured programs use is granted.',
    evidence: 'has_table_privilege, has_sequence_privilege and has_function_privilege for each of them.',
    fix: 'Run the GRANT of the finding as the owner of the tables.',
    severity: 'blocker',
    class: 'config',
    requires: ['dep.postgres.migrations', 'projector.migration-applied'],
    shape: probes.privilegesShape,
    probe: probes.probePrivileges,
    judge: judgePrivileges,
    worlds: worlds.privileges,
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.roundtrip',
    title: 'What is written is read',
    proves:
      'A new row is committed, read over a second connection and deleted; where arqonbus_probe cannot be used, the same in a transaction that is rolled back.',
    evidence: 'Which of the two it was; what came back.',
    fix: 'Look at the log of Postgres, and at what stands between.',
    severity: 'blocker',
    requires: ['dep.postgres.privileges'],
    effects: [
      { kind: 'net', what: 'two connections to Postgres' },
      { kind: 'write', what: 'row preflight-<run> of arqonbus_probe, or a temporary table that is rolled back' },
    ],
    shape: probes.roundtripShape,
    probe: probes.probeRoundtrip,
    judge: judgeRoundtrip,
    worlds: worlds.roundtrip,
    hints: { NO_PERMISSION: `run \`${migrate}\`, and GRANT SELECT, INSERT, DELETE ON arqonbus_probe TO ${role}` },
  }),
]

function judgeMigrations(facts: FactsOf<typeof probes.migrationsShape>, { ctx }: JudgePorts): CheckResult {
  // The lane's own are projector.migration-applied.
  const inUse = partsInUse(ctx).filter((name) => name !== 'projector')
  const named = (state: string): string[] =>
    facts.migrations.flatMap((one) => (one['state'] === state ? [wordOf(one['name'])] : []))
  const findings: Finding[] = []
  for (const name of named('unknown')) {
    const fix = 'a newer version has changed this database: start that version'
    findings.push({ code: 'AHEAD', variable: 'migrations', found: `${name} is not of this version`, fix })
  }
  for (const name of named('edited')) {
    const fix = 'put the file back as it was applied, and add a new one for what has to change'
    findings.push({ code: 'ALTERED', variable: name, found: 'applied with another content', fix })
  }
  const pending = named('pending').filter((name) => isNeeded(name, inUse))
  for (const name of pending) findings.push({ code: 'PENDING', variable: name, found: 'not applied', fix: migrate })
  if (facts.isLocked) {
    const fix = 'wait for the migration that runs; pg_locks shows who holds the advisory lock'
    findings.push({ code: 'LOCKED', variable: 'migrations', found: 'a migration is running', fix })
  }
  const names = objectsOf(inUse).map(({ name }) => name)
  const isOurs = (word: string): boolean => names.some((name) => word === name || word.startsWith(`${name}_`))
  const missing = facts.missing.filter((line) => wordsOf(line).some(isOurs))
  if (pending.length === 0 && missing.length > 0) {
    const found = `${missing.length} missing: ${missing.slice(0, 3).join('; ')}`
    const fix = 'put back what was changed by hand; `arqonbus migrate verify` shows all of it'
    findings.push({ code: 'DRIFT', variable: 'schema', found, fix })
  }
  const observed = `${named('applied').length} applied, ${named('pending').length} not needed`
  return judgeAll(findings, observed)
}

/** `column arqonbus_records.frame …`: names stand between what is no letter. */
const wordsOf = (line: string): string[] => line.split(/\W+/)

function judgePrivileges(
  { denied, absent, asked }: FactsOf<typeof probes.privilegesShape>,
  { ctx }: JudgePorts,
): CheckResult {
  const findings: Finding[] = []
  for (const { kind, name } of objectsOf(partsInUse(ctx))) {
    const rights = denied.flatMap((one) => (one['name'] === name ? [wordOf(one['right'])] : [])).join(', ')
    if (rights !== '') {
      const fix = `GRANT ${rights} ON ${describeObject(kind, name)} TO ${role}`
      findings.push({ code: 'MISSING_GRANT', variable: name, found: `not granted: ${rights}`, fix })
    }
    if (absent.includes(name)) findings.push({ code: 'ABSENT', variable: name, found: 'not there', fix: migrate })
  }
  return judgeAll(findings, `${asked} rights are granted`)
}

/** As GRANT names it. */
const describeObject = (kind: string, name: string): string =>
  kind === 'table' ? name : `${kind.toUpperCase()} ${name}`

function judgeRoundtrip({ mode, isSame, deleted }: FactsOf<typeof probes.roundtripShape>): CheckResult {
  const fix = `point ${variable} at one server, the primary: something between answers for another`
  if (!isSame) return failed('NOT_READ', variable, `${mode}: what was written was not read`, fix)
  if (deleted !== 1) return failed('NOT_DELETED', variable, `${mode}: ${deleted} rows were deleted, not 1`, fix)
  return passed(mode, { mode })
}
