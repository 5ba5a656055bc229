import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import type { Authenticator } from '../../../src/auth/identity.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { createRevocations } from '../../../src/auth/revocations.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { eventTypes } from '../../../src/telemetry/events.ts'
import { createTelemetryHub } from '../../../src/telemetry/telemetry-hub.ts'
import {
  startTelemetryServer,
  type TelemetryServer,
  type TelemetryServerOptions,
} from '../../../src/transport/telemetry-server.ts'
import { createRecordLogger } from '../../support/record-logger.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { watch, type Watcher } from '../../support/telemetry-client.ts'
import { testSecret } from '../../support/tokens.ts'

const clock = systemClock
const open: TelemetryServer[] = []
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await Promise.all(open.splice(0).map((server) => server.close()))
})

async function start(changes: Partial<TelemetryServerOptions> = {}) {
  const hub = createTelemetryHub({ clock, bufferSize: 1_000 })
  const logger = createRecordLogger()
  const server = await startTelemetryServer({
    host: '127.0.0.1',
    port: 0,
    hub,
    maxClients: 60,
    clock,
    logger,
    ...changes,
  })
  open.push(server)
  const url = `ws://127.0.0.1:${server.port}`
  return { hub, server, logger, url }
}

/** A client that has read its first frame. */
async function join(url: string, options: Parameters<typeof watch>[1] = {}): Promise<Watcher> {
  const client = await watch(url, options)
  expect(await client.next()).toMatchObject({ event_type: 'telemetry_connected' })
  return client
}

const authenticator = await createAuthenticator({ algorithm: 'HS256', secret: testSecret, clock })
type Extra = { role?: 'operator'; permissions?: string[] }
const tokenOf = (tenant: string, more: Extra = {}): Promise<string> =>
  mintToken({ secret: testSecret, subject: 'alice', tenant, ttlSeconds: 60, ...more })
const headersOf = async (tenant: string, more: Extra = {}) => ({
  headers: { authorization: `Bearer ${await tokenOf(tenant, more)}` },
})

