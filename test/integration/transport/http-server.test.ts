import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { BusError } from '../../../src/base/errors.ts'
import { createHealth } from '../../../src/telemetry/health.ts'
import { createMetrics } from '../../../src/telemetry/metrics.ts'
import { createTelemetryHub } from '../../../src/telemetry/telemetry-hub.ts'
import { type HttpServer, type HttpServerOptions, startHttpServer } from '../../../src/transport/http-server.ts'
import type { HistoryPage } from '../../../src/router/history-page.ts'
import type { HistoryQuery } from '../../../src/transport/http-routes.ts'
import { exchange } from '../../support/raw-http.ts'
import { createRecordLogger } from '../../support/record-logger.ts'
import { testSecret } from '../../support/tokens.ts'

const clock = systemClock
const apiKey = 'an-api-key-for-tests'
const open: HttpServer[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()))
})
const envelope = {
  id: 'arq_1_1_000000',
  timestamp: '2026-01-31T12:00:00.000Z',
  type: 'message',
  version: '1.0',
  payload: { n: 1 },
  args: {},
  metadata: {},
} as const

async function start(changes: Partial<HttpServerOptions> = {}) {
  const logger = createRecordLogger()
  const health = createHealth({ clock })
  health.report({ name: 'delivery', state: 'up' })
  const hub = createTelemetryHub({ clock, bufferSize: 100 })
  const queries: HistoryQuery[] = []
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    profile: 'dev',
    metrics: createMetrics(),
    health,
    clock,
    logger,
    views: {
      status: () => ({ clients: 3, status: 'a view must not lie about this' }),
      systemInfo: () => ({ features: { history: true } }),
      config: () => [{ key: 'JWT_SECRET', value: '[secret JWT_SECRET]', source: 'environment' }],
      storageStats: () => ({ backend: 'memory', records: 2 }),
      history: async (query) => {
        queries.push(query)
        return { entries: [{ envelope, stored_at: envelope.timestamp }], facts: { durability: 'memory' } }
      },
      telemetry: hub,
    },
    ...changes,
  })
  open.push(server)
  const call = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true && text !== ''
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined }
  }
  return { server, logger, health, hub, queries, call }
}

const authenticator = await createAuthenticator({ algorithm: 'HS256', secret: testSecret, clock })
const bearer = async (tenant: string, more: { role?: 'operator'; permissions?: string[] } = {}) => ({
  authorization: `Bearer ${await mintToken({ secret: testSecret, subject: 'alice', tenant, ttlSeconds: 60, ...more })}`,
})

