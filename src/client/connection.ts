// The connection of a client over its whole life: sockets come and go, joins and unanswered requests stay.
//
//   open -> reconnecting -> open ...
//     |___________|-> closed
// A new socket is ready when every subscription has been joined again; only then are waiting requests sent.
import { backoffMs } from '../base/backoff.ts'
import { systemClock } from '../base/clock.ts'
import { nextAfterClose } from '../base/close-codes.ts'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import type { Envelope } from '../envelope/envelope.ts'
import { ClientError } from './client-error.ts'
import type { ClientState, ConnectOptions } from './connect-options.ts'
import type { Frames } from './frames.ts'
import { type Allowance, createRequests, type Requests } from './requests.ts'
import { openSocket, type Socket, type WebSocketConstructor } from './socket.ts'
import { type JoinResult, type SubscriptionState, toGap, toMessage } from './subscription.ts'

export interface Connection {
  readonly clientId: string
  readonly welcome: JsonObject
  readonly state: ClientState
  readonly requests: Requests
  readonly closed: Promise<ClientError | undefined>
  /** Joins, and keeps joined over reconnects until the subscription is taken out of the set. */
  join(subscription: SubscriptionState): Promise<JoinResult>
  close(): Promise<void>
}

export interface ConnectionPorts extends ConnectOptions {
  readonly frames: Frames
  readonly subscriptions: Set<SubscriptionState>
}

const closeNormal = 1000
/** More unanswered requests than this hide no more of the round trip. */
const maxInflight = 200
/** How long a sign of life may take. */
const pingTimeoutMs = 10_000
/** How long answers are waited for after the server said that it goes away. */
const goawayPatienceMs = 1_000

