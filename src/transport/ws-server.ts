// The WebSocket listener of the bus and of the gateway: admits, authenticates before the upgrade, and hands each
// connection to its owner. After the upgrade no HTTP time-out applies, so the limits here are the only ones.
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Identity } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { type AdmissionLimits, createAdmission, type Refusal, type Taken } from './admission.ts'
import { type ConnectionLimits, type ConnectionOwner, SocketConnection } from './connection.ts'
import { clientAddress } from './client-address.ts'
import { acceptUpgrade, judgeUpgrade } from './handshake.ts'
import type { HttpRefusal } from './http-refusal.ts'
import { listen } from './listen.ts'
import { createTenantRates, type TenantRateLimits } from './tenant-rates.ts'

/** How often connections of a tenant that sends too much have their turn. */
const turnMs = 25

export interface WsServerLimits extends AdmissionLimits, ConnectionLimits, TenantRateLimits {
  readonly handshakeTimeoutMs: number
  readonly headerTimeoutMs: number
  readonly maxQueuedBytesPerProcess: number
}

export interface WsServerOptions {
  readonly host: string
  readonly port: number
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer }
  readonly limits: WsServerLimits
  /** Origins browsers may come from, compared exactly; requests without Origin are not browsers'. */
  readonly allowedOrigins: readonly string[]
  /** Proxies before this listener whose X-Forwarded-For counts; 0 by default. */
  readonly trustedProxyHops?: number
  readonly clock: Clock
  readonly logger: Logger
  /** Judges method, path and headers before anything else of an upgrade. */
  screen?(request: IncomingMessage): HttpRefusal | undefined
  authenticate(request: IncomingMessage): Promise<{ identity: Identity } | HttpRefusal>
  /** Answers plain HTTP requests on this port. */
  answer(request: IncomingMessage): HttpRefusal | Promise<HttpRefusal>
  /** `request` is the upgrade's. */
  open(connection: SocketConnection, identity: Identity, request: IncomingMessage): ConnectionOwner
}

export interface WsServer {
  readonly port: number
  readonly connections: number
  /** Stops accepting; open connections stay. */
  stopAccepting(): Promise<void>
  /** Ends what is still open, lets closing handshakes come to their end, and frees the port. */
  close(): Promise<void>
}

