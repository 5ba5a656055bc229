// A bus core, its relay and Shields on one in-process link, with real WebSocket listeners and clients: what the tests
// of the edge stand on. The bus can be stopped and started anew on the same store, as a restart would.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { type BusCore, createBusCore } from '../../src/app/bus-core.ts'
import type { Authenticator, AuthResult } from '../../src/auth/identity.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { createMessageIds } from '../../src/base/ids.ts'
import { isJsonObject, type JsonObject } from '../../src/base/json.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { loadBusConfig, loadShieldConfig } from '../../src/config/load.ts'
import type { Limits } from '../../src/config/shapes.ts'
import type { Envelope, WireFormat } from '../../src/envelope/envelope.ts'
import type { Faults } from '../../src/link/faults.ts'
import type { Link } from '../../src/link/link.ts'
import { createMemoryHub, type MemoryHub } from '../../src/link/memory-link.ts'
import { type Relay, type RelayTiming, startRelay } from '../../src/relay/relay.ts'
import { type Shield, type ShieldPorts, type ShieldTiming, startShield } from '../../src/shield/shield.ts'
import { createLabHotState } from './lab-hot-state.ts'
import { createMemoryStore } from '../../src/storage/memory/memory-store.ts'
import type { HistoryStore } from '../../src/storage/store.ts'
import { noTelemetry, type TelemetryEvent } from '../../src/telemetry/events.ts'
import { startWsServer, type WsServer } from '../../src/transport/ws-server.ts'
import { defaultWireLimits } from '../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../src/wire/protobuf-codec.ts'
import { encodeJson } from '../../src/wire/json-codec.ts'

const nextId = createMessageIds(Date.now())

/** Tokens of the lab are `<tenant>.<subject>[.<role>[.<expires at ms>]]`; anything else is refused. */
export const labAuthenticator: Authenticator = {
  authenticate(token): Promise<AuthResult> {
    const [tenant, subject, role = 'user', expires, permissions] = token.split('.')
    if (tenant === undefined || subject === undefined || !/^(?:\w[\w-]*|\*)$/.test(tenant)) {
      return Promise.resolve({ ok: false, refusal: 'AUTH_MALFORMED' })
    }
    const identity = {
      tenant,
      subject,
      role: role as 'user',
      ...(expires !== undefined && expires !== '' && { expiresAtMs: Number(expires) }),
      ...(permissions !== undefined && { permissions: permissions.split('+') }),
    }
    return Promise.resolve({ ok: true, identity })
  },
}

export interface EdgeLab {
  readonly hub: MemoryHub
  /** One more link beside those of bus and Shields. */
  connect(name: string): Promise<Link>
  readonly bus: { readonly core: BusCore; readonly relay: Relay; readonly url: string }
  readonly shield: Shield
  readonly url: string
  readonly events: TelemetryEvent[]
  /** Ends the bus process: no goodbye, its link closed. What it stored stays. */
  stopBus(): Promise<void>
  startBus(): Promise<void>
  startShield(name: string, options?: EdgeLabOptions['shield']): Promise<Shield>
  client(token: string, options?: ClientOptions): Promise<TestClient>
  close(): Promise<void>
}

export interface EdgeLabOptions {
  readonly history?: boolean
  /** Links of another kind than the in-process ones of `hub`. */
  readonly connect?: (name: string) => Promise<Link>
  readonly faults?: Faults
  readonly env?: Readonly<Record<string, string>>
  readonly relayTiming?: Partial<RelayTiming>
  readonly shieldTiming?: Partial<ShieldTiming>
  /** By default the rates are out of the way. */
  readonly limits?: Partial<Limits>
  readonly shield?: Partial<
    Pick<ShieldPorts, 'clock' | 'policy' | 'authenticator' | 'schemas' | 'mirrorLink' | 'spans'>
  > & {
    readonly env?: Readonly<Record<string, string>>
    readonly schemaStrict?: boolean
    readonly schemaFile?: string
  }
}

export interface ClientOptions {
  readonly format?: WireFormat
  /** Straight to the bus instead of through Shield. */
  readonly direct?: boolean
  readonly shield?: Shield
  /** Of the upgrade request, beside the token. */
  readonly headers?: Readonly<Record<string, string>>
}

const noRates = {
  messagesPerSecond: 100_000,
  messagesBurst: 100_000,
  bytesPerSecond: 100_000_000,
  bytesBurst: 100_000_000,
  handshakesPerSecondPerAddress: 1_000,
  maxConnectionsPerAddress: 1_000,
}
const secret = 'lab-only-0123456789-abcdefghijkl-XYZ'

