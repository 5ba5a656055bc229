// A server that closes lets those read its close frame whom it told to go, over TLS as without it; the others, and those
// who never answer, do not hold it up.
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { loadBusConfig } from '../../../src/config/load.ts'
import type { SocketConnection } from '../../../src/transport/connection.ts'
import { startWsServer, type WsServer } from '../../../src/transport/ws-server.ts'
import { wsFrame } from '../../../src/wire/ws-frame.ts'
import { type Certificates, makeCertificates } from '../../support/certificates.ts'

const closeTimeoutMs = 400
const told = 20

let certificates: Certificates
let files: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer }
let server: WsServer | undefined
const opened: SocketConnection[] = []
const strangers: Socket[] = []

beforeAll(async () => {
  certificates = await makeCertificates('127.0.0.1')
  const [ca, cert, key] = await Promise.all(
    [certificates.authority, certificates.certificate, certificates.key].map((file) => readFile(file)),
  )
  files = { ca: ca!, cert: cert!, key: key! }
})
afterAll(() => certificates.close())
afterEach(async () => {
  for (const socket of strangers.splice(0)) socket.destroy()
  opened.length = 0
  await server?.close()
})

async function start(isTls: boolean): Promise<WsServer> {
  const { limits } = loadBusConfig({})
  server = await startWsServer({
    host: '127.0.0.1',
    port: 0,
    ...(isTls && { tls: files }),
    limits: { ...limits, closeTimeoutMs },
    allowedOrigins: [],
    clock: systemClock,
    logger: silentLogger,
    authenticate: () => Promise.resolve({ identity: { tenant: 'acme', subject: 'a', role: 'user' } }),
    answer: () => ({ status: 426, body: {} }),
    open(connection) {
      opened.push(connection)
      return { frame: () => undefined, refused: () => undefined, closed: () => undefined }
    },
  })
  return server
}

interface Client {
  readonly ws: WebSocket
  readonly closed: Promise<number>
  bytes: number
}

async function join(port: number, isTls: boolean): Promise<Client> {
  const ws = new WebSocket(`${isTls ? 'wss' : 'ws'}://127.0.0.1:${port}`, { ca: files.ca, perMessageDeflate: false })
  ws.on('error', () => undefined) // a reset ends it too
  const closed = new Promise<number>((resolve) => ws.once('close', (code) => resolve(code)))
  const client = { ws, closed, bytes: 0 }
  ws.on('message', (data: Buffer) => {
    client.bytes += data.length
  })
  await once(ws, 'open')
  return client
}

async function silent(port: number, isTls: boolean): Promise<Socket> {
  const socket = isTls ? connectTls({ port, host: '127.0.0.1', ca: files.ca }) : connect(port, '127.0.0.1')
  strangers.push(socket)
  socket.on('error', () => undefined)
  await once(socket, isTls ? 'secureConnect' : 'connect')
  return socket
}

describe.each([
  ['in the clear', false],
  ['over TLS', true],
])('a server that closes, %s', (_name, isTls) => {
  it('has its close frame read by everyone it told, and ends the rest at once', async () => {
    const { port } = await start(isTls)
    const clients = await Promise.all(Array.from({ length: told }, () => join(port, isTls)))
    const leaving = opened.slice()
    const stays = await join(port, isTls)
    const mute = await Promise.all([silent(port, isTls), silent(port, false)])
    const gone = Promise.all(mute.map((socket) => new Promise((resolve) => socket.resume().once('close', resolve))))
    // More than the kernel takes at once stands before the close frame.
    const large = Buffer.alloc(1024 * 1024)
    for (const connection of leaving) {
      connection.write(wsFrame(2, large))
      connection.close('RESTART', 'soon back')
    }
    const closing = server!.close()
    expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(clients.map(() => 1012))
    expect(clients.map(({ bytes }) => bytes)).toEqual(clients.map(() => large.length))
    expect(await stays.closed).toBe(1006)
    await gone
    await closing
  })

  it('waits for those who never answer no longer than the closing time-out', async () => {
    const { port } = await start(isTls)
    const mute = await join(port, isTls)
    const [connection] = opened
    mute.ws.pause()
    connection!.write(wsFrame(2, Buffer.alloc(8 * 1024 * 1024)))
    const startedAt = performance.now()
    connection!.close('RESTART')
    await server!.close()
    const tookMs = performance.now() - startedAt
    expect(tookMs).toBeGreaterThan(closeTimeoutMs / 2)
    expect(tookMs).toBeLessThan(closeTimeoutMs + 1_500)
    mute.ws.terminate()
  })
})
