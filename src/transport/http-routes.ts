// The routes of the HTTP port as a table: path, method, who may ask, what is answered (docs/http.md).
import type { IncomingMessage } from 'node:http'
import { isOperator, may, mayEnter } from '../auth/grants.ts'
import type { Authenticator, Identity } from '../auth/identity.ts'
import { type Clock, toIsoTime } from '../base/clock.ts'
import { BusError, invalid } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import { protocolVersion, version } from '../base/version.ts'
import { nameProblem } from '../envelope/names.ts'
import { parseTime } from '../router/args.ts'
import type { Audit } from '../router/audit.ts'
import type { HistoryPage } from '../router/history-page.ts'
import type { Health } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { TelemetryHub } from '../telemetry/telemetry-hub.ts'
import { type HttpAnswer, ok, refusal } from './http-answer.ts'
import { identify, judgeAdmin } from './http-guards.ts'
import {
  answerPreflight,
  type CertificateView,
  diffPreflights,
  isDiffPath,
  type PreflightView,
  startPreflight,
  streamPreflight,
} from './http-preflight.ts'

export interface HistoryQuery {
  readonly tenant: string
  readonly room?: string
  readonly channel?: string
  /** Only messages of this sender. */
  readonly clientId?: string
  /** Stored then or later; ms since the Unix epoch. */
  readonly sinceMs?: number
  /** 1 to 500. */
  readonly limit: number
}

/** What the program can show. A view that is absent is answered 503; one may throw a BusError, which is answered. */
export interface HttpViews {
  /** Merged into /status, which keeps its own keys. */
  status?(): JsonObject
  /** Merged into /system/info. */
  systemInfo?(): JsonObject
  /** Rows that may be shown: secrets hidden already. */
  config?(): readonly { readonly key: string; readonly value: string; readonly source: string }[]
  storageStats?(): JsonObject | Promise<JsonObject>
  /** Messages of one tenant, oldest first; rejects as the store does. */
  history?(query: HistoryQuery): Promise<HistoryPage>
  readonly telemetry?: Pick<TelemetryHub, 'counts' | 'recent'>
  readonly preflight?: PreflightView
  /** Undefined where no certificate is asked for. */
  certificate?(): Promise<CertificateView | undefined>
}

export interface RouteContext {
  readonly service: string
  readonly views: HttpViews
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>
  readonly health: Health
  readonly clock: Clock
  readonly startedAtMs: number
  readonly authenticator?: Authenticator | undefined
  readonly admin: { readonly apiKey: string | undefined; readonly isOpenWithoutKey: boolean }
  readonly onShutdown: (() => void) | undefined
  readonly audit: Audit
  /** Counts of the requests answered so far. */
  requests(): JsonObject
}

export interface Route {
  readonly method: 'GET' | 'POST'
  /** Shows or does what a rebound browser page must not reach: `Host` is judged first. */
  readonly isGuarded?: true
  /** Asked for again and again by machines: logged at debug level. */
  readonly isProbe?: true
  /** An administrator's: each request is told to the audit log with its outcome. */
  readonly isAdmin?: true
  answer(request: IncomingMessage, context: RouteContext): HttpAnswer | Promise<HttpAnswer>
}

const now = (context: RouteContext): string => toIsoTime(context.clock.now())
const uptimeSeconds = (context: RouteContext): number =>
  Math.round(context.clock.monotonic() - context.startedAtMs) / 1_000

const metricsRoute: Route = {
  method: 'GET',
  isProbe: true,
  answer: async (_request, { metrics }) => ({
    status: 200,
    body: await metrics.text(),
    contentType: metrics.contentType,
  }),
}

const liveRoute: Route = {
  method: 'GET',
  isProbe: true,
  answer(_request, context) {
    const isLive = context.health.live()
    const body = { status: isLive ? 'healthy' : 'unhealthy', timestamp: now(context), service: context.service }
    return { status: isLive ? 200 : 503, body }
  },
}