export async function startEdgeLab(options: EdgeLabOptions = {}): Promise<EdgeLab> {
  const hub = createMemoryHub({
    maxPayload: 2 * 1024 * 1024,
    ...(options.faults !== undefined && { faults: options.faults }),
  })
  const connect = options.connect ?? (async (name: string) => hub.connect(name))
  const env = { JWT_SECRET: secret, ARQONBUS_SERVER_PORT: '0', ...options.env }
  const limitsOf = (given: Limits): Limits => ({ ...given, ...noRates, ...options.limits })
  const loaded = loadBusConfig(env)
  const busConfig = { ...loaded, limits: limitsOf(loaded.limits) }
  const { storage } = busConfig
  const store: HistoryStore | undefined =
    options.history === false
      ? undefined
      : createMemoryStore({
          clock: systemClock,
          retention: {
            maxRecords: storage.maxRecordsPerStream,
            maxBytes: storage.maxBytesPerStream,
            maxAgeMs: storage.maxAgeMs,
          },
          dedup: { maxAgeMs: storage.dedupWindowMs, maxIds: storage.dedupMaxIds },
        })
  const events: TelemetryEvent[] = []
  const telemetry = { emit: (event: TelemetryEvent) => void events.push(event) }
  const clients: TestClient[] = []
  const shields: Shield[] = []
  let bus: { core: BusCore; relay: Relay; server: WsServer; close(): Promise<void> } | undefined

  async function startBus(): Promise<void> {
    const core = createBusCore(busConfig, {
      store,
      hot: createLabHotState(),
      authenticator: labAuthenticator,
      telemetry,
      clock: systemClock,
      logger: silentLogger,
      status: () => ({}),
    })
    const link = await connect('bus')
    const relay = await startRelay({
      link,
      core,
      readLog: store === undefined ? undefined : (query) => store.readBySequence(query),
      limits: busConfig.limits,
      telemetry,
      clock: systemClock,
      logger: silentLogger,
      timing: { headsMs: 50, checkMs: 50, ...options.relayTiming },
    })
    const server = await startWsServer({
      host: '127.0.0.1',
      port: 0,
      limits: busConfig.limits,
      allowedOrigins: [],
      clock: systemClock,
      logger: silentLogger,
      async authenticate({ headers }) {
        const result = await labAuthenticator.authenticate((headers.authorization ?? '').slice('Bearer '.length))
        return result.ok ? { identity: result.identity } : { status: 401, body: {} }
      },
      answer: () => ({ status: 426, body: {} }),
      open: (connection, identity) => core.openSession(connection, identity),
    })
    bus = {
      core,
      relay,
      server,
      async close() {
        await link.close()
        await relay.close()
        await server.close()
      },
    }
  }

  async function openShield(name: string, given: EdgeLabOptions['shield'] = options.shield): Promise<Shield> {
    const config = loadShieldConfig({ ...env, ...given?.env })
    const shield = await startShield(
      {
        ...config,
        limits: { ...config.limits, ...limitsOf(config.limits) },
        server: { host: '127.0.0.1', port: 0 },
        schemaStrict: given?.schemaStrict ?? true,
        ...(given?.schemaFile !== undefined && { schemaFile: given.schemaFile }),
        policyHeaders: config.policies.headers,
      },
      {
        link: await connect(name),
        authenticator: given?.authenticator ?? labAuthenticator,
        telemetry: options.shield === undefined ? noTelemetry : telemetry,
        metrics: undefined,
        clock: given?.clock ?? systemClock,
        logger: silentLogger,
        ...(given?.policy !== undefined && { policy: given.policy }),
        ...(given?.schemas !== undefined && { schemas: given.schemas }),
        ...(given?.mirrorLink !== undefined && { mirrorLink: given.mirrorLink }),
        ...(given?.spans !== undefined && { spans: given.spans }),
        timing: { leaseMs: 50, tickMs: 20, answerMs: 500, requestMs: 500, ...options.shieldTiming },
      },
    )
    shields.push(shield)
    return shield
  }

  await startBus()
  const shield = await openShield('shield')

  return {
    hub,
    connect,
    get bus() {
      const { core, relay, server } = bus!
      return { core, relay, url: `ws://127.0.0.1:${server.port}` }
    },
    shield,
    url: `ws://127.0.0.1:${shield.port}/ws`,
    events,
    async stopBus() {
      await bus?.close()
      bus = undefined
    },
    startBus,
    startShield: openShield,
    async client(token, { format = 'json', direct = false, shield: other = shield, headers = {} } = {}) {
      const url = direct ? `ws://127.0.0.1:${bus!.server.port}` : `ws://127.0.0.1:${other.port}/ws`
      const client = await TestClient.connect(url, token, format, headers)
      clients.push(client)
      return client
    },
    async close() {
      for (const client of clients) client.terminate()
      for (const one of shields) await one.close()
      await bus?.close()
      await store?.close()
    },
  }
}

const deadlineMs = 5_000

/** A WebSocket client that keeps all it got and waits for what a test expects. */
export class TestClient {
  readonly frames: Envelope[] = []
  readonly raw: { data: Buffer; isBinary: boolean }[] = []
  id = ''
  closeCode: number | undefined
  format: WireFormat
  readonly ws: WebSocket
  readonly #waiting = new Set<() => void>()

