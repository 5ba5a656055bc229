// `arqonbus shield`: the gateway, configured by the environment. Its bus is another process, reached over NATS.
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { version } from '../../base/version.ts'
import { toShieldConfig } from '../../config/load.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { loggerOf, runServer } from '../run-server.ts'
import type { Terminal } from '../terminal.ts'

export function shieldCommand(terminal: Terminal): Command {
  return new Command('shield')
    .description('Run the gateway, configured by the environment (docs/config.md); it needs NATS and a bus')
    .addHelpText(
      'after',
      `
Examples:
  NATS_URL=nats://127.0.0.1:4222 JWT_SECRET=… arqonbus shield

Where no bus answers yet, clients are refused with 503 until one does.
Ends on SIGTERM or ^C.`,
    )
    .action(() => shield(terminal))
}

async function shield(terminal: Terminal): Promise<void> {
  const { startShieldOnLink } = await import('../../app/shield-on-link.ts')
  const { requireCertifiedStart } = await import('../../app/certified-start.ts')
  const { certificateWatch } = await import('../../app/certificate-watch.ts')
  const resolution = resolveKeys(terminal.env)
  const start = await requireCertifiedStart('shield', resolution)
  for (const note of start.notes) terminal.note(note)
  const config = toShieldConfig(resolution)
  const { natsUrl } = config
  if (natsUrl === undefined || resolution.sources.get('natsUrl')?.kind === 'default') {
    throw new ExitError(
      exitCodes.config,
      'NATS_URL is not set: the gateway reaches its bus over NATS',
      'Set NATS_URL here and for `arqonbus bus`, for example nats://127.0.0.1:4222, or run both in one process with `arqonbus up`.',
    )
  }
  const logger = loggerOf(resolution, 'shield')
  const watchCertificate = certificateWatch(start.standing, () => resolveKeys(terminal.env), {
    clock: systemClock,
    logger,
  })
  await runServer(terminal, async (shutdown) => {
    const running = await startShieldOnLink({ ...config, natsUrl }, { clock: systemClock, logger, watchCertificate })
    await start.begun({ logger, shutdown })
    const scheme = config.tls === undefined ? 'ws' : 'wss'
    terminal.out(`ArqonBus ${version}: Shield at ${scheme}://${config.server.host}:${running.wsPort}/ws`)
    return running
  })
}
