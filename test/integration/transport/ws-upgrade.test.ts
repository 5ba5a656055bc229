// From the first byte of a socket to its upgrade: every way it can go wrong is answered, in full, and bounded in time.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { loadBusConfig } from '../../../src/config/load.ts'
import { startWsServer } from '../../../src/transport/ws-server.ts'
import { type ListenerProcess, say, startListener } from '../../support/listener-process.ts'
import { exchange } from '../../support/raw-http.ts'
import { openRawWebSocket, rawFrame, upgradeRequest } from '../../support/raw-websocket.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener({
    ARQONBUS_LIMIT_HEADER_TIMEOUT_MS: '300',
    ARQONBUS_LIMIT_HANDSHAKE_TIMEOUT_MS: '100',
    ARQONBUS_ALLOWED_ORIGINS: 'https://app.example',
  })
})
afterAll(async () => {
  await listener.expectServing() // after all of this
  expect(await listener.stop()).toBe(0)
})

const request = (headers: Record<string, string> = {}): string => upgradeRequest({ port: listener.port, headers })
const plain = (method: string, more = ''): string => `${method} / HTTP/1.1\r\nHost: x\r\n${more}\r\n`
const statusOf = (answer: string): string => answer.split('\r\n', 1)[0] ?? ''

/** Resolves when the server has ended or reset the socket. */
function untilEnded(socket: Socket): Promise<void> {
  socket.on('error', () => {}) // a reset ends it too
  socket.resume()
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

describe('a refused upgrade', () => {
  it('is answered in full before the end, also when more was sent with it', async () => {
    const junk = Buffer.alloc(4 * 1024 * 1024, 0x41)
    for (let i = 0; i < 20; i++) {
      const answer = await exchange(listener.port, Buffer.concat([Buffer.from(request({ 'x-test': 'refuse' })), junk]))
      expect(answer).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/)
      expect(answer).toMatch(/\r\n\r\n\{"error":"Unauthorized"\}$/)
    }
  })

  it('does not leave a socket behind when the peer never hangs up', async () => {
    const socket = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.write(request({ 'x-test': 'refuse' }))
    const ended = untilEnded(socket)
    const startedAt = performance.now()
    const talking = setInterval(() => socket.write('still here'), 50) // a socket that is gone answers with a reset
    await ended
    clearInterval(talking)
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })

  it.each([
    ['another version', { 'Sec-WebSocket-Version': '12' }],
    ['a bad key', { 'Sec-WebSocket-Key': 'short' }],
    ['another protocol', { Upgrade: 'h2c' }],
  ])('says 400 and the version it speaks for %s', async (_what, changed) => {
    const [name, value] = Object.entries(changed)[0]!
    const text = request().replace(new RegExp(`${name}: .*`), `${name}: ${value}`)
    expect(await exchange(listener.port, text)).toMatch(/^HTTP\/1\.1 400 .*sec-websocket-version: 13\r\n/is)
  })

  it('says 500 when authentication itself fails, and logs it', async () => {
    expect(statusOf(await exchange(listener.port, request({ 'x-test': 'fail' })))).toBe(
      'HTTP/1.1 500 Internal Server Error',
    )
    await listener.untilTold({ event: 'transport.internal_error', where: 'upgrade', message: 'the key file is gone' })
  })

  it('says 408 when authentication takes too long, and is not upgraded afterwards', async () => {
    const answer = await exchange(listener.port, request({ 'x-test': 'slow', 'x-subject': 'late' }))
    expect(statusOf(answer)).toBe('HTTP/1.1 408 Request Timeout')
    expect(answer).not.toContain('101')
  })

  it('says 503 and when to come back while the server drains', async () => {
    const draining = await startListener()
    const raw = await draining.open()
    raw.socket.write(say('drain'))
    await raw.until(/^draining$/)
    const answer = await exchange(draining.port, upgradeRequest({ port: draining.port }))
    expect(answer).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1\r\n.*"code":"DRAINING"/s)
    raw.socket.write(say('echo still served'))
    await raw.until(/^echo still served$/)
    expect(await draining.stop()).toBe(0)
  })
})

