// The HTTP port: health, metrics, views and shutdown (docs/http.md). Loopback by default, bounded in every direction;
// whatever a request does, it costs at most its own answer.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Authenticator } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import type { JsonObject } from '../base/json.ts'
import type { Logger } from '../base/logger.ts'
import { type Audit, noAudit } from '../router/audit.ts'
import type { Health } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { answerError, type HttpAnswer, refusal } from './http-answer.ts'
import { isLoopback, judgeHost } from './http-guards.ts'
import { findRoute, type HttpViews, type Route, type RouteContext } from './http-routes.ts'
import { listen } from './listen.ts'

export interface HttpServerOptions {
  readonly host: string
  /** 0 for a free one. */
  readonly port: number
  readonly profile: 'dev' | 'staging' | 'prod'
  /** What `service` says; `arqonbus` when absent. */
  readonly service?: string
  /** Needed for admin routes; without it they exist only in dev, on loopback, for callers on this machine. */
  readonly apiKey?: string
  /** Given where authentication is on: then routes that show a tenant's messages need its token. */
  readonly authenticator?: Authenticator
  /** Further names by which browsers and tools may call this server. */
  readonly allowedHosts?: readonly string[]
  readonly metrics: Metrics
  readonly health: Health
  readonly views: HttpViews
  readonly clock: Clock
  readonly logger: Logger
  readonly audit?: Audit
  /** Called once a permitted shutdown has been answered. */
  readonly onShutdown?: () => void
}

export interface HttpServer {
  readonly port: number
  /** Stops accepting, gives running requests a second, then cuts them. */
  close(): Promise<void>
}

const maxBodyBytes = 64 * 1_024
const closeWaitMs = 1_000
const unknownRoute = 'other'

/** Rejects with `PORT_UNAVAILABLE`. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, clock, logger, metrics } = options
  const counts = createRequestCounts(metrics)
  const allowedHosts = new Set(['localhost', host, ...(options.allowedHosts ?? [])].map((name) => name.toLowerCase()))
  const startedAtMs = clock.monotonic()
  const context: RouteContext = {
    service: options.service ?? 'arqonbus',
    views: options.views,
    metrics,
    health: options.health,
    clock,
    startedAtMs,
    authenticator: options.authenticator,
    admin: { apiKey: options.apiKey, isOpenWithoutKey: options.profile === 'dev' && isLoopback(host) },
    onShutdown: options.onShutdown,
    audit: options.audit ?? noAudit,
    requests: () => counts.view(clock.monotonic() - startedAtMs),
  }

  const server = createServer({
    headersTimeout: 10_000,
    requestTimeout: 15_000,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: 2_000,
    maxHeaderSize: 16 * 1_024,
  })
  server.maxHeadersCount = 64
  server.maxConnections = 512
  server.on('request', (request, response) => void serve(request, response))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseUnreadable(error, socket as Socket))

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const begunAtMs = clock.monotonic()
    const address = request.socket.remoteAddress // a request that was cut short has no socket any more
    const path = (request.url ?? '').split('?', 1)[0]!
    const { route, name = unknownRoute } = findRoute(path) ?? {}
    const { status, text, contentType, headers, after, stream } = await answerOf(request, route)
    if (route?.isAdmin === true) auditAdmin(request.method, path, status, address)
    if (after !== undefined) response.once('close', after)
    response.writeHead(status, {
      'content-type': contentType,
      ...(stream === undefined && { 'content-length': Buffer.byteLength(text) }),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    })
    if (stream !== undefined && request.method !== 'HEAD') stream(response)
    else response.end(request.method === 'HEAD' ? undefined : text)
    const ms = Math.round((clock.monotonic() - begunAtMs) * 10) / 10
    counts.add(name, ms, status >= 400)
    // The query stays out: it can hold what must not be in a log.
    const line = { method: request.method, path: path.slice(0, 128), status, ms }
    if (route?.isProbe === true) logger.debug('http.request_completed', line)
    else logger.info('http.request_completed', line)
  }

  /** Whoever holds the key is no subject of a tenant: the address is what is known. */
  function auditAdmin(method = '', path: string, status: number, address = ''): void {
    context.audit.record({
      tenant: '*',
      subject: 'http',
      action: `http.${method} ${path}`,
      outcome: status < 400 ? 'done' : String(status),
      details: { address },
    })
  }

  async function answerOf(request: IncomingMessage, route: Route | undefined): Promise<RenderedAnswer> {
    try {
      return render(await judge(request, route))
    } catch (error) {
      if (request.errored !== null) return render(refusal(400, 'BAD_REQUEST', 'The request ended early'))
      return render(answerError(error, logger))
    }
  }

  async function judge(request: IncomingMessage, route: Route | undefined): Promise<HttpAnswer> {
    if (!(await skipBody(request))) return tooLarge
    if (route === undefined) return refusal(404, 'NOT_FOUND', 'No such path; docs/http.md lists them')
    const { method } = request
    if (method !== route.method && !(method === 'HEAD' && route.method === 'GET')) {
      const allow = route.method === 'GET' ? 'GET, HEAD' : route.method
      return refusal(405, 'METHOD_NOT_ALLOWED', `This path takes ${allow}`, { allow })
    }
    const refused = route.isGuarded === true ? judgeHost(request, allowedHosts) : undefined
    return refused ?? (await route.answer(request, context))
  }

  const port = await listen(server, host, options.port)
  return {
    port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const cut = setTimeout(() => server.closeAllConnections(), closeWaitMs)
      await closed
      clearTimeout(cut)
    },
  }
}