const routes: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['/live', liveRoute],
  ['/health', liveRoute],
  [
    '/ready',
    {
      method: 'GET',
      isProbe: true,
      answer(_request, context) {
        const { ready, status, components } = context.health.ready()
        const body = { ready, status, degraded: status === 'degraded', components, timestamp: now(context) }
        return { status: ready ? 200 : 503, body }
      },
    },
  ],
  [
    '/status',
    {
      method: 'GET',
      answer(_request, context) {
        const { views, service, health } = context
        const { status, components } = health.ready()
        return ok({
          ...views.status?.(),
          status,
          timestamp: now(context),
          service,
          version,
          uptime_seconds: uptimeSeconds(context),
          endpoints: {
            http: true,
            websocket: true,
            storage: views.history !== undefined,
            telemetry: views.telemetry !== undefined,
          },
          components,
          requests: context.requests(),
        })
      },
    },
  ],
  [
    '/version',
    {
      method: 'GET',
      answer: (_request, context) =>
        ok({ service: context.service, version, protocol_version: protocolVersion, timestamp: now(context) }),
    },
  ],
  ['/metrics', metricsRoute],
  ['/metrics/prometheus', metricsRoute],
  [
    '/system/info',
    {
      method: 'GET',
      answer(_request, context) {
        const node = { node: process.version, platform: process.platform, arch: process.arch }
        const own = { service: context.service, version, uptime_seconds: uptimeSeconds(context), runtime: node }
        return ok({ ...context.views.systemInfo?.(), ...own })
      },
    },
  ],
  [
    '/system/config',
    {
      method: 'GET',
      isGuarded: true,
      answer: (_request, { views }) => (views.config === undefined ? notHere : ok({ config: views.config() })),
    },
  ],
  [
    '/storage/stats',
    {
      method: 'GET',
      answer: async (_request, { views }) =>
        views.storageStats === undefined ? noHistory : ok(await views.storageStats()),
    },
  ],
  ['/storage/history', { method: 'GET', isGuarded: true, answer: answerHistory }],
  ['/telemetry/events', { method: 'GET', isGuarded: true, answer: answerEvents }],
  [
    '/telemetry/stats',
    {
      method: 'GET',
      answer(_request, context) {
        const { telemetry } = context.views
        if (telemetry === undefined) return notHere
        const { evicted, dropped, delivered, buffered, bufferSize, subscribers } = telemetry.counts()
        const counts = { subscribers, delivered, dropped, buffered, buffer_size: bufferSize, evicted }
        return ok({ status: 'healthy', timestamp: now(context), ...counts })
      },
    },
  ],
  ['/preflight', { method: 'GET', isGuarded: true, answer: answerPreflight }],
  ['/preflight/stream', { method: 'GET', isGuarded: true, isAdmin: true, answer: streamPreflight }],
  ['/preflight/runs', { method: 'POST', isGuarded: true, isAdmin: true, answer: startPreflight }],
  ['/admin/shutdown', { method: 'POST', isGuarded: true, isAdmin: true, answer: shutDown }],
])

const diffRoute: Route = { method: 'GET', isGuarded: true, isAdmin: true, answer: diffPreflights }

/** `name`: of the route in counts and metrics, whatever stands in the path. */
export function findRoute(path: string): { readonly name: string; readonly route: Route } | undefined {
  const route = routes.get(path)
  if (route !== undefined) return { name: path, route }
  return isDiffPath(path) ? { name: '/preflight/runs/diff', route: diffRoute } : undefined
}

const noHistory = refusal(503, 'FEATURE_DISABLED', 'History is off: set ARQONBUS_ENABLE_PERSISTENCE=true')
const notHere = refusal(503, 'FEATURE_DISABLED', 'This program does not offer that')

const defaultLimit = 50
const maxLimit = 500

