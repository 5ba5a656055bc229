// The report as lines of JSON: one for each check, in plan order, then the verdict. While a run goes on each line is
// written as its check ends; where the end of the run changes one (an exception that did not hold), it comes again, and
// the last line of an id counts.
import { toIsoTime } from '../../base/clock.ts'
import type { Observation, Report, Result } from '../report.ts'
import { exitCodeOf } from '../verdict.ts'
import { completedAt, statusOf } from './view.ts'

/** One line for a check that has ended. `blocks` is known only at the end, and left out. */
export function checkLine(result: Result, observation: Observation | undefined): string {
  const { blocks: _, ...rest } = result
  const { ms, observed, findings, exception } = observation ?? {}
  const seen = {
    ...(ms !== undefined && { ms }),
    ...(observed !== undefined && { observed }),
    ...(findings !== undefined && { found: findings.map(({ found }) => found) }),
    ...(exception !== undefined && { exception }),
  }
  return JSON.stringify({ type: 'check', ...rest, outcome: statusOf(result), ...seen })
}

export function verdictLine(report: Report): string {
  const { verdict, profile, counts, rootCauses, route, unproven, fault, plan } = report.canonical
  const at = completedAt(report)
  return JSON.stringify({
    type: 'verdict',
    verdict,
    exit: exitCodeOf(report.canonical),
    profile,
    plan,
    digest: report.digest,
    counts,
    rootCauses,
    unproven,
    ...(route !== undefined && { route }),
    ...(fault !== undefined && { fault: { ...fault, words: report.observations.fault ?? '' } }),
    ...(at !== undefined && { at: toIsoTime(at) }),
  })
}

export function ndjsonLines(report: Report): string[] {
  const { canonical, observations } = report
  const checks = canonical.results.map((result) => checkLine(result, observations.results[result.id]))
  return [...checks, verdictLine(report)]
}

export const formatNdjson = (report: Report): string =>
  ndjsonLines(report)
    .map((line) => `${line}\n`)
    .join('')
