// The projector as a program: events of a NATS stream into Postgres, with an HTTP port for health and metrics.
import type { Clock } from '../base/clock.ts'
import { createClosers } from '../base/closers.ts'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { parseNatsServers } from '../config/nats-servers.ts'
import type { Secret } from '../config/secret.ts'
import type { BusConfig } from '../config/shapes.ts'
import { openEventQueue } from '../link/event-queue.ts'
import { parsePostgresAddress } from '../postgres/address.ts'
import { type Lane, startLane } from '../projector/lane.ts'
import { openProjector } from '../projector/open-projector.ts'
import { episodeStream, episodeSubject } from '../projector/stream.ts'
import { createHealth } from '../telemetry/health.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { startHttpServer } from '../transport/http-server.ts'
import { startCertificateWatch, type WatchCertificate } from './certificate-watch.ts'
import { createProjectorMetrics } from './projector-metrics.ts'

const consumer = 'arqonbus-projector'
const healthEveryMs = 500

export interface RunningProjector {
  readonly metricsPort: number
  readonly lanes: readonly Lane[]
  /** Ends after the batches at hand. */
  close(): Promise<void>
}

export interface ProjectorProgramConfig extends Pick<BusConfig, 'profile' | 'projector'> {
  readonly natsUrl: Secret
}

/** Rejects with a BusError, and with nothing left open, when it cannot start. */
export async function startProjectorProgram(
  config: ProjectorProgramConfig,
  { clock, logger, watchCertificate }: { clock: Clock; logger: Logger; watchCertificate?: WatchCertificate },
): Promise<RunningProjector> {
  const { postgresUrl, workers, batch, ackWaitMs, maxDeadLetters } = config.projector
  if (postgresUrl === undefined) {
    throw new BusError('CONFIG_INVALID', 'The projector needs Postgres: set ARQONBUS_POSTGRES_URL')
  }
  const closers = createClosers()
  try {
    const metrics = createMetrics()
    const counts = createProjectorMetrics(metrics, clock, maxDeadLetters)
    const health = createHealth({ clock, canary: 'none' })
    const certificate = startCertificateWatch(watchCertificate, { metrics, health, closers })
    health.report({ name: 'lane', state: 'down', detail: 'starting' })
    const opened = await openProjector({
      address: parsePostgresAddress(postgresUrl.reveal()),
      workers,
      maxDeadLetters,
      clock,
      logger,
      closers,
    })
    const queue = await openEventQueue({
      servers: parseNatsServers(config.natsUrl),
      subject: episodeSubject,
      stream: episodeStream,
      consumer,
      logger,
      ackWaitMs,
    })
    closers.push('queue', () => queue.close())
    closers.push('counts', counts.countTables(opened.sql, logger))
    const http = await startHttpServer({
      host: config.projector.metrics.host,
      port: config.projector.metrics.port,
      profile: config.profile,
      service: 'projector',
      metrics,
      health,
      views: certificate,
      clock,
      logger,
    })
    closers.push('http', () => http.close())
    const lanes = opened.workers.map(({ projector }) =>
      startLane({ source: queue, name: 'nats', projector, batch, logger, onBatch: counts.outcomes }),
    )
    closers.push('lanes', async () => {
      health.report({ name: 'lane', state: 'down', detail: 'draining' })
      await Promise.all(lanes.map((lane) => lane.close()))
    })
    counts.lanes(() => ({ nats: lanes.every(({ state }) => state === 'running') ? 1 : 0 }))
    const report = (): void => {
      const held = lanes.find(({ state }) => state !== 'running')
      health.report({
        name: 'lane',
        state: held === undefined ? 'up' : 'down',
        ...(held?.trouble !== undefined && { detail: held.trouble }),
      })
    }
    report()
    const timer = setInterval(report, healthEveryMs)
    closers.push('health', () => clearInterval(timer))
    logger.info('projector.started', { metrics: http.port, workers, batch })
    return { metricsPort: http.port, lanes, close: () => closers.close() }
  } catch (error) {
    await closers.close().catch((failure: unknown) => logger.warn('projector.cleanup_failed', describeError(failure)))
    throw error
  }
}
