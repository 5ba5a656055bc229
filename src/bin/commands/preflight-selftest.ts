// `arqonbus preflight selftest`: proves that every check can fail, and prints the ledger.
import { Command } from 'commander'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly json?: boolean
  readonly verbose?: boolean
  readonly determinism?: string
  readonly seed?: string
}

export function selftestCommand(terminal: Terminal): Command {
  return new Command('selftest')
    .description('Prove that every check can fail: judge each in worlds where it has to, and where it must not')
    .option('--json', 'print the ledger as JSON')
    .option('-v, --verbose', 'name every world')
    .option(
      '--determinism <runs>',
      'also judge two recordings so often, scheduled otherwise each time: one digest each',
    )
    .option('--seed <number>', 'of those schedules; drawn and printed when absent')
    .action((options: Options) => selftest(options, terminal))
}

async function selftest(options: Options, terminal: Terminal): Promise<void> {
  const runs = wholeNumber('--determinism', options.determinism)
  const seed = wholeNumber('--seed', options.seed)
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  const { isDetermined, proveDeterminism, proveEverything } = await import('../../preflight/selftest.ts')
  const { exitCodes: verdicts } = await import('../../preflight/verdict.ts')
  const catalogue = createCatalogue()
  const ledger = await proveEverything(catalogue)
  const determinism =
    runs === undefined
      ? undefined
      : await proveDeterminism(catalogue, { runs, seed: seed ?? Math.trunc(Math.random() * 2 ** 31) })
  const isProven = ledger.faults === 0 && (determinism === undefined || isDetermined(determinism))

  if (options.json === true) {
    terminal.out(toPrintableJson({ ...ledger, ...(determinism !== undefined && { determinism }) }))
  } else {
    for (const { id, kills, faults } of ledger.proofs) {
      terminal.out(`${faults.length === 0 ? 'proven  ' : 'UNPROVEN'} ${String(kills.length).padStart(3)} ${id}`)
      if (options.verbose === true) for (const { world, code } of kills) terminal.out(`             ${code}: ${world}`)
      for (const fault of faults) terminal.out(`             wrong: ${fault}`)
    }
    if (determinism !== undefined) {
      const { healthy, broken } = determinism.digests
      terminal.out(`${determinism.runs} runs each, seed ${determinism.seed}: healthy ${healthy.join(' ')}`)
      terminal.out(`${' '.repeat(13)}and every third failing: ${broken.join(' ')}`)
    }
    const words = `${ledger.proofs.length} checks, ${ledger.kills} kills, ${ledger.faults} faults`
    terminal.out(`${words}; catalogue ${ledger.catalogue}, ledger ${ledger.digest}`)
  }
  terminal.exitWith(isProven ? verdicts.go : verdicts.high)
}

function wholeNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text) || (option === '--determinism' && Number(text) < 1)) {
    throw new ExitError(exitCodes.usage, `${option} needs a whole number`)
  }
  return Number(text)
}
