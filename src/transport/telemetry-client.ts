// One client of the telemetry port: what it wants to see, what it asked, and when it is too slow.
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { isOperator } from '../auth/grants.ts'
import type { Identity } from '../auth/identity.ts'
import { type Clock, toIsoTime } from '../base/clock.ts'
import type { CloseName } from '../base/close-codes.ts'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import { TokenBucket } from '../session/rate-limit.ts'
import { type EventType, eventTypes } from '../telemetry/events.ts'
import type { EventRecord, Subscription, TelemetryHub } from '../telemetry/telemetry-hub.ts'
import { safeClose } from './safe-socket.ts'

/** Unsent bytes after which a client is too slow. */
const maxQueuedBytes = 256 * 1_024
/** Requests and pings of a client: 5 a second, 20 at once (reliability 4). */
const requestRate = { perSecond: 5, burst: 20 }
const pingIntervalMs = 20_000
const pongTimeoutMs = 10_000
/** A token is honoured this long after its end, for clocks that differ (reliability 4). */
const skewMs = 30_000

export class TelemetryClient {
  readonly identity: Identity
  /** Events it did not get because it was behind. */
  missed = 0
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #requests: TokenBucket
  readonly #subscription: Subscription
  /** Undefined until the first request: then everything is sent, as the original does. */
  #types: ReadonlySet<EventType> | undefined
  #nextPingMs: number
  #pongDueMs: number | undefined

  constructor(options: {
    ws: WebSocket
    socket: Socket
    identity: Identity
    hub: TelemetryHub
    clock: Clock
    server: { host: string; port: number }
  }) {
    const { ws, socket, identity, hub, clock, server } = options
    const now = clock.monotonic()
    this.identity = identity
    this.#ws = ws
    this.#socket = socket
    this.#clock = clock
    this.#requests = new TokenBucket(requestRate.perSecond, requestRate.burst, now)
    this.#nextPingMs = now + pingIntervalMs
    ws.on('message', (data: RawData, isBinary: boolean) => this.#onMessage(data as Buffer, isBinary))
    ws.on('ping', (data: Buffer) => {
      if (this.#isPaced()) ws.pong(data)
    })
    ws.on('pong', () => {
      this.#pongDueMs = undefined
      this.#isPaced()
    })
    this.#send({
      event_type: 'telemetry_connected',
      timestamp: toIsoTime(clock.now()),
      message: 'Connected to ArqonBus telemetry',
      server_config: { ...server, filtered_events: [] },
    })
    const audience = isOperator(identity) ? 'operator' : { tenant: identity.tenant }
    this.#subscription = hub.subscribe(audience, (records, missed) => this.#deliver(records, missed))
  }

  close(name: CloseName, detail?: string): void {
    this.#subscription.close()
    safeClose(this.#ws, name, detail)
  }

  terminate(): void {
    this.#ws.terminate()
  }

  /** The connection is gone. */
  closed(): void {
    this.#subscription.close()
  }

  /** Called about once a second: the token's end, pings, pong deadlines. */
  tick(): void {
    const { expiresAtMs } = this.identity
    if (expiresAtMs !== undefined && this.#clock.now() >= expiresAtMs + skewMs) {
      this.close('TOKEN_EXPIRED')
      return
    }
    const now = this.#clock.monotonic()
    if (this.#pongDueMs !== undefined && now >= this.#pongDueMs) {
      this.close('PING_TIMEOUT')
      this.terminate()
    } else if (now >= this.#nextPingMs && this.#ws.readyState === this.#ws.OPEN) {
      this.#nextPingMs = now + pingIntervalMs
      this.#pongDueMs ??= now + pongTimeoutMs
      this.#ws.ping()
    }
  }

  #deliver(records: readonly EventRecord[], missed: number): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    if (this.#ws.bufferedAmount > maxQueuedBytes) {
      this.close('SLOW_CONSUMER', `queued=${this.#ws.bufferedAmount}`)
      this.terminate() // it would not read the close frame behind all that is queued
      return
    }
    this.missed += missed
    this.#socket.cork()
    if (missed > 0) {
      this.#send({
        event_type: 'events_missed',
        timestamp: toIsoTime(this.#clock.now()),
        severity: 'warning',
        metadata: { count: missed },
      })
    }
    for (const record of records) this.#ws.send(record.json(), { binary: false })
    this.#socket.uncork()
  }

  #send(body: JsonObject): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(JSON.stringify(body))
  }

  #isPaced(): boolean {
    if (this.#requests.take(1, this.#clock.monotonic())) return true
    this.close('FLOOD')
    this.terminate()
    return false
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (isBinary) {
      this.close('POLICY_VIOLATION', 'this port takes text only')
      return
    }
    if (!this.#isPaced()) return
    const request = parseRequest(data.toString('utf8'))
    if ('problem' in request) this.#send({ type: 'error', code: 'VALIDATION_ERROR', ...request.problem })
    else if (request.type === 'ping') this.#send({ type: 'pong', timestamp: toIsoTime(this.#clock.now()) })
    else this.#filter(request.type, request.events)
  }

  /** The first subscribe narrows from everything to what it names; later ones add. */
  #filter(type: 'subscribe' | 'unsubscribe', events: readonly EventType[]): void {
    const named = new Set(events)
    if (type === 'unsubscribe') this.#types = (this.#types ?? new Set(eventTypes)).difference(named)
    else if (named.size > 0) this.#types = named.union(this.#types ?? new Set())
    const types = this.#types ?? new Set(eventTypes)
    this.#subscription.setTypes(types)
    this.#send({ type: 'subscribed', events: [...types].sort() })
  }
}

type Request = { type: 'ping' } | { type: 'subscribe' | 'unsubscribe'; events: EventType[] } | { problem: JsonObject }

const problem = (reason: string, error: string, more: JsonObject = {}): { problem: JsonObject } => ({
  problem: { reason, error, ...more },
})

function parseRequest(text: string): Request {
  let frame: unknown
  try {
    frame = JSON.parse(text)
  } catch {
    return problem('BAD_JSON', 'Not JSON')
  }
  if (!isJsonObject(frame)) return problem('NOT_OBJECT', 'Not a JSON object')
  const { type, events } = frame
  if (type === 'ping') return { type }
  if (type !== 'subscribe' && type !== 'unsubscribe')
    return problem('UNKNOWN_TYPE', 'type is ping, subscribe or unsubscribe')
  if (!Array.isArray(events)) return problem('BAD_EVENTS', 'events is an array of event types')
  const unknown = events.filter((event) => !isEventType(event))
  if (unknown.length > 0) {
    const names = unknown.slice(0, 10).map((name) => (typeof name === 'string' ? name.slice(0, 64) : typeof name))
    return problem('UNKNOWN_EVENT', `No such event types: ${names.join(', ')}`, {
      unknown: names,
      known: [...eventTypes],
    })
  }
  return { type, events: events.filter(isEventType) }
}

function isEventType(value: unknown): value is EventType {
  return eventTypes.some((type) => type === value)
}
