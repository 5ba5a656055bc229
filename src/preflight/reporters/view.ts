// What every reporter reads: the results of a report, each with one word for its status, its problems in words, and what
// the catalogue knows of it. Pure.
import { type Check, phases } from '../check.ts'
import type { Observation, Report, Result } from '../report.ts'

/** What the catalogue adds to a report: nothing that differs from run to run. */
export interface CheckFacts {
  readonly title: string
  readonly fix: string
  readonly requires: readonly string[]
}
export type About = ReadonlyMap<string, CheckFacts>

export function aboutChecks(catalogue: readonly Check[]): About {
  return new Map(catalogue.map(({ id, title, fix, requires }) => [id, { title, fix, requires }]))
}

/** Closed, and every format has a form for each. */
export const statusWords = ['pass', 'fail', 'error', 'waived', 'blocked', 'not-applicable', 'not-run'] as const
export type StatusWord = (typeof statusWords)[number]

export function statusOf(result: Result): StatusWord {
  if (result.status !== 'skip') return result.status
  switch (result.reason.kind) {
    case 'blocked-by':
      return 'blocked'
    case 'not-applicable':
      return 'not-applicable'
    case 'not-selected':
    case 'not-permitted':
      return 'not-run'
  }
}

export interface Problem {
  readonly code: string
  /** The variable it is about; absent where it is the check itself. */
  readonly variable?: string
  /** May hold text of a server; empty where nothing is known. */
  readonly found: string
  readonly fix?: string
}

export interface Row {
  readonly result: Result
  readonly status: StatusWord
  readonly title: string
  /** Of a check that failed, errored or is excused. */
  readonly problems: readonly Problem[]
  /** Seconds; absent where it did not run, or where nothing was observed. */
  readonly seconds?: number
  /** Why it did not run, or which exception excuses it. */
  readonly because?: string
  readonly observation?: Observation
}

/** In plan order. */
export function rowsOf({ canonical, observations }: Report, about: About): Row[] {
  return canonical.results.map((result) => {
    const observation = observations.results[result.id]
    const facts = about.get(result.id)
    const because = becauseOf(result)
    return {
      result,
      status: statusOf(result),
      title: facts?.title ?? result.id,
      problems: problemsOf(result, observation, facts),
      ...(observation !== undefined && result.status !== 'skip' && { seconds: observation.ms / 1_000 }),
      ...(because !== undefined && { because }),
      ...(observation !== undefined && { observation }),
    }
  })
}

function problemsOf(result: Result, observation: Observation | undefined, facts: CheckFacts | undefined): Problem[] {
  if (result.status !== 'fail' && result.status !== 'error' && result.status !== 'waived') return []
  const findings = result.status === 'error' ? [] : result.findings
  const problems = findings.map(({ code, variable, fix }, at): Problem => {
    const found = observation?.findings?.[at]?.found ?? ''
    return { code, ...(variable !== result.id && { variable }), found, fix }
  })
  const code = result.status === 'fail' ? undefined : result.code
  if (code === undefined) return problems
  const fix = facts === undefined ? {} : { fix: facts.fix }
  return [...problems, { code, found: observation?.observed ?? '', ...fix }]
}

function becauseOf(result: Result): string | undefined {
  if (result.status === 'waived') return `waived by ${result.waiver} until ${result.expires}`
  if (result.status !== 'skip') return undefined
  const { reason } = result
  switch (reason.kind) {
    case 'blocked-by':
      return `blocked by ${reason.id}`
    case 'not-applicable':
      return `not applicable: ${reason.predicate}, ${reason.because}`
    case 'not-selected':
      return `not selected: ${reason.because}`
    case 'not-permitted':
      return `not permitted: ${reason.because}`
  }
}

export const didFail = ({ status }: Row): boolean => status === 'fail' || status === 'error'

/** Only advice: it never decides, and no format may make it look as if it did. */
export const isAdvice = ({ result }: Row): boolean => result.severity === 'advisory'

/** `NATS_URL: NOT_SET, not set`. */
export function problemText({ code, variable, found }: Problem): string {
  const subject = variable === undefined ? code : `${variable}: ${code}`
  return found === '' ? subject : `${subject}, ${found}`
}

const severities = ['blocker', 'critical', 'high', 'advisory'] as const

/** Root causes by severity, then what else failed, then what is excused; within each in plan order. */
export function worstFirst(rows: readonly Row[]): Row[] {
  const weight = ({ result, status }: Row): number =>
    severities.indexOf(result.severity) + (status === 'waived' ? severities.length : 0)
  return [...rows].sort((a, b) => weight(a) - weight(b)) // stable
}

/** What failed or is excused, worst first. */
export const troublesOf = (rows: readonly Row[]): Row[] =>
  worstFirst(rows.filter((row) => didFail(row) || row.status === 'waived'))

/** Phases that hold something, in their order. */
export function byPhase(rows: readonly Row[]): { readonly phase: string; readonly rows: readonly Row[] }[] {
  return phases
    .map((phase) => ({ phase, rows: rows.filter(({ result }) => result.phase === phase) }))
    .filter((group) => group.rows.length > 0)
}

/** The words of a verdict that is no GO: why it is INCONCLUSIVE, or what caused the NO-GO. Empty for a GO. */
export function verdictReasons({ canonical, observations }: Report): string[] {
  const { verdict, rootCauses, unproven, fault } = canonical
  if (fault !== undefined) return [`${fault.code}: ${observations.fault ?? unproven.join(', ')}`]
  if (verdict === 'NO-GO') return [`root causes: ${rootCauses.join(', ')}`]
  return [...unproven]
}

/** Milliseconds since the Unix epoch at which the run was over; absent in a report without observations. */
export function completedAt({ observations }: Report): number | undefined {
  const startedAt = Date.parse(observations.startedAt)
  return Number.isNaN(startedAt) ? undefined : startedAt + observations.ms
}

/** Without anything that may differ between two runs over the same system: no time, no address, no text of a server. */
export function canonicalOnly(report: Report): Report {
  return { ...report, observations: { startedAt: '', ms: 0, results: {} } }
}

/** On one line, without what steers a terminal or a parser of lines. */
export const oneLine = (text: string): string => text.toWellFormed().replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')

/** What neither XML nor HTML can hold becomes U+FFFD. */
export const printable = (text: string): string =>
  text.toWellFormed().replaceAll(/(?![\t\n\r])[\p{Cc}\ufffe\uffff]/gu, '\ufffd')
