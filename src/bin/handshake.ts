// Asks a WebSocket address why it refuses: WebSocket clients hide the HTTP answer to their handshake.
import { randomBytes } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface HandshakeAnswer {
  /** 101 when it would have been accepted. */
  readonly status: number
  /** `details` of the JSON body, else the status text. */
  readonly details: string
}

/** Resolves with undefined when nothing answers within `timeoutMs`. */
export function tryHandshake(
  url: URL,
  token: string | undefined,
  timeoutMs: number,
): Promise<HandshakeAnswer | undefined> {
  const { promise, resolve } = Promise.withResolvers<HandshakeAnswer | undefined>()
  const send = url.protocol === 'wss:' ? httpsRequest : httpRequest
  const target = new URL(url.href.replace(/^ws/, 'http'))
  const request = send(target, {
    timeout: timeoutMs,
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
  })
  request.on('upgrade', (_response, socket) => {
    socket.destroy()
    resolve({ status: 101, details: 'accepted' })
  })
  request.on('response', (response) => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('end', () => {
      resolve({ status: response.statusCode ?? 0, details: detailsOf(chunks) ?? response.statusMessage ?? '' })
    })
    response.on('error', () => resolve(undefined))
  })
  request.on('timeout', () => request.destroy())
  request.on('error', () => resolve(undefined))
  request.on('close', () => resolve(undefined))
  request.end()
  return promise
}

function detailsOf(chunks: readonly Buffer[]): string | undefined {
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString())
    return typeof body === 'object' && body !== null && 'details' in body ? String(body.details) : undefined
  } catch {
    return undefined // not JSON: the status says enough
  }
}