describe('the views', () => {
  it('answer /live and /health as long as the process does', async () => {
    const { call, health } = await start()
    health.report({ name: 'store', state: 'down' })
    for (const path of ['/live', '/health']) {
      const { status, json } = await call(path)
      expect(status).toBe(200)
      expect(json).toEqual({ status: 'healthy', service: 'arqonbus', timestamp: expect.stringMatching(/Z$/) })
    }
  })

  it('answer /ready 503 with the reason while something is down, and tell of degraded', async () => {
    const { call, health } = await start()
    expect(await call('/ready')).toMatchObject({
      status: 200,
      json: { ready: true, status: 'healthy', degraded: false },
    })
    health.report({ name: 'store', state: 'degraded', detail: 'kept in memory' })
    expect(await call('/ready')).toMatchObject({ status: 200, json: { status: 'degraded', degraded: true } })
    health.report({ name: 'store', state: 'down', detail: 'no answer' })
    const { status, json } = await call('/ready')
    expect(status).toBe(503)
    expect(json).toMatchObject({
      ready: false,
      status: 'unhealthy',
      components: [
        { name: 'delivery', state: 'up' },
        { name: 'store', state: 'down', detail: 'no answer' },
      ],
    })
  })

  it('answer /status and /version with the objects that the command line reads', async () => {
    const { call } = await start()
    await call('/nonsense')
    const status = await call('/status')
    expect(status.status).toBe(200)
    expect(status.json).toMatchObject({
      status: 'healthy',
      service: 'arqonbus',
      version: '0.1.0',
      uptime_seconds: expect.any(Number),
      clients: 3,
      endpoints: { http: true, websocket: true, storage: true, telemetry: true },
      requests: { total_requests: 1, error_count: 1, requests_by_endpoint: { other: { count: 1, errors: 1 } } },
    })
    expect(await call('/version')).toMatchObject({
      status: 200,
      json: { service: 'arqonbus', version: '0.1.0', protocol_version: '1.0' },
    })
  })

  it('answer /metrics in the Prometheus format, with the requests themselves counted', async () => {
    const { call } = await start()
    await call('/version')
    await call('/version?secret=1')
    await call('/made-up-1')
    await call('/made-up-2')
    const { status, headers, text } = await call('/metrics')
    expect(status).toBe(200)
    expect(headers.get('content-type')).toContain('text/plain; version=0.0.4')
    expect(text).toContain('arqonbus_http_requests_total{endpoint="/version"} 2\n')
    expect(text).toContain('arqonbus_http_errors_total{endpoint="other"} 2\n')
    expect(text).not.toContain('made-up')
  })

  it('answer /system/info, /system/config, /storage/stats, /telemetry/stats and /telemetry/events', async () => {
    const { call, hub } = await start()
    hub.emit({ type: 'client_connected', tenant: 'default', clientId: 'arq_client_1' })
    hub.emit({ type: 'client_connected', tenant: 'acme' })
    expect((await call('/system/info')).json).toMatchObject({ service: 'arqonbus', features: { history: true } })
    expect((await call('/system/config')).json).toEqual({
      config: [{ key: 'JWT_SECRET', value: '[secret JWT_SECRET]', source: 'environment' }],
    })
    expect((await call('/storage/stats')).json).toEqual({ backend: 'memory', records: 2 })
    expect((await call('/telemetry/stats')).json).toMatchObject({ status: 'healthy', buffered: 2, subscribers: 0 })
    const events = (await call('/telemetry/events')).json
    expect(events).toMatchObject({ counters: { client_connected: 2 }, count: 1, events: [{ tenant_id: 'default' }] })
  })

  it('are 503 where the program has none', async () => {
    const { call } = await start({ views: {} })
    for (const path of [
      '/system/config',
      '/storage/stats',
      '/storage/history',
      '/telemetry/events',
      '/telemetry/stats',
    ])
      expect(await call(path), path).toMatchObject({ status: 503, json: { code: 'FEATURE_DISABLED' } })
    expect((await call('/status')).status).toBe(200)
  })
})