describe('a telemetry client', () => {
  it('is greeted first, and gets events in the shape of the original', async () => {
    const { hub, url } = await start()
    const client = await watch(`${url}/any/path?x=1`)
    expect(await client.next()).toEqual({
      event_type: 'telemetry_connected',
      timestamp: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      message: expect.any(String),
      server_config: { host: '127.0.0.1', port: expect.any(Number), filtered_events: [] },
    })
    hub.emit({ type: 'channel_joined', tenant: 'default', clientId: 'arq_client_1', metadata: { room: 'r' } })
    expect(await client.next()).toEqual({
      event_type: 'channel_joined',
      timestamp: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      client_id: 'arq_client_1',
      tenant_id: 'default',
      metadata: { room: 'r' },
      severity: 'info',
      event_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      server_version: '0.1.0',
      server_name: 'arqonbus',
      schema_version: '1.0',
    })
    client.ws.close()
  })

  it('is told the port it is connected to', async () => {
    const { server, url } = await start()
    const client = await watch(url)
    expect(await client.next()).toMatchObject({ server_config: { port: server.port } })
  })

  it('pings and is answered', async () => {
    const { url } = await start()
    const client = await join(url)
    client.send({ type: 'ping' })
    expect(await client.next()).toEqual({ type: 'pong', timestamp: expect.stringMatching(/Z$/) })
    const pong = new Promise((resolve) => client.ws.once('pong', (data) => resolve(data.toString())))
    client.ws.ping('hi')
    expect(await pong).toBe('hi')
  })

  it('filters with subscribe and unsubscribe', async () => {
    const { hub, url } = await start()
    const client = await join(url)
    const emitAll = (): void => {
      for (const type of eventTypes) hub.emit({ type, tenant: 'default' })
      hub.emit({ type: 'client_connected', tenant: 'default', metadata: { last: true } })
    }
    const seen = async (): Promise<unknown[]> => {
      const types: unknown[] = []
      emitAll()
      for (;;) {
        const frame = await client.next()
        if ((frame['metadata'] as { last?: true }).last === true) return types
        types.push(frame['event_type'])
      }
    }
    expect(await seen()).toEqual([...eventTypes])
    client.send({ type: 'subscribe', events: ['client_connected', 'message_published'] })
    expect(await client.next()).toEqual({ type: 'subscribed', events: ['client_connected', 'message_published'] })
    expect(await seen()).toEqual(['client_connected', 'message_published'])
    client.send({ type: 'subscribe', events: ['channel_left'] })
    expect(await client.next()).toMatchObject({ events: ['channel_left', 'client_connected', 'message_published'] })
    client.send({ type: 'unsubscribe', events: ['message_published'] })
    expect(await client.next()).toEqual({ type: 'subscribed', events: ['channel_left', 'client_connected'] })
    expect(await seen()).toEqual(['client_connected', 'channel_left'])
  })

  it('may take single events out of all', async () => {
    const { url } = await start()
    const client = await join(url)
    client.send({ type: 'unsubscribe', events: ['message_published'] })
    const { events } = await client.next()
    expect(events).toEqual(eventTypes.filter((type) => type !== 'message_published').sort())
  })

  it.each([
    ['not json', 'BAD_JSON'],
    ['[]', 'NOT_OBJECT'],
    ['null', 'NOT_OBJECT'],
    ['{}', 'UNKNOWN_TYPE'],
    ['{"type":"publish"}', 'UNKNOWN_TYPE'],
    ['{"type":"subscribe"}', 'BAD_EVENTS'],
    ['{"type":"subscribe","events":"all"}', 'BAD_EVENTS'],
    ['{"type":"subscribe","events":["client_connected","made_up"]}', 'UNKNOWN_EVENT'],
    ['{"type":"subscribe","events":["__proto__"]}', 'UNKNOWN_EVENT'],
    ['{"type":"unsubscribe","events":[1]}', 'UNKNOWN_EVENT'],
  ])('sending %s is told %s, stays connected, and keeps its filter', async (text, reason) => {
    const { hub, url } = await start()
    const client = await join(url)
    client.send(text)
    expect(await client.next()).toMatchObject({ type: 'error', code: 'VALIDATION_ERROR', reason })
    hub.emit({ type: 'system_draining', tenant: 'default' })
    expect(await client.next()).toMatchObject({ event_type: 'system_draining' })
  })

  it('is told which names are unknown', async () => {
    const { url } = await start()
    const client = await join(url)
    client.send({ type: 'subscribe', events: ['made_up', 'client_connected', 'x'.repeat(200)] })
    const { error, unknown } = await client.next()
    expect(unknown).toEqual(['made_up', 'x'.repeat(64)])
    expect(error).toContain('made_up')
  })

  it('is closed with 1008 for binary, 1009 for large frames, 1007 for bad UTF-8, and only that one', async () => {
    const { hub, url } = await start()
    const [bystander, binary, large, bad] = await Promise.all([join(url), join(url), join(url), join(url)])
    binary.ws.send(Buffer.from('x'), { binary: true })
    expect(await binary.closed).toEqual({ code: 1008, reason: 'POLICY_VIOLATION this port takes text only' })
    large.send('x'.repeat(16 * 1_024 + 1))
    expect((await large.closed).code).toBe(1009)
    bad.ws.send(Buffer.from([0xff, 0xfe]), { binary: false })
    expect((await bad.closed).code).toBe(1007)
    hub.emit({ type: 'system_draining', tenant: 'default' })
    expect(await bystander.next()).toMatchObject({ event_type: 'system_draining' })
  })

  it('is closed with FLOOD when it sends too much, by text or by pings', async () => {
    const { url } = await start()
    const [talker, pinger] = await Promise.all([join(url), join(url)])
    for (let i = 0; i < 100; i++) talker.send({ type: 'ping' })
    for (let i = 0; i < 100; i++) pinger.ws.ping()
    expect([4029, 1006]).toContain((await talker.closed).code)
    expect([4029, 1006]).toContain((await pinger.closed).code)
  })
})