export async function createConnection(options: ConnectionPorts): Promise<Connection> {
  const { frames, subscriptions } = options
  const joinTimeoutMs = options.requestTimeoutMs ?? 30_000
  const idleTimeoutMs = options.idleTimeoutMs ?? 45_000
  const ownIds = new Set<string>()
  const requests = createRequests((envelope) => socket?.send(envelope))
  const { promise: closed, resolve: markClosed } = Promise.withResolvers<ClientError | undefined>()
  let socket: Socket | undefined
  let last: Socket
  let state: ClientState = 'reconnecting'
  let comeBackAfterMs: number | undefined
  let lastFrameAtMs = 0
  let idleTimer: ReturnType<typeof setInterval> | undefined
  const pauses = new Set<() => void>()

  function setState(next: ClientState): void {
    if (state === next || state === 'closed') return
    state = next
    options.onState?.(next)
  }

  async function open(): Promise<void> {
    const token = typeof options.token === 'function' ? await options.token() : options.token
    const opened = await openSocket({
      url: options.url,
      format: options.format,
      token,
      tokenIn: options.tokenIn ?? (isNode() ? 'header' : 'query'),
      WebSocket: options.WebSocket ?? globalWebSocket(),
      timeoutMs: options.connectTimeoutMs ?? 10_000,
      onEnvelope: receive,
      onClose: lost,
    })
    if (state === 'closed') {
      opened.close(closeNormal, '')
      return
    }
    socket = last = opened
    ownIds.add(opened.clientId)
    requests.allow(allowanceOf(opened.welcome))
    watch()
    await rejoin(opened)
  }

  async function rejoin(opened: Socket): Promise<void> {
    await Promise.all([...subscriptions].map((subscription) => joinAgain(opened, subscription)))
    if (socket !== opened) return
    setState('open')
    requests.up()
  }

  async function joinAgain(opened: Socket, subscription: SubscriptionState): Promise<void> {
    for (let attempt = 0; socket === opened && subscriptions.has(subscription); attempt++) {
      try {
        await findNewChannels(subscription)
        const result = await requestJoin(subscription, true)
        subscription.options.onRejoin?.(result)
        return
      } catch (error) {
        if (!(error instanceof ClientError)) throw error
        if (error.code === 'CONNECTION_LOST') return // the next connection joins again
        if (!error.retryable) {
          subscriptions.delete(subscription)
          subscription.end(error)
          return
        }
        await pause((error.retryAfterMs ?? 0) + backoffMs(attempt, Math.random()))
      }
    }
  }

  /** Channels that a joined room got since it was joined have no position yet: all of their messages were missed. */
  async function findNewChannels(subscription: SubscriptionState): Promise<void> {
    const { room } = subscription
    if (subscription.channel !== '*' || !subscription.hasHistory) return
    try {
      for (const channel of channelsOf(await ask('list_channels', { room }))) {
        if (subscription.knows(channel)) continue
        subscription.expectAll(channel, await ask('channel_info', { room, channel }))
      }
    } catch (error) {
      // A client that may not look joins all the same; the answer to the join then tells of a `new_channel`.
      if (!(error instanceof ClientError) || error.retryable) throw error
    }
  }

  async function ask(command: string, args: JsonObject): Promise<JsonObject> {
    const how = { resend: false, isFirst: true, timeoutMs: joinTimeoutMs }
    const { payload } = await requests.request(frames.command(command, args), how)
    return isJsonObject(payload) && isJsonObject(payload['data']) ? payload['data'] : {}
  }

  async function requestJoin(subscription: SubscriptionState, isFirst: boolean): Promise<JoinResult> {
    const { room, channel } = subscription
    const recover = subscription.recoverArgument()
    const { overflow } = subscription.options
    const envelope = frames.command('join_channel', {
      room,
      channel,
      ...(overflow !== undefined && { overflow }),
      ...(recover !== undefined && { recover }),
    })
    let result: JoinResult | undefined
    await requests.request(envelope, {
      resend: false,
      isFirst,
      timeoutMs: joinTimeoutMs,
      onSuccess({ payload }) {
        const data = isJsonObject(payload) ? payload['data'] : undefined
        result = subscription.joined(isJsonObject(data) ? data : {})
        subscriptions.add(subscription) // in this turn: the first message may be the next frame
      },
    })
    return result!
  }

  function receive(envelope: Envelope): void {
    lastFrameAtMs = systemClock.monotonic()
    if (requests.answer(envelope)) return
    if (envelope.type === 'goaway') goAway(envelope)
    if (envelope.type === 'gap') tellGap(envelope)
    if (envelope.type !== 'message' && envelope.type !== 'telemetry') return
    const isOwn = envelope.sender !== undefined && ownIds.has(envelope.sender)
    if (envelope.to_client !== undefined) options.onDirect?.(toMessage(envelope))
    else for (const one of subscriptions) if (one.matches(envelope.room, envelope.channel)) one.deliver(envelope, isOwn)
  }

  function tellGap(envelope: Envelope): void {
    const gap = toGap(envelope)
    if (gap === undefined) return
    for (const one of subscriptions) if (one.matches(gap.room, gap.channel)) one.missed(gap)
  }

  /** Nothing new is sent; what was sent is waited for; then this end closes and comes back when told to. */
  function goAway(envelope: Envelope): void {
    const after = isJsonObject(envelope.payload) ? envelope.payload['reconnect_after_ms'] : undefined
    comeBackAfterMs = typeof after === 'number' && after >= 0 ? after : 0
    requests.hold()
    const leaving = socket
    const untilMs = systemClock.monotonic() + goawayPatienceMs
    const timer = setInterval(() => {
      if (socket === leaving && requests.inflight > 0 && systemClock.monotonic() < untilMs) return
      clearInterval(timer)
      if (socket === leaving) leaving?.close(closeNormal, '')
    }, 20)
  }

  function lost(code: number, reason: string): void {
    socket = undefined
    clearInterval(idleTimer)
    requests.down()
    if (state === 'closed') return
    const next = comeBackAfterMs === undefined ? nextAfterClose(code) : 'reconnect'
    const canComeBack =
      options.reconnect !== false &&
      (next === 'reconnect' || (next === 'new-token' && typeof options.token === 'function'))
    if (!canComeBack) {
      end(new ClientError('CLIENT_CLOSED', `closed by the server: ${code} ${reason}`.trim(), { details: { code } }))
      return
    }
    setState('reconnecting')
    void comeBack()
  }

  async function comeBack(): Promise<void> {
    for (let attempt = 0; state === 'reconnecting' && socket === undefined; attempt++) {
      const delayMs = (comeBackAfterMs ?? 0) + backoffMs(attempt, Math.random(), 200, 10_000)
      comeBackAfterMs = undefined
      await pause(delayMs)
      if (state !== 'reconnecting') return
      try {
        await open()
      } catch (error) {
        // Whatever kept it from opening (network, refusal, the token function) is tried again, ever more slowly.
        if (!(error instanceof Error)) throw error
      }
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const wake = (): void => {
        clearTimeout(timer)
        pauses.delete(wake)
        done()
      }
      const timer = setTimeout(wake, ms)
      pauses.add(wake)
    })
  }

  /** A connection whose other end vanished without a word looks open for ever; asking is the only way to know. */
  function watch(): void {
    lastFrameAtMs = systemClock.monotonic()
    clearInterval(idleTimer)
    if (idleTimeoutMs === 0) return
    const watched = socket
    idleTimer = setInterval(() => {
      if (state !== 'open' || systemClock.monotonic() - lastFrameAtMs < idleTimeoutMs) return
      requests.request(frames.command('ping', {}), { resend: false, timeoutMs: pingTimeoutMs }).catch((error) => {
        const isSilent = error instanceof ClientError && error.code === 'REQUEST_TIMEOUT'
        if (isSilent && socket === watched) watched?.close(4000, 'no sign of life')
      })
    }, idleTimeoutMs)
  }

  function end(reason: ClientError | undefined): void {
    setState('closed')
    clearInterval(idleTimer)
    for (const wake of pauses) wake()
    const text = reason?.message ?? 'this client was closed'
    requests.fail((wasSent) => {
      return new ClientError('CLIENT_CLOSED', text, { outcome: wasSent ? 'unknown' : 'not_stored' })
    })
    for (const subscription of subscriptions) subscription.end(reason)
    subscriptions.clear()
    markClosed(reason)
  }

  await open()

  return {
    get clientId() {
      return last.clientId
    },
    get welcome() {
      return last.welcome
    },
    get state() {
      return state
    },
    requests,
    closed,
    async join(subscription) {
      return await requestJoin(subscription, false)
    },
    async close() {
      if (state === 'closed') return
      const leaving = socket
      end(undefined)
      leaving?.close(closeNormal, '')
    },
  }
}

/** What the welcome announces; careful values where it does not. */
function allowanceOf({ limits }: JsonObject): Allowance {
  const facts = isJsonObject(limits) ? limits : {}
  const { messages_per_second: rate, max_inflight: inflight } = facts
  return {
    framesPerSecond: typeof rate === 'number' && rate >= 1 ? rate : 50,
    inflight: typeof inflight === 'number' ? Math.min(inflight, maxInflight) : 50,
  }
}

function channelsOf({ channels }: JsonObject): string[] {
  const rows = Array.isArray(channels) ? channels.filter(isJsonObject) : []
  return rows.map((row) => row['channel_name']).filter((name) => typeof name === 'string')
}

function globalWebSocket(): WebSocketConstructor {
  const found = (globalThis as { WebSocket?: unknown }).WebSocket
  if (typeof found !== 'function') {
    throw new ClientError('CONNECTION_FAILED', 'there is no global WebSocket here; pass one as the option WebSocket')
  }
  // Structurally a WebSocketConstructor; the built-in's own type differs between browsers and Node.
  return found as WebSocketConstructor
}

/** Node, Bun and Deno open WebSockets with headers; browsers cannot. */
function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } }
  return process?.versions?.node !== undefined
}
