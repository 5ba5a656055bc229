// The report for people: short when green, everything that is needed to act when not. 80 columns, no colour.
import { categoryOf, type Phase, phases } from './check.ts'
import type { Observation, Report, Result } from './report.ts'
import { exitCodeOf, verdictText } from './verdict.ts'

export function formatText(report: Report): string {
  const { canonical } = report
  const { profile, plan, planned, version, node } = canonical
  const blocks = [
    [
      `Preflight, profile ${profile}   plan ${plan.slice('sha256:'.length, 'sha256:'.length + 8) || '-'}   ${planned.length} checks`,
      `arqonbus ${version}   node v${node}`,
      ...formatSince(report),
    ].join('\n'),
    ...phases.map((phase) => formatPhase(phase, report)).filter((block) => block !== ''),
    formatVerdict(report),
  ]
  return `${blocks.join('\n\n')}\n`
}

function formatPhase(phase: Phase, { canonical, observations }: Report): string {
  const results = canonical.results.filter((result) => result.phase === phase)
  const name = phase.toUpperCase().padEnd(7)
  if (results.length === 0) {
    return canonical.required.includes(phase) ? `${name} no checks in this version; the profile needs some` : ''
  }
  // A phase that was not asked for has nothing to say.
  if (results.every(isOfOtherPhase)) return ''
  const shown = results.filter(isWorthShowing)
  const reasons = new Set(results.flatMap(leftOutBecause))
  return [
    `${name} ${summary(results)}`,
    ...[...reasons].map((reason) => `  not run: ${reason}`),
    ...shown.map((result) => formatResult(result, observations.results[result.id])),
  ].join('\n')
}

function isOfOtherPhase(result: Result): boolean {
  return result.status === 'skip' && result.reason.kind === 'not-selected' && result.reason.because === '--phase'
}

function leftOutBecause(result: Result): string[] {
  if (result.status !== 'skip') return []
  const { reason } = result
  return reason.kind === 'not-selected' || reason.kind === 'not-permitted' ? [reason.because] : []
}

function isWorthShowing(result: Result): boolean {
  return result.status === 'fail' || result.status === 'error' || result.status === 'waived'
}

