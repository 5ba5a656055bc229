// A suite as a gate: run once in an environment made from nothing, and believed only with its machine report.
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import type { Host } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { environmentOfSuites, sessionOf, validAttestation } from './gate-session.ts'
import { lookAgain } from './isolation-probes.ts'
import { codeBelow, onlyPlaces } from './sources.ts'
import { readSuiteFile, type Suite } from './suite-file.ts'
import { readSuiteReport, readSuiteReports } from './suite-report.ts'

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
  const earlier = suite.partOf.map((other) => session.reports.get(other))
  const reports = earlier.filter((report) => report !== undefined)
  const isRun = reports.length > 0 && reports.length === earlier.length
  const { counts, ...ended } = isRun
    ? { counts: readSuiteReports(reports, isBelow(host.root, suite)), exit: 0 }
    : await start(host, name, suite, { ports, signal, deadlineMs })
  if (counts !== undefined) session.tests.set(name, counts.tests)
  return {
    ...ended,
    missing: isRun ? suite.files.filter((file) => !counts?.files.includes(join(host.root, file))) : [],
    hasReport: counts !== undefined,
    tests: counts?.tests ?? 0,
    failed: counts?.failed ?? 0,
    ...(counts?.firstFailure !== undefined && { firstFailure: counts.firstFailure }),
    skipped: (counts?.skipped ?? []).filter((test) => !suite.skips.includes(test)),
    after: await lookAgain(host, ports, signal),
  }
}

/** Whether a test file is one of the suite's own. */
function isBelow(root: string, { files, sources }: Suite): (file: string) => boolean {
  const places = (files.length > 0 ? files : sources).map((place) => join(root, place))
  return (file) => places.some((place) => file === place || file.startsWith(`${place}/`))
}

async function start(host: Host, name: string, suite: Suite, { ports, signal, deadlineMs }: Running) {
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
  session.reports.set(name, report)
  const trouble = ended.failure ?? ended.signal
  return {
    counts: readSuiteReport(report),
    ...(ended.exit !== null && { exit: ended.exit }),
    ...(trouble !== null && trouble !== undefined && { trouble }),
  }
}
