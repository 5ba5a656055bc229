// The bus as a program: store, core, listeners, health, link; opened in the order of reliability 5.2 (the WebSocket
// port last), closed in reverse after a drain.
import type { IncomingMessage } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type AuditLog, createAuditLog } from '../audit/audit-log.ts'
import { skewSeconds } from '../auth/claims.ts'
import { tokenFromHeader, tokenFromQuery } from '../auth/bearer.ts'
import { anonymousIdentity, type Authenticator, type Identity } from '../auth/identity.ts'
import { createRevocations } from '../auth/revocations.ts'
import type { Clock } from '../base/clock.ts'
import { createClosers } from '../base/closers.ts'
import type { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { AuthConfig, BusConfig } from '../config/shapes.ts'
import type { HotState } from '../hot/hot-state.ts'
import type { Link } from '../link/link.ts'
import { parsePostgresAddress } from '../postgres/address.ts'
import { startRelay } from '../relay/relay.ts'
import type { GuardedStore } from '../storage/guard/guarded-store.ts'
import { createHealth } from '../telemetry/health.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import { createTelemetryHub } from '../telemetry/telemetry-hub.ts'
import { startHttpServer } from '../transport/http-server.ts'
import { startTelemetryServer } from '../transport/telemetry-server.ts'
import type { HttpRefusal } from '../transport/http-refusal.ts'
import type { HttpViews } from '../transport/http-routes.ts'
import { startWsServer } from '../transport/ws-server.ts'
import { type BusCore, createBusCore } from './bus-core.ts'
import { openBusHotState, refuseHandshake, registerHotStateMetrics, showPresence } from './bus-hot-state.ts'
import { registerBusMetrics } from './bus-metrics.ts'
import { startCertificateWatch, type WatchCertificate } from './certificate-watch.ts'
import { openBusProjector } from './bus-projector.ts'
import { createBusViews } from './bus-views.ts'
import { openAuthenticator } from './open-authenticator.ts'
import { startHealthChecks } from './health-checks.ts'
import { registerLinkMetrics } from './link-health.ts'
import { requireSecondStore } from './dual-stack.ts'
import { openHistory, watchHistory } from './open-history.ts'
import type { PreflightRuns } from './preflight-runs.ts'

export interface BusPorts {
  readonly clock: Clock
  readonly logger: Logger
  /** To gateways; absent where the bus stands alone. */
  readonly link?: Link
  /** What /system/config shows: keys, values with secrets hidden, sources. */
  readonly configRows?: () => readonly { key: string; value: string; source: string }[]
  /** Absent: this program runs none. Closed together with the bus. */
  readonly preflight?: PreflightRuns
  /** Told when an authorised client asks for a shutdown over HTTP. */
  readonly onShutdown?: () => void
  /** Shows what became of the certificate of the start. */
  readonly watchCertificate?: WatchCertificate
  /** Told why this bus has to end, when it must not go on. */
  readonly onFatal?: (error: BusError) => void
}

export interface RunningBus {
  readonly wsPort: number
  readonly httpPort: number
  readonly telemetryPort: number | undefined
  readonly core: BusCore
  readonly store: GuardedStore | undefined
  readonly hot: HotState
  /** Drains, then closes everything; safe to call twice. */
  close(): Promise<void>
}

/** Resolves when the bus is ready; rejects with a BusError, and with nothing left open, when it cannot start. */
export async function startBus(config: BusConfig, ports: BusPorts): Promise<RunningBus> {
  const { clock, logger } = ports
  const closers = createClosers()
  try {
    const revocations = createRevocations(clock)
    const authenticator = config.auth.enabled
      ? await openAuthenticator(config.auth, { clock, logger, revocations, allowReservedTenants: true })
      : undefined
    closers.push('keys', () => authenticator?.close())
    let presence: HotState['presence'] | undefined
    const hasOthers = (): boolean => (presence?.others ?? 0) > 0
    const store = config.storage.enabled ? await openHistory(config, { clock, logger, hasOthers }) : undefined
    if (store !== undefined) closers.push('store', () => store.close())

    await requireSecondStore(config.storage, logger)
    const hot = await openBusHotState(config, { clock, logger, revocations })
    presence = hot.presence
    closers.push('hot state', () => hot.close())
    const audit = openAuditLog(config, ports)
    closers.push('audit', () => audit.close())

    const metrics = createMetrics()
    const health = createHealth({ clock })
    const certificate = startCertificateWatch(ports.watchCertificate, { metrics, health, closers })
    const hub = createTelemetryHub({ clock, bufferSize: 1_000 })
    const startedAtMs = clock.now()
    const projector = config.projector.enabled
      ? await openBusProjector(config.projector, { store, metrics, health, clock, logger })
      : undefined
    if (projector !== undefined) closers.push('projector', () => projector.close())
    const core: BusCore = createBusCore(config, {
      store,
      hot,
      revocations,
      authenticator,
      telemetry: hub,
      audit,
      clock,
      logger,
      status: () => views.status(),
      projector,
    })
    const views = createBusViews({ config, core, store, health, clock, startedAtMs })
    const loopDelay = monitorEventLoopDelay({ resolution: 5 })
    loopDelay.enable()
    closers.push('event loop monitor', () => void loopDelay.disable())
    showPresence(hot, core)
    const { isMirrored } = config.storage
    registerBusMetrics(metrics, { core, hub, store, isMirrored, audit, loopDelay })
    registerHotStateMetrics(metrics, hot, revocations)
    if (ports.link !== undefined) registerLinkMetrics(metrics, ports.link)
    closers.push(
      'session expiry',
      every(1_000, () => core.endExpiredSessions(skewSeconds * 1_000)),
    )
    closers.push(
      'revocations',
      revocations.onRevoked((revoked) => {
        logger.info('auth.revoked', { tenant: revoked.tenant, subject: revoked.subject })
        // In the next turn: who revokes itself gets its answer first.
        setImmediate(() => core.endRevokedSessions(revoked))
      }),
    )

    if (ports.link !== undefined) {
      const relay = await startRelay({
        link: ports.link,
        core,
        readLog: store === undefined ? undefined : (query) => store.readBySequence(query),
        limits: config.limits,
        telemetry: hub,
        clock,
        logger,
      })
      closers.push('relay', () => relay.close())
    }
    const watch =
      store === undefined
        ? undefined
        : watchHistory(config, {
            store,
            core,
            hasOthers,
            health,
            clock,
            logger,
            onAwayTooLong: (error) => ports.onFatal?.(error),
          })
    closers.push('history watch', () => watch?.close())
    // Not ready before clients can come, nor once they are sent away.
    health.report({ name: 'listener', state: 'down', detail: 'starting' })
    const checks = startHealthChecks({
      core,
      store,
      hot,
      health,
      readyRequiresStore: config.storage.readyRequiresStore,
      audit,
      clock,
      logger,
      ...(ports.link !== undefined && { link: ports.link }),
      ...(authenticator !== undefined && { keys: () => authenticator.keys() }),
    })
    closers.push('health checks', () => checks.close())
    await checks.first

    const http = await startHttpServer({
      host: config.http.host,
      port: config.http.port,
      profile: config.profile,
      ...(config.http.apiKey !== undefined && { apiKey: config.http.apiKey.reveal() }),
      ...(authenticator !== undefined && { authenticator }),
      metrics,
      health,
      clock,
      logger,
      views: { ...views, ...programViews(ports), ...certificate, telemetry: hub },
      audit,
      onShutdown: () => ports.onShutdown?.(),
    })
    closers.push('http', () => http.close())
    closers.push('preflight', () => ports.preflight?.close())

    const telemetry = config.telemetry.enabled
      ? await startTelemetryServer({
          host: config.telemetry.host,
          port: config.telemetry.port,
          hub,
          ...(authenticator !== undefined && { authenticator }),
          allowQueryToken: config.auth.allowQueryToken,
          revocations,
          allowedOrigins: config.allowedOrigins,
          maxClients: config.limits.maxTelemetryClients,
          clock,
          logger,
        })
      : undefined
    closers.push('telemetry', () => telemetry?.close())
    const telemetryPort = telemetry?.port

    const ws = await startWsServer({
      host: config.server.host,
      port: config.server.port,
      limits: config.limits,
      allowedOrigins: config.allowedOrigins,
      clock,
      logger,
      authenticate: (request) => admitToBus(request, config, authenticator, hot),
      answer: (request) => answerPlain(request, config.auth, authenticator),
      open: (connection, identity) => core.openSession(connection, identity),
    })
    closers.push('websocket', () => ws.close())
    health.report({ name: 'listener', state: 'up' })
    closers.push('sessions', async () => {
      health.report({ name: 'listener', state: 'down', detail: 'draining' })
      await ws.stopAccepting()
      await core.drain(config.limits.drainTimeoutMs, watch?.lastWord)
    })
    hub.emit({ type: 'system_started' })
    logger.info('bus.started', {
      ws: ws.port,
      http: http.port,
      telemetry: telemetryPort,
      store: store?.capabilities.backend,
      hotState: hot.backend,
    })
    return { wsPort: ws.port, httpPort: http.port, telemetryPort, core, store, hot, close: () => closers.close() }
  } catch (error) {
    await closers.close().catch((failure) => logger.warn('bus.cleanup_failed', describeError(failure)))
    throw error
  }
}

/** What the program that runs the bus shows of itself. */
const programViews = ({ configRows, preflight }: BusPorts): Pick<HttpViews, 'config' | 'preflight'> => ({
  ...(configRows !== undefined && { config: configRows }),
  ...(preflight !== undefined && { preflight }),
})

/** Kept where Postgres is configured, whatever keeps history; lines of the log otherwise. */
function openAuditLog({ storage }: BusConfig, { clock, logger }: BusPorts): AuditLog {
  const url = storage.postgresUrl?.reveal()
  return createAuditLog({ clock, logger, ...(url !== undefined && { address: parsePostgresAddress(url) }) })
}

const unauthorized = (details: string): HttpRefusal => ({
  status: 401,
  body: { error: 'Unauthorized', details },
  headers: { 'www-authenticate': 'Bearer realm="arqonbus"' },
})

async function authenticateBus(
  request: IncomingMessage,
  auth: AuthConfig,
  authenticator: Authenticator | undefined,
): Promise<{ identity: Identity } | HttpRefusal> {
  if (authenticator === undefined) return { identity: anonymousIdentity }
  const token =
    tokenFromHeader(request.headers.authorization, { strict: false }) ??
    (auth.allowQueryToken ? tokenFromQuery(request.url ?? '/') : undefined)
  if (token === undefined) return unauthorized('Missing bearer token')
  const result = await authenticator.authenticate(token)
  return result.ok ? { identity: result.identity } : unauthorized('Invalid token')
}

async function admitToBus(
  request: IncomingMessage,
  { auth, hotState }: BusConfig,
  authenticator: Authenticator | undefined,
  hot: HotState,
): Promise<{ identity: Identity } | HttpRefusal> {
  const outcome = await authenticateBus(request, auth, authenticator)
  if (!('identity' in outcome)) return outcome
  return (await refuseHandshake(hot, outcome.identity, hotState.handshakesPerSecondPerTenant)) ?? outcome
}

/** Plain HTTP on the WebSocket port: the same 401, or what to do instead. */
async function answerPlain(
  request: IncomingMessage,
  auth: AuthConfig,
  authenticator: Authenticator | undefined,
): Promise<HttpRefusal> {
  const outcome = await authenticateBus(request, auth, authenticator)
  if (!('identity' in outcome)) return outcome
  return {
    status: 426,
    body: { error: 'Upgrade Required', details: 'This port speaks WebSocket; HTTP is on ARQONBUS_HTTP_PORT' },
    headers: { upgrade: 'websocket', connection: 'Upgrade' },
  }
}

function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms)
  return () => clearInterval(timer)
}
