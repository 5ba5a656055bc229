// The client against real servers that refuse, freeze, die and come back: every command settles, and truthfully.
import { createServer } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openValkey, type ValkeyClient, type ValkeyClientOptions } from '../../../src/valkey/valkey-client.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerOptions } from '../../support/servers/valkey-server.ts'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function open(url: string, more: Partial<ValkeyClientOptions> = {}): Promise<ValkeyClient> {
  const client = await openValkey({ url, name: 'test', logger: silentLogger, attempts: 1, ...more })
  closers.push(() => client.close())
  return client
}

async function startServer(options: ValkeyServerOptions = {}) {
  const server = await startValkeyServer(options)
  closers.push(() => server.close())
  return server
}

/** Resolves with the error, and fails when there is none. */
async function failureOf(doing: Promise<unknown>): Promise<unknown> {
  return await doing.then(
    () => expect.unreachable('it worked'),
    (error: unknown) => error,
  )
}

const nextEvent = (client: ValkeyClient, kind: string): Promise<void> =>
  new Promise((resolve) => {
    const stop = client.onEvent((event) => {
      if (event.kind !== kind) return
      stop()
      resolve()
    })
  })

describe.skipIf(skipWithout('valkey'))('the Valkey client', () => {
  describe('opening', () => {
    it('says who the server is', async () => {
      const server = await startServer()
      const client = await open(server.url)
      expect(client.isConnected).toBe(true)
      expect(client.server).toBe(`127.0.0.1:${server.port}`)
      expect(client.facts).toMatchObject({ role: 'master', isAofOn: true, fsync: 'always', maxMemory: 0 })
      expect(client.facts.runId).toMatch(/^[0-9a-f]{40}$/)
    })

    it('tells a wrong password, a missing one and a missing permission from an outage, and shows no secret', async () => {
      const server = await startServer({ password: 'right-hunter2' })
      const at = `127.0.0.1:${server.port}`
      const admin = await open(server.url)
      await admin.send(['ACL', 'SETUSER', 'limited', 'on', '>limited-hunter2', '+hello', '+ping'])
      for (const url of [
        `redis://:wrong-hunter2@${at}`,
        `redis://${at}`,
        `redis://nobody:wrong-hunter2@${at}`,
        `redis://limited:limited-hunter2@${at}`,
      ]) {
        const error = await failureOf(open(url))
        expect(error).toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'DENIED' } })
        expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
      }
    })

    it('names the reason where nothing answers, after trying as often as told', async () => {
      const [port] = (await findFreePorts(1)) as [number]
      const error = await failureOf(open(`redis://:hunter2@127.0.0.1:${port}`, { attempts: 2 }))
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'ECONNREFUSED' } })
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
      const unknown = await failureOf(open('redis://no-such-host.invalid'))
      expect(unknown).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        details: { reason: expect.stringMatching(/ENOTFOUND|EAI_AGAIN/) },
      })
      const socket = await failureOf(open('unix:///no/such.sock'))
      expect(socket).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'ENOENT' } })
    })

    it('takes a database that is not there, and a server that is none, for what they are', async () => {
      const server = await startServer()
      expect(await failureOf(open(`${server.url}/9999`))).toMatchObject({
        code: 'STORE_OPEN_FAILED',
        details: { reason: 'NO_SUCH_DATABASE' },
      })
      const web = createServer((socket) => {
        socket.on('error', () => undefined)
        socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
      })
      await new Promise<void>((resolve) => {
        web.listen(0, '127.0.0.1', resolve)
      })
      closers.push(() => void web.close())
      const { port } = web.address() as { port: number }
      expect(await failureOf(open(`redis://127.0.0.1:${port}`))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        details: { reason: 'NOT_VALKEY' },
      })
    })

    it('gives a server up that takes the connection and says nothing', async () => {
      const server = await startServer()
      await server.freeze()
      const startedAt = performance.now()
      const error = await failureOf(open(server.url))
      server.thaw()
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'ETIMEDOUT' } })
      expect(performance.now() - startedAt).toBeLessThan(3_000)
    })
  })

  describe('while it runs', () => {
    it('answers every command of a frozen server as unknown within the time, and later ones at once', async () => {
      const server = await startServer()
      const client = await open(server.url)
      const disconnected = nextEvent(client, 'disconnected')
      await server.freeze()
      const startedAt = performance.now()
      // Commands that go on being written must not keep the dead connection alive.
      const sent: Promise<unknown>[] = []
      const writing = setInterval(() => sent.push(failureOf(client.send(['SET', 'k', 'v']))), 50)
      const first = await failureOf(client.send(['INCR', 'n']))
      clearInterval(writing)
      expect(performance.now() - startedAt).toBeLessThan(2_000)
      expect(first).toMatchObject({ code: 'STORE_TIMEOUT', details: { reason: 'NO_ANSWER' } })
      await disconnected
      for (const error of await Promise.all(sent)) expect(isBusError(error)).toBe(true)
      const laterAt = performance.now()
      expect(await failureOf(client.send(['INCR', 'n']))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        details: { reason: 'NO_ANSWER' },
      })
      expect(performance.now() - laterAt).toBeLessThan(50)
      const connected = nextEvent(client, 'connected')
      server.thaw()
      await connected
      expect(String(await client.send(['GET', 'n']))).toBe('1') // the unknown one has landed
    })

    it('finds an idle server frozen without being asked anything', async () => {
      const server = await startServer()
      const client = await open(server.url)
      const disconnected = nextEvent(client, 'disconnected')
      await server.freeze()
      await disconnected
      server.thaw()
      expect(client.isConnected).toBe(false)
    })

    it('reconnects after kill -9 and knows the new life before anything is sent', async () => {
      const server = await startServer()
      const client = await open(server.url)
      const { runId } = client.facts
      const disconnected = nextEvent(client, 'disconnected')
      const pending = failureOf(client.send(['BLPOP', 'nothing', '0']))
      await client.send(['PING']).catch(() => undefined) // queued behind: the server blocks this connection
      await server.kill()
      await disconnected
      expect(await pending).toMatchObject({ code: 'STORE_TIMEOUT' })
      expect(await failureOf(client.send(['PING']))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      const connected = nextEvent(client, 'connected')
      await server.restart()
      await connected
      expect(client.facts.runId).not.toBe(runId)
      expect(client.connection().facts.runId).toBe(client.facts.runId)
    })

    it('reads the facts again, and passes bytes through unharmed', async () => {
      const server = await startServer()
      const client = await open(server.url)
      await client.send(['CONFIG', 'SET', 'appendfsync', 'everysec', 'maxmemory-policy', 'allkeys-lru'])
      expect(await client.refresh()).toMatchObject({ fsync: 'everysec', evictionPolicy: 'allkeys-lru' })
      const bytes = Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256))
      await client.send(['SET', Buffer.from([0xff, 0, 10]), bytes])
      expect(await client.send(['GET', Buffer.from([0xff, 0, 10])])).toEqual(bytes)
    })

    it('works without CONFIG, and then claims nothing about fsync', async () => {
      const server = await startServer()
      const admin = await open(server.url)
      await admin.send(['ACL', 'SETUSER', 'managed', 'on', '>pw', '+@all', '-config', '~*'])
      const client = await open(`redis://managed:pw@127.0.0.1:${server.port}`)
      expect(client.facts).toMatchObject({ fsync: undefined, isAofOn: true })
    })

    it('hears what is published', async () => {
      const server = await startServer()
      const client = await open(server.url)
      const { promise, resolve } = Promise.withResolvers<Buffer>()
      await client.connection().subscribe('news', resolve)
      await (await open(server.url)).send(['PUBLISH', 'news', Buffer.from([0xff])])
      expect(await promise).toEqual(Buffer.from([0xff]))
    })

    it('settles what was sent before it closes, closes twice, and refuses everything afterwards', async () => {
      const server = await startServer()
      const client = await open(server.url)
      const begun = Array.from({ length: 100 }, () => client.send(['INCR', 'n']))
      await Promise.all([client.close(), client.close()])
      expect(await Promise.all(begun)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
      expect(await failureOf(client.send(['PING']))).toMatchObject({ details: { reason: 'CLOSED' } })
    })
  })
})
