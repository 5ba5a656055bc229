// A suite as a gate: run once in an environment made from nothing, and believed only with its machine report.
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckPorts, type CheckResult, failed, type JudgePorts, judgeAll } from '../check.ts'
import { type Host, listed } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { judgeAttested } from './attested.ts'
import { environmentOfSuites, sessionOf, validAttestation } from './gate-session.ts'
import { lookAgain } from './isolation.ts'
import { codeBelow, onlyPlaces } from './sources.ts'
import { readSuiteFile, type Suite, suiteFileName } from './suite-file.ts'
import { readSuiteReport } from './suite-report.ts'

export const suiteShape = {
  /** `run`, `attestation`, or `absent`. */
  by: 'string',
  attestation: 'object?',
  suite: 'string',
  /** Files and folders that are named and not there. */
  missing: 'strings',
  only: 'strings',
  exit: 'number?',
  /** The signal that ended it, or why it did not start. */
  trouble: 'string?',
  hasReport: 'boolean',
  tests: 'number',
  failed: 'number',
  firstFailure: 'string?',
  /** Skipped, and not on the list. */
  skipped: 'strings',
  /** The judged servers after it: `same`, `changed`, `unreadable`. */
  after: 'string',
} as const

export interface SuiteFacts {
  readonly by: string
  readonly attestation?: JsonObject
  readonly suite: string
  readonly missing: readonly string[]
  readonly only: readonly string[]
  readonly exit?: number
  readonly trouble?: string
  readonly hasReport: boolean
  readonly tests: number
  readonly failed: number
  readonly firstFailure?: string
  readonly skipped: readonly string[]
  readonly after: string
}

const nothing = { missing: [], only: [], hasReport: false, tests: 0, failed: 0, skipped: [], after: 'same' }

export const probeSuite =
  (host: Host, name: string, deadlineMs: number) =>
  async (ports: CheckPorts, signal: AbortSignal): Promise<SuiteFacts> => {
    const attestation = await validAttestation(host, ports, signal)
    if (attestation !== undefined) return { ...nothing, by: 'attestation', suite: name, attestation }
    const suite = readSuiteFile(host)?.suites.get(name)
    const { root } = host
    // In a build there is nothing to run, whatever the file says.
    const places = suite === undefined ? [] : [...suite.files, ...suite.sources]
    if (suite === undefined || places.every((place) => !existsSync(join(root, place)))) {
      return { ...nothing, by: 'absent', suite: name }
    }
    const missing = places.filter((place) => !existsSync(join(root, place)))
    const facts = { ...nothing, by: 'run', suite: name, only: onlyPlaces(codeBelow(root, places)) }
    if (missing.length > 0) return { ...facts, missing }
    return { ...facts, ...(await runSuite(host, name, suite, { ports, signal, deadlineMs })) }
  }

interface Running {
  readonly ports: CheckPorts
  readonly signal: AbortSignal
  readonly deadlineMs: number
}

async function runSuite(host: Host, name: string, suite: Suite, { ports, signal, deadlineMs }: Running) {
  const session = sessionOf(ports, host)
  mkdirSync(join(session.folder, 'reports'), { recursive: true })
  const report = join(session.folder, 'reports', `${name}.json`) // a new folder: no older one can stand in
  const argv = [...suite.command, ...suite.files].map((word) =>
    word.replaceAll('{node}', host.node).replaceAll('{report}', report),
  )
  const ended = await session.spool.run(
    { id: `gate-${name}`, argv, cwd: host.root },
    { env: environmentOfSuites(session), deadlineMs, signal },
  )
  if (ended.isLate === true) throw new ProbeStop('DEADLINE', 'the suite was ended', 'run')
  const counts = readSuiteReport(report)
  if (counts !== undefined) session.tests.set(name, counts.tests)
  const trouble = ended.failure ?? ended.signal
  return {
    ...(ended.exit !== null && { exit: ended.exit }),
    ...(trouble !== null && trouble !== undefined && { trouble }),
    hasReport: counts !== undefined,
    tests: counts?.tests ?? 0,
    failed: counts?.failed ?? 0,
    ...(counts?.firstFailure !== undefined && { firstFailure: counts.firstFailure }),
    skipped: (counts?.skipped ?? []).filter((test) => !suite.skips.includes(test)),
    after: await lookAgain(host, ports, signal),
  }
}

export function judgeSuite(facts: SuiteFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const attested = judgeAttested(facts, now)
  if (attested !== undefined) return attested
  const { by, suite, missing, only, exit, trouble, hasReport, tests, failed: failures, skipped, after } = facts
  if (by === 'absent') {
    const fix = `run the gates in a checkout whose ${suiteFileName} has this suite, or bring their result: --attestation`
    return failed('SUITE_ABSENT', suiteFileName, `nothing of ${suite} is here`, fix)
  }
  const findings: Finding[] = []
  const add = (code: string, variable: string, found: string, fix: string): void => {
    findings.push({ code, variable, found, fix })
  }
  if (missing.length > 0) {
    add('FILE_MISSING', suiteFileName, listed(missing), 'bring the files back, or change the list in a review')
    return judgeAll(findings)
  }
  if (only.length > 0) add('ONLY', suite, listed(only), 'take the .only away: it hides the tests beside it')
  const look = 'read its output in the incident bundle: commands/'
  if (!hasReport) add('NO_REPORT', suite, trouble ?? `exit ${exit}`, `no report was written: ${look}`)
  else if (failures > 0) {
    add('TESTS_FAILED', suite, `${failures} failed; first ${facts.firstFailure ?? 'unknown'}`, look)
  } else if (tests === 0) add('NO_TESTS', suite, 'no test ran', 'the suite proves nothing: look at its patterns')
  if (skipped.length > 0) {
    const fix = `let them run, or list each with its reason (\`skips\` in ${suiteFileName})`
    add('SKIPPED', suite, listed(skipped), fix)
  }
  if (hasReport && failures === 0 && exit !== 0) {
    add('RUNNER_FAILED', suite, trouble ?? `exit ${exit}`, `an error outside the tests: ${look}`)
  }
  if (after === 'changed') {
    const fix = 'find out whether the suite did it, before anything else: its output is in the incident bundle'
    add('PRODUCTION_CHANGED', suite, 'a judged server was restarted or replaced meanwhile', fix)
  } else if (after !== 'same') {
    const fix = 'bring the judged servers back, find out whether the suite ended them, and run again'
    add('PRODUCTION_LOST', suite, 'a judged server can no longer be read', fix)
  }
  return judgeAll(findings, `${tests} tests`, { by })
}
