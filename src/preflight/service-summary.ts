// One service out of a report: what was proved of it, what was not, and why. For people who ask about that service only.
import type { Severity } from '../rules/rule.ts'
import type { Report, Result } from './report.ts'
import { worstOf } from './verdict.ts'

export interface ServiceSummary {
  readonly service: string
  /** `pass`, the worst severity that failed, or `inconclusive` where something that gates was not run. */
  readonly outcome: 'pass' | Exclude<Severity, 'advisory'> | 'inconclusive'
  readonly results: readonly ServiceResult[]
  /** The same for people. */
  readonly lines: readonly string[]
}

export interface ServiceResult {
  readonly id: string
  readonly severity: Severity
  readonly status: Result['status']
  readonly ms: number
  /** What was seen, what was found wrong, or why it was not run. */
  readonly seen: string
  readonly fix?: string
}

/** Checks that do not apply are left out; where none applies, `results` is empty. */
export function summarise({ canonical, observations }: Report, service: string): ServiceSummary {
  // What the service's checks need has failed before them: it belongs to the answer.
  const own = canonical.results.filter(({ id }) => id.startsWith(`dep.${service}.`))
  const roots = new Set(own.flatMap((result) => (isBlocked(result) ? [result.reason.id] : [])))
  const shown = canonical.results.filter(
    (result) => (own.includes(result) || roots.has(result.id)) && !isOutOfPlace(result),
  )
  const results = shown.map((result) => serviceResult(result, observations.results[result.id]))
  const worst = worstOf(shown)
  const isLeftOut = shown.some(({ severity, status }) => severity !== 'advisory' && status === 'skip')
  return {
    service,
    outcome: worst ?? (isLeftOut ? 'inconclusive' : 'pass'),
    results,
    lines: results.flatMap(linesOf),
  }
}

type Blocked = Result & { status: 'skip'; reason: { kind: 'blocked-by' } }

const isBlocked = (result: Result): result is Blocked => result.status === 'skip' && result.reason.kind === 'blocked-by'

/** Not applicable, or never asked for. */
const isOutOfPlace = (result: Result): boolean =>
  result.status === 'skip' &&
  (result.reason.kind === 'not-applicable' ||
    (result.reason.kind === 'not-selected' && result.reason.because === 'only with --deep'))

function serviceResult(
  result: Result,
  observation: Report['observations']['results'][string] | undefined,
): ServiceResult {
  const { id, severity, status } = result
  const head = { id, severity, status, ms: observation?.ms ?? 0 }
  switch (result.status) {
    case 'pass':
      return { ...head, seen: observation?.observed ?? '' }
    case 'error':
      return { ...head, seen: `${result.code}: ${observation?.observed ?? ''}` }
    case 'waived':
      return { ...head, seen: `exception ${result.waiver}` }
    case 'skip':
      return {
        ...head,
        seen: result.reason.kind === 'blocked-by' ? `waits on ${result.reason.id}` : result.reason.because,
      }
    case 'fail': {
      const found = result.findings.map(({ code }, at) => `${code}: ${observation?.findings?.[at]?.found ?? ''}`)
      return { ...head, seen: found.join('; '), fix: result.findings.map(({ fix }) => fix).join('; ') }
    }
  }
}

function linesOf({ id, severity, status, ms, seen, fix }: ServiceResult): string[] {
  const time = status === 'skip' ? '' : `${ms} ms`
  const head = `${status.padEnd(6)} ${id.padEnd(28)} ${time.padStart(8)}  ${seen}`.trimEnd()
  return fix === undefined ? [head] : [head, `       ${severity}; fix: ${fix}`]
}