describe('the telemetry port', () => {
  it('closes those over its limit with 1013', async () => {
    const { server, url } = await start({ maxClients: 2 })
    await Promise.all([join(url), join(url)])
    const third = await watch(url)
    expect(await third.closed).toEqual({ code: 1013, reason: 'CAPACITY max=2' })
    expect(third.frames).toEqual([])
    expect(server.clients).toBe(2)
  })

  it('needs a good token where authentication is on, and says so as the bus does', async () => {
    const { url } = await start({ authenticator })
    await expect(watch(url)).rejects.toMatchObject({
      status: 401,
      body: { error: 'Unauthorized', details: 'Missing bearer token' },
      headers: { 'www-authenticate': 'Bearer realm="arqonbus"', 'content-type': 'application/json' },
    })
    await expect(watch(url, { headers: { authorization: 'Bearer x.y.z' } })).rejects.toMatchObject({
      status: 401,
      body: { details: 'Invalid token' },
    })
    const client = await join(url, await headersOf('acme'))
    client.ws.close()
  })

  it('reads a token from the query only where that is allowed', async () => {
    const closed = await start({ authenticator })
    await expect(watch(`${closed.url}/?token=${await tokenOf('acme')}`)).rejects.toMatchObject({ status: 401 })
    const lenient = await start({ authenticator, allowQueryToken: true })
    await join(`${lenient.url}/?access_token=${await tokenOf('acme')}`)
  })

  it('asks for the permission telemetry_read where the token has a list', async () => {
    const { url } = await start({ authenticator })
    const refused = watch(url, await headersOf('acme', { permissions: ['channel_view'] }))
    await expect(refused).rejects.toMatchObject({ status: 403 })
    await join(url, await headersOf('acme', { permissions: ['telemetry_read'] }))
  })

  it('shows each tenant its own events, operators all, and system events to operators only', async () => {
    const { hub, url } = await start({ authenticator })
    const acme = await join(url, await headersOf('acme'))
    const other = await join(url, await headersOf('other'))
    const operator = await join(url, await headersOf('*', { role: 'operator' }))
    hub.emit({ type: 'system_started' })
    hub.emit({ type: 'client_connected', tenant: 'acme' })
    hub.emit({ type: 'client_connected', tenant: 'other' })
    expect(await acme.next()).toMatchObject({ tenant_id: 'acme' })
    expect(await other.next()).toMatchObject({ tenant_id: 'other' })
    const seen = [await operator.next(), await operator.next(), await operator.next()]
    expect(seen.map((frame) => frame['tenant_id'])).toEqual([null, 'acme', 'other'])
    expect([acme.frames.length, other.frames.length]).toEqual([2, 2])
  })

  it('ends a client when its token ends or is revoked', async () => {
    const manual = createManualClock(clock.now())
    const revocations = createRevocations(manual)
    const { url } = await start({
      authenticator: await createAuthenticator({ algorithm: 'HS256', secret: testSecret, clock: manual, revocations }),
      clock: manual,
      revocations,
    })
    const expiring = await join(url, await headersOf('acme'))
    const revoked = await join(url, await headersOf('other'))
    revocations.revoke({ tenant: 'other', untilMs: manual.now() + 1_000 })
    expect((await revoked.closed).code).toBe(4403)
    expect(expiring.ws.readyState).toBe(expiring.ws.OPEN)
    manual.advance(91_000) // 60 s of the token and 30 s for clocks that differ
    expect((await expiring.closed).code).toBe(4401)
  })

  it('pings, and lets go of a client that does not answer', async () => {
    const manual = createManualClock(clock.now())
    const { url, server } = await start({ clock: manual })
    const client = await join(url, { autoPong: false })
    const pinged = new Promise((resolve) => client.ws.once('ping', resolve))
    manual.advance(20_000)
    await pinged
    manual.advance(10_000)
    expect([4009, 1006]).toContain((await client.closed).code)
    await expect.poll(() => server.clients).toBe(0)
  })

  it('refuses browsers of other origins', async () => {
    const { url } = await start({ allowedOrigins: ['https://console.example'] })
    for (const origin of [
      'https://evil.example',
      'null',
      'https://console.example.evil.example',
      'http://console.example',
    ])
      await expect(watch(url, { origin }), origin).rejects.toMatchObject({ status: 403 })
    await join(url, { origin: 'https://console.example' })
  })

  it('answers plain HTTP with 426 and survives nonsense and resets', async () => {
    const { server, url } = await start({ authenticator })
    const response = await fetch(`http://127.0.0.1:${server.port}/`)
    expect(response.status).toBe(426)
    await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const socket = connect(server.port, '127.0.0.1')
        await new Promise((resolve) => socket.once('connect', resolve))
        const upgrade = `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${await tokenOf('acme')}\r\n\r\n`
        socket.write(i % 3 === 0 ? 'nonsense\r\n\r\n' : upgrade)
        await new Promise((resolve) => setImmediate(resolve))
        socket.resetAndDestroy()
        await new Promise((resolve) => socket.once('close', resolve))
      }),
    )
    await join(url, await headersOf('acme'))
    await expect.poll(() => server.clients).toBe(1)
  })

  it('waits 5 seconds for authentication, and not at all when it closes', async () => {
    let asked = 0
    const never: Authenticator = {
      authenticate() {
        asked++
        return new Promise(() => {})
      },
    }
    const { server } = await start({ authenticator: never })
    const begun = performance.now()
    const first = knock(server.port)
    await new Promise((resolve) => first.once('close', resolve))
    expect(performance.now() - begun).toBeGreaterThan(4_500)
    const second = knock(server.port)
    await expect.poll(() => asked).toBe(2)
    const gone = new Promise((resolve) => second.once('close', resolve))
    const closing = performance.now()
    await server.close()
    await gone
    expect(performance.now() - closing).toBeLessThan(4_000)
  })

  it('closes its clients with 1001, and does not wait for those that do not answer', async () => {
    const { server, url } = await start()
    const client = await join(url)
    const silent = await stalled(server.port)
    await server.close()
    expect((await client.closed).code).toBe(1001)
    const gone = new Promise((resolve) => silent.once('close', resolve))
    silent.resume()
    await gone
  })
})

