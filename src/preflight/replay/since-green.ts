// What a run can say of the ones before it: the head line and the hints of the report for people.
import type { Check } from '../check.ts'
import type { Report, SinceGreen } from '../report.ts'
import { type Cause, diffRuns } from './diff.ts'
import { lastGreen, memoryOf, provedPhases } from './history.ts'

/** `runs`: oldest first, without this one. Undefined where none of them was green. */
export function sinceGreen(
  runs: readonly Report[],
  report: Report,
  catalogue: readonly Check[],
): SinceGreen | undefined {
  const green = lastGreen(runs, report.canonical.profile)
  if (green === undefined) return undefined
  const diff = diffRuns(green, report, catalogue)
  const [cause] = diff.causes
  const memory = report.canonical.rootCauses.map((id) => [id, memoryOf(runs, id)] as const)
  return {
    at: green.observations.startedAt,
    verdict: green.canonical.verdict,
    phases: provedPhases(green),
    checks: diff.checks.length,
    variables: diff.inputs.filter(({ kind }) => kind === 'variable').length,
    isOtherCommit: diff.inputs.some(({ kind }) => kind === 'commit'),
    ...(cause !== undefined && { cause: causeWords(cause) }),
    memory: Object.fromEntries(memory),
  }
}

/** `variable NATS_URL, for shield.nats-url-configured`. */
export function causeWords({ kind, name, check, explains }: Cause): string {
  if (kind === 'stopped') return `${check} came to ${name}, for ${explains}`
  if (kind === 'fact') return `fact ${name} of ${check}${check === explains ? '' : `, for ${explains}`}`
  return `${kind === name ? kind : `${kind} ${name}`}, for ${explains}`
}