const tooLarge = refusal(413, 'BODY_TOO_LARGE', `A body may have ${maxBodyBytes} bytes`, { connection: 'close' })

/** No route reads a body; this one only bounds it. False when there is too much of it. */
async function skipBody(request: IncomingMessage): Promise<boolean> {
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) return false
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length // no encoding is set, so chunks are Buffers
    if (bytes > maxBodyBytes) return false
  }
  return true
}

interface RenderedAnswer extends HttpAnswer {
  readonly text: string
  readonly contentType: string
}

function render(answer: HttpAnswer): RenderedAnswer {
  const { body, contentType = 'application/json; charset=utf-8' } = answer
  return { ...answer, contentType, text: typeof body === 'string' ? body : JSON.stringify(body) }
}

/** Not HTTP, too long a header, or too slow: answered where that is still possible, and cut. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request'
  const text = JSON.stringify({ error: status.slice(4), code: 'BAD_REQUEST', details: 'The request could not be read' })
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
  )
}

interface RequestCounts {
  add(endpoint: string, ms: number, isError: boolean): void
  view(uptimeMs: number): JsonObject
}

/** Per known path, for /status as the original shows it and for metrics. */
function createRequestCounts(metrics: Metrics): RequestCounts {
  const requests = metrics.counter(`${metrics.prefix}_http_requests_total`, 'HTTP requests answered', ['endpoint'])
  const errors = metrics.counter(`${metrics.prefix}_http_errors_total`, 'HTTP answers of 400 and above', ['endpoint'])
  const durations = metrics.histogram(
    `${metrics.prefix}_http_request_duration_seconds`,
    'Time to answer an HTTP request',
    [0.001, 0.005, 0.025, 0.1, 0.5, 2.5],
    ['endpoint'],
  )
  const endpoints = new Map<string, { count: number; total_time_ms: number; errors: number }>()

  return {
    add(endpoint, ms, isError) {
      const entry = endpoints.get(endpoint) ?? { count: 0, total_time_ms: 0, errors: 0 }
      entry.count++
      entry.total_time_ms += ms
      if (isError) entry.errors++
      endpoints.set(endpoint, entry)
      requests.inc({ endpoint })
      if (isError) errors.inc({ endpoint })
      durations.observe(ms / 1_000, { endpoint })
    },
    view(uptimeMs) {
      const all = [...endpoints.values()]
      const sum = (pick: (entry: (typeof all)[number]) => number): number => all.reduce((n, e) => n + pick(e), 0)
      const total = sum((entry) => entry.count)
      return {
        total_requests: total,
        requests_by_endpoint: Object.fromEntries([...endpoints].map(([path, entry]) => [path, { ...entry }])),
        average_response_time_ms: total === 0 ? 0 : Math.round((sum((e) => e.total_time_ms) / total) * 100) / 100,
        error_count: sum((entry) => entry.errors),
        uptime_seconds: Math.round(uptimeMs / 1_000),
      }
    },
  }
}
