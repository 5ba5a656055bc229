// `arqonbus check SERVICE`: one service of the preflight, alone, with what was proved of it (runbook L42, L43). Never a
// password.
import { Argument, Command } from 'commander'
import { parseDuration } from '../duration.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

const services = ['valkey', 'redis', 'postgres', 'nats', 'ollama'] as const
type Service = (typeof services)[number]

interface Options {
  readonly wait?: number
  readonly readOnly?: boolean
  readonly deep?: boolean
  readonly json?: boolean
}

/** What has to be set for there to be anything to check. */
const addresses: Readonly<Record<Exclude<Service, 'redis'>, string>> = {
  valkey: 'ARQONBUS_VALKEY_URL (or ARQONBUS_REDIS_URL)',
  postgres: 'ARQONBUS_POSTGRES_URL',
  nats: 'NATS_URL',
  ollama: 'ARQONBUS_OLLAMA_ENABLED=true',
}

export function checkCommand(terminal: Terminal): Command {
  return new Command('check')
    .description('Check one service: can it be reached, and does it do what is needed of it')
    .addArgument(new Argument('<service>', 'which one; redis is valkey by its other name').choices(services))
    .option('--wait <duration>', 'try again for so long what is not ready yet', parseDuration)
    .option('--read-only', 'write nothing there, not even for a moment')
    .option('--deep', 'also what takes long or costs')
    .option('--json', 'print as JSON')
    .action((service: Service, options: Options) => check(service === 'redis' ? 'valkey' : service, options, terminal))
    .addHelpText(
      'after',
      `
Examples:
  arqonbus check valkey
  arqonbus check postgres --wait 2m --json

Exit codes: 0 all passed; 20, 21, 22 something failed (blocker, critical, high); 30 something was not run; 78 not configured`,
    )
}

async function check(service: keyof typeof addresses, options: Options, terminal: Terminal): Promise<void> {
  const { runPreflight } = await import('../../preflight/run.ts')
  const { exitCodes: verdictCodes } = await import('../../preflight/verdict.ts')
  const { wait, readOnly, deep } = options
  const report = await runPreflight({
    env: terminal.env,
    only: [`dep.${service}`],
    ...(wait !== undefined && { waitMs: wait }),
    ...(readOnly !== undefined && { readOnly }),
    ...(deep !== undefined && { deep }),
  })
  const { summarise } = await import('../../preflight/service-summary.ts')
  const summary = summarise(report, service)
  if (summary.results.length === 0) {
    throw new ExitError(exitCodes.config, `there is no ${service} to check`, `Set ${addresses[service]}.`)
  }
  if (options.json === true) terminal.out(toPrintableJson(summary))
  else for (const line of summary.lines) terminal.out(line)
  terminal.exitWith(summary.outcome === 'pass' ? exitCodes.ok : verdictCodes[summary.outcome])
}
