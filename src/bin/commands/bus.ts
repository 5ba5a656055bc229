// `arqonbus bus`: the bus, configured by the environment.
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { version } from '../../base/version.ts'
import { toBusConfig } from '../../config/load.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { configRows } from '../config-rows.ts'
import { describeFailure, exitCodes } from '../exit-codes.ts'
import { loggerOf, preflightRunsOf, runServer } from '../run-server.ts'
import type { Terminal } from '../terminal.ts'

export function busCommand(terminal: Terminal): Command {
  return new Command('bus')
    .description('Run the bus, configured by the environment (docs/config.md); with NATS_URL, for gateways too')
    .addHelpText(
      'after',
      `
Examples:
  ARQONBUS_ENABLE_PERSISTENCE=true ARQONBUS_STORAGE_BACKEND=embedded arqonbus bus
  NATS_URL=nats://127.0.0.1:4222 ARQONBUS_MAX_MESSAGE_SIZE=65536 arqonbus bus

On one NATS server only one bus runs; a second one refuses to start.
Ends on SIGTERM or ^C after a drain. \`arqonbus config\` checks the environment without starting anything.`,
    )
    .action(() => bus(terminal))
}

async function bus(terminal: Terminal): Promise<void> {
  const { startBusOnLink } = await import('../../app/bus-on-link.ts')
  const { openPreflightRuns } = await import('../../app/preflight-runs.ts')
  const { requireCertifiedStart } = await import('../../app/certified-start.ts')
  const { certificateWatch } = await import('../../app/certificate-watch.ts')
  const resolution = resolveKeys(terminal.env)
  const start = await requireCertifiedStart('bus', resolution)
  for (const note of start.notes) terminal.note(note)
  const config = toBusConfig(resolution)
  const logger = loggerOf(resolution, 'bus')
  await runServer(terminal, async (onShutdown) => {
    const running = await startBusOnLink(config, {
      clock: systemClock,
      logger,
      preflight: openPreflightRuns(preflightRunsOf(terminal, terminal.env, logger)),
      watchCertificate: certificateWatch(start.standing, () => resolveKeys(terminal.env), {
        clock: systemClock,
        logger,
      }),
      configRows: () => configRows(resolution),
      onShutdown,
      onFatal(error) {
        const { exitCode, lines } = describeFailure(error)
        for (const line of lines) terminal.note(line)
        terminal.exitWith(exitCode)
        onShutdown()
      },
      onRival() {
        terminal.exitWith(exitCodes.failure)
        onShutdown()
      },
    })
    await start.begun({ logger, shutdown: onShutdown })
    terminal.out(`ArqonBus ${version}: bus at ws://${config.server.host}:${running.wsPort}`)
    return running
  })
}