/** Asks for an upgrade. */
function knock(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  sockets.push(socket)
  socket.on('error', () => {})
  socket.write(
    'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer x\r\n\r\n',
  )
  return socket
}

/** A client that connects and never reads again. */
async function stalled(port: number): Promise<Socket> {
  const socket = knock(port)
  await new Promise<void>((resolve) => socket.once('readable', resolve))
  return socket // nothing is read: the kernel's buffers fill, then the server's
}

describe('50 stalled telemetry clients', () => {
  it('are dropped, while reporting stays quick and a reading client gets everything', async () => {
    const { hub, server, logger, url } = await start()
    await Promise.all(Array.from({ length: 50 }, () => stalled(server.port)))
    const reader = await join(url)
    expect(server.clients).toBe(51)
    const metadata = { text: 'x'.repeat(4_000) }
    let slowestMs = 0
    let reported = 0
    const rssBefore = process.memoryUsage().rss
    const deadline = performance.now() + 20_000
    while (server.clients > 1 && performance.now() < deadline) {
      for (let i = 0; i < 10; i++) {
        const begun = performance.now()
        hub.emit({ type: 'channel_joined', tenant: 'default', metadata: { ...metadata, n: reported } })
        slowestMs = Math.max(slowestMs, performance.now() - begun)
        reported++
      }
      while (reader.frames.length < reported + 1) await reader.next()
    }
    const closed = logger.lines.filter(({ event }) => event === 'telemetry.client_closed')
    const grownMiB = (process.memoryUsage().rss - rssBefore) / 2 ** 20
    expect(server.clients).toBe(1)
    expect(closed).toHaveLength(50)
    const numbers = reader.frames.slice(1).map(({ metadata: m }) => (m as { n: number }).n)
    expect(numbers).toEqual(Array.from({ length: reported }, (_, n) => n))
    expect(slowestMs).toBeLessThan(50)
    expect(grownMiB).toBeLessThan(150) // 50 queues of 256 KiB, and what the test itself keeps
  })
})
