// `arqonbus config`: what the programs would make of this environment.
import { Command } from 'commander'
import { describeProblem, type Resolution } from '../../config/resolution.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { configRows } from '../config-rows.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

export function configCommand(terminal: Terminal): Command {
  return new Command('config')
    .description('Check the configuration of this environment; exits with 78 when something is wrong')
    .option('--print', 'show every variable with its value and where it comes from (secrets hidden)')
    .option('--set', 'with --print: only what is not a default')
    .option('--json', 'print as JSON')
    .action((options: { print?: boolean; set?: boolean; json?: boolean }) => {
      const resolution = resolveKeys(terminal.env)
      const rows = configRows(resolution).filter((row) => options.set !== true || row.source !== 'default')
      const { problems, warnings } = resolution
      if (options.json === true) {
        terminal.out(toPrintableJson({ ...(options.print === true && { rows }), problems, warnings }))
      } else if (options.print === true) {
        const width = Math.max(0, ...rows.map((row) => row.key.length))
        for (const { key, value, source } of rows) terminal.out(`${key.padEnd(width)}  ${value || '-'}  (${source})`)
      }
      refuse(resolution, terminal)
      if (options.print !== true && options.json !== true) terminal.out('the configuration has no errors')
    })
}

/** Notes every warning; throws when there is a problem, after noting each of them. */
function refuse({ problems, warnings }: Resolution, terminal: Terminal): void {
  for (const warning of warnings) terminal.note(`warning: ${describeProblem(warning)}`)
  if (problems.length === 0) return
  for (const problem of problems) terminal.note(describeProblem(problem))
  throw new ExitError(exitCodes.config, `the configuration has ${problems.length} errors`)
}