function summary(results: readonly Result[]): string {
  const count = (test: (result: Result) => boolean): number => results.filter(test).length
  const skipped = (kind: string) => (result: Result) => result.status === 'skip' && result.reason.kind === kind
  const parts: [number, string][] = [
    [count(({ status }) => status === 'pass'), 'pass'],
    [count(({ status }) => status === 'fail'), 'fail'],
    [count(({ status }) => status === 'error'), 'error'],
    [count(({ status }) => status === 'waived'), 'waived'],
    [count(skipped('blocked-by')), 'blocked'],
    [count(skipped('not-applicable')), 'n/a'],
    [count(skipped('not-selected')) + count(skipped('not-permitted')), 'not run'],
  ]
  const shown = parts.filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`)
  return `${String(results.length).padStart(2)} checks   ${shown.join('   ')}`
}

const width = 80
const indent = '        '

/** In lines of 80 columns; a word that is longer stands alone. Commands stay on one line, to be copied. */
function wrap(text: string, hanging = ''): string[] {
  const lines: string[] = []
  let line = indent
  for (const word of text.split(' ')) {
    const isFirst = line.trim() === ''
    if (!isFirst && line.length + 1 + word.length > width) {
      lines.push(line)
      line = `${indent}${hanging}${word}`
    } else line = isFirst ? `${line}${word}` : `${line} ${word}`
  }
  return [...lines, line]
}

function formatResult(result: Result, observation: Observation | undefined): string {
  const { status, severity, class: fault, id, runbook, blocks } = result
  const head = `  ${status.toUpperCase().padEnd(5)} ${severity.padEnd(9)} ${fault.padEnd(11)} ${id}`
  const body = linesOf(result, observation)
  for (const { waiver, words } of observation?.refusals ?? []) body.push(...wrap(`waiver ${waiver} refused: ${words}`))
  const tries = observation?.attempts?.length ?? 1
  if (tries > 1) body.push(`${indent}tried ${tries} times`)
  if (blocks.length > 0) {
    const count = blocks.length === 1 ? '1 check waits' : `${blocks.length} checks wait`
    body.push(...wrap(`${count} on this one: ${shortNames(result).join(' ')}`))
  }
  body.push(`${indent}why   arqonbus preflight explain ${id}`)
  return [runbook.length === 0 ? head : `${head}  ${runbook.join(' ')}`, ...body].join('\n')
}

/** What was found, and what to do. */
function linesOf(result: Result, observation: Observation | undefined): string[] {
  if (result.status === 'error') return wrap(`${result.code}, ${observation?.observed ?? ''}`)
  if (result.status === 'waived') return formatException(result, observation)
  if (result.status !== 'fail') return []
  return result.findings.flatMap(({ code, variable, fix }, index) => {
    const found = observation?.findings?.[index]?.found ?? ''
    const subject = variable === result.id ? code : `${variable}: ${code}`
    return [...wrap(`${subject}, ${found}`), ...wrap(`fix   ${fix}`, '      ')]
  })
}

/** Of the same category by their last part: the chain reads as one. */
function shortNames({ id, blocks }: Result): string[] {
  const prefix = `${categoryOf(id)}.`
  return blocks.map((other) => (other.startsWith(prefix) ? other.slice(prefix.length) : other))
}

function formatException(
  { waiver, expires, findings, code }: Extract<Result, { status: 'waived' }>,
  observation: Observation | undefined,
): string[] {
  const found = observation?.findings ?? []
  const causes = findings.flatMap(({ variable }, index) => wrap(`${variable}: ${found[index]?.found ?? ''}`))
  if (code !== undefined) causes.push(...wrap(`${code}: ${observation?.observed ?? ''}`))
  const exception = observation?.exception
  if (exception === undefined) return [...causes, `${indent}${waiver}  expires ${expires}`]
  const { owner, approvedBy, days, renewals } = exception
  return [
    ...causes,
    `${indent}${waiver}  owner ${owner}  approved by ${approvedBy.join(', ')}`,
    `${indent}expires ${expires} (${days === 1 ? '1 day' : `${days} days`})  renewals ${renewals} of 1`,
  ]
}

/** The verdict, what led to it, and the exit code. */
export function formatVerdict({ canonical, digest, observations }: Report): string {
  const { verdict, rootCauses, counts, route, unproven, fault } = canonical
  const lines: string[] = []
  const waived = counts.waived === 0 ? '' : `   ${counts.waived} waived`
  if (fault !== undefined) lines.push(`${faultNames[fault.kind]}: ${observations.fault ?? fault.code}`)
  if (verdict === 'NO-GO') {
    const causes = rootCauses.length === 1 ? '1 root cause' : `${rootCauses.length} root causes`
    lines.push(`NO-GO    ${causes}   ${counts.blocked} blocked${waived}   ${counts.notRun} not run`)
    if (route !== undefined) lines.push(`         route ${route.label}   dedupe ${route.dedupe}`)
    lines.push(...formatMemory(observations.since))
  } else lines.push(verdictText(canonical))
  if (fault !== undefined && canonical.planned.length === 0)
    return [...lines, ...formatIncident(observations.incident), `exit ${exitCodeOf(canonical)}`].join('\n')
  for (const reason of unproven) lines.push(`         ${reason}`)
  for (const { waiver, text } of observations.notes ?? []) lines.push(`note     ${waiver} ${text}`)
  for (const { plugin, text } of observations.plugins ?? []) lines.push(`note     ${plugin} ${text}`)
  lines.push(...formatIncident(observations.incident))
  lines.push(`digest   ${digest.slice(0, 'sha256:'.length + 12)}   exit ${exitCodeOf(canonical)}`)
  return lines.join('\n')
}

const faultNames = {
  usage: 'Wrong call',
  input: 'Bad input',
  internal: 'Internal fault',
  interrupted: 'Interrupted',
} as const
function formatIncident(incident: Report['observations']['incident']): string[] {
  if (incident === undefined) return []
  const { bundle, findings, notes } = incident
  return [
    ...(bundle === undefined ? [] : [`bundle   ${bundle.path}   ${bundle.files} files`]),
    ...findings.map(({ id, severity, found }) => `         ${severity}   ${id}   bundle incomplete: ${found}`),
    ...notes.map((note) => `note     ${note}`),
  ]
}

/** A green that was no GO proved some phases only, and is compared in those. */
function formatSince({ observations: { since } }: Report): string[] {
  if (since === undefined) return []
  const { verdict, phases: proved, checks, variables, isOtherCommit, at, isBaseline } = since
  const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'} changed`
  const commit = isOtherCommit ? ', another commit' : ''
  const how = verdict === 'GO' ? '' : isBaseline ? `, ${verdict}` : `, no failure in ${proved.join(' ')}`
  return [
    `since ${isBaseline ? 'the baseline' : 'last green'}  ${count(checks, 'check')}, ${count(variables, 'variable')}${commit}`,
    `                  ${at}${how}`,
  ]
}

function formatMemory(since: Report['observations']['since']): string[] {
  if (since === undefined) return []
  const seen = Object.entries(since.memory).flatMap(([id, { cases, medianMinutes, usualFix }]) => {
    if (cases === 0) return []
    const usual = medianMinutes === undefined ? '' : `, usually passed again after ~${medianMinutes} min`
    const fix =
      usualFix === undefined
        ? []
        : [`         usual fix  a change of ${usualFix.change} (${usualFix.cases} of ${cases})`]
    return [`         ${id}: ${cases === 1 ? '1 earlier case' : `${cases} earlier cases`} here${usual}`, ...fix]
  })
  return [...(since.cause === undefined ? [] : [`         most likely first  ${since.cause}`]), ...seen]
}
