// The report for people: short when green, everything that is needed to act when not. 80 columns, no colour.
import { type Phase, phases } from './check.ts'
import type { Report, Result } from './report.ts'
import { exitCodeOf } from './verdict.ts'

export function formatText(report: Report): string {
  const { canonical } = report
  const { profile, plan, planned, version, node } = canonical
  const blocks = [
    [
      `Preflight, profile ${profile}   plan ${plan.slice('sha256:'.length, 'sha256:'.length + 8) || '-'}   ${planned.length} checks`,
      `arqonbus ${version}   node v${node}`,
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
  const shown = results.filter(isWorthShowing)
  const reasons = new Set(results.flatMap(leftOutBecause))
  return [
    `${name} ${summary(results)}`,
    ...[...reasons].map((reason) => `  not run: ${reason}`),
    ...shown.map((result) => formatResult(result, observations.results[result.id])),
  ].join('\n')
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

function formatResult(result: Result, observation: Report['observations']['results'][string] | undefined): string {
  const head = `  ${result.status.toUpperCase().padEnd(6)}${result.severity.padEnd(9)} ${result.class.padEnd(11)} ${result.id}`
  const lines = result.runbook.length === 0 ? '' : `  ${result.runbook.join(' ')}`
  const body: string[] = []
  if (result.status === 'fail') {
    for (const [index, { variable, fix }] of result.findings.entries()) {
      body.push(`        ${variable}: ${observation?.findings?.[index]?.found ?? ''}`, `        fix   ${fix}`)
    }
  }
  if (result.status === 'error') body.push(`        ${result.code}: ${observation?.observed ?? ''}`)
  if (result.blocks.length > 0)
    body.push(`        ${result.blocks.length} wait on this one: ${result.blocks.join(' ')}`)
  body.push(`        why   arqonbus preflight explain ${result.id}`)
  return [`${head}${lines}`, ...body].join('\n')
}

function formatVerdict({ canonical, digest, observations }: Report): string {
  const { verdict, rootCauses, counts, route, unproven, fault } = canonical
  const lines: string[] = []
  if (fault !== undefined)
    lines.push(`${fault.kind === 'usage' ? 'Wrong call' : 'Internal fault'}: ${observations.fault ?? fault.code}`)
  if (verdict === 'NO-GO') {
    const causes = rootCauses.length === 1 ? '1 root cause' : `${rootCauses.length} root causes`
    lines.push(`NO-GO    ${causes}   ${counts.blocked} blocked   ${counts.notRun} not run`)
    if (route !== undefined) lines.push(`         route ${route.label}   dedupe ${route.dedupe}`)
  } else lines.push(verdict)
  if (fault !== undefined)
    return [...lines, ...formatIncident(observations.incident), `exit ${exitCodeOf(canonical)}`].join('\n')
  for (const reason of unproven) lines.push(`         ${reason}`)
  lines.push(...formatIncident(observations.incident))
  lines.push(`digest   ${digest.slice(0, 'sha256:'.length + 12)}   exit ${exitCodeOf(canonical)}`)
  return lines.join('\n')
}

function formatIncident(incident: Report['observations']['incident']): string[] {
  if (incident === undefined) return []
  const { bundle, findings, notes } = incident
  return [
    ...(bundle === undefined ? [] : [`bundle   ${bundle.path}   ${bundle.files} files`]),
    ...findings.map(({ id, severity, found }) => `         ${severity}   ${id}   bundle incomplete: ${found}`),
    ...notes.map((note) => `note     ${note}`),
  ]
}
