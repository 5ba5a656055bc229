// `arqonbus preflight`: the production runbook as checks with evidence and a verdict. The exit code is that of the
// verdict (docs/preflight.md), in every output format.
import { Command, Option } from 'commander'
import type { Profile } from '../../config/shapes.ts'
import type { Phase } from '../../preflight/check.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'

interface RunOptions {
  readonly profile?: Profile
  readonly only?: string[]
  readonly skip?: string[]
  readonly phase?: Phase[]
  readonly target?: string
  readonly keepGoing?: boolean
  readonly output: 'text' | 'json'
  readonly json?: boolean
  readonly bundle?: string
  readonly route?: string[]
}

export function preflightCommand(terminal: Terminal): Command {
  const command = new Command('preflight').description(
    'Prove that a production start is safe: GO or NO-GO with evidence',
  )
  command.addCommand(
    withSelection(new Command('run').description('Run the checks and judge (the default)'))
      .option(
        '--target <list>',
        'a started system for the live checks: bus=ws://…,http=http://…,telemetry=ws://…,shield=ws://…',
      )
      .option('--keep-going', 'run the live checks even after a blocker failed')
      .addOption(new Option('--output <format>', 'format of the report').choices(['text', 'json']).default('text'))
      .option('--json', 'short for --output json')
      .option('--bundle <where>', 'incident bundle: a folder, never or always (default: when it failed)')
      .option('--route <sinks...>', 'tickets for root causes: file=PATH, webhook=URL, slack=URL, command=ARGV')
      .action((options: RunOptions) => run(options, terminal)),
    { isDefault: true },
  )
  command.addCommand(
    withSelection(new Command('plan').description('Show what would run, in which order, without running anything'))
      .option('--target <list>', 'as for run')
      .option('--json', 'print as JSON')
      .action((options: RunOptions) => plan(options, terminal)),
  )
  command.addCommand(
    new Command('list')
      .description('List every check')
      .option('--json', 'print as JSON')
      .action((options: { json?: boolean }) => list(options, terminal)),
  )
  command.addCommand(
    new Command('explain')
      .description('Tell what a check proves, how it can fail and what to do')
      .argument('<id>', 'id of a check, as `preflight list` shows it')
      .option('--json', 'print as JSON')
      .action((id: string, options: { json?: boolean }) => explain(id, options, terminal)),
  )
  return command.addHelpText(
    'after',
    `
Examples:
  arqonbus preflight --profile prod
  arqonbus preflight run --only 'shield.*' --json
  arqonbus preflight explain bus.no-defaults`,
  )
}

function withSelection(command: Command): Command {
  return command
    .addOption(new Option('--profile <profile>', 'what the environment has to be').choices(['dev', 'staging', 'prod']))
    .option('--only <ids...>', 'only these checks, or a category as shield.*')
    .option('--skip <ids...>', 'without these; a skipped gating check makes the verdict INCONCLUSIVE')
    .addOption(
      new Option('--phase <phases...>', 'only these phases').choices(['static', 'deps', 'gates', 'boot', 'live']),
    )
}

async function inputsOf(options: RunOptions, terminal: Terminal) {
  const { parseTargets } = await import('../../preflight/targets.ts')
  const { profile, only, skip, phase, target, keepGoing } = options
  return {
    env: terminal.env,
    ...(profile !== undefined && { profile }),
    ...(only !== undefined && { only }),
    ...(skip !== undefined && { skip }),
    ...(phase !== undefined && { phases: phase }),
    ...(target !== undefined && { targets: parseTargets(target) }),
    ...(keepGoing !== undefined && { keepGoing }),
  }
}

async function run(options: RunOptions, terminal: Terminal): Promise<void> {
  const { runWithIncident } = await import('../../preflight/incident/incident.ts')
  const { formatJson } = await import('../../preflight/format-json.ts')
  const { formatText } = await import('../../preflight/format-text.ts')
  const { exitCodeOf } = await import('../../preflight/verdict.ts')
  const format = options.json === true || options.output === 'json' ? formatJson : formatText
  const report = await runWithIncident(await inputsOf(options, terminal), {
    ...(options.bundle !== undefined && { bundle: options.bundle }),
    ...(options.route !== undefined && { routes: options.route }),
    argv: terminal.argv,
    cwd: terminal.cwd,
    env: terminal.env,
    format: formatText,
  })
  terminal.out(format(report).trimEnd())
  terminal.exitWith(exitCodeOf(report.canonical))
}

async function plan(options: RunOptions, terminal: Terminal): Promise<void> {
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  const { planPreflight } = await import('../../preflight/plan.ts')
  const { checkPortsOf } = await import('../../preflight/run.ts')
  const inputs = await inputsOf(options, terminal)
  const { profile, required, checks, digest } = planPreflight(createCatalogue(), checkPortsOf(inputs, {}), inputs)
  const rows = checks.map(({ check: { id, phase, severity, title }, skip }) => ({ id, phase, severity, title, skip }))
  if (options.json === true) {
    terminal.out(toPrintableJson({ profile, required, digest, checks: rows }))
    return
  }
  terminal.out(`profile ${profile}, ${rows.length} checks, plan ${digest}`)
  for (const { id, phase, severity, title, skip } of rows) {
    const note = skip === undefined ? title : `skipped: ${toPrintable(skip)}`
    terminal.out(`${phase.padEnd(6)} ${severity.padEnd(8)} ${id}  ${note}`)
  }
}

async function list(options: { json?: boolean }, terminal: Terminal): Promise<void> {
  const { listCatalogue } = await import('../../preflight/catalogue.ts')
  const rows = listCatalogue()
  if (options.json === true) terminal.out(toPrintableJson(rows))
  else
    for (const { id, phase, severity, title } of rows)
      terminal.out(`${phase.padEnd(6)} ${severity.padEnd(8)} ${id}  ${title}`)
}

async function explain(id: string, options: { json?: boolean }, terminal: Terminal): Promise<void> {
  const { explainCheck } = await import('../../preflight/catalogue.ts')
  const facts = explainCheck(id)
  if (facts === undefined) {
    throw new ExitError(
      exitCodes.usage,
      `no check is called ${toPrintable(id)}`,
      '`arqonbus preflight list` shows them all.',
    )
  }
  if (options.json === true) {
    terminal.out(toPrintableJson(facts))
    return
  }
  for (const [name, value] of Object.entries(facts)) {
    terminal.out(`${name.padEnd(12)} ${Array.isArray(value) ? value.join(', ') || '-' : String(value)}`)
  }
}
