// What a NATS server can do to a link beside carrying messages: be absent, refuse, deny, freeze, die, come back.
import { createServer, type Server } from 'node:net'
import { inspect } from 'node:util'
import { connect } from '@nats-io/transport-node'
import { afterEach, describe, expect, test } from 'vitest'
import type { Link, LinkMessage, LinkState } from '../../../src/link/link.ts'
import { type NatsTiming, openNatsLink } from '../../../src/link/nats-link.ts'
import type { NatsServer } from '../../../src/link/nats-dial.ts'
import { collect } from '../../support/contracts/link.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { createRecordLogger } from '../../support/record-logger.ts'

const password = 'hunter-two-hunter-two'
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(config?: string): Promise<NatsServerProcess> {
  const server = await startNatsServer(config === undefined ? {} : { config })
  closers.push(() => server.close())
  return server
}

async function open(
  servers: readonly NatsServer[],
  timing: Partial<NatsTiming> = {},
): Promise<{ link: Link; logger: ReturnType<typeof createRecordLogger> }> {
  const logger = createRecordLogger()
  const link = await openNatsLink({ servers, name: 'test', logger, timing })
  closers.push(() => link.close())
  return { link, logger }
}

/** What opening failed with, and what was logged on the way. */
async function failure(servers: readonly NatsServer[], timing: Partial<NatsTiming>) {
  const logger = createRecordLogger()
  const error: unknown = await openNatsLink({ servers, name: 'test', logger, timing }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { error, logger, text: inspect(error, { depth: 9 }) + JSON.stringify(logger.lines) }
}

function until(link: Link, wanted: LinkState, withinMs = 8_000): Promise<number> {
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ${wanted} within ${withinMs} ms`)), withinMs)
    const stop = link.onState((state) => {
      if (state !== wanted) return
      clearTimeout(timer)
      stop()
      resolve(performance.now() - startedAt)
    })
  })
}

const bytes = (size: number): Uint8Array => new Uint8Array(size)

function codeOf(act: () => void): string {
  try {
    act()
    return 'sent'
  } catch (error) {
    const { code, details } = error as { code: string; details: Record<string, string> }
    return `${code} ${details['reason'] ?? ''}`.trim()
  }
}

/** A listener that is no NATS server. */
async function listen(
  onConnection: Parameters<typeof createServer>[1] & {},
): Promise<{ port: number; server: Server }> {
  const server = createServer(onConnection)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  closers.push(() => new Promise((resolve) => server.close(resolve)))
  return { port: (server.address() as { port: number }).port, server }
}

describe('the first connect, where no server is', () => {
  test('is tried four times, then fails with code, host and port, and no credentials', async () => {
    const { port, server } = await listen(() => undefined)
    await new Promise((resolve) => server.close(resolve))
    const servers = [natsServerOf({ port }, { user: 'arqon', password })]
    const { error, logger, text } = await failure(servers, { firstWaitsMs: [5, 5, 5] })
    expect(error).toMatchObject({
      code: 'LINK_UNAVAILABLE',
      details: { reason: 'ECONNREFUSED', server: `127.0.0.1:${port}` },
    })
    expect(logger.lines.filter(({ event }) => event === 'link.dial_failed')).toHaveLength(3)
    expect(text).not.toContain(password)
  })

  test('gives up a listener that says nothing, and leaves no socket behind', async () => {
    const sockets = new Set<unknown>()
    const { port } = await listen((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    })
    const { error } = await failure([natsServerOf({ port })], { firstWaitsMs: [5, 5], dialMs: 100 })
    expect(error).toMatchObject({ code: 'LINK_UNAVAILABLE', details: { reason: 'ETIMEDOUT' } })
    await expect.poll(() => sockets.size).toBe(0)
  })

  test('tells when something else than NATS answers', async () => {
    const { port } = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const { error } = await failure([natsServerOf({ port })], { firstWaitsMs: [] })
    expect(error).toMatchObject({ code: 'LINK_UNAVAILABLE', details: { reason: 'NOT_NATS' } })
  })
})

describe.skipIf(skipWithout('nats'))('a real server', () => {
  test.each([
    ['user and password', `authorization { user: arqon, password: "${password}" }`, { user: 'arqon', password }],
    ['a token', `authorization { token: "${password}" }`, { user: password }],
  ])('with %s takes the right ones, refuses others at once, and they are never printed', async (_, config, right) => {
    const server = await start(config)
    const { link, logger } = await open([natsServerOf(server, right)])
    await link.flush()
    const wrong = { ...right, ...('password' in right ? { password: `${password}!` } : { user: `${password}!` }) }
    for (const credentials of [wrong, {}]) {
      const refused = await failure([natsServerOf(server, credentials)], {})
      expect(refused.error).toMatchObject({ code: 'LINK_DENIED', details: { reason: 'NATS_AUTHORIZATION' } })
      expect(refused.logger.lines).toEqual([])
      expect(refused.text).not.toContain(password)
    }
    expect(JSON.stringify(logger.lines)).not.toContain(password)
  })

  test('is found behind one that is absent', async () => {
    const server = await start()
    const { port, server: gone } = await listen(() => undefined)
    await new Promise((resolve) => gone.close(resolve))
    for (let i = 0; i < 4; i++) await open([natsServerOf({ port }), natsServerOf(server)], { firstWaitsMs: [] })
  })

  test('that denies a subscription fails its flush, and a denied publish is logged, counted and reported', async () => {
    const server = await start(
      `authorization { users: [{ user: arqon, password: "${password}", permissions: {
        publish: ["ok.>", "_INBOX.>"], subscribe: ["ok.>", "_INBOX.>"] } }] }`,
    )
    const { link, logger } = await open([natsServerOf(server, { user: 'arqon', password })], {
      tickMs: 5,
      silentTicks: 1_000,
    })
    link.subscribe('ok.a', () => undefined)
    await link.flush()
    expect(link.report!()).toMatchObject({ trouble: undefined, counts: { denied: 0 } })
    link.publish('secret.room', bytes(1))
    await expect.poll(() => link.report!().trouble).toContain('publishes')
    expect(logger.lines).toContainEqual({
      level: 'error',
      event: 'link.denied',
      fields: { operation: 'publish', subject: 'secret.room' },
    })
    expect(link.report!().trouble).not.toContain('secret')
    const denied = link.subscribe('secret.>', () => undefined)
    await expect(link.flush()).rejects.toMatchObject({ code: 'LINK_DENIED' })
    await expect(link.request('secret.ask', bytes(1), { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'LINK_DENIED',
    })
    expect(link.report!().trouble).toContain('1 subscriptions')
    expect(link.report!().counts['denied']).toBeGreaterThanOrEqual(3)
    expect(link.state).toBe('connected')
    denied.close()
    await expect.poll(() => link.report!().trouble, { timeout: 10_000 }).toBeUndefined()
    await link.flush()
  })

  test('frozen, is noticed within 2.5 s, takes a bounded amount of memory, and is found again when it thaws', async () => {
    const server = await start()
    const [{ link }, { link: other }] = [await open([natsServerOf(server)]), await open([natsServerOf(server)])]
    const got = collect(other, 'after')
    await other.flush()
    const lost = Promise.all([until(link, 'disconnected'), until(other, 'disconnected')])
    await server.freeze()
    const before = process.memoryUsage().arrayBuffers
    let sent = 0
    let outcome = 'sent'
    while (outcome === 'sent' && sent < 256) {
      outcome = codeOf(() => link.publish('flood', bytes(256 * 1024)))
      if (outcome === 'sent') sent++
      await new Promise(setImmediate)
    }
    expect(outcome).toBe('LINK_UNAVAILABLE LINK_CONGESTED')
    expect(sent * 256).toBeLessThanOrEqual(17 * 1024)
    // What the client copies on its way to the socket comes on top, and goes again.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
    expect(Math.max(...(await lost))).toBeLessThan(2_500)
    expect(codeOf(() => link.publish('flood', bytes(1)))).toBe('LINK_UNAVAILABLE')
    const back = Promise.all([until(link, 'connected'), until(other, 'connected')])
    server.thaw()
    await back
    await other.flush()
    link.publish('after', bytes(1))
    await got.next(1)
    expect(link.report!().counts['reconnects']).toBe(1)
  })

  test('killed and started again, is found; nothing published meanwhile is sent later', async () => {
    const server = await start()
    const [{ link, logger }, { link: other }] = [await open([natsServerOf(server)]), await open([natsServerOf(server)])]
    const got = collect(other, 'n.*')
    await other.flush()
    const lost = until(link, 'disconnected')
    const otherLost = until(other, 'disconnected')
    const asked = link.request('n.mute', bytes(1), { timeoutMs: 5_000 }).catch((error: unknown) => error)
    await server.kill()
    await Promise.all([lost, otherLost])
    expect(await asked).toMatchObject({ code: 'LINK_TIMEOUT' })
    for (let n = 0; n < 100; n++) expect(codeOf(() => link.publish(`n.${n}`, bytes(1)))).toBe('LINK_UNAVAILABLE')
    await expect.poll(() => logger.lines.some(({ event }) => event === 'link.dial_failed')).toBe(true)
    const back = Promise.all([until(link, 'connected'), until(other, 'connected')])
    await server.restart()
    await back
    await Promise.all([link.flush(), other.flush()])
    link.publish('n.last', bytes(1))
    await got.next(1)
    expect(got.messages.map(({ subject }) => subject).filter((subject) => subject !== 'n.mute')).toEqual(['n.last'])
  })

  test('lets a process close its link while the server is frozen', async () => {
    const server = await start()
    const { link } = await open([natsServerOf(server)], { flushMs: 200 })
    await server.freeze()
    link.publish('x', bytes(1))
    await expect(link.flush()).rejects.toMatchObject({ code: 'LINK_TIMEOUT' })
    await link.close()
    expect(link.state).toBe('closed')
  })

  test('brings questions whose answer would go anywhere but to an inbox: they are not answered', async () => {
    const server = await start()
    const { link } = await open([natsServerOf(server)])
    const seen: LinkMessage[] = []
    link.subscribe('ask', (message) => seen.push(message))
    await link.flush()
    const raw = await connect({ servers: server.url, reconnect: false })
    for (const reply of ['in.t.victim.raw', '_INBOX.a.>', '_INBOX.abc.1']) raw.publish('ask', bytes(1), { reply })
    await raw.flush()
    await expect.poll(() => seen.length).toBe(3)
    expect(seen.map(({ respond }) => respond !== undefined)).toEqual([false, false, true])
    await raw.close()
  })
})
