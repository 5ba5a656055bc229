// The telemetry port: a WebSocket that tells what happens and takes nothing but filters (docs/telemetry.md).
// A client that reads too slowly is dropped; the bus never waits for one.
import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { tokenFromHeader, tokenFromQuery } from '../auth/bearer.ts'
import { may } from '../auth/grants.ts'
import { anonymousIdentity, type Authenticator, type Identity } from '../auth/identity.ts'
import type { Revocations } from '../auth/revocations.ts'
import type { Clock } from '../base/clock.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { TelemetryHub } from '../telemetry/telemetry-hub.ts'
import { type HttpAnswer, refusal, unauthorized } from './http-answer.ts'
import { listen } from './listen.ts'
import { safeClose } from './safe-socket.ts'
import { TelemetryClient } from './telemetry-client.ts'

export interface TelemetryServerOptions {
  readonly host: string
  /** 0 for a free one. */
  readonly port: number
  readonly hub: TelemetryHub
  /** Given where authentication is on: then every client needs a token and sees its own tenant's events. */
  readonly authenticator?: Authenticator
  /** Are the query keys token, access_token and auth_token read? */
  readonly allowQueryToken?: boolean
  /** Ends clients whose token is revoked. */
  readonly revocations?: Revocations
  /** Origins browsers may come from, compared exactly; none when absent. */
  readonly allowedOrigins?: readonly string[]
  readonly maxClients: number
  readonly clock: Clock
  readonly logger: Logger
}

export interface TelemetryServer {
  readonly port: number
  /** Connected now. */
  readonly clients: number
  close(): Promise<void>
}

const maxFrameBytes = 16 * 1_024
const closeTimeoutMs = 2_000
/** No HTTP time-out applies once an upgrade is asked for (reliability 0.1, finding 9). */
const handshakeTimeoutMs = 5_000

/** Rejects with `PORT_UNAVAILABLE`. */
export async function startTelemetryServer(options: TelemetryServerOptions): Promise<TelemetryServer> {
  const { host, hub, authenticator, clock, logger } = options
  const clients = new Set<TelemetryClient>()
  const sockets = new Set<Socket>()
  const wss = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxFrameBytes,
    maxFragments: 64,
    maxBufferedChunks: 1_024,
    autoPong: false,
    closeTimeout: closeTimeoutMs,
    handleProtocols: () => false, // never echo a token offered as a subprotocol
  } as ConstructorParameters<typeof WebSocketServer>[0]) // closeTimeout is missing from the types

  const server = createServer({
    headersTimeout: 10_000,
    requestTimeout: 15_000,
    connectionsCheckingInterval: 2_000,
    maxHeaderSize: 16 * 1_024,
  })
  server.maxHeadersCount = 64
  server.maxConnections = options.maxClients * 2 + 64 // those over the limit still get their 1013
  server.on('request', (_request, response) => {
    response.writeHead(426, { 'content-type': 'application/json', upgrade: 'websocket', connection: 'Upgrade' })
    response.end(JSON.stringify(refusal(426, 'UPGRADE_REQUIRED', 'This port speaks WebSocket').body))
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('upgrade', (request, socket, head) => void upgrade(request, socket as Socket, head))

  async function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Before the first await: a reset during authentication must not be an unhandled error (reliability 3.2, 41).
    socket.on('error', () => socket.destroy())
    sockets.add(socket)
    const timer = setTimeout(() => socket.destroy(), handshakeTimeoutMs)
    socket.once('close', () => {
      clearTimeout(timer)
      sockets.delete(socket)
    })
    try {
      const outcome = judgeOrigin(request) ?? (await authenticate(request))
      if (socket.destroyed) return
      if ('status' in outcome) refuse(socket, outcome)
      else {
        clearTimeout(timer)
        wss.handleUpgrade(request, socket, head, (ws) => open(ws, socket, outcome))
      }
    } catch (error) {
      logger.error('telemetry.upgrade_failed', describeError(error))
      socket.destroy()
    }
  }

  function judgeOrigin({ headers }: IncomingMessage): HttpAnswer | undefined {
    const { origin } = headers
    if (origin === undefined || options.allowedOrigins?.includes(origin) === true) return undefined
    return refusal(403, 'ORIGIN_NOT_ALLOWED', 'Add the origin to ARQONBUS_ALLOWED_ORIGINS')
  }

  async function authenticate(request: IncomingMessage): Promise<Identity | HttpAnswer> {
    if (authenticator === undefined) return anonymousIdentity
    const token =
      tokenFromHeader(request.headers.authorization, { strict: false }) ??
      (options.allowQueryToken === true ? tokenFromQuery(request.url ?? '/') : undefined)
    if (token === undefined) return unauthorized('Missing bearer token')
    const result = await authenticator.authenticate(token)
    if (!result.ok) {
      logger.info('telemetry.client_refused', { refusal: result.refusal })
      return unauthorized('Invalid token')
    }
    return may(result.identity, 'telemetry_read')
      ? result.identity
      : refusal(403, 'AUTHORIZATION_ERROR', 'The token lacks the permission telemetry_read')
  }

  function open(ws: WebSocket, socket: Socket, identity: Identity): void {
    ws.on('error', () => ws.terminate()) // ws has already told the peer why (1002, 1007, 1009)
    if (clients.size >= options.maxClients) {
      safeClose(ws, 'CAPACITY', `max=${options.maxClients}`)
      return
    }
    const client = new TelemetryClient({ ws, socket, identity, hub, clock, server: { host, port } })
    clients.add(client)
    ws.once('close', (code) => {
      clients.delete(client)
      client.closed()
      logger.info('telemetry.client_closed', { code, tenant: identity.tenant, missed: client.missed })
    })
  }

  const ticking = setInterval(() => {
    for (const client of clients) client.tick()
  }, 1_000)
  const stopListening = options.revocations?.onRevoked(({ tenant, subject }) => {
    for (const client of clients) {
      const { identity } = client
      if (identity.tenant === tenant && (subject === undefined || identity.subject === subject))
        client.close('TOKEN_REVOKED')
    }
  })

  const port = await listen(server, host, options.port).catch((error: unknown) => {
    clearInterval(ticking)
    stopListening?.()
    throw error
  })

  return {
    port,
    get clients() {
      return clients.size
    },
    async close() {
      clearInterval(ticking)
      stopListening?.()
      for (const client of clients) client.close('GOING_AWAY')
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy()
        server.closeAllConnections()
      }, closeTimeoutMs)
      await closed
      clearTimeout(cut)
    },
  }
}

/** Writes a whole HTTP answer and ends the connection. */
function refuse(socket: Socket, { status, body, headers = {} }: HttpAnswer): void {
  const text = JSON.stringify(body)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
}