describe('history', () => {
  it('takes client_id, room, channel, since and limit, and answers history, count, what is told of it, and query', async () => {
    const { call, queries } = await start()
    const parameters = 'client_id=arq_client_1&room=science&channel=a%20b&since=2026-01-31T12:00:00%2B01:00&limit=7'
    const { status, json } = await call(`/storage/history?${parameters}`)
    expect(status).toBe(200)
    const query = { tenant: 'default', room: 'science', channel: 'a b', clientId: 'arq_client_1', limit: 7 }
    expect(json).toEqual({
      history: [{ envelope, stored_at: envelope.timestamp }],
      count: 1,
      durability: 'memory',
      query: { ...query, since: '2026-01-31T11:00:00.000Z' },
    })
    expect(queries).toEqual([{ ...query, sinceMs: Date.UTC(2026, 0, 31, 11) }])
    await call('/storage/history?room=science')
    expect(queries[1]).toEqual({ tenant: 'default', room: 'science', limit: 50 })
  })

  it.each(['0', '-1', '501', '1e9', '10abc', '1.5', '', ' 5', '0x10', '9999999999999999999999', '٣'])(
    'refuses the limit %j',
    async (limit) => {
      const { call, queries } = await start()
      const { status, json } = await call(`/storage/history?limit=${encodeURIComponent(limit)}`)
      expect(status).toBe(400)
      expect(json).toMatchObject({ error: 'Bad Request', code: 'BAD_LIMIT', details: expect.stringContaining('500') })
      expect(queries).toEqual([])
    },
  )

  it.each([
    ['limit=1&limit=2', 'BAD_QUERY'],
    ['limits=1', 'BAD_QUERY'],
    ['__proto__=1', 'BAD_QUERY'],
    ['channel=a', 'BAD_QUERY'],
    ['since=', 'INVALID_TIMESTAMP'],
    ['since=yesterday', 'INVALID_TIMESTAMP'],
    ['room=', 'BAD_NAME'],
    ['room=*', 'BAD_NAME'],
    ['room=a%0d%0ab', 'BAD_NAME'],
    [`room=${'x'.repeat(129)}`, 'BAD_NAME'],
  ])('refuses the query %s with %s', async (query, code) => {
    const { call, queries } = await start()
    expect(await call(`/storage/history?${query}`)).toMatchObject({ status: 400, json: { code } })
    expect(queries).toEqual([])
  })

  it('needs a token of its tenant where authentication is on, and reads that tenant only', async () => {
    const { call, queries } = await start({ authenticator })
    expect(await call('/storage/history')).toMatchObject({
      status: 401,
      json: { error: 'Unauthorized', details: 'Missing bearer token' },
    })
    expect((await call('/storage/history')).headers.get('www-authenticate')).toBe('Bearer realm="arqonbus"')
    const bad = await call('/storage/history', { headers: { authorization: 'Bearer x.y.z' } })
    expect(bad).toMatchObject({ status: 401, json: { details: 'Invalid token' } })
    const headers = await bearer('acme')
    expect(await call('/storage/history?tenant=other', { headers })).toMatchObject({
      status: 403,
      json: { code: 'TENANT_MISMATCH' },
    })
    expect(queries).toEqual([])
    expect((await call('/storage/history', { headers })).status).toBe(200)
    expect(queries).toEqual([{ tenant: 'acme', limit: 50 }])
  })

  it('asks for the permission channel_view where the token has a list, and for a tenant from an operator', async () => {
    const { call, queries } = await start({ authenticator })
    const reader = await bearer('acme', { permissions: ['channel_access'] })
    expect(await call('/storage/history', { headers: reader })).toMatchObject({ status: 403 })
    const operator = await bearer('*', { role: 'operator' })
    expect(await call('/storage/history', { headers: operator })).toMatchObject({ status: 400 })
    expect(await call('/storage/history?tenant=acme', { headers: operator })).toMatchObject({ status: 200 })
    expect(queries).toEqual([{ tenant: 'acme', limit: 50 }])
  })

  it('shows recent events to a token of their tenant only; counters to all', async () => {
    const { call, hub } = await start({ authenticator })
    hub.emit({ type: 'client_connected', tenant: 'acme' })
    hub.emit({ type: 'client_connected', tenant: 'other' })
    expect((await call('/telemetry/events')).json).toEqual({
      timestamp: expect.any(String),
      counters: expect.any(Object),
    })
    const own = await call('/telemetry/events', { headers: await bearer('acme') })
    expect(own.json).toMatchObject({ count: 1, events: [{ tenant_id: 'acme' }] })
    const all = await call('/telemetry/events', { headers: await bearer('*', { role: 'operator' }) })
    expect(all.json.count).toBe(2)
    expect((await call('/telemetry/events', { headers: { authorization: 'Bearer x' } })).status).toBe(401)
  })
})