export async function startWsServer(options: WsServerOptions): Promise<WsServer> {
  const { limits, clock, logger, trustedProxyHops: hops = 0 } = options
  const admission = createAdmission(limits, clock.monotonic())
  const rates = createTenantRates(limits, () => clock.monotonic())
  const connections = new Map<Socket, SocketConnection>()
  /** What each socket gives back when it closes. */
  const sockets = new Map<Socket, { arrived?: Taken | undefined; admitted?: Taken }>()
  const answering = new Set<Socket>()
  let isAccepting = true

  const server = createListener(options)
  // One listener for all sockets: a closure for each would be as large as what it does for an idle session.
  function onClose(this: Socket): void {
    const taken = sockets.get(this)
    taken?.arrived?.release()
    taken?.admitted?.release()
    sockets.delete(this)
    connections.delete(this)
  }
  function keep(socket: Socket, taken: { arrived?: Taken | undefined; admitted?: Taken }): void {
    if (!sockets.has(socket)) socket.on('close', onClose)
    sockets.set(socket, { ...sockets.get(socket), ...taken })
  }
  server.on('connection', (socket: Socket) => {
    // Silent sockets of one address must not use up what is there for all. Behind proxies all come from theirs.
    const arrived = hops > 0 ? undefined : admission.arrive(socket.remoteAddress ?? '')
    if (hops === 0 && arrived === undefined) return void socket.destroy()
    keep(socket, { arrived })
  })
  server.on('request', (request, response) => {
    const { socket } = request
    answering.add(socket)
    response.once('close', () => answering.delete(socket))
    void respond(request).then(({ status, body, headers }) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(request.method === 'HEAD' ? undefined : JSON.stringify(body))
    })
  })
  server.on('upgrade', (request, socket, head) => void upgrade(request, socket as Socket, head))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const isGone = !socket.writable || error.code === 'ECONNRESET'
    // In the middle of an answer another one would be read as its body.
    if (isGone || answering.has(socket as Socket)) socket.destroy()
    else refuse(socket as Socket, clientErrors[error.code ?? ''] ?? plainRefusal(400))
  })

  function report(where: string, error: unknown): void {
    try {
      logger.error('transport.internal_error', { where, ...describeError(error) })
    } catch {
      // The log itself fails: a full disk must not take every connection with it (reliability 3.2, 44).
    }
  }

  async function respond(request: IncomingMessage): Promise<HttpRefusal> {
    try {
      // An answer can cost the check of a token: requests count as handshakes do.
      const entered = admission.enter(clientAddress(request, hops), clock.monotonic())
      if ('status' in entered) return tooMany(entered)
      try {
        return await options.answer(request)
      } finally {
        entered.leave()
      }
    } catch (error) {
      report('request', error)
      return plainRefusal(500)
    }
  }

  async function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Before the first await: a reset during authentication must not be an unhandled error (reliability 3.2, 41).
    socket.on('error', destroyThis)
    if (answering.has(socket)) return void socket.destroy() // an earlier answer would be written into the WebSocket
    const address = clientAddress(request, hops)
    const entered = admission.enter(address, clock.monotonic())
    if ('status' in entered) return refuse(socket, tooMany(entered))
    const timer = setTimeout(() => refuse(socket, plainRefusal(408)), limits.handshakeTimeoutMs)
    const finish = (): void => {
      clearTimeout(timer)
      socket.removeListener('close', finish) // the socket lives long, and would keep all of this
      entered.leave()
    }
    socket.once('close', finish)
    try {
      const refusal = screen(request) ?? (await admit(request, socket, head, address))
      if (refusal !== undefined) refuse(socket, refusal)
    } catch (error) {
      report('upgrade', error)
      refuse(socket, plainRefusal(500))
    } finally {
      finish()
    }
  }

  function screen(request: IncomingMessage): HttpRefusal | undefined {
    if (!isAccepting)
      return { status: 503, body: { error: 'Service Unavailable', code: 'DRAINING' }, headers: { 'retry-after': '1' } }
    const refusal = options.screen?.(request) ?? judgeUpgrade(request)
    if (refusal !== undefined) return refusal
    const { origin } = request.headers
    if (origin !== undefined && !options.allowedOrigins.includes(origin)) {
      return {
        status: 403,
        body: { error: 'Forbidden', code: 'ORIGIN_NOT_ALLOWED', details: 'Add the origin to ARQONBUS_ALLOWED_ORIGINS' },
      }
    }
    return undefined
  }

  async function admit(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    address: string,
  ): Promise<HttpRefusal | undefined> {
    const outcome = await options.authenticate(request)
    if (!('identity' in outcome)) return outcome
    if (!socket.writable) return undefined // gone, or told that it took too long
    const { identity } = outcome
    const tooFast = admission.judgeTenant(identity.tenant, clock.monotonic())
    if (tooFast !== undefined) return tooMany(tooFast)
    const admitted = admission.admit(address, identity)
    if ('status' in admitted) return tooMany(admitted)
    keep(socket, { admitted }) // over TLS, another socket than the one that arrived
    socket.setNoDelay(true)
    acceptUpgrade(request, socket)
    const connection = new SocketConnection(socket, {
      address,
      clock,
      limits,
      shared: rates.of(identity.tenant),
      report,
    })
    connections.set(socket, connection)
    // No HTTP answer can be given any more: what fails from here on is said in a close frame.
    try {
      connection.attach(options.open(connection, identity, request), head)
    } catch (error) {
      connection.fail('open', error)
    }
    return undefined
  }

  const port = await listen(server, options.host, options.port)

  // One timer for all: ten thousand connections cost one pass a second, not ten thousand timers.
  const ticking = setInterval(() => {
    const now = clock.monotonic()
    for (const connection of connections.values()) connection.tick(now)
    shedQueues(connections.values(), limits.maxQueuedBytesPerProcess)
  }, 1_000)
  const turning = setInterval(() => rates.turn(clock.monotonic()), turnMs)

  return {
    port,
    get connections() {
      return connections.size
    },
    stopAccepting() {
      isAccepting = false
      return Promise.resolve()
    },
    async close() {
      isAccepting = false
      clearInterval(ticking)
      clearInterval(turning)
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      // Who was told to go gets to read it, and ends at the latest at the closing time-out.
      const leaving = new Set<string>()
      for (const [socket, connection] of connections) if (connection.isClosing) leaving.add(peerOf(socket))
      for (const socket of sockets.keys()) if (!leaving.has(peerOf(socket))) socket.destroy()
      await closed
    },
  }
}

