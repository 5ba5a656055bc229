// `arqonbus preflight plan`: what a run would do, without doing any of it.
import { Command } from 'commander'
import type { Plan } from '../../preflight/plan.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'
import { inputsOf, type SelectionOptions, withSelection } from './preflight-selection.ts'

export function planCommand(terminal: Terminal): Command {
  return withSelection(new Command('plan').description('Show what would run, in which order, without running anything'))
    .option('--json', 'print as JSON')
    .action((options: SelectionOptions) => plan(options, terminal))
}

async function plan(options: SelectionOptions, terminal: Terminal): Promise<void> {
  const { showEffect } = await import('../../preflight/catalogue.ts')
  const { requireKnownChecks } = await import('../../preflight/exceptions.ts')
  const { planPreflight } = await import('../../preflight/plan.ts')
  const { checkPortsOf, waiversOf, wholeCatalogue } = await import('../../preflight/ports.ts')
  const { withAttested } = await import('../../preflight/inputs.ts')
  const inputs = await inputsOf(options, terminal)
  const ports = checkPortsOf(inputs, {})
  const file = waiversOf(inputs, ports)
  const { checks: catalogue } = await wholeCatalogue(inputs, ports)
  requireKnownChecks(file, ports.policy, catalogue)
  const waiversFor = (id: string): string[] =>
    file.waivers.filter(({ check }) => check === id).map((waiver) => waiver.id)
  const { profile, required, checks, digest } = planPreflight(catalogue, ports, withAttested(inputs))
  if (options.json === true) {
    const rows = checks.map(({ check, skip }) => ({
      id: check.id,
      title: check.title,
      phase: check.phase,
      severity: check.severity,
      requires: check.requires,
      effects: check.effects,
      deadline_ms: check.deadlineMs,
      waivers: waiversFor(check.id),
      skip,
    }))
    terminal.out(toPrintableJson({ profile, required, digest, checks: rows }))
    return
  }
  const running = checks.filter(({ skip }) => skip === undefined)
  terminal.out(`profile ${profile}, ${running.length} of ${checks.length} checks would run, plan ${digest}`)
  for (const { check } of running) {
    const { phase, severity, id, effects, deadlineMs } = check
    terminal.out(`${phase.padEnd(6)} ${severity.padEnd(8)} ${id}  at most ${deadlineMs / 1_000} s`)
    for (const effect of effects) terminal.out(`                ${showEffect(effect)}`)
    for (const waiver of waiversFor(id)) terminal.out(`                waiver ${waiver}`)
  }
  for (const [reason, ids] of skippedByReason(checks)) terminal.out(`not run, ${reason}: ${ids.join(' ')}`)
}

function skippedByReason(checks: Plan['checks']): Map<string, string[]> {
  const byReason = new Map<string, string[]>()
  for (const { check, skip } of checks) {
    if (skip === undefined || skip.kind === 'blocked-by') continue
    byReason.set(skip.because, [...(byReason.get(skip.because) ?? []), check.id])
  }
  return byReason
}