describe('shutdown', () => {
  const post = (headers: Record<string, string> = {}): RequestInit => ({ method: 'POST', headers })
  const path = '/admin/shutdown'

  async function startWithShutdown(changes: Partial<HttpServerOptions>) {
    let calls = 0
    let seen = (): void => {}
    const called = new Promise<void>((resolve) => {
      seen = resolve
    })
    const onShutdown = (): void => {
      calls++
      seen()
    }
    return { ...(await start({ ...changes, onShutdown })), calls: () => calls, called }
  }

  it('needs the API key where one is set, in either header, and happens after the answer', async () => {
    const { call, calls, called } = await startWithShutdown({ apiKey })
    const wrong: Record<string, string>[] = [
      {},
      { 'x-api-key': 'wrong' },
      { 'x-api-key': '' },
      { 'x-api-key': `${apiKey} x` },
      { 'x-api-key': apiKey.toUpperCase() },
      { authorization: 'Bearer wrong' },
      { authorization: apiKey },
    ]
    for (const headers of wrong) {
      const { status, json } = await call(path, post(headers))
      expect(status, JSON.stringify(headers)).toBe(401)
      expect(json).toMatchObject({ error: 'Unauthorized', details: 'Invalid API key' })
    }
    expect(calls()).toBe(0)
    const { status, json } = await call(path, post({ 'x-api-key': apiKey }))
    expect(status).toBe(200)
    expect(json).toMatchObject({ status: 'shutdown_initiated', message: expect.any(String) })
    await called
    expect((await call(path, post({ authorization: `Bearer ${apiKey}` }))).status).toBe(200)
  })

  it('without a key is absent in staging and prod, and on other addresses than loopback', async () => {
    for (const changes of [{ profile: 'staging' }, { profile: 'prod' }, { profile: 'dev', host: '0.0.0.0' }] as const) {
      const { call, calls } = await startWithShutdown(changes)
      expect(await call(path, post()), JSON.stringify(changes)).toMatchObject({ status: 404 })
      expect(calls()).toBe(0)
    }
  })

  it('without a key is open in dev on loopback', async () => {
    const { call, called } = await startWithShutdown({})
    expect((await call(path, post())).status).toBe(200)
    await called
  })

  it('refuses browsers, and names that were made to point here', async () => {
    const { server, call, calls } = await startWithShutdown({ apiKey, allowedHosts: ['bus.internal'] })
    for (const origin of ['http://evil.example', 'null', `http://127.0.0.1:${server.port}`]) {
      const refused = await call(path, post({ 'x-api-key': apiKey, origin }))
      expect(refused).toMatchObject({ status: 403, json: { code: 'ORIGIN_NOT_ALLOWED' } })
    }
    const raw = (host: string): Promise<string> =>
      exchange(
        server.port,
        `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nX-API-Key: ${apiKey}\r\nConnection: close\r\n\r\n`,
      )
    for (const host of [
      'evil.example',
      `evil.example:${server.port}`,
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'a@localhost',
      '[::1',
      '',
    ])
      expect(await raw(host), host).toMatch(/^HTTP\/1\.1 403 [\s\S]*HOST_NOT_ALLOWED/)
    expect(calls()).toBe(0)
    for (const host of ['localhost', 'LOCALHOST:8080', '127.0.0.1', '[::1]:8080', '10.1.2.3:8080', 'bus.internal'])
      expect(await raw(host), host).toMatch(/^HTTP\/1\.1 200 /)
  })
})