async function answerHistory(
  request: IncomingMessage,
  { views, authenticator, audit }: RouteContext,
): Promise<HttpAnswer> {
  if (views.history === undefined) return noHistory
  const identity = await identify(request, authenticator)
  if ('status' in identity) return identity
  if (!may(identity, 'channel_view'))
    throw new BusError('AUTHORIZATION_ERROR', 'The token lacks the permission channel_view')
  const query = parseHistoryQuery(request.url ?? '/', identity, audit)
  const { entries, facts } = await views.history(query)
  const { sinceMs, ...named } = query
  const shown = { ...named, ...(sinceMs !== undefined && { since: toIsoTime(sinceMs) }) }
  return ok({ history: entries, count: entries.length, ...facts, query: shown })
}

const historyKeys = ['client_id', 'room', 'channel', 'since', 'limit', 'tenant']

function parseHistoryQuery(target: string, identity: Identity, audit: Audit): HistoryQuery {
  const parameters = new URLSearchParams(target.split('?', 2)[1] ?? '')
  for (const key of new Set(parameters.keys())) {
    if (!historyKeys.includes(key) || parameters.getAll(key).length > 1)
      throw invalid('BAD_QUERY', `The query may hold, once each: ${historyKeys.join(', ')}`)
  }
  const [clientId, room, channel] = ['client_id', 'room', 'channel'].map((key) => nameIn(parameters, key))
  if (channel !== undefined && room === undefined)
    throw invalid('BAD_QUERY', 'A channel is named together with its room')
  const since = parameters.get('since')
  const sinceMs = since === null ? undefined : parseTime(since, 'since')
  return {
    tenant: tenantIn(parameters, identity, audit),
    ...(room !== undefined && { room }),
    ...(channel !== undefined && { channel }),
    ...(clientId !== undefined && { clientId }),
    ...(sinceMs !== undefined && { sinceMs }),
    limit: limitIn(parameters),
  }
}

function nameIn(parameters: URLSearchParams, key: string): string | undefined {
  const name = parameters.get(key) ?? undefined
  const problem = name === undefined ? undefined : nameProblem(name)
  if (problem !== undefined) throw invalid('BAD_NAME', `${key} ${problem}`, { field: key })
  return name
}

function tenantIn(parameters: URLSearchParams, identity: Identity, audit: Audit): string {
  const named = parameters.get('tenant') ?? undefined
  if (named === undefined) {
    if (isOperator(identity)) throw invalid('BAD_QUERY', 'An operator names the tenant: ?tenant=')
    return identity.tenant
  }
  if (!mayEnter(identity, named)) {
    const { tenant, subject } = identity
    const action = 'refused.TENANT_MISMATCH'
    audit.record({ tenant, subject, action, outcome: 'TENANT_MISMATCH', details: { path: '/storage/history', named } })
    throw new BusError('TENANT_MISMATCH', 'The token is for another tenant')
  }
  return named
}

function limitIn(parameters: URLSearchParams): number {
  const text = parameters.get('limit')
  if (text === null) return defaultLimit
  const limit = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > maxLimit)
    throw invalid('BAD_LIMIT', `limit is a whole number from 1 to ${maxLimit}`, { min: 1, max: maxLimit })
  return limit
}

/** Counters for all, as the original's; with authentication on, recent events only for a token, and of its tenant. */
async function answerEvents(request: IncomingMessage, context: RouteContext): Promise<HttpAnswer> {
  const { views, authenticator } = context
  if (views.telemetry === undefined) return notHere
  const counters = { timestamp: now(context), counters: views.telemetry.counts().byType }
  if (authenticator !== undefined && request.headers.authorization === undefined) return ok(counters)
  const identity = await identify(request, authenticator)
  if ('status' in identity) return identity
  const events = views.telemetry.recent(isOperator(identity) ? 'operator' : { tenant: identity.tenant }, 100)
  return ok({ ...counters, events, count: events.length })
}

function shutDown(request: IncomingMessage, { admin, onShutdown }: RouteContext): HttpAnswer {
  const refused = judgeAdmin(request, admin)
  if (refused !== undefined) return refused
  if (onShutdown === undefined) return notHere
  return {
    status: 200,
    body: { status: 'shutdown_initiated', message: 'Clients are told, what was begun is finished, then it stops' },
    after: onShutdown,
  }
}