describe('the origin of a browser', () => {
  it.each(['https://app.example', undefined])('may be %s', async (origin) => {
    const raw = await listener.open(origin === undefined ? {} : { headers: { Origin: origin } })
    await raw.until(/^welcome$/)
    raw.destroy()
  })

  it.each([
    'null',
    'http://app.example',
    'https://app.example.evil.example',
    'https://evil.example/https://app.example',
    'https://app.example:8443',
    'https://app.example/',
    'https://APP.example',
    'https://sub.app.example',
    'https://app.example\r\nOrigin: https://evil.example',
    'https://evil.example\r\nOrigin: https://app.example',
  ])('may not be %j', async (origin) => {
    const answer = await exchange(listener.port, request({ Origin: origin }))
    expect(answer).toMatch(/^HTTP\/1\.1 403 .*"code":"ORIGIN_NOT_ALLOWED"/s)
  })
})

describe('what is offered in an upgrade', () => {
  it('is taken of subprotocols only where it is ours: a token there is never sent back', async () => {
    const both = await listener.open({ headers: { 'Sec-WebSocket-Protocol': 'bearer.secret-token, arqon.v1' } })
    expect(both.head).toMatch(/^Sec-WebSocket-Protocol: arqon\.v1$/im)
    const only = await listener.open({ headers: { 'Sec-WebSocket-Protocol': 'bearer.secret-token' } })
    expect(only.head).not.toMatch(/Sec-WebSocket-Protocol/i)
    for (const { head } of [both, only]) expect(head).not.toContain('secret-token')
    both.destroy()
    only.destroy()
  })

  it('is never compression, and a compressed frame is a protocol error', async () => {
    const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' }
    const raw = await listener.open({ headers })
    expect(raw.head).not.toMatch(/Sec-WebSocket-Extensions/i)
    raw.socket.write(rawFrame({ opcode: 1, reserved: 0x40, payload: 'deflated' }))
    expect((await raw.ended).code).toBe(1002)
  })

  it('may be followed by frames in the same packet', async () => {
    const bytes = Buffer.concat([
      Buffer.from(request()),
      say('echo early'),
      rawFrame({ opcode: 8, payload: Buffer.from([3, 232]) }),
    ])
    expect(await exchange(listener.port, bytes)).toMatch(/^HTTP\/1\.1 101 .*welcome.*echo early/s)
  })
})

describe('plain HTTP on the port', () => {
  it('is answered, without a body for HEAD', async () => {
    const get = await exchange(listener.port, plain('GET', 'Connection: close\r\n'))
    expect(get).toMatch(/^HTTP\/1\.1 426 .*\{"error":"Upgrade Required"\}/s)
    const head = await exchange(listener.port, plain('HEAD', 'Connection: close\r\n'))
    expect(head).toMatch(/^HTTP\/1\.1 426 .*\r\n\r\n$/s)
  })

  it('is answered in order when it is pipelined, and may end with an upgrade once it is answered', async () => {
    const three = plain('GET') + plain('GET') + plain('GET', 'Connection: close\r\n')
    expect(await exchange(listener.port, three)).toMatch(/^(?:HTTP\/1\.1 426 (?:(?!HTTP\/1\.1).)*){3}$/s)
    const socket = connect(listener.port, '127.0.0.1')
    socket.write(plain('GET'))
    await once(socket, 'data')
    socket.write(request())
    const [upgraded] = (await once(socket, 'data')) as [Buffer]
    expect(upgraded.toString()).toMatch(/^HTTP\/1\.1 101 /)
    socket.destroy()
  })

  it('never mixes an answer that is still due into a WebSocket', async () => {
    expect(await exchange(listener.port, plain('GET', 'X-Test: slow\r\n') + request())).not.toContain('101')
  })

  it('is refused with 431 when its headers are too large, 400 when it is not HTTP', async () => {
    const large = await exchange(listener.port, plain('GET', `X-Large: ${'x'.repeat(20_000)}\r\n`))
    expect(statusOf(large)).toBe('HTTP/1.1 431 Request Header Fields Too Large')
    expect(statusOf(await exchange(listener.port, '\u0016\u0003\u0001\u0002 hello\r\n\r\n'))).toBe(
      'HTTP/1.1 400 Bad Request',
    )
    expect(statusOf(await exchange(listener.port, 'GET / HTTP/1.1\r\n\r\n'))).toBe('HTTP/1.1 400 Bad Request')
  })

  it.each([
    ['nothing', ''],
    ['half a header', 'GET / HTTP/1.1\r\nHost: x\r\nUpgr'],
  ])('is ended with 408 when %s came in time', async (_what, bytes) => {
    expect(statusOf(await exchange(listener.port, bytes))).toBe('HTTP/1.1 408 Request Timeout')
  })
})

