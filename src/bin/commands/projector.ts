// `arqonbus projector`: the lane that brings episode events into Postgres, and the tools of whoever looks after it.
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { version } from '../../base/version.ts'
import { toBusConfig } from '../../config/load.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { isProjectorMigration, migrateUp } from '../../postgres/migrations.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { postgresAddressOf } from '../postgres-address.ts'
import { loggerOf, runServer } from '../run-server.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'
import { backfillCommand } from './projector-backfill.ts'
import { deadLetterCommand } from './projector-dlq.ts'
import { playbookCommands } from './projector-playbook.ts'

export function projectorCommand(terminal: Terminal): Command {
  const migrate = new Command('migrate')
    .description("Make the lane's tables in the configured Postgres; any number may run at the same time")
    .option('--json', 'print as JSON')
    .action((options: { json?: boolean }) => migrateLane(options, terminal))
  const command = new Command('projector')
    .description('Run the lane that brings episode events from NATS into Postgres, configured by the environment')
    .action(() => lane(terminal))
    .addCommand(migrate)
    .addCommand(deadLetterCommand(terminal))
    .addCommand(backfillCommand(terminal))
    .addHelpText(
      'after',
      `
Examples:
  arqonbus projector migrate
  NATS_URL=nats://127.0.0.1:4222 ARQONBUS_POSTGRES_URL=postgresql://… arqonbus projector
  arqonbus projector dlq list
  arqonbus projector backfill --dry-run

Without its tables, exactly as this version makes them, the lane refuses to start (78).
A bus with ARQONBUS_PROJECTOR_ENABLED=true follows its own channel continuum.episode.v1; docs/projector.md.`,
    )
  for (const one of playbookCommands(terminal)) command.addCommand(one)
  return command
}

async function migrateLane({ json }: { json?: boolean }, terminal: Terminal): Promise<void> {
  const applied = await migrateUp({ address: postgresAddressOf(terminal), only: isProjectorMigration })
  if (json === true) terminal.out(toPrintableJson({ applied }))
  else if (applied.length === 0) terminal.out('nothing to apply: the tables of the projector are up to date')
  else for (const name of applied) terminal.out(`applied ${name}`)
}

async function lane(terminal: Terminal): Promise<void> {
  const { startProjectorProgram } = await import('../../app/projector.ts')
  const { requireCertifiedStart } = await import('../../app/certified-start.ts')
  const { certificateWatch } = await import('../../app/certificate-watch.ts')
  const resolution = resolveKeys(terminal.env)
  const { profile, projector, natsUrl } = toBusConfig(resolution)
  postgresAddressOf(terminal)
  if (natsUrl === undefined) {
    throw new ExitError(
      exitCodes.config,
      'NATS_URL is not set: the lane takes its events from NATS',
      'Set NATS_URL, for example nats://127.0.0.1:4222, or let the bus follow its own channel: ARQONBUS_PROJECTOR_ENABLED=true.',
    )
  }
  const start = await requireCertifiedStart('projector', resolution)
  for (const note of start.notes) terminal.note(note)
  const logger = loggerOf(resolution, 'projector')
  const watchCertificate = certificateWatch(start.standing, () => resolveKeys(terminal.env), {
    clock: systemClock,
    logger,
  })
  await runServer(terminal, async (shutdown) => {
    const running = await startProjectorProgram(
      { profile, projector, natsUrl },
      { clock: systemClock, logger, watchCertificate },
    )
    await start.begun({ logger, shutdown })
    const where = `http://${projector.metrics.host}:${running.metricsPort}`
    terminal.out(`ArqonBus ${version}: projector; health and metrics at ${where}`)
    return running
  })
}
