// Plain HTTP as probes need it: an own connection each time, bounded bodies, and the raw answer to an upgrade, which
// WebSocket libraries hide.
import { type IncomingHttpHeaders, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export interface HttpReply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** At most 64 KiB of it. */
  readonly body: string
}

const maxBytes = 64 * 1_024

/** GET without agent, cache or redirect. */
export function get(url: URL, signal: AbortSignal): Promise<HttpReply> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const call = request(url, { agent: false, signal, headers: { connection: 'close' } }, (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= maxBytes) chunks.push(chunk)
        else response.destroy()
      })
      response.on('error', reject)
      response.on('close', () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        })
      })
    })
    call.on('error', reject)
    call.end()
  })
}

/** What came back for a handshake: the status line's code, headers in lower case, and what followed. */
export interface UpgradeReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * Sends a WebSocket handshake and reads the answer from the socket itself. Resolves with undefined when the connection
 * ended before a whole answer: refused, but without saying so.
 */
export function upgrade(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<UpgradeReply | undefined> {
  const isTls = url.protocol === 'wss:' || url.protocol === 'https:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port)
  return new Promise((resolve, reject) => {
    const socket: Socket = isTls
      ? connectTls({ host, port, servername: isIP(host) === 0 ? host : '' })
      : connectTcp({ host, port })
    let received = Buffer.alloc(0)
    const stop = (): void => {
      socket.destroy()
      reject(signal.reason)
    }
    const end = (): void => {
      signal.removeEventListener('abort', stop)
      socket.destroy()
      resolve(parseReply(received))
    }
    signal.addEventListener('abort', stop, { once: true })
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (isWhole(received) || received.length > maxBytes) end()
    })
    socket.on('end', end)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A reset after the connection stood is a refusal without words, not an unreachable server.
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return end()
      signal.removeEventListener('abort', stop)
      reject(error)
    })
    socket.on(isTls ? 'secureConnect' : 'connect', () => socket.write(handshake(url, headers)))
  })
}

function handshake(url: URL, headers: Readonly<Record<string, string>>): string {
  const fields = {
    Host: url.host,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'YXJxb24tcHJlZmxpZ2h0IQ==', // any 16 bytes; the answer to it is not used
    ...headers,
  }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`)
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
}

function parseReply(received: Buffer): UpgradeReply | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n')
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1]
  if (status === undefined) return undefined
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    }),
  )
  return { status: Number(status), headers, body: received.subarray(end + 4).toString('utf8') }
}

/** A 101 is whole with its header; anything else once the announced body is there. */
function isWhole(received: Buffer): boolean {
  const reply = parseReply(received)
  if (reply === undefined) return false
  if (reply.status === 101) return true
  const length = reply.headers['content-length']
  return length !== undefined && Buffer.byteLength(reply.body) >= Number(length)
}
