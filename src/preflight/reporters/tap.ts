// The report as TAP 14. What is excused is `not ok … # TODO`, never `ok`; so is advice that was not heeded. The last
// point is the verdict itself; a run that could not be done at all bails out.
import type { Report } from '../report.ts'
import { verdictText } from '../verdict.ts'
import { type About, didFail, isAdvice, oneLine, type Row, rowsOf, verdictReasons } from './view.ts'

export function formatTap(report: Report, about: About): string {
  const { canonical, digest } = report
  if (canonical.fault !== undefined) {
    return `TAP version 14\nBail out! ${oneLine(verdictReasons(report).join(' '))}\n`
  }
  const rows = rowsOf(report, about)
  const lines = rows.flatMap((row, at) => pointOf(row, at + 1))
  const reasons = verdictReasons(report)
  const verdict = [
    `${canonical.verdict === 'GO' ? 'ok' : 'not ok'} ${rows.length + 1} - verdict`,
    ...yamlBlock({ verdict: verdictText(canonical), digest, ...(reasons.length > 0 && { reasons }) }),
  ]
  return ['TAP version 14', `1..${rows.length + 1}`, ...lines, ...verdict, ''].join('\n')
}

function pointOf(row: Row, number: number): string[] {
  const { result, status, problems, because, seconds } = row
  const { id, severity, class: fault, runbook } = result
  const point = (word: 'ok' | 'not ok', directive = ''): string => `${word} ${number} - ${id}${directive}`
  const block = yamlBlock({
    status,
    severity,
    class: fault,
    ...(runbook.length > 0 && { runbook }),
    ...(because !== undefined && { because }),
    ...(problems.length > 0 && { problems }),
    ...(seconds !== undefined && { duration_ms: Math.round(seconds * 1_000) }),
  })
  if (status === 'waived') return [point('not ok', ` # TODO ${oneLine(because ?? 'waived')}`), ...block]
  if (didFail(row)) {
    return [point('not ok', isAdvice(row) ? ' # TODO advisory, it never decides' : ''), ...block]
  }
  return [point('ok', status === 'pass' ? '' : ` # SKIP ${oneLine(because ?? status)}`), ...block]
}

/** Values as JSON, which YAML reads too: but some ends of lines are only YAML's. */
function yamlBlock(facts: Readonly<Record<string, unknown>>): string[] {
  const lines = Object.entries(facts).map(([name, value]) => {
    const json = JSON.stringify(value).replaceAll(
      /[\p{Cc}\p{Zl}\p{Zp}]/gu,
      (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    return `  ${name}: ${json}`
  })
  return ['  ---', ...lines, '  ...']
}
