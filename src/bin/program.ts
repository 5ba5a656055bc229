// The `arqonbus` command: its sub-commands, and how each ends.
import { Command, CommanderError } from 'commander'
import { BusError } from '../base/errors.ts'
import { version } from '../base/version.ts'
import { auditCommand } from './commands/audit.ts'
import { busCommand } from './commands/bus.ts'
import { checkCommand } from './commands/check.ts'
import { configCommand } from './commands/config.ts'
import { historyCommand } from './commands/history.ts'
import { migrateCommand } from './commands/migrate.ts'
import { policyCommand } from './commands/policy.ts'
import { preflightCommand } from './commands/preflight.ts'
import { projectorCommand } from './commands/projector.ts'
import { publishCommand } from './commands/publish.ts'
import { schemaCommand } from './commands/schema.ts'
import { shieldCommand } from './commands/shield.ts'
import { statusCommand } from './commands/status.ts'
import { tailCommand } from './commands/tail.ts'
import { tokenCommand } from './commands/token.ts'
import { upCommand } from './commands/up.ts'
import { versionCommand } from './commands/version.ts'
import { describeFailure, exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

const commands = [
  upCommand,
  busCommand,
  shieldCommand,
  projectorCommand,
  preflightCommand,
  checkCommand,
  policyCommand,
  tokenCommand,
  publishCommand,
  tailCommand,
  historyCommand,
  statusCommand,
  schemaCommand,
  migrateCommand,
  auditCommand,
  configCommand,
  versionCommand,
]

/** Runs one command line (without node and script); prints what goes wrong and sets the exit code, never throws. */
export async function runProgram(args: readonly string[], terminal: Terminal): Promise<void> {
  const program = new Command('arqonbus')
    .description('A message bus over WebSocket with an edge gateway and an executable production preflight')
    .version(version, '-V, --version')
    // What follows a sub-command is that one's: `token revoke --subject` is not the option of `token`.
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Start here:
  arqonbus up                                              a whole system on this machine
  arqonbus tail --room lab                                 watch a room
  arqonbus publish --room lab --channel general '{"a":1}'  say something in it

Exit codes: 0 fine, 1 failed, 64 wrong usage, 69 nothing answers, 77 not permitted, 78 wrong configuration`,
    )
  for (const make of commands) program.addCommand(make(terminal))
  // Each command inherits nothing from its parent in commander, so every one is told.
  for (const command of withSubCommands(program)) {
    command.exitOverride().configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.note(text.trimEnd().replace(/^error: /, '')),
    })
    command.showHelpAfterError('(--help shows what there is)')
  }
  if (args.length === 0) {
    program.outputHelp()
    terminal.exitWith(exitCodes.usage)
    return
  }
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode !== 0) await reportWrongCall(args, error.message.replace(/^error: /, ''), terminal)
      terminal.exitWith(error.exitCode === 0 ? exitCodes.ok : exitCodes.usage)
      return
    }
    const failure = describeFailure(error)
    for (const line of failure.lines) terminal.note(line)
    terminal.exitWith(failure.exitCode)
  }
}

/** Whoever asked the preflight for JSON gets one document, also for a call that was not understood. */
async function reportWrongCall(args: readonly string[], message: string, terminal: Terminal): Promise<void> {
  if (args[0] !== 'preflight' || !(args.includes('--json') || args.includes('--output=json'))) return
  if (args[1] !== undefined && !args[1].startsWith('-') && args[1] !== 'run') return
  const { reportFault } = await import('./commands/preflight-run.ts')
  const { formatJson } = await import('../preflight/format-json.ts')
  terminal.out(formatJson(await reportFault(new BusError('USAGE', message))).trimEnd())
}

function withSubCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubCommands)]
}
