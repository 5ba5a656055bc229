// The report as JUnit XML. A failure is an answer no, an error is no answer, and what is excused, blocked, advisory or
// not run is skipped with a message; the exact status stands in a property. The last case is the verdict itself, so that
// no reader of the file can be greener than the preflight.
import { categoryOf } from '../check.ts'
import type { Report } from '../report.ts'
import { verdictText } from '../verdict.ts'
import {
  type About,
  byPhase,
  didFail,
  isAdvice,
  printable,
  problemText,
  type Row,
  rowsOf,
  verdictReasons,
} from './view.ts'

interface Case {
  readonly classname: string
  readonly name: string
  readonly seconds: number
  readonly properties: readonly (readonly [string, string])[]
  readonly outcome?: {
    readonly kind: 'failure' | 'error' | 'skipped'
    readonly message: string
    readonly type?: string
  }
  readonly text?: string
}

interface Suite {
  readonly name: string
  readonly cases: readonly Case[]
}

/** Times are those of the observations: 0 in a canonical report. */
export function formatJunit(report: Report, about: About): string {
  const suites: Suite[] = [
    ...byPhase(rowsOf(report, about)).map(({ phase, rows }) => ({
      name: `preflight.${phase}`,
      cases: rows.map(caseOf),
    })),
    { name: 'preflight', cases: [verdictCase(report)] },
  ]
  const all = suites.flatMap(({ cases }) => cases)
  const { startedAt } = report.observations
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="preflight" ${totals(all)}>`,
    ...suites.map((suite) => suiteXml(suite, startedAt)),
    '</testsuites>',
    '',
  ].join('\n')
}

function caseOf(row: Row): Case {
  const { result, status, problems, seconds = 0, because } = row
  const { id, severity, class: fault, runbook } = result
  const properties = [
    ['status', status],
    ['severity', severity],
    ['class', fault],
    ...(runbook.length === 0 ? [] : [['runbook', runbook.join(' ')] as const]),
  ] as const
  const head = { classname: categoryOf(id), name: id, seconds, properties }
  const message = problems.map(problemText).join('; ')
  const fixes = problems.flatMap(({ fix }) => (fix === undefined ? [] : [`fix: ${fix}`]))
  const text = [...problems.map(problemText), ...fixes].join('\n')
  if (didFail(row) && isAdvice(row)) {
    return { ...head, outcome: { kind: 'skipped', message: `advisory, it never decides: ${message}` }, text }
  }
  if (didFail(row)) {
    const kind = status === 'fail' ? 'failure' : 'error'
    return { ...head, outcome: { kind, message, type: problems[0]?.code ?? 'NO_CODE' }, text }
  }
  if (status === 'pass') return head
  const why = status === 'waived' ? `${because}: ${message}` : (because ?? status)
  return { ...head, outcome: { kind: 'skipped', message: why } }
}

function verdictCase(report: Report): Case {
  const { canonical, digest, observations } = report
  const reasons = verdictReasons(report).join('; ')
  const head = {
    classname: 'preflight',
    name: 'verdict',
    seconds: 0,
    properties: [
      ['verdict', verdictText(canonical)],
      ['profile', canonical.profile],
      ['digest', digest],
      ...(observations.startedAt === '' ? [] : [['started', observations.startedAt] as const]),
    ] as const,
  }
  switch (canonical.verdict) {
    case 'GO':
      return head
    case 'NO-GO':
      return { ...head, outcome: { kind: 'failure', message: reasons, type: 'NO-GO' } }
    case 'INCONCLUSIVE':
      return { ...head, outcome: { kind: 'error', message: reasons, type: 'INCONCLUSIVE' } }
  }
}

function totals(cases: readonly Case[]): string {
  const count = (kind: string): number => cases.filter(({ outcome }) => outcome?.kind === kind).length
  const seconds = cases.reduce((sum, one) => sum + one.seconds, 0)
  return `tests="${cases.length}" failures="${count('failure')}" errors="${count('error')}" skipped="${count('skipped')}" time="${time(seconds)}"`
}

const time = (seconds: number): string => (seconds === 0 ? '0' : seconds.toFixed(3))

function suiteXml({ name, cases }: Suite, startedAt: string): string {
  const stamp = startedAt === '' ? '' : ` timestamp="${xml(startedAt.replace(/(?:\.\d+)?Z$/, ''))}"`
  return [`  <testsuite name="${xml(name)}" ${totals(cases)}${stamp}>`, ...cases.map(caseXml), '  </testsuite>'].join(
    '\n',
  )
}

function caseXml({ classname, name, seconds, properties, outcome, text = '' }: Case): string {
  const lines = [
    `    <testcase classname="${xml(classname)}" name="${xml(name)}" time="${time(seconds)}">`,
    '      <properties>',
    ...properties.map(([key, value]) => `        <property name="${xml(key)}" value="${xml(value)}"/>`),
    '      </properties>',
  ]
  if (outcome !== undefined) {
    const type = outcome.type === undefined ? '' : ` type="${xml(outcome.type)}"`
    const body = text === '' ? '/>' : `>${xml(text)}</${outcome.kind}>`
    lines.push(`      <${outcome.kind} message="${xml(outcome.message)}"${type}${body}`)
  }
  return [...lines, '    </testcase>'].join('\n')
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\n': '&#10;',
  '\t': '&#9;',
  '\r': '&#13;',
}

/** For text and attributes. */
const xml = (text: string): string => printable(text).replaceAll(/[&<>"'\n\t\r]/g, (mark) => entities[mark]!)
