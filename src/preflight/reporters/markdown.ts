// The report as Markdown: for a ticket, a pull request, the summary of a CI job.
import type { Report } from '../report.ts'
import { exitCodeOf, verdictText } from '../verdict.ts'
import {
  type About,
  byPhase,
  didFail,
  oneLine,
  problemText,
  type Row,
  rowsOf,
  statusWords,
  troublesOf,
  verdictReasons,
} from './view.ts'

export function formatMarkdown(report: Report, about: About): string {
  const { canonical, digest } = report
  const rows = rowsOf(report, about)
  const troubles = troublesOf(rows)
  const blocks = [
    `# Preflight: ${verdictText(canonical)}`,
    [
      `Profile ${canonical.profile}, arqonbus ${canonical.version}, node v${canonical.node}, exit code ${exitCodeOf(canonical)}.`,
      ...verdictReasons(report).map((reason) => `- ${escaped(reason)}`),
    ].join('\n\n'),
    countsTable(rows),
    ...section('Failed', troubles.filter(didFail).map(describe)),
    ...section('Excused', troubles.filter(({ status }) => status === 'waived').map(describe)),
    ...section('Not run', notRun(rows)),
    `Digest \`${digest}\``,
  ]
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`
}

const section = (title: string, blocks: readonly string[]): string[] =>
  blocks.length === 0 ? [] : [`## ${title}`, ...blocks]

function countsTable(rows: readonly Row[]): string {
  if (rows.length === 0) return ''
  const lines = byPhase(rows).map(({ phase, rows: own }) => {
    const counts = statusWords.map((word) => own.filter(({ status }) => status === word).length)
    return `| ${phase} | ${counts.join(' | ')} |`
  })
  return [`| phase | ${statusWords.join(' | ')} |`, `|---|${'---:|'.repeat(statusWords.length)}`, ...lines].join('\n')
}

function describe({ result, status, title, problems, because }: Row): string {
  const lines = result.runbook.length === 0 ? '' : `, runbook ${result.runbook.join(' ')}`
  const parts = [
    `### ${result.id}`,
    `${escaped(title)}. ${status} · ${result.severity} · ${result.class}${lines}.`,
    ...(status === 'waived' && because !== undefined ? [escaped(because)] : []),
    ...problems.map((problem) => {
      const fix = problem.fix === undefined ? '' : `\n  - fix: ${escaped(problem.fix)}`
      return `- ${codeSpan(problemText(problem))}${fix}`
    }),
    ...(result.blocks.length === 0 ? [] : [`Waiting on it: ${result.blocks.map(codeSpan).join(', ')}`]),
  ]
  return parts.join('\n\n')
}

function notRun(rows: readonly Row[]): string[] {
  const byReason = new Map<string, number>()
  for (const { status, because = '' } of rows)
    if (status === 'not-run') byReason.set(because, (byReason.get(because) ?? 0) + 1)
  const lines = [...byReason].map(([reason, count]) => `- ${count}: ${escaped(reason)}`)
  return lines.length === 0 ? [] : [lines.join('\n')]
}

/** Text of ours that is to be read as text: nothing in it becomes a link, a tag or a table. */
const escaped = (text: string): string => oneLine(text).replaceAll(/[\\`*_{}[\]<>#|~&]/g, String.raw`\$&`)

/** Text of others: a code span, with a fence that it cannot close. */
function codeSpan(text: string): string {
  const line = oneLine(text)
  const longest = Math.max(0, ...Array.from(line.matchAll(/`+/g), ([run]) => run.length))
  const fence = '`'.repeat(longest + 1)
  const pad = longest > 0 ? ' ' : ''
  return `${fence}${pad}${line}${pad}${fence}`
}
