// GO, NO-GO or INCONCLUSIVE: pure functions of results. What was not proved is never GO.
import type { Severity } from '../rules/rule.ts'
import type { Phase } from './check.ts'
import type { Canonical, Result, Verdict } from './report.ts'

export interface Evidence {
  /** Ids of all checks of the plan. */
  readonly planned: readonly string[]
  readonly required: readonly Phase[]
  readonly results: readonly Result[]
}

const gates = ({ severity }: Result): boolean => severity !== 'advisory'

/** Did this one stop the start? A blocker cannot be excused (preflight 2.0). */
export function stops(result: Result): boolean {
  if (!gates(result)) return false
  if (result.status === 'fail' || result.status === 'error') return true
  if (result.status === 'waived') return result.severity === 'blocker'
  return result.status === 'skip' && result.reason.kind === 'blocked-by'
}

/** What is missing for a GO, in words; empty when nothing is. */
export function unproven({ planned, required, results }: Evidence): string[] {
  const reasons: string[] = []
  if (planned.length === 0) reasons.push('no check was planned')
  const seen = new Map(results.map((result) => [result.id, result]))
  const missing = planned.filter((id) => !seen.has(id))
  if (missing.length > 0) reasons.push(`no result of ${missing.join(', ')}`)
  for (const phase of required) {
    const isProved = results.some((result) => result.phase === phase && gates(result) && result.status === 'pass')
    if (!isProved) reasons.push(`phase ${phase} proved nothing`)
  }
  const left = results.filter(
    (result) =>
      gates(result) &&
      result.status === 'skip' &&
      (result.reason.kind === 'not-selected' || result.reason.kind === 'not-permitted'),
  )
  if (left.length > 0) reasons.push(`${left.length === 1 ? '1 check was' : `${left.length} checks were`} not run`)
  return reasons
}

export function verdictOf(evidence: Evidence): Verdict {
  if (evidence.results.some(stops)) return 'NO-GO'
  return unproven(evidence).length > 0 ? 'INCONCLUSIVE' : 'GO'
}

const order = ['blocker', 'critical', 'high'] as const

/**
 * The worst severity of the causes: what merely waits on one weighs nothing. Where nothing that gates failed itself, of
 * what waits.
 */
export function worstOf(results: readonly Result[]): Exclude<Severity, 'advisory'> | undefined {
  const stopped = results.filter(stops)
  const causes = stopped.filter(({ status }) => status !== 'skip')
  const weighed = causes.length > 0 ? causes : stopped
  return order.find((severity) => weighed.some((result) => result.severity === severity))
}

export const exitCodes = {
  go: 0,
  blocker: 20,
  critical: 21,
  high: 22,
  inconclusive: 30,
  /** `replay`, `diff`: not what was expected, not the same. */
  differs: 50,
  usage: 64,
  input: 65,
  internal: 70,
  interrupted: 130,
} as const

/** The process's exit code (preflight 3.4): from the canonical part alone. */
export function exitCodeOf({ verdict, results, fault }: Canonical): number {
  if (fault !== undefined) return exitCodes[fault.kind]
  if (verdict === 'GO') return exitCodes.go
  if (verdict === 'INCONCLUSIVE') return exitCodes.inconclusive
  // A NO-GO nobody caused would be a fault of ours.
  const worst = worstOf(results)
  return worst === undefined ? exitCodes.internal : exitCodes[worst]
}

/** The verdict as people read it: a GO that rests on exceptions says so (preflight 3.7). */
export function verdictText({ verdict, counts }: Pick<Canonical, 'verdict' | 'counts'>): string {
  if (verdict !== 'GO' || counts.waived === 0) return verdict
  return `GO (${counts.waived === 1 ? '1 exception' : `${counts.waived} exceptions`})`
}
