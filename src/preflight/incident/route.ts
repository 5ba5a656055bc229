// Who has to know, and in which words: one label for the run, one ticket for each root cause. Pure.
import { digestOf } from '../../base/canonical-json.ts'
import type { FaultClass, Severity } from '../../rules/rule.ts'
import type { PreflightPolicy } from '../../waivers/preflight-policy.ts'
import { categoryOf } from '../check.ts'
import type { Report, Result } from '../report.ts'

export type Label = Exclude<Severity, 'advisory'>

export interface Ticket {
  readonly check: string
  /** The check's own severity. */
  readonly severity: Label
  readonly class: FaultClass
  readonly owner: string
  /** The same for the same fault of the same line of builds: a tracker opens one ticket for it. */
  readonly dedupe: string
  readonly title: string
  readonly text: string
}

export interface Route {
  /** The runbook's: worst severity of the root causes. */
  readonly label: Label
  /** Of the worst root cause. */
  readonly owner: string
  readonly tickets: readonly [Ticket, ...Ticket[]]
}

/** Where the policy names nobody (runbook L77). */
const defaultOwner = 'engineering'
const order: readonly Label[] = ['blocker', 'critical', 'high']

/** Undefined where there is nothing to route: no check failed. */
export function routeOf(report: Report, { owners = {} }: Pick<PreflightPolicy, 'owners'>): Route | undefined {
  const { rootCauses, results, route } = report.canonical
  const byId = new Map(results.map((result) => [result.id, result]))
  const causes = rootCauses.map((id) => byId.get(id)).filter((result) => result !== undefined)
  const tickets = causes
    .map((cause) => ticketOf(cause, report, owners))
    .sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity))
  const [first, ...others] = tickets
  if (first === undefined || route === undefined) return undefined
  return { label: route.label, owner: first.owner, tickets: [first, ...others] }
}

/** The longest category of the policy that holds the check: `dep.postgres` before `dep`. */
export function ownerOf(id: string, owners: Readonly<Record<string, string>>): string {
  for (
    let category = categoryOf(id);
    category !== '';
    category = category.slice(0, Math.max(0, category.lastIndexOf('.')))
  )
    if (Object.hasOwn(owners, category)) return owners[category]!
  return defaultOwner
}

/** Codes without what moves, each once. */
function codesOf(result: Result): string[] {
  if (result.status === 'fail') return [...new Set(result.findings.map(({ code }) => code))].sort()
  return result.status === 'error' ? [result.code] : []
}

/** Builds of one line share their faults: 1.4.0 and 1.4.7 do. */
const lineOf = (version: string): string => version.split('.').slice(0, 2).join('.')

/** SHA-256 of check, class, codes and line of builds. */
export function dedupeKey(result: Result, version: string): string {
  return digestOf({ check: result.id, class: result.class, codes: codesOf(result), build: lineOf(version) })
}

function ticketOf(result: Result, report: Report, owners: Readonly<Record<string, string>>): Ticket {
  const { version, profile } = report.canonical
  const seen = report.observations.results[result.id]
  const codes = codesOf(result)
  // What nobody could tell is looked at as a fault of ours, never dropped (preflight 2.0).
  const shownClass = result.class === 'unknown' ? 'unknown, to be handled as a regression' : result.class
  const found = [
    ...(seen?.findings ?? []).map((finding) => `- ${finding.variable}: ${finding.found}`),
    ...(seen?.observed === undefined ? [] : [`- ${seen.observed}`]),
  ]
  const fixes = result.status === 'fail' ? result.findings.map(({ fix }) => `- ${fix}`) : []
  const lines = [
    `Preflight of ${profile}, arqonbus ${version}, ${report.observations.startedAt}`,
    `Check ${result.id} (${result.severity}, runbook ${result.runbook.join(' ') || '-'}): ${codes.join(', ')}`,
    `Class: ${shownClass}`,
    ...(found.length === 0 ? [] : ['', 'Found:', ...found]),
    ...(fixes.length === 0 ? [] : ['', 'To do:', ...new Set(fixes)]),
    ...(result.blocks.length === 0 ? [] : ['', `Waiting on it: ${result.blocks.join(', ')}`]),
    '',
    `Why it exists: arqonbus preflight explain ${result.id}`,
    `Report digest: ${report.digest}`,
  ]
  return {
    check: result.id,
    severity: result.severity as Label, // an advisory check is no root cause
    class: result.class,
    owner: ownerOf(result.id, owners),
    dedupe: dedupeKey(result, version),
    title: `[${result.severity}] preflight: ${result.id} ${codes.join(', ')}`,
    text: `${lines.join('\n')}\n`,
  }
}
