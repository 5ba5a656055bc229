// The report as workflow commands of GitHub Actions. A step shows ten annotations of each kind and drops the rest without
// a word: so the first says how it ended and how many are not shown, and the worst come first.
import type { Report } from '../report.ts'
import { verdictText } from '../verdict.ts'
import { type About, didFail, isAdvice, problemText, type Row, rowsOf, troublesOf, verdictReasons } from './view.ts'

type Kind = 'error' | 'warning' | 'notice'

interface Annotation {
  readonly kind: Kind
  readonly title: string
  readonly message: string
}

const mostOfAKind = 10
/** The runner cuts longer ones. */
const mostLetters = 2_000

/** Lines for the log of a step. What gates is an error, what is excused a warning, advice a notice. */
export function formatGithub(report: Report, about: About): string {
  const { canonical, digest } = report
  const all = troublesOf(rowsOf(report, about)).map(annotationOf)
  const rollUpKind: Kind = canonical.verdict === 'GO' ? 'notice' : 'error'
  const room: Record<Kind, number> = { error: mostOfAKind, warning: mostOfAKind, notice: mostOfAKind }
  room[rollUpKind]-- // for the roll-up itself
  const shown = all.filter(({ kind }) => room[kind]-- > 0)
  const hidden = all.length - shown.length
  const rollUp: Annotation = {
    kind: rollUpKind,
    title: `Preflight ${verdictText(canonical)}`,
    message: [
      ...verdictReasons(report),
      ...(hidden === 0 ? [] : [`${hidden} more are not shown here: see the summary or the SARIF report`]),
      digest,
    ].join('\n'),
  }
  return [rollUp, ...shown].map((annotation) => `${command(annotation)}\n`).join('')
}

function annotationOf(row: Row): Annotation {
  const { result, status, problems, because } = row
  const kind: Kind = isAdvice(row) ? 'notice' : didFail(row) ? 'error' : 'warning'
  const fixes = problems.flatMap(({ fix }) => (fix === undefined ? [] : [`fix: ${fix}`]))
  const message = [...(because === undefined ? [] : [because]), ...problems.map(problemText), ...fixes].join('\n')
  return { kind, title: `${status} ${result.severity} ${result.id}`, message: message === '' ? status : message }
}

const command = ({ kind, title, message }: Annotation): string =>
  `::${kind} title=${property(title)}::${data(message.slice(0, mostLetters))}`

const data = (text: string): string => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')

const property = (text: string): string => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
