// The client of ArqonBus, for Node and browsers: `import { connect } from 'arqonbus/client'`.
//
// What it promises:
// - messages of a joined channel come in order and once, also over lost connections: it reconnects, joins again from
//   the last position, and says so (`onRejoin`) when the server could not replay everything;
// - a publish is repeated under the same id until it is answered or its time is up, so it is stored once;
// - close codes decide: come back, come back with a new token, or stay away (docs/errors.md).
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import {
  type AckLevel,
  ackLevels,
  type AckRequest,
  type OverflowPolicy,
  type Position,
  type WireFormat,
} from '../envelope/envelope.ts'
import { ClientError } from './client-error.ts'
import type { ClientState, ConnectOptions } from './connect-options.ts'
import { createConnection } from './connection.ts'
import { createFrames } from './frames.ts'
import type { WebSocketConstructor } from './socket.ts'
import {
  type Gap,
  type JoinOptions,
  type JoinResult,
  type Message,
  SubscriptionState,
  toPosition,
} from './subscription.ts'

export type { AckLevel, AckRequest, JsonObject, JsonValue, OverflowPolicy, Position, WireFormat }
export type { ClientState, ConnectOptions, Gap, JoinOptions, JoinResult, Message, WebSocketConstructor }
export { ClientError }

export interface PublishOptions {
  /** One of the accepted id forms; made when absent. Publishing an id again stores nothing twice. */
  readonly id?: string
  /** What to wait for. Default: `stored` where history is kept, else `accepted`. `none` resolves once it is sent. */
  readonly ack?: AckRequest
  readonly metadata?: JsonObject
  /** Repeat under the same id after a lost connection or a retryable refusal. Default true. */
  readonly retry?: boolean
  readonly timeoutMs?: number
}

export interface PublishResult {
  readonly id: string
  /** Where it stands in its channel; absent without history and with ack `none` or `accepted`. */
  readonly position: Position | undefined
  /** What the message survives now. */
  readonly level: AckLevel | undefined
  /** Was this id stored before? Then nothing was stored or delivered again. */
  readonly duplicate: boolean
}

export interface CommandResult {
  readonly message: string
  readonly data: JsonObject
}

export interface HistoryQuery {
  readonly room?: string
  readonly channel?: string
  /** 1 to 1,000; default 100. */
  readonly limit?: number
  /** ISO 8601, inclusive. */
  readonly since?: string
  readonly until?: string
}

export interface HistoryEntry {
  readonly message: JsonObject
  readonly position: Position | undefined
  readonly storedAt: string
}

export interface Subscription extends JoinResult, AsyncIterable<Message> {
  readonly room: string
  readonly channel: string
  leave(): Promise<void>
}

export interface Client {
  /** Changes with each connection. */
  readonly clientId: string
  /** All that the server announced about itself at the last connection. */
  readonly welcome: JsonObject
  readonly state: ClientState
  publish(room: string, channel: string, payload: JsonObject, options?: PublishOptions): Promise<PublishResult>
  /** `*` as channel joins the whole room, channels to come included. */
  join(room: string, channel: string, options?: JoinOptions): Promise<Subscription>
  /** A private message. Rejects with TARGET_NOT_FOUND when that client is not connected; never stored. */
  sendTo(clientId: string, payload: JsonObject, options?: { timeoutMs?: number }): Promise<void>
  command(name: string, args?: JsonObject, options?: { timeoutMs?: number }): Promise<CommandResult>
  history(query: HistoryQuery): Promise<readonly HistoryEntry[]>
  /** Ends subscriptions, fails what is unanswered, and closes the connection behind what was sent. */
  close(): Promise<void>
  /** Resolves when this client is at its end: with the reason, or undefined after `close()`. */
  readonly closed: Promise<ClientError | undefined>
}

/** Rejects with CONNECTION_FAILED when the first connection cannot be made. */
export async function connect(options: ConnectOptions): Promise<Client> {
  const frames = createFrames()
  const subscriptions = new Set<SubscriptionState>()
  const timeoutMs = options.requestTimeoutMs ?? 30_000
  const connection = await createConnection({ ...options, frames, subscriptions })
  const { requests } = connection

  async function command(
    name: string,
    args: JsonObject = {},
    own: { timeoutMs?: number } = {},
  ): Promise<CommandResult> {
    const answer = await requests.request(frames.command(name, args), {
      resend: false,
      timeoutMs: own.timeoutMs ?? timeoutMs,
    })
    const payload = isJsonObject(answer.payload) ? answer.payload : {}
    const { message, data } = payload as { message?: JsonValue; data?: JsonValue }
    return { message: typeof message === 'string' ? message : '', data: isJsonObject(data) ? data : {} }
  }

  async function publish(
    room: string,
    channel: string,
    payload: JsonObject,
    own: PublishOptions = {},
  ): Promise<PublishResult> {
    const envelope = frames.message({ room, channel, payload, ...own })
    let position: Position | undefined
    const answer = await requests.request(envelope, {
      resend: own.retry ?? true,
      isOneWay: own.ack === 'none',
      timeoutMs: own.timeoutMs ?? timeoutMs,
      onSuccess({ metadata }) {
        position = toPosition(metadata['position'])
        if (position === undefined) return
        for (const one of subscriptions) if (one.matches(room, channel)) one.published(channel, position)
      },
    })
    const { level, duplicate } =
      own.ack === 'none' ? {} : (answer.metadata as { level?: JsonValue; duplicate?: JsonValue })
    return { id: envelope.id, position, level: ackLevels.find((name) => name === level), duplicate: duplicate === true }
  }

  async function join(room: string, channel: string, own: JoinOptions = {}): Promise<Subscription> {
    if ([...subscriptions].some((one) => one.room === room && one.channel === channel)) {
      throw new ClientError('ALREADY_JOINED', `this client has joined ${room}:${channel}; leave it first`)
    }
    const subscription = new SubscriptionState(room, channel, own)
    const result = await connection.join(subscription)
    return {
      room,
      channel,
      ...result,
      async leave() {
        subscriptions.delete(subscription)
        subscription.end()
        if (connection.state === 'open') await command('leave_channel', { room, channel })
      },
      [Symbol.asyncIterator]: () => subscription.queue[Symbol.asyncIterator](),
    }
  }

  return {
    get clientId() {
      return connection.clientId
    },
    get welcome() {
      return connection.welcome
    },
    get state() {
      return connection.state
    },
    closed: connection.closed,
    publish,
    join,
    command,
    async sendTo(clientId, payload, own = {}) {
      const envelope = frames.message({ to: clientId, payload })
      await requests.request(envelope, { resend: false, timeoutMs: own.timeoutMs ?? timeoutMs })
    },
    async history(query) {
      const { data } = await command('op.history.get', { ...query })
      const entries = Array.isArray(data['entries']) ? data['entries'] : []
      return entries.filter(isJsonObject).map((entry) => {
        const message = isJsonObject(entry['envelope']) ? entry['envelope'] : {}
        const metadata = isJsonObject(message['metadata']) ? message['metadata'] : {}
        const storedAt = typeof entry['stored_at'] === 'string' ? entry['stored_at'] : ''
        return { message, position: toPosition(metadata['position']), storedAt }
      })
    },
    close: () => connection.close(),
  }
}
