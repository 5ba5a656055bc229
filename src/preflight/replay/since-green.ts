// What a run can say of the ones before it: the head line and the hints of the report for people.
import type { Check } from '../check.ts'
import type { Report, SinceGreen } from '../report.ts'
import { type Cause, diffRuns } from './diff.ts'
import { endedCases, lastGreen, memoryOf, provedPhases } from './history.ts'

/** `runs`: oldest first, without this one. Undefined where none of them was green, and there is no `baseline` either. */
export function sinceGreen(
  runs: readonly Report[],
  report: Report,
  catalogue: readonly Check[],
  baseline?: Report,
): SinceGreen | undefined {
  const green = baseline ?? lastGreen(runs, report.canonical.profile)
  if (green === undefined) return undefined
  const diff = diffRuns(green, report, catalogue)
  const [cause] = diff.causes
  const memory = report.canonical.rootCauses.map((id) => {
    const usualFix = usualFixOf(runs, id, catalogue)
    return [id, { ...memoryOf(runs, id), ...(usualFix !== undefined && { usualFix }) }] as const
  })
  return {
    ...(baseline !== undefined && { isBaseline: true }),
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

/** More of the newest cases say no more, and each is a diff. */
const mostCases = 10

/** What had changed when it passed again, most often: what most likely made it fail, asked the other way round. */
function usualFixOf(runs: readonly Report[], id: string, catalogue: readonly Check[]) {
  const counts = new Map<string, number>()
  for (const { failed, passed } of endedCases(runs, id).slice(-mostCases)) {
    const cause = diffRuns(passed, failed, catalogue).causes.find(({ explains }) => explains === id)
    if (cause !== undefined) counts.set(changeWords(cause), (counts.get(changeWords(cause)) ?? 0) + 1)
  }
  const [first] = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  return first === undefined ? undefined : { change: first[0], cases: first[1] }
}

function changeWords({ kind, name, check }: Cause): string {
  if (kind === 'stopped') return `what ${check} reaches`
  if (kind === 'fact') return `${name} of ${check}`
  return kind === name ? kind : `${kind} ${name}`
}

/** `variable NATS_URL, for shield.nats-url-configured`. */
export function causeWords({ kind, name, check, explains }: Cause): string {
  if (kind === 'stopped') return `${check} came to ${name}, for ${explains}`
  if (kind === 'fact') return `fact ${name} of ${check}${check === explains ? '' : `, for ${explains}`}`
  return `${kind === name ? kind : `${kind} ${name}`}, for ${explains}`
}
