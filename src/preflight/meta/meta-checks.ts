// The preflight itself: is it about the runbook that is there, about the environment that will start, complete, proven,
// and alone?
import { production } from '../../rules/predicates.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Applicability, type Check, type CheckPorts, defineCheck, failed, judgeAll, passed } from '../check.ts'
import { runbookDigest } from '../runbook-coverage.ts'
import {
  isDay,
  lookAtCatalogue,
  lookAtDates,
  lookAtProof,
  lookAtRunbook,
  lookAtSource,
  type MetaSources,
  takeRunLock,
} from './meta-probes.ts'
import { catalogueWorlds, datedWorlds, lockWorlds, proofWorlds, runbookWorlds, sourceWorlds } from './meta-worlds.ts'

const always: Applicability = { name: 'always', test: () => ({ holds: true, because: 'always' }) }
const inProduction: Applicability = { name: production.name, test: ({ ctx }) => production.test(ctx) }

const base = { phase: 'static', requires: [], deadlineMs: 5_000 } as const

/** `catalogue` is the one these are part of. */
export function createMetaChecks(catalogue: () => readonly Check[], sources: MetaSources = {}): readonly Check[] {
  return [
    runbookCheck(catalogue, sources),
    datedCheck(sources),
    sourceCheck,
    catalogueCheck(catalogue, sources),
    proofCheck(catalogue),
    lockCheck(sources),
  ]
}

const runbookCheck = (catalogue: () => readonly Check[], sources: MetaSources): Check =>
  defineCheck({
    ...base,
    id: 'meta.runbook-digest',
    title: 'The runbook is the one that the checks were written for',
    proves: 'Its text is unchanged, each of its lines has a check or a reason, and no check names a line it lacks.',
    evidence: 'The digest of the file, and the lines and checks that lack each other.',
    fix: 'Add or retire checks for the lines that changed, then take over the digest (src/preflight/runbook-coverage.ts).',
    runbook: ['L1'],
    severity: 'high',
    class: 'regression',
    appliesWhen: inProduction,
    effects: [{ kind: 'file', what: 'the runbook' }],
    shape: { digest: 'string', orphans: 'strings', strangers: 'strings', stale: 'strings', faults: 'strings' },
    probe: async () => lookAtRunbook(catalogue(), sources),
    judge({ digest, orphans, strangers, stale, faults }) {
      const findings: Finding[] = []
      const add = (code: string, found: readonly string[], fix: string): void => {
        if (found.length > 0) findings.push({ code, variable: 'runbook', found: found.join(', '), fix })
      }
      const changed = digest === runbookDigest ? [] : [`${digest.slice(0, 12)}…, not ${runbookDigest.slice(0, 12)}…`]
      add('RUNBOOK_CHANGED', changed, 'go through what changed, add or retire checks, then take over the digest')
      add('LINE_WITHOUT_CHECK', orphans, 'name the lines in the `runbook` of the checks that prove them')
      add('NO_SUCH_LINE', strangers, 'correct the `runbook` of those checks')
      add('REASON_IS_OVER', stale, 'take these lines off the table `notYet`')
      add('RUNBOOK_UNREADABLE', faults, 'give the runbook the headings and boxes that it had')
      return judgeAll(findings, `unchanged, ${runbookDigest.slice(0, 12)}…`, { unchanged: digest === runbookDigest })
    },
    worlds: runbookWorlds,
  })

const datedCheck = (sources: MetaSources): Check =>
  defineCheck({
    ...base,
    id: 'meta.runbook-dated',
    title: 'The runbook is dated no earlier than what it names',
    proves: 'Its date is a day that has come, and neither a file that it names nor its last commit is newer.',
    evidence: 'The dates: its own, those of the files that it names, that of its last commit.',
    fix: 'Change the date when you change the runbook.',
    runbook: ['L3'],
    severity: 'advisory',
    class: 'config',
    appliesWhen: inProduction,
    effects: [
      { kind: 'file', what: 'the runbook' },
      { kind: 'spawn', what: 'git log, where there is a repository' },
    ],
    shape: { updated: 'string?', named: 'strings', touched: 'string?' },
    probe: async (_ports, signal) => await lookAtDates(sources, signal),
    judge({ updated, named, touched }, { now }) {
      const fix = 'change the date when you change the runbook'
      if (updated === undefined) return failed('NO_DATE', 'runbook', 'no line says when it was updated', fix)
      if (!isDay(updated)) return failed('NOT_A_DATE', 'runbook', 'its date is no day (YYYY-MM-DD)', fix)
      const findings: Finding[] = []
      const add = (code: string, found: string): void => {
        findings.push({ code, variable: 'runbook', found, fix })
      }
      const newest = named.findLast((day) => day > updated)
      if (newest !== undefined) add('OLDER_THAN_NAMED', `${updated}, but it names something of ${newest}`)
      if (touched !== undefined && touched > updated) add('OLDER_THAN_COMMIT', `${updated}, last changed ${touched}`)
      if (Date.parse(`${updated}T00:00:00Z`) > now) add('IN_FUTURE', `${updated} has not come yet`)
      return judgeAll(findings, updated)
    },
    worlds: datedWorlds,
  })

