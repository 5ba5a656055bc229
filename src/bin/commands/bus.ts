// `arqonbus bus`: the bus alone, configured by the environment.
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { version } from '../../base/version.ts'
import { toBusConfig } from '../../config/load.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { configRows } from '../config-rows.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { loggerOf, runServer } from '../run-server.ts'
import type { Terminal } from '../terminal.ts'

export function busCommand(terminal: Terminal): Command {
  return new Command('bus')
    .description('Run the bus alone, configured by the environment (docs/config.md)')
    .addHelpText(
      'after',
      `
Examples:
  ARQONBUS_ENABLE_PERSISTENCE=true ARQONBUS_STORAGE_BACKEND=embedded arqonbus bus

Ends on SIGTERM or ^C after a drain. \`arqonbus config\` checks the environment without starting anything.`,
    )
    .action(() => bus(terminal))
}

async function bus(terminal: Terminal): Promise<void> {
  const { startBus } = await import('../../app/bus.ts')
  const resolution = resolveKeys(terminal.env)
  const config = toBusConfig(resolution)
  if (config.natsUrl !== undefined) throw noNats('Remove NATS_URL, or run bus and Shield together with `arqonbus up`.')
  await runServer(terminal, async (onShutdown) => {
    const running = await startBus(config, {
      clock: systemClock,
      logger: loggerOf(resolution, 'bus'),
      configRows: () => configRows(resolution),
      onShutdown,
    })
    terminal.out(`ArqonBus ${version}: bus at ws://${config.server.host}:${running.wsPort}`)
    return running
  })
}

/** Two processes need NATS between them, and this version cannot speak to it: said before anything opens. */
export function noNats(hint: string): ExitError {
  return new ExitError(exitCodes.config, 'this version has no link to NATS: bus and Shield run in one process', hint)
}
