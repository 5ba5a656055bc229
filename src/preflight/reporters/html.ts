// The report as one HTML page that needs nothing else: no network, no other file, and no script but for the copy buttons.
// It says how it ended, what caused it, what to do, what is excused and for how long, and what became of every check.
import { createHash } from 'node:crypto'
import type { Report } from '../report.ts'
import { exitCodeOf, verdictText } from '../verdict.ts'
import { script, style } from './html-assets.ts'
import { dependencyGraph } from './html-graph.ts'
import { html } from './html-text.ts'
import {
  type About,
  byPhase,
  didFail,
  isAdvice,
  problemText,
  type Row,
  rowsOf,
  statusWords,
  troublesOf,
  verdictReasons,
} from './view.ts'

export function formatHtml(report: Report, about: About): string {
  const { canonical } = report
  const rows = rowsOf(report, about)
  const failed = troublesOf(rows).filter(didFail)
  const graph = dependencyGraph(rows, about, canonical.rootCauses)
  const policy = `default-src 'none'; style-src '${digestOf(style)}'; script-src '${digestOf(script)}'; base-uri 'none'; form-action 'none'`
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="referrer" content="no-referrer">',
    `<title>Preflight ${html(verdictText(canonical))}</title>`,
    `<style>${style}</style>`,
    '</head>',
    '<body>',
    verdictHtml(report, rows),
    ...block(
      'What stands in the way',
      failed,
      (own) => `<div class="cards">${own.map(card(canonical.rootCauses)).join('\n')}</div>`,
    ),
    ...block('Exceptions in use', waiverBoardOf(rows), waiverBoard),
    ...(graph === '' ? [] : ['<h2>What waits on what</h2>', `<div class="scroll">${graph}</div>`]),
    ...block('Every check', byPhase(rows), (groups) => groups.map(phaseTable).join('\n')),
    `<script>${script}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n')
}

const digestOf = (text: string): string => `sha256-${createHash('sha256').update(text).digest('base64')}`

function block<T>(title: string, items: readonly T[], make: (all: readonly T[]) => string): string[] {
  return items.length === 0 ? [] : [`<h2>${title}</h2>`, make(items)]
}

function verdictHtml(report: Report, rows: readonly Row[]): string {
  const { canonical, digest, observations } = report
  const counts = statusWords
    .map((word) => [word, rows.filter(({ status }) => status === word).length] as const)
    .filter(([, count]) => count > 0)
  const when = observations.startedAt === '' ? '' : `, started ${observations.startedAt}`
  return [
    `<header class="verdict ${canonical.verdict.toLowerCase()}">`,
    `<h1 id="verdict">${html(verdictText(canonical))}</h1>`,
    ...verdictReasons(report).map((reason) => `<p>${html(reason)}</p>`),
    `<p class="dim">profile ${html(canonical.profile)}, exit code ${exitCodeOf(canonical)}, arqonbus ${html(canonical.version)}, node v${html(canonical.node)}${html(when)}</p>`,
    `<p class="dim"><code>${html(digest)}</code></p>`,
    ...(counts.length === 0
      ? []
      : [`<ul class="counts">${counts.map(([word, count]) => `<li>${count} ${word}</li>`).join('')}</ul>`]),
    '</header>',
  ].join('\n')
}

const card =
  (rootCauses: readonly string[]) =>
  (row: Row): string => {
    const { result, status, title, problems, observation } = row
    const { id, severity, class: fault, runbook, blocks } = result
    const kind = rootCauses.includes(id) ? 'root cause' : isAdvice(row) ? 'advice' : 'failed'
    const refusals = observation?.refusals ?? []
    return [
      `<article class="card${isAdvice(row) ? ' advice' : ''}" id="card-${html(id)}">`,
      `<h3>${html(id)}</h3>`,
      `<p class="tags">${[status, severity, fault, kind, ...runbook].map((tag) => `<span>${html(tag)}</span>`).join('')}</p>`,
      `<p>${html(title)}</p>`,
      ...problems.flatMap((problem) => [
        `<p><code>${html(problemText(problem))}</code></p>`,
        ...(problem.fix === undefined ? [] : [fixHtml(problem.fix)]),
      ]),
      ...refusals.map(({ waiver, words }) => `<p class="dim">waiver ${html(waiver)} refused: ${html(words)}</p>`),
      ...(blocks.length === 0
        ? []
        : [
            `<p class="dim">${blocks.length === 1 ? '1 check waits' : `${blocks.length} checks wait`} on it: ${html(blocks.join(', '))}</p>`,
          ]),
      '</article>',
    ].join('\n')
  }

const fixHtml = (fix: string): string =>
  `<div class="fix"><pre>${html(fix)}</pre><button type="button" hidden data-copy="${html(fix)}">Copy</button></div>`

interface Waived {
  readonly row: Row
  readonly waiver: string
  readonly expires: string
}

interface Waived {
  readonly row: Row
  readonly waiver: string
  readonly expires: string
}

/** Those that end first come first. */
function waiverBoardOf(rows: readonly Row[]): Waived[] {
  return rows
    .flatMap((row) => {
      const { result } = row
      return result.status === 'waived' ? [{ row, waiver: result.waiver, expires: result.expires }] : []
    })
    .sort((a, b) => Date.parse(a.expires) - Date.parse(b.expires))
}

function waiverBoard(board: readonly Waived[]): string {
  const lines = board.map(({ row, waiver, expires }) => {
    const { result, observation, problems } = row
    const exception = observation?.exception
    const cells = [
      exception === undefined ? '' : String(exception.days),
      expires,
      waiver,
      result.id,
      problems.map(problemText).join('; '),
      exception?.owner ?? '',
      exception?.approvedBy.join(', ') ?? '',
    ]
    return `<tr id="card-${html(result.id)}">${cells.map((cell) => `<td>${html(cell)}</td>`).join('')}</tr>`
  })
  const heads = ['days left', 'ends', 'exception', 'check', 'what it excuses', 'owner', 'approved by']
  return `<div class="scroll"><table id="waivers"><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody>\n${lines.join('\n')}\n</tbody></table></div>`
}

function phaseTable({ phase, rows }: ReturnType<typeof byPhase>[number]): string {
  const lines = rows.map(({ result, status, title, problems, because, observation }) => {
    const seen = problems.length > 0 ? problems.map(problemText).join('; ') : (because ?? observation?.observed ?? '')
    return `<tr id="row-${html(result.id)}"><td class="s-${status}">${status}</td><td>${html(result.severity)}</td><td><code>${html(result.id)}</code></td><td>${html(title)}</td><td>${html(seen)}</td></tr>`
  })
  return `<details open><summary>${html(phase)}, ${rows.length} ${rows.length === 1 ? 'check' : 'checks'}</summary><div class="scroll"><table><thead><tr><th>status</th><th>severity</th><th>check</th><th>proves</th><th>seen</th></tr></thead><tbody>\n${lines.join('\n')}\n</tbody></table></div></details>`
}