describe('the listener', () => {
  it('answers 404 for unknown paths and 405 with Allow for wrong methods, as JSON', async () => {
    const { call } = await start()
    for (const path of ['/', '/status/', '/STATUS', '//status', '/..%2fstatus', '/__proto__', '/constructor'])
      expect(await call(path), path).toMatchObject({ status: 404, json: { error: 'Not Found', code: 'NOT_FOUND' } })
    for (const [path, method, allow] of [
      ['/status', 'POST', 'GET, HEAD'],
      ['/metrics', 'DELETE', 'GET, HEAD'],
      ['/status', 'OPTIONS', 'GET, HEAD'],
      ['/admin/shutdown', 'GET', 'POST'],
      ['/admin/shutdown', 'HEAD', 'POST'],
    ] as const) {
      const answer = await call(path, { method })
      expect(answer.status).toBe(405)
      expect(answer.headers.get('allow')).toBe(allow)
    }
  })

  it('answers HEAD as GET without a body', async () => {
    const { call } = await start()
    const { status, headers, text } = await call('/version', { method: 'HEAD' })
    expect(status).toBe(200)
    expect(Number(headers.get('content-length'))).toBeGreaterThan(50)
    expect(text).toBe('')
  })

  it('sends nosniff and no-store with everything', async () => {
    const { call } = await start()
    for (const path of ['/status', '/metrics', '/nonsense', '/storage/history?limit=x']) {
      const { headers } = await call(path)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cache-control')).toBe('no-store')
    }
  })

  it('turns faults of views into answers without internals, and keeps serving', async () => {
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    const faults: [() => unknown, number, string][] = [
      [() => Promise.reject(new BusError('STORE_UNAVAILABLE')), 503, 'STORE_UNAVAILABLE'],
      [() => Promise.reject(new BusError('ROOM_NOT_FOUND')), 404, 'ROOM_NOT_FOUND'],
      [
        () => Promise.reject(new BusError('VALIDATION_ERROR', 'Name a room', { reason: 'ROOM_REQUIRED' })),
        400,
        'ROOM_REQUIRED',
      ],
      [() => Promise.reject(new BusError('STORE_CORRUPT', 'file /secret/path')), 500, 'INTERNAL_ERROR'],
      [() => Promise.reject(new Error('password=hunter2')), 500, 'INTERNAL_ERROR'],
      [() => Promise.reject(undefined), 500, 'INTERNAL_ERROR'],
      [
        () => {
          throw new TypeError('password=hunter2')
        },
        500,
        'INTERNAL_ERROR',
      ],
      [() => Promise.resolve({ entries: [cycle] }), 500, 'INTERNAL_ERROR'],
      [() => Promise.resolve({ entries: [{ big: 1n }] }), 500, 'INTERNAL_ERROR'],
    ]
    for (const [fault, status, code] of faults) {
      const { call, logger } = await start({ views: { history: fault as () => Promise<HistoryPage> } })
      const answer = await call('/storage/history')
      expect(answer).toMatchObject({ status, json: { code } })
      expect(answer.text).not.toMatch(/hunter2|secret/)
      expect(logger.lines.some(({ event }) => event === 'http.request_failed')).toBe(status === 500)
      expect((await call('/version')).status).toBe(200)
    }
  })

  it('logs each request without its query', async () => {
    const { call, logger } = await start()
    await call('/storage/history?room=top-secret-name')
    await call('/live?x=top-secret-name')
    const lines = logger.lines.filter(({ event }) => event === 'http.request_completed')
    expect(lines.map(({ level, fields }) => [level, fields['path'], fields['status']])).toEqual([
      ['info', '/storage/history', 200],
      ['debug', '/live', 200],
    ])
    expect(JSON.stringify(logger.lines)).not.toContain('top-secret-name')
  })

  it('refuses bodies over 64 KiB, declared or not, and takes smaller ones', async () => {
    const { server, call } = await start({ onShutdown: () => {} })
    const request = 'POST /admin/shutdown HTTP/1.1\r\nHost: localhost\r\n'
    expect(await exchange(server.port, `${request}Content-Length: 65537\r\n\r\n`)).toMatch(/^HTTP\/1\.1 413 /)
    const chunk = `8000\r\n${'x'.repeat(0x8000)}\r\n`
    const chunked = `${request}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(3)}`
    expect(await exchange(server.port, chunked)).toMatch(/^HTTP\/1\.1 413 /)
    expect((await call('/admin/shutdown', { method: 'POST', body: 'x'.repeat(65_536) })).status).toBe(200)
  })

  it('refuses what is not HTTP and headers over 16 KiB, and lives', async () => {
    const { server, call } = await start()
    expect(await exchange(server.port, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
    expect(await exchange(server.port, Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1]), { end: true })).toMatch(
      /^HTTP\/1\.1 400 /,
    )
    const long = `GET /status HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(17_000)}\r\n\r\n`
    expect(await exchange(server.port, long)).toMatch(/^HTTP\/1\.1 431 /)
    expect(await exchange(server.port, 'GET /status HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
    expect((await call('/status')).status).toBe(200)
  })

  it('survives clients that leave in the middle', async () => {
    const { server, call, logger } = await start()
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const socket = connect(server.port, '127.0.0.1')
        await new Promise((resolve) => socket.once('connect', resolve))
        socket.write(`POST /admin/shutdown HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(i)}`)
        await new Promise((resolve) => setImmediate(resolve))
        socket.resetAndDestroy()
        await new Promise((resolve) => socket.once('close', resolve))
      }),
    )
    expect((await call('/status')).status).toBe(200)
    expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  it('refuses to start on a port that is taken, in words', async () => {
    const { server } = await start()
    await expect(start({ port: server.port })).rejects.toMatchObject({
      code: 'PORT_UNAVAILABLE',
      message: expect.stringContaining('another process holds it'),
    })
  })

  it('closes although a client holds its connection open', async () => {
    const { server } = await start()
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.write('GET /status HTTP/1.1\r\nHost:') // a request that never ends
    const gone = new Promise((resolve) => socket.once('close', resolve))
    await server.close()
    await gone
  })
})