describe('the listener', () => {
  it('closes a connection with 1011 when its owner cannot be made', async () => {
    const raw = await listener.open({ headers: { 'x-subject': 'unlucky' } })
    expect(await raw.ended).toMatchObject({ code: 1011 })
    await listener.untilTold({ event: 'transport.internal_error', where: 'open' })
  })

  it('keeps nothing open when it is closed, whatever its sockets were doing', async () => {
    const ending = await startListener()
    const raw = await ending.open()
    await raw.until(/^welcome$/)
    const sockets = [
      '',
      'GET / HTT',
      plain('GET'),
      upgradeRequest({ port: ending.port, headers: { 'x-test': 'slow' } }),
    ]
    const opened = sockets.map((bytes) => {
      const socket = connect({ port: ending.port, host: '127.0.0.1' })
      socket.write(bytes)
      return untilEnded(socket)
    })
    const refused = connect({ port: ending.port, host: '127.0.0.1', allowHalfOpen: true })
    refused.write(upgradeRequest({ port: ending.port, headers: { 'x-test': 'refuse' } }))
    await once(refused, 'data')
    await ending.untilTold({ authenticating: true })
    expect(await ending.stop()).toBe(0) // by itself: nothing else ends that process
    refused.destroy()
    await Promise.all([...opened, raw.ended])
  })

  it('leaves no timer behind when its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const { limits } = loadBusConfig({})
    const starting = startWsServer({
      host: '127.0.0.1',
      port: (other.address() as AddressInfo).port,
      limits,
      allowedOrigins: [],
      clock: systemClock,
      logger: silentLogger,
      authenticate: () => Promise.reject(new Error('never asked')),
      answer: () => ({ status: 426, body: {} }),
      open: () => {
        throw new Error('never opened')
      },
    })
    await expect(starting).rejects.toMatchObject({ code: 'PORT_UNAVAILABLE' })
    expect(timers()).toBe(before)
    other.close()
  })
})

describe('keeping alive', () => {
  it('answers pings with their payload, and pings itself; who does not answer is closed with 4009', async () => {
    const pinging = await startListener({
      ARQONBUS_LIMIT_PING_INTERVAL_MS: '1000',
      ARQONBUS_LIMIT_PONG_TIMEOUT_MS: '500',
    })
    const [mute, alive] = [await pinging.open(), await openRawWebSocket({ port: pinging.port })]
    alive.socket.on('data', () => {
      const ping = alive.frames.findLast(({ opcode }) => opcode === 9)
      if (ping !== undefined) alive.socket.write(rawFrame({ opcode: 10, payload: ping.payload }))
    })
    alive.socket.write(rawFrame({ opcode: 9, payload: 'are you there' }))
    const end = await mute.ended
    expect(end).toMatchObject({ code: 4009, reason: 'PING_TIMEOUT' })
    expect(end.afterMs).toBeLessThan(4_500)
    const pongs = alive.frames.filter(({ opcode }) => opcode === 10).map(({ payload }) => payload.toString())
    expect(pongs).toEqual(['are you there'])
    alive.socket.write(say('echo alive'))
    await alive.until(/^echo alive$/)
    expect(await pinging.stop()).toBe(0)
  })
})
