// One WebSocket connection to a bus or a Shield: opened, welcomed, then envelopes in and out. Knows nothing of
// reconnecting. Uses the global WebSocket, or any constructor of the same shape.
import { isJsonObject, type JsonObject } from '../base/json.ts'
import type { Envelope, WireFormat } from '../envelope/envelope.ts'
import { encodeJson } from '../wire/json-codec.ts'
import type { WireLimits } from '../wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../wire/protobuf-codec.ts'
import { ClientError } from './client-error.ts'
import { readJsonEnvelope } from './read-json.ts'

/** The part of a WebSocket that is used: that of browsers, of Node and of the ws package alike. */
export interface WebSocketLike {
  binaryType: string
  send(data: string | Uint8Array): void
  close(code?: number, reason?: string): void
  addEventListener(type: string, listener: (event: SocketEvent) => void): void
}
export interface SocketEvent {
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
}
export type WebSocketConstructor = new (
  url: string,
  options?: { headers: Readonly<Record<string, string>> },
) => WebSocketLike

export interface SocketOptions {
  readonly url: string
  /** Absent: that of the welcome, which is the one the server starts with. */
  readonly format: WireFormat | undefined
  readonly token: string | undefined
  /** Browsers cannot set headers: there the token goes into the query key `access_token`. */
  readonly tokenIn: 'header' | 'query'
  readonly WebSocket: WebSocketConstructor
  /** From the call to the welcome, in milliseconds. */
  readonly timeoutMs: number
  onEnvelope(envelope: Envelope): void
  /** Once, for a socket that was welcomed. */
  onClose(code: number, reason: string): void
}

export interface Socket {
  readonly clientId: string
  /** All that the welcome told: client_id, and what else the server announces. */
  readonly welcome: JsonObject
  send(envelope: Envelope): void
  /** Ends the connection; `onClose` follows at once and only once, even if the peer is gone. */
  close(code: number, reason: string): void
}

/** What a server sends is bounded by the server: a page of history holds thousands of messages, each nested once more. */
const limits: WireLimits = { maxDepth: 64, maxKeys: 1_000_000, maxArrayItems: 1_000_000 }

/** Rejects with CONNECTION_FAILED unless a welcome arrives in time. */
export function openSocket(options: SocketOptions): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const socket = construct(options)
  socket.binaryType = 'arraybuffer'
  let format = options.format
  let isWelcomed = false
  let isOver = false

  function over(code: number, reason: string, error?: ClientError): void {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    if (isWelcomed) options.onClose(code, reason)
    else reject(error ?? notConnected(options.url, code, reason))
  }
  function end(code: number, reason: string, error?: ClientError): void {
    socket.close(code, reason)
    over(code, reason, error)
  }
  const timer = setTimeout(() => end(4000, `no welcome within ${options.timeoutMs} ms`), options.timeoutMs)

  function receive(data: unknown): void {
    if (isOver) return
    let envelope: Envelope
    try {
      envelope = typeof data === 'string' ? readJsonEnvelope(data) : decodeProtobuf(toBytes(data), limits)
    } catch (cause) {
      // A peer whose frames cannot be read is no bus, or damaged: nothing after this could be trusted to be complete.
      end(4000, `a frame that cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
      return
    }
    if (isWelcomed) {
      options.onEnvelope(envelope)
      return
    }
    const welcome = isJsonObject(envelope.payload) ? envelope.payload : {}
    const clientId = welcome['client_id']
    if (typeof clientId !== 'string') {
      end(4000, 'the first frame is not a welcome')
      return
    }
    const spoken = typeof data === 'string' ? 'json' : 'protobuf'
    if (format === 'json' && spoken === 'protobuf') {
      const error = new ClientError('INFRA_PROTOCOL_ERROR', `${options.url} takes binary frames only: format protobuf`)
      end(4000, '', error)
      return
    }
    format ??= spoken
    isWelcomed = true
    clearTimeout(timer)
    resolve({ clientId, welcome, send, close: end })
  }

  function send(envelope: Envelope): void {
    if (!isOver) socket.send(format === 'json' ? encodeJson(envelope) : encodeProtobuf(envelope))
  }

  socket.addEventListener('message', (event) => receive(event.data))
  socket.addEventListener('close', (event) => over(event.code ?? 1006, event.reason ?? ''))
  // An error is always followed by a close, which carries all that may be known.
  socket.addEventListener('error', () => {})
  return promise
}

function construct(options: SocketOptions): WebSocketLike {
  const { token, tokenIn, WebSocket } = options
  try {
    const url = new URL(options.url)
    if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw new TypeError('not a ws:// or wss:// address')
    if (token === undefined) return new WebSocket(url.href)
    if (tokenIn === 'header') return new WebSocket(url.href, { headers: { authorization: `Bearer ${token}` } })
    url.searchParams.set('access_token', token)
    return new WebSocket(url.href)
  } catch (cause) {
    throw new ClientError('CONNECTION_FAILED', `${options.url} is not a WebSocket address`, { cause })
  }
}

function notConnected(url: string, code: number, reason: string): ClientError {
  const why = reason === '' ? 'nothing answers there, or it refused the connection (is a token needed?)' : reason
  return new ClientError('CONNECTION_FAILED', `no connection to ${url}: ${why}`, { retryable: true, details: { code } })
}

function toBytes(data: unknown): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  if (data instanceof Uint8Array) return data
  throw new TypeError('neither text nor bytes')
}
