// The projector at the bus, where it is switched on: follows the channel of episode events, and answers commands.
import type { Clock } from '../base/clock.ts'
import { createClosers } from '../base/closers.ts'
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { ProjectorConfig } from '../config/shapes.ts'
import type { StreamKey } from '../envelope/envelope.ts'
import { parsePostgresAddress } from '../postgres/address.ts'
import { openProjector } from '../projector/open-projector.ts'
import { createProjectorService } from '../projector/service.ts'
import type { ProjectorPort } from '../router/projector-port.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { Health } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { episodeChannel, followHistory } from './projector-history.ts'
import { createProjectorMetrics } from './projector-metrics.ts'

export interface BusProjector {
  readonly port: ProjectorPort
  /** A message was stored. */
  readonly stored: (key: StreamKey) => void
  /** Somebody of this tenant has come. */
  came(tenant: string): void
  close(): Promise<void>
}

export interface BusProjectorPorts {
  readonly store: HistoryStore | undefined
  readonly metrics: Metrics
  readonly health: Health
  readonly clock: Clock
  readonly logger: Logger
}

const healthEveryMs = 500

/** Rejects with CONFIG_INVALID, or as `openProjector` does. */
export async function openBusProjector(config: ProjectorConfig, ports: BusProjectorPorts): Promise<BusProjector> {
  const { store, metrics, health, clock, logger } = ports
  const { postgresUrl, room, batch, maxDeadLetters } = config
  if (postgresUrl === undefined) {
    const message = 'ARQONBUS_PROJECTOR_ENABLED needs Postgres: set ARQONBUS_POSTGRES_URL'
    throw new BusError('CONFIG_INVALID', message, { variable: 'ARQONBUS_POSTGRES_URL' })
  }
  const closers = createClosers()
  try {
    const address = parsePostgresAddress(postgresUrl.reveal())
    const counts = createProjectorMetrics(metrics, clock, maxDeadLetters)
    const opened = await openProjector({ address, workers: 2, maxDeadLetters, clock, logger, closers })
    // One for the channel, one for commands: neither waits behind the other.
    const [following, commanding = following] = opened.workers
    closers.push('projector counts', counts.countTables(opened.sql, logger))
    const follower =
      store === undefined
        ? undefined
        : followHistory({ store, room, ...following, batch, logger, onBatch: counts.outcomes })
    if (follower === undefined) logger.warn('projector.no_history', { channel: episodeChannel })
    else closers.push('projector follower', () => follower.close())
    const report = (): void => {
      const trouble = follower?.trouble
      // The bus serves without it: events wait in the log.
      health.report({
        name: 'projector',
        state: trouble === undefined ? 'up' : 'degraded',
        ...(trouble !== undefined && { detail: trouble }),
      })
    }
    report()
    const timer = setInterval(report, healthEveryMs)
    closers.push('projector health', () => clearInterval(timer))
    counts.lanes(() => ({ channel: follower?.trouble === undefined ? 1 : 0 }))
    const { projector } = commanding
    const port = createProjectorService({
      address,
      sql: opened.sql,
      projector: {
        async project(items, checkpoint) {
          const outcomes = await projector.project(items, checkpoint)
          counts.outcomes(outcomes)
          return outcomes
        },
      },
      clock,
      onReplay: counts.replayed,
      onBackfill: counts.backfilled,
    })
    const met = new Set<string>()
    return {
      port,
      stored(key) {
        if (key.channel === episodeChannel && key.room === room) follower?.notice(key.tenant)
      },
      came(tenant) {
        if (met.has(tenant)) return
        met.add(tenant)
        follower?.notice(tenant)
      },
      close: () => closers.close(),
    }
  } catch (error) {
    await closers.close()
    throw error
  }
}