/** Names a connection: over TLS the socket that arrived is another one than that of the upgrade, with the same peer. */
const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`

/** Holds nothing of the handshake: the listener stays as long as the socket. */
function destroyThis(this: Socket): void {
  this.destroy()
}

/** Each queue may be small enough, and all together too much: those who wait for most are closed first. */
function shedQueues(connections: Iterable<SocketConnection>, maxBytes: number): void {
  const open = [...connections].filter((connection) => !connection.isClosing && connection.queuedBytes() > 0)
  let total = open.reduce((sum, connection) => sum + connection.queuedBytes(), 0)
  if (total <= maxBytes) return
  for (const connection of open.sort((a, b) => b.queuedBytes() - a.queuedBytes())) {
    if (total <= maxBytes) return
    const queued = connection.queuedBytes()
    connection.close('SLOW_CONSUMER', `queued=${queued} process`)
    total -= queued
  }
}

/** The HTTP side of the listener: what bounds a socket until it is a WebSocket. */
function createListener({ tls, limits }: WsServerOptions): Server {
  const httpOptions = {
    headersTimeout: limits.headerTimeoutMs,
    requestTimeout: limits.headerTimeoutMs + 5_000,
    connectionsCheckingInterval: Math.min(2_000, limits.headerTimeoutMs),
    maxHeaderSize: 16 * 1024,
    keepAliveTimeout: 5_000,
  }
  const server: Server =
    tls === undefined
      ? createServer(httpOptions)
      : createTlsServer({ ...httpOptions, ...tls, handshakeTimeout: limits.headerTimeoutMs })
  server.maxHeadersCount = 64
  // Sockets that have not sent a request yet are bounded too; those of full counts get a 503 as long as this lasts.
  server.maxConnections = limits.maxConnections + limits.maxHalfOpen
  return server
}

const clientErrors: Readonly<Record<string, HttpRefusal>> = {
  HPE_HEADER_OVERFLOW: plainRefusal(431),
  ERR_HTTP_REQUEST_TIMEOUT: plainRefusal(408),
}

function plainRefusal(status: number): HttpRefusal {
  return { status, body: { error: STATUS_CODES[status] } }
}

function tooMany({ status, limit, retryAfterSeconds }: Refusal): HttpRefusal {
  return {
    status,
    body: { error: STATUS_CODES[status], code: 'CAPACITY', limit },
    headers: { 'retry-after': String(retryAfterSeconds) },
  }
}

/** How long a refused peer has to read its answer and hang up. */
const lingerMs = 1_000

/**
 * Writes a whole HTTP answer and ends the connection. What the peer still sends is read and dropped for a moment:
 * closing over unread bytes is a reset that can overtake the answer.
 */
function refuse(socket: Socket, { status, body, headers = {} }: HttpRefusal): void {
  if (!socket.writable) return
  const text = JSON.stringify(body)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(timer))
}
