// `arqonbus preflight list` and `explain`: what checks there are, and what each of them proves.
import { Command } from 'commander'
import type { Check } from '../../preflight/check.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'

interface ListOptions {
  readonly policy?: string
  readonly json?: boolean
}

export function listCommand(terminal: Terminal): Command {
  return new Command('list')
    .description('List every check, those of plug-ins with their file and its digest')
    .option('--policy <file>', 'whose plug-ins to list; default: ARQONBUS_PREFLIGHT_POLICY')
    .option('--json', 'print as JSON')
    .action((options: ListOptions) => list(options, terminal))
}

export function explainCommand(terminal: Terminal): Command {
  return new Command('explain')
    .description('Tell what a check proves, how it can fail and what to do')
    .argument('<id>', 'id of a check, as `preflight list` shows it')
    .option('--policy <file>', 'whose plug-ins there are; default: ARQONBUS_PREFLIGHT_POLICY')
    .option('--json', 'print as JSON')
    .action((id: string, options: ListOptions) => explain(id, options, terminal))
}

/** What is built in, and the plug-ins of the policy that is named. */
async function catalogueFor({ policy }: ListOptions, { env }: Terminal): Promise<readonly Check[]> {
  const policyPath = policy ?? env['ARQONBUS_PREFLIGHT_POLICY']
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  if (policyPath === undefined || policyPath === '') return createCatalogue()
  const { checkPortsOf, wholeCatalogue } = await import('../../preflight/ports.ts')
  const inputs = { env, policyPath }
  return (await wholeCatalogue(inputs, checkPortsOf(inputs, {}))).checks
}

async function list(options: ListOptions, terminal: Terminal): Promise<void> {
  const { listCatalogue } = await import('../../preflight/catalogue.ts')
  const rows = listCatalogue(await catalogueFor(options, terminal))
  if (options.json === true) {
    terminal.out(toPrintableJson(rows))
    return
  }
  for (const { id, phase, severity, title, origin } of rows) {
    terminal.out(`${phase.padEnd(6)} ${severity.padEnd(8)} ${id}  ${title}`)
    if (origin === undefined) continue
    terminal.out(`                ${origin.kind} ${origin.path}  sha256:${origin.sha256}`)
  }
}

async function explain(id: string, options: ListOptions, terminal: Terminal): Promise<void> {
  const { explainCheck } = await import('../../preflight/catalogue.ts')
  const facts = explainCheck(id, await catalogueFor(options, terminal))
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