const sourceCheck: Check = defineCheck({
  ...base,
  id: 'meta.env-source',
  title: 'What is judged is the environment that will start',
  proves: 'The operator named where the environment comes from: a unit, a manifest, a file, a process, or this shell.',
  evidence: 'The source, the variables of which this shell says something else, and places that others hide.',
  fix: 'arqonbus preflight --env-from systemd:arqonbus.service (or compose:, k8s:, file:, pid:, process)',
  runbook: ['L7'],
  severity: 'critical',
  class: 'config',
  appliesWhen: inProduction,
  effects: [{ kind: 'env', what: 'the source that --env-from names' }],
  shape: { source: 'string', isGiven: 'boolean', drift: 'strings', hidden: 'strings' },
  probe: async (ports: CheckPorts) => lookAtSource(ports),
  judge({ source, isGiven, drift, hidden }) {
    const kind = source.replace(/:.*$/s, '')
    if (!isGiven) {
      return failed(
        'NOT_NAMED',
        '--env-from',
        'this shell was judged, and the service may start from somewhere else',
        'name where the service starts: --env-from systemd:arqonbus.service, or --env-from process for this shell',
      )
    }
    return passed(describeSource(source, drift, hidden), { source: kind })
  },
  worlds: sourceWorlds,
})

/** What differs is told and decides nothing: the source is what starts. */
function describeSource(source: string, drift: readonly string[], hidden: readonly string[]): string {
  const differs = drift.length === 0 ? '' : `; this shell differs in ${drift.join(', ')}`
  const hides = hidden.length === 0 ? '' : `; hidden: ${hidden.join(', ')}`
  return source + differs + hides
}

const catalogueCheck = (catalogue: () => readonly Check[], sources: MetaSources): Check =>
  defineCheck({
    ...base,
    id: 'meta.catalogue-complete',
    title: 'Every check of this build is there',
    proves: 'The checks that registered are those of the manifest of the build, neither fewer, nor more, nor others.',
    evidence: 'Both digests, and the ids that only one of them has.',
    fix: 'Install the package again; while developing, run `node scripts/gen-config-docs.ts`.',
    runbook: ['L7'],
    severity: 'blocker',
    class: 'regression',
    appliesWhen: always,
    effects: [{ kind: 'file', what: 'catalogue-manifest.json' }],
    shape: { count: 'number', expected: 'string', actual: 'string', missing: 'strings', unexpected: 'strings' },
    probe: async () => lookAtCatalogue(catalogue(), sources),
    judge({ count, expected, actual, missing, unexpected }) {
      const fix = 'install the package again; while developing, run `node scripts/gen-config-docs.ts`'
      const findings: Finding[] = []
      const add = (code: string, found: string): void => {
        findings.push({ code, variable: 'catalogue', found, fix })
      }
      if (missing.length > 0) add('CHECK_MISSING', missing.join(', '))
      if (unexpected.length > 0) add('CHECK_UNEXPECTED', unexpected.join(', '))
      if (findings.length === 0 && expected !== actual) add('CHECK_CHANGED', `${actual}, not ${expected}`)
      return judgeAll(findings, `${count} checks, ${actual}`)
    },
    worlds: catalogueWorlds,
  })

const proofCheck = (catalogue: () => readonly Check[]): Check =>
  defineCheck({
    ...base,
    id: 'meta.selfproof-fresh',
    title: 'Every check has been seen to fail',
    proves:
      'In this very process each check failed where it has to, passed where it has to, and erred without its eyes.',
    evidence: 'The digest of the ledger, how many worlds killed a check, and the checks that got one wrong.',
    fix: 'Install the package again; while developing, add the world in which the check fails.',
    runbook: ['L7'],
    severity: 'high',
    class: 'regression',
    appliesWhen: inProduction,
    effects: [{ kind: 'env', what: 'nothing but made-up worlds' }],
    shape: { ledger: 'string', kills: 'number', faults: 'number', unproven: 'strings' },
    probe: async () => lookAtProof(catalogue()),
    judge({ ledger, kills, faults, unproven }) {
      const fix = 'install the package again; while developing, add the world in which the check fails'
      if (unproven.length > 0 || faults > 0) {
        return failed('UNPROVEN', 'catalogue', `${faults} worlds went wrong: ${unproven.join(', ')}`, fix)
      }
      if (kills === 0) return failed('NOTHING_PROVEN', 'catalogue', 'no check was seen to fail', fix)
      return passed(`${kills} worlds, ledger ${ledger}`)
    },
    worlds: proofWorlds,
  })

const lockCheck = (sources: MetaSources): Check =>
  defineCheck({
    ...base,
    id: 'meta.lock',
    title: 'No other preflight of the same services runs',
    proves: 'This run holds the lock of these services until its end.',
    evidence: 'The lock, or who holds it and since when.',
    fix: 'Wait for the other run (--wait 120s).',
    runbook: ['L7'],
    severity: 'high',
    class: 'dependency',
    appliesWhen: inProduction,
    effects: [{ kind: 'write', what: 'lock file in ARQONBUS_DATA_DIR or the folder for temporary files, for the run' }],
    retryOn: ['RUN_LOCKED'],
    shape: { isOurs: 'boolean' },
    probe: async (ports: CheckPorts) => takeRunLock(ports, sources),
    judge: ({ isOurs }) =>
      isOurs
        ? passed('held')
        : failed('LOCK_LOST', 'lock', 'another run has taken the lock since', 'wait for the other run (--wait 120s)'),
    worlds: lockWorlds,
  })