  private constructor(ws: WebSocket, format: WireFormat) {
    this.ws = ws
    this.format = format
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      this.raw.push({ data, isBinary })
      this.frames.push(isBinary ? decodeProtobuf(data, defaultWireLimits) : parseEnvelope(data))
      for (const check of this.#waiting) check()
    })
    ws.on('close', (code) => {
      this.closeCode = code
      for (const check of this.#waiting) check()
    })
    ws.on('error', () => undefined)
  }

  static async connect(
    url: string,
    token: string,
    format: WireFormat,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<TestClient> {
    const ws = new WebSocket(url, {
      headers: { ...headers, authorization: `Bearer ${token}` },
      perMessageDeflate: false,
    })
    const client = new TestClient(ws, format)
    await Promise.race([
      once(ws, 'open'),
      once(ws, 'unexpected-response').then(([, response]: { statusCode?: number }[]) => {
        throw new Error(`upgrade refused with ${response?.statusCode}`)
      }),
    ])
    const welcome = await client.until((frame) => frame.type === 'message' && isWelcome(frame), 'the welcome')
    const id = isJsonObject(welcome.payload) ? welcome.payload['client_id'] : undefined
    if (typeof id !== 'string') throw new Error('a welcome without client id')
    client.id = id
    return client
  }

  /** Resolves with the first frame, past or to come, that fits. */
  until(fits: (frame: Envelope) => boolean, what: string): Promise<Envelope> {
    return this.wait(() => this.frames.find(fits), what)
  }

  wait<Value>(read: () => Value | undefined, what: string): Promise<Value> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const value = read()
        if (value === undefined && this.closeCode === undefined) return
        clearTimeout(timer)
        clearInterval(polling)
        this.#waiting.delete(check)
        if (value !== undefined) resolve(value)
        else reject(new Error(`no ${what}: closed with ${this.closeCode}`))
      }
      const timer = setTimeout(() => {
        clearInterval(polling)
        this.#waiting.delete(check)
        const seen = this.frames.map((f) => `${f.type}:${f.error_code ?? f.status ?? ''}`).slice(-12)
        reject(new Error(`no ${what} within ${deadlineMs} ms; close code ${this.closeCode}; saw ${seen.join(' ')}`))
      }, deadlineMs)
      // Conditions may read state beside this socket.
      const polling = setInterval(check, 20)
      this.#waiting.add(check)
      check()
    })
  }

  closed(): Promise<number> {
    return this.wait(() => this.closeCode, 'close')
  }

  sendRaw(data: Uint8Array | string): void {
    this.ws.send(data)
  }

  send(fields: Partial<Envelope>): string {
    const envelope: Envelope = {
      id: nextId(),
      timestamp: new Date().toISOString(),
      type: 'message',
      version: '1.0',
      payload: {},
      args: {},
      metadata: {},
      ...fields,
    }
    this.ws.send(this.format === 'json' ? encodeJson(envelope) : encodeProtobuf(envelope))
    return envelope.id
  }

  /** Publishes and resolves with the acknowledgement or the error. */
  async publish(room: string, channel: string, payload: JsonObject, metadata: JsonObject = {}): Promise<Envelope> {
    return this.answerTo(this.send({ room, channel, payload, metadata }))
  }

  answerTo(id: string): Promise<Envelope> {
    return this.until(
      (frame) => (frame.type === 'message_response' && frame.id === id) || frame.request_id === id,
      `answer to ${id}`,
    )
  }

  async command(command: string, args: JsonObject = {}): Promise<Envelope> {
    return this.answerTo(this.send({ type: 'command', command, args }))
  }

  join(room: string, channel: string, extra: JsonObject = {}): Promise<Envelope> {
    return this.command('join_channel', { room, channel, ...extra })
  }

  /** Payload numbers `n` of the messages received in a channel, in the order of arrival. */
  numbers(channel?: string): number[] {
    return this.messages(channel).map((frame) => Number((frame.payload as JsonObject)['n']))
  }

  messages(channel?: string): Envelope[] {
    return this.frames.filter(
      (frame) => frame.type === 'message' && !isWelcome(frame) && (channel === undefined || frame.channel === channel),
    )
  }

  /** Resolves when `count` messages are there. */
  received(count: number, channel?: string): Promise<Envelope[]> {
    return this.wait(() => {
      const messages = this.messages(channel)
      return messages.length >= count ? messages : undefined
    }, `${count} messages`)
  }

  terminate(): void {
    this.ws.terminate()
  }
}

export function data(response: Envelope): JsonObject {
  const inner = (response.payload as JsonObject)['data']
  if (!isJsonObject(inner)) throw new Error(`no data in ${JSON.stringify(response)}`)
  return inner
}

function isWelcome(frame: Envelope): boolean {
  return isJsonObject(frame.payload) && 'welcome' in frame.payload
}

function parseEnvelope(bytes: Buffer): Envelope {
  return JSON.parse(bytes.toString('utf8')) as Envelope
}

/** A wall and a monotonic clock that stand until they are moved. */
export function createTestClock(startMs = Date.now()): Clock & { advance(ms: number): void } {
  let now = startMs
  let monotonic = 0
  return {
    now: () => now,
    monotonic: () => monotonic,
    advance(ms) {
      now += ms
      monotonic += ms
    },
  }
}
