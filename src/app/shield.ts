// Shield as a program: keys, gateway, and its own HTTP port for health and metrics.
import type { Clock } from '../base/clock.ts'
import { createClosers } from '../base/closers.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { ShieldConfig } from '../config/shapes.ts'
import type { Link } from '../link/link.ts'
import { type Shield, startShield } from '../shield/shield.ts'
import { createHealth } from '../telemetry/health.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { createTelemetryHub } from '../telemetry/telemetry-hub.ts'
import { startCertificateWatch, type WatchCertificate } from './certificate-watch.ts'
import { openConfiguredPolicies } from './open-policies.ts'
import { startHttpServer } from '../transport/http-server.ts'
import { registerLinkMetrics, reportLink } from './link-health.ts'
import { openMirrorLink } from './mirror-link.ts'
import { openAuthenticator } from './open-authenticator.ts'
import { openSpans } from './open-spans.ts'
import { openSchemas, registerSchemaMetrics, reportSchemas } from './schemas.ts'

/** How often the state of the bus behind the gateway is looked at for health. */
const healthIntervalMs = 500

export interface ShieldProgramPorts {
  readonly clock: Clock
  readonly logger: Logger
  readonly link: Link
  /** Shows what became of the certificate of the start. */
  readonly watchCertificate?: WatchCertificate
}

export interface RunningShield {
  readonly wsPort: number
  readonly metricsPort: number
  readonly shield: Shield
  close(): Promise<void>
}

/** Rejects with a BusError, and with nothing left open, when it cannot start. */
export async function startShieldProgram(config: ShieldConfig, ports: ShieldProgramPorts): Promise<RunningShield> {
  const { clock, logger, link } = ports
  const closers = createClosers()
  try {
    // Reserved tenants are the system's own probes: only the holder of the key can name them.
    const authenticator = await openAuthenticator(config.auth, {
      clock,
      logger,
      requireClaims: true,
      allowReservedTenants: true,
    })
    closers.push('keys', () => authenticator.close())
    const metrics = createMetrics('shield')
    const policies = await openConfiguredPolicies(config, { clock, logger, metrics })
    closers.push('policies', () => policies?.close())
    const health = createHealth({ clock, canary: 'none' })
    const certificate = startCertificateWatch(ports.watchCertificate, { metrics, health, closers })
    const telemetry = createTelemetryHub({ clock, bufferSize: 1_000 })
    // Not ready before clients can come, nor once they are sent away.
    health.report({ name: 'listener', state: 'down', detail: 'starting' })
    const http = await startHttpServer({
      host: config.metrics.host,
      port: config.metrics.port,
      profile: config.profile,
      service: 'shield',
      authenticator,
      metrics,
      health,
      views: certificate,
      clock,
      logger,
    })
    closers.push('http', () => http.close())
    const schemas = config.schemas && (await openSchemas(config.schemas, config.schemaStrict, logger))
    closers.push('schemas', () => schemas?.close())
    const mirrorLink = config.mirror && openMirrorLink(config.mirror.natsUrl ?? config.natsUrl!, logger)
    closers.push('mirror link', () => mirrorLink?.close())
    const spans = config.otlpEndpoint && openSpans(config.otlpEndpoint, { metrics, clock, logger })
    closers.push('spans', () => spans?.close())
    const shield = await startShield(
      { ...config, policyHeaders: config.policies.headers },
      {
        link,
        authenticator,
        telemetry,
        metrics,
        clock,
        logger,
        ...(policies !== undefined && { policy: policies }),
        ...(schemas !== undefined && { schemas }),
        ...(mirrorLink !== undefined && { mirrorLink: () => mirrorLink.current }),
        ...(spans !== undefined && { spans }),
      },
    )
    closers.push('gateway', () => shield.close())
    registerLinkMetrics(metrics, link)
    if (schemas !== undefined) registerSchemaMetrics(metrics, schemas)
    health.report({ name: 'listener', state: 'up' })
    closers.push('readiness', () => health.report({ name: 'listener', state: 'down', detail: 'draining' }))
    const report = (): void => {
      health.report({ name: 'bus', state: shield.isBusReachable ? 'up' : 'down' })
      health.report(reportLink(link))
      if (policies !== undefined) health.report(policies.health())
      const keys = authenticator.keys()
      if (keys !== undefined) health.report(keys)
      if (schemas !== undefined) health.report(reportSchemas(schemas))
    }
    report()
    const timer = setInterval(report, healthIntervalMs)
    closers.push('health', () => clearInterval(timer))
    logger.info('shield.started', { ws: shield.port, metrics: http.port })
    return { wsPort: shield.port, metricsPort: http.port, shield, close: () => closers.close() }
  } catch (error) {
    await closers.close().catch((failure: unknown) => logger.warn('shield.cleanup_failed', describeError(failure)))
    throw error
  }
}
