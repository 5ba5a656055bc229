// What `connect` takes.
import type { WireFormat } from '../envelope/envelope.ts'
import type { WebSocketConstructor } from './socket.ts'
import type { Message } from './subscription.ts'

/** `reconnecting` comes back by itself; `closed` never does. */
export type ClientState = 'open' | 'reconnecting' | 'closed'

export interface ConnectOptions {
  /** `ws://` or `wss://`: the bus itself (port 9100), or a Shield (port 4000, path `/ws`). */
  readonly url: string
  /** A bearer token, or a function that gets one before each connection (for tokens that end). */
  readonly token?: string | (() => string | Promise<string>)
  /** How frames are written. Default: as the server's first frame, which is JSON where JSON is allowed. */
  readonly format?: WireFormat
  /** Default: the global one. Node's and `ws`'s take headers; others get the token in the query. */
  readonly WebSocket?: WebSocketConstructor
  /** Default: `header` in Node, `query` (key `access_token`) elsewhere. A Shield accepts only the header. */
  readonly tokenIn?: 'header' | 'query'
  /** Come back after a lost connection. Default true. */
  readonly reconnect?: boolean
  /** From the call to the welcome. Default 10,000. */
  readonly connectTimeoutMs?: number
  /** For commands, and for a publish with all its repetitions. Default 30,000. */
  readonly requestTimeoutMs?: number
  /** After this much silence the server is asked for a sign of life. Default 45,000; 0 switches it off. */
  readonly idleTimeoutMs?: number
  /** Gets private messages (`sendTo` of another client). */
  readonly onDirect?: (message: Message) => void
  readonly onState?: (state: ClientState) => void
}
