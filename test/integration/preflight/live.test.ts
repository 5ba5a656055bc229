// The live checks against a real system (bus and Shield in this process, over a link of its own or a real NATS), and
// against servers that answer wrongly.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { startBus } from '../../../src/app/bus.ts'
import { startShieldProgram } from '../../../src/app/shield.ts'
import { type RunningUp, startUp } from '../../../src/app/up.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { createMessageIds } from '../../../src/base/ids.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { version } from '../../../src/base/version.ts'
import { loadBusConfig, loadShieldConfig } from '../../../src/config/load.ts'
import type { Environment } from '../../../src/config/resolution.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import { formatJson } from '../../../src/preflight/format-json.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { parseTargets, type Targets } from '../../../src/preflight/targets.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { decodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { productionEnvironment, strongSecret } from '../../support/environments.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { startValkeyServer, type ValkeyServerProcess } from '../../support/servers/valkey-server.ts'

const freePorts = {
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
  SHIELD_PORT: '0',
  SHIELD_METRICS_PORT: '0',
}

const liveIds = [
  'live.bus-health',
  'live.schema-enforced',
  'live.shield-accepts-valid-token',
  'live.shield-rejects-bad-tokens',
  'live.shield-rejects-missing-token',
  'live.shield-routes-payload',
  'live.telemetry-accepts',
  'live.tenant-isolation',
]

const resultOf = ({ canonical }: Report, id: string): Result => canonical.results.find((result) => result.id === id)!

const codesOf = (report: Report, id: string): string[] => {
  const result = resultOf(report, id)
  if (result.status === 'fail') return result.findings.map(({ code, variable }) => `${variable} ${code}`)
  return result.status === 'error' ? [result.code] : [result.status]
}

interface System {
  readonly running: RunningUp
  readonly targets: Targets
}

const dial = (port: number, user: string) =>
  openNatsLink({
    servers: [{ host: '127.0.0.1', port, isTls: false, user, password: 'pw' }],
    name: user,
    logger: silentLogger,
  })

/** As two programs that meet on NATS, each with a user of its own (docs/link.md). */
const startOver =
  ({ port }: NatsServerProcess): typeof startUp =>
  async (configs, ports) => {
    const links = [await dial(port, 'bus'), await dial(port, 'gateway')] as const
    const bus = await startBus(configs.bus, { ...ports, link: links[0] })
    const shield = await startShieldProgram(configs.shield, { ...ports, link: links[1] })
    return {
      bus,
      shield,
      async close() {
        for (const part of [shield, bus, ...links]) await part.close()
      },
    }
  }

async function startSystem(env: Environment, dataDir: string, nats?: NatsServerProcess): Promise<System> {
  const real = { ...env, ...freePorts, ARQONBUS_DATA_DIR: dataDir }
  const running = await (nats === undefined ? startUp : startOver(nats))(
    { bus: loadBusConfig(real), shield: loadShieldConfig(real) },
    { clock: systemClock, logger: silentLogger },
  )
  const { bus, shield } = running
  const targets = parseTargets(
    `bus=ws://127.0.0.1:${bus.wsPort},http=http://127.0.0.1:${bus.httpPort},telemetry=ws://127.0.0.1:${bus.telemetryPort},shield=ws://127.0.0.1:${shield.wsPort}`,
  )
  return { running, targets }
}

/** The rights of docs/link.md; `observer` may hear both ways, `rogue` may everything. */
const linkUsers = `authorization { users: [
  { user: bus, password: pw, permissions: {
      publish: ["out.t.>", "ctl.edge.>", "ctl.bus.who", "_INBOX.>"], subscribe: ["in.t.>", "ctl.bus.>", "_INBOX.>"] } }
  { user: gateway, password: pw, permissions: {
      publish: ["in.t.>", "ctl.bus.open", "ctl.bus.close", "ctl.bus.lease", "ctl.bus.read"]
      subscribe: ["out.t.>", "ctl.edge.>", "_INBOX.>"] } }
  { user: observer, password: pw, permissions: { publish: [], subscribe: ["in.t.>", "out.t.>"] } }
  { user: rogue, password: pw }
] }`
const staging = { ...productionEnvironment, ARQONBUS_ENVIRONMENT: 'staging' }

describe.each([
  ['development: JSON, no tokens at the bus, no NATS', { JWT_SECRET: strongSecret }, undefined],
  ['staging: protobuf only, tokens everywhere, NATS with a gateway’s rights', staging, 'gateway'],
])('against a running system in %s', (_name, plainEnv: Environment, user) => {
  let env = plainEnv
  let dataDir: string
  let valkey: ValkeyServerProcess | undefined
  let nats: NatsServerProcess | undefined
  let system: System
  let report: Report

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'arqon-preflight-'))
    // What runs needs a server that is there; what is judged names one of the network.
    if (env['ARQONBUS_VALKEY_URL'] !== undefined) valkey = await startValkeyServer()
    if (user !== undefined) {
      nats = await startNatsServer({ config: `max_payload: 2MB\n${linkUsers}` })
      env = { ...env, NATS_URL: `nats://${user}:pw@127.0.0.1:${nats.port}` }
    }
    const stores = valkey === undefined ? {} : { ARQONBUS_VALKEY_URL: valkey.url }
    system = await startSystem({ ...env, ...stores }, dataDir, nats)
    report = await runPreflight({ env, targets: system.targets, only: liveIds })
  })
  afterAll(async () => {
    await system?.running.close()
    await Promise.all([valkey?.close(), nats?.close()])
    await rm(dataDir, { recursive: true, force: true })
  })

  it('refuses JSON where only protobuf is spoken, and says so where JSON is allowed', async () => {
    const only = ['live.protobuf-only']
    const seen = await runPreflight({ env, targets: system.targets, only })
    const isAllowed = env['ARQONBUS_ALLOW_JSON_INFRA'] === undefined
    expect(resultOf(seen, 'live.protobuf-only')).toMatchObject(
      isAllowed ? { status: 'skip', reason: { kind: 'not-applicable' } } : { status: 'pass' },
    )
  })

  it.each(liveIds)('passes: %s', (id) => {
    expect({ id, codes: codesOf(report, id), seen: report.observations.results[id] }).toMatchObject({ codes: ['pass'] })
  })

  it('hears on NATS what its user may hear there', async () => {
    const words = async (changes: Environment): Promise<string | undefined> => {
      const id = 'live.shield-routes-payload'
      const { observations } = await runPreflight({ env: { ...env, ...changes }, targets: system.targets, only: [id] })
      return observations.results[id]?.observed?.split('; ')[1]
    }
    if (nats === undefined) expect(await words({})).toBe('NATS is not in use')
    else {
      expect(await words({})).toBe('on NATS on the way out, the way in may not be heard')
      expect(await words({ NATS_URL: `nats://observer:pw@127.0.0.1:${nats.port}` })).toBe('on NATS both ways')
    }
  })

  const rogues = [
    ['a second time', 'arqon-preflight', 'WRONG_COUNT'],
    ['for another tenant', 'another', 'OTHER_TENANT'],
  ] as const
  it.each(user === undefined ? [] : rogues)('finds a frame that passes %s on NATS', async (_how, tenant, code) => {
    const { port } = nats!
    const rogue = await dial(port, 'rogue')
    const copied = new Set<string>()
    rogue.subscribe('in.t.arqon-preflight.raw', ({ data }) => {
      const frame = Buffer.from(data).toString('latin1')
      if (!copied.has(frame)) rogue.publish(`in.t.${tenant}.raw`, data)
      copied.add(frame)
    })
    await rogue.flush()
    const heard = { ...env, NATS_URL: `nats://observer:pw@127.0.0.1:${port}` }
    const only = ['live.shield-routes-payload', 'live.tenant-isolation']
    const report = await runPreflight({ env: heard, targets: system.targets, only })
    await rogue.close()
    for (const id of only) expect(codesOf(report, id)).toEqual([`nats-in ${code}`])
  })

  it('shows no token and no secret', () => {
    expect(formatJson(report)).not.toMatch(/eyJ|hunter/)
    expect(formatJson(report)).not.toContain(strongSecret)
  })

  it('has the same canonical part a second time', async () => {
    const again = await runPreflight({ env, targets: system.targets, only: liveIds })
    expect(again.digest).toBe(report.digest)
  })

  it('finds a secret that is not the system’s', async () => {
    const other = { ...env, JWT_SECRET: strongSecret.split('').reverse().join('') }
    const wrong = await runPreflight({ env: other, targets: system.targets, only: liveIds })
    expect(codesOf(wrong, 'live.shield-accepts-valid-token')).toEqual(['valid-token NOT_LET_IN'])
    expect(codesOf(wrong, 'live.shield-routes-payload')).toEqual(['skip'])
    expect(codesOf(wrong, 'live.shield-rejects-bad-tokens')).toEqual(['NO_CONTROL'])
    expect(wrong.canonical.verdict).toBe('NO-GO')
  })
})

it('says GO in development when static and live hold', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqon-preflight-'))
  const env = { JWT_SECRET: strongSecret }
  const { running, targets } = await startSystem(env, dataDir)
  try {
    const { canonical } = await runPreflight({ env, targets })
    expect(canonical.verdict).toBe('GO')
  } finally {
    await running.close()
    await rm(dataDir, { recursive: true, force: true })
  }
})

/** Started with one thing, judged as if it had been started with another. */
describe('against a real system that does not enforce what it should', () => {
  let dataDir: string
  let system: System
  const env = { JWT_SECRET: strongSecret }
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'arqon-preflight-'))
    system = await startSystem({ ...env, ARQON_SCHEMA_STRICT: 'false' }, dataDir)
  })
  afterAll(async () => {
    await system?.running.close()
    await rm(dataDir, { recursive: true, force: true })
  })

  const judge = async (id: string, changes: Environment): Promise<string[]> =>
    codesOf(await runPreflight({ env: { ...env, ...changes }, targets: system.targets, only: [id] }), id)

  it('finds a Shield that takes JSON', async () => {
    expect(await judge('live.protobuf-only', { ARQONBUS_ALLOW_JSON_INFRA: 'false' })).toEqual(['shield JSON_TAKEN'])
  })

  it('finds a Shield whose schema refuses nothing, though the wire’s own rules still do', async () => {
    expect(await judge('live.schema-enforced', { ARQON_SCHEMA_STRICT: 'true' })).toEqual([
      'unknown-field OTHER_REFUSAL',
      'duplicate-field OTHER_REFUSAL',
      'truncated OTHER_REFUSAL',
    ])
  })

  it('finds a bus that keeps nothing where history is claimed', async () => {
    const claimed = { ARQONBUS_ENABLE_PERSISTENCE: 'true' }
    expect(await judge('live.shield-routes-payload', claimed)).toEqual(['history WRONG_COUNT'])
  })

  it('says that the schema is not strict where nobody claims it', async () => {
    expect(await judge('live.schema-enforced', { ARQON_SCHEMA_STRICT: 'false' })).toEqual(['skip'])
  })

  it('publishes nothing with --read-only', async () => {
    const report = await runPreflight({ env, targets: system.targets, only: ['live.*'], readOnly: true })
    for (const id of ['live.schema-enforced', 'live.shield-routes-payload', 'live.tenant-isolation']) {
      expect(resultOf(report, id)).toMatchObject({ status: 'skip', reason: { kind: 'not-permitted' } })
    }
    expect(resultOf(report, 'live.shield-accepts-valid-token').status).toBe('pass')
  })
})

describe('against something else', () => {
  const open: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0)) await close()
  })
  const env = { JWT_SECRET: strongSecret }

  /** A server that stands in the system's place, and is what the checks judge. */
  async function serve(answer: RequestListener, onUpgrade?: (server: Server) => void): Promise<string> {
    const server = createServer(answer)
    onUpgrade?.(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    open.push(async () => {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    })
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  const answering =
    (bodies: Readonly<Record<string, unknown>>, status = 200): RequestListener =>
    (request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(bodies[request.url ?? ''] ?? {}))
    }

  const up = [{ name: 'delivery', state: 'up' }]
  const healthy = {
    '/health': { status: 'healthy' },
    '/version': { version },
    '/ready': { ready: true, status: 'healthy', components: up },
  }

  it.each([
    ['answers 503', healthy, 503, 'http NOT_200'],
    ['is degraded', { ...healthy, '/ready': { status: 'degraded', components: up } }, 200, 'http NOT_HEALTHY'],
    ['is another version', { ...healthy, '/version': { version: '9.9.9' } }, 200, 'http NOT_THIS_VERSION'],
    ['names no component', { ...healthy, '/ready': { status: 'healthy', components: [] } }, 200, 'http NO_COMPONENTS'],
    [
      'hides one that is down',
      { ...healthy, '/ready': { status: 'healthy', components: [{ name: 'store', state: 'down' }] } },
      200,
      'http COMPONENT_NOT_UP',
    ],
    ['answers a list', { ...healthy, '/health': [] }, 200, 'http NOT_JSON'],
    ['is well', healthy, 200, 'pass'],
  ])('judges a bus that %s', async (_name, bodies, status, code) => {
    const address = await serve(answering(bodies, status))
    const report = await runPreflight({
      env,
      targets: parseTargets(`http=http://${address}`),
      only: ['live.bus-health'],
    })
    expect(codesOf(report, 'live.bus-health')).toEqual([code])
  })

  it('blames the address, not itself, when nothing listens', async () => {
    const report = await runPreflight({
      env,
      targets: parseTargets(
        'bus=ws://127.0.0.1:1,http=http://127.0.0.1:1,telemetry=ws://127.0.0.1:1,shield=ws://127.0.0.1:1',
      ),
    })
    for (const id of liveIds.filter((name) => !resultOf(report, name).status.startsWith('skip'))) {
      expect(codesOf(report, id)).toEqual([`${id} ECONNREFUSED`])
      expect(resultOf(report, id).class).toBe('dependency')
    }
    expect(report.canonical.verdict).toBe('NO-GO')
  })

  it('finds a gateway that lets everybody in', async () => {
    const address = await serve(answering({}), (server) => {
      const wss = new WebSocketServer({ noServer: true })
      server.on('upgrade', (request, socket, head) =>
        wss.handleUpgrade(request, socket, head, (ws) => ws.on('error', () => {})),
      )
      open.push(async () => wss.close())
    })
    const report = await runPreflight({
      env,
      targets: parseTargets(`shield=ws://${address}`),
      only: ['live.shield-rejects-missing-token', 'live.shield-rejects-bad-tokens'],
    })
    expect(codesOf(report, 'live.shield-rejects-missing-token')).toEqual(['no-token LET_IN'])
    const cases = codesOf(report, 'live.shield-rejects-bad-tokens')
    expect(cases).toContain('published-default-10 LET_IN')
    expect(cases).toContain('alg-none LET_IN')
    expect(cases).toContain('token-in-query LET_IN')
    expect(cases.length).toBeGreaterThanOrEqual(20)
  })

  it('finds a gateway that refuses without words, with another status, or with too many', async () => {
    const judge = async (address: string): Promise<string[]> =>
      codesOf(
        await runPreflight({
          env,
          targets: parseTargets(`shield=ws://${address}`),
          only: ['live.shield-rejects-missing-token'],
        }),
        'live.shield-rejects-missing-token',
      )
    const silent = createTcpServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    open.push(() => new Promise((resolve) => silent.close(() => resolve())))
    expect(await judge(`127.0.0.1:${(silent.address() as AddressInfo).port}`)).toEqual([
      'no-token REFUSED_WITHOUT_STATUS',
    ])

    const reply = (text: string) => (server: Server) =>
      void server.on('upgrade', (_request, socket) => socket.end(text))
    const busy = await serve(answering({}), reply('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n'))
    expect(await judge(busy)).toEqual(['no-token NOT_401'])
    const body = JSON.stringify({ error: 'Unauthorized', details: 'x', secret: 'y' })
    const chatty = await serve(
      answering({}),
      reply(`HTTP/1.1 401 Unauthorized\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
    )
    expect(await judge(chatty)).toEqual(['no-token BAD_BODY'])
  })

  it('finds telemetry that does not greet', async () => {
    const address = await serve(answering({}), (server) => {
      const wss = new WebSocketServer({ noServer: true })
      server.on('upgrade', (request, socket, head) =>
        wss.handleUpgrade(request, socket, head, (ws) => ws.send('{"event_type":"other"}')),
      )
      open.push(async () => wss.close())
    })
    const report = await runPreflight({
      env,
      targets: parseTargets(`telemetry=ws://${address},bus=ws://${address}`),
      only: ['live.telemetry-accepts'],
    })
    expect(codesOf(report, 'live.telemetry-accepts')).toEqual(['telemetry NO_GREETING'])
  })

  type Hubs = 'takes everything' | 'refuses' | 'refuses, and delivers all the same'

  /**
   * A hub that welcomes, joins and acknowledges as the bus does, and delivers as `deliver` says. `what` becomes of JSON
   * and of what is no frame; JSON is taken where nothing else is said.
   */
  async function serveHub(
    deliver: (send: (payload: JsonObject) => void, payload: JsonObject, isOwnTenant: boolean) => void,
    what: Hubs = 'takes everything',
  ): Promise<string> {
    const sessions = new Set<{ ws: WebSocket; tenant: string; joined: boolean; place: JsonObject }>()
    return serve(answering({}), (server) => {
      const wss = new WebSocketServer({ noServer: true })
      open.push(async () => wss.close())
      server.on('upgrade', (request, socket, head) => {
        wss.handleUpgrade(request, socket, head, (ws) => {
          const session = {
            ws,
            tenant: tenantOf(request.headers.authorization),
            joined: false,
            place: {} as JsonObject,
          }
          sessions.add(session)
          const leak = (): void => {
            for (const { ws: other, joined, place } of sessions) {
              if (joined) send(other, { type: 'message', ...place, payload: { kind: 'probe', nonce: 'leaked' } })
            }
          }
          const send = (to: WebSocket, fields: object): void =>
            to.send(JSON.stringify({ id: nextId(), timestamp: '2026-02-19T00:00:00Z', version: '1.0', ...fields }))
          send(ws, { type: 'message', payload: { client_id: nextId() } })
          ws.on('close', () => sessions.delete(session))
          ws.on('message', (data, isBinary) => {
            const text = (data as Buffer).toString('utf8')
            let frame: Envelope
            try {
              frame = isBinary ? decodeProtobuf(data as Buffer, defaultWireLimits) : decodeJson(text, defaultWireLimits)
            } catch {
              if (what === 'takes everything') return send(ws, { type: 'message_response', id: nextId(), payload: {} })
              if (what !== 'refuses') leak()
              return send(ws, { type: 'error', error_code: 'SCHEMA_VIOLATION', error: 'no frame', payload: {} })
            }
            if (!isBinary && what !== 'takes everything') {
              if (what !== 'refuses') leak()
              return send(ws, { type: 'error', error_code: 'INFRA_PROTOCOL_ERROR', error: 'JSON', payload: {} })
            }
            if (frame.type === 'command') {
              session.joined = true
              session.place = frame.args
              send(ws, { type: 'response', request_id: frame.id, status: 'success', payload: {} })
              return
            }
            for (const other of sessions) {
              if (!other.joined) continue
              const { room, channel } = frame
              const write = (payload: JsonObject): void => send(other.ws, { type: 'message', room, channel, payload })
              deliver(write, frame.payload as JsonObject, other.tenant === session.tenant)
            }
            send(ws, { type: 'message_response', id: frame.id, status: 'success', payload: {} })
          })
        })
      })
    })
  }
  const nextId = createMessageIds(systemClock.now())

  it.each([
    ['takes everything', ['shield JSON_TAKEN'], ['LET_THROUGH']],
    ['refuses', ['pass'], ['pass']],
    ['refuses, and delivers all the same', ['bus WRONG_COUNT'], ['WRONG_COUNT']],
  ] as const)('judges a system that %s', async (what, json, schema) => {
    const address = await serveHub((send, payload) => send(payload), what)
    const report = await runPreflight({
      env: { ...env, ARQONBUS_ALLOW_JSON_INFRA: 'false' },
      targets: parseTargets(`bus=ws://${address},shield=ws://${address}`),
      only: ['live.protobuf-only', 'live.schema-enforced'],
    })
    expect(codesOf(report, 'live.protobuf-only')).toEqual(json)
    const codes = codesOf(report, 'live.schema-enforced').map((text) => text.split(' ').at(-1))
    expect([...new Set(codes)]).toEqual(schema)
  })

  function tenantOf(authorization = ''): string {
    const [, claims] = authorization.split('.')
    if (claims === undefined) return 'default'
    return (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { tenant_id: string }).tenant_id // of our own tokens
  }

  const isProbe = (payload: JsonObject): boolean => payload['kind'] === 'probe'

  it.each([
    ['is right', (send, payload, isOwn) => isOwn && send(payload), ['pass'], ['pass']],
    [
      'lets messages through to other tenants',
      (send, payload) => send(payload),
      ['shield WRONG_COUNT'],
      ['shield WRONG_COUNT'],
    ],
    [
      'delivers twice',
      (send, payload, isOwn) => {
        if (isOwn) send(payload)
        if (isOwn && isProbe(payload)) send(payload)
      },
      ['bus WRONG_COUNT'],
      ['shield WRONG_COUNT'],
    ],
    [
      'loses a message',
      (send, payload, isOwn) => isOwn && !isProbe(payload) && send(payload),
      ['bus WRONG_COUNT'],
      ['shield WRONG_COUNT'],
    ],
    [
      'changes a message',
      (send, payload, isOwn) => isOwn && send(isProbe(payload) ? { ...payload, nonce: 'x' } : payload),
      ['bus WRONG_PAYLOAD'],
      ['shield WRONG_PAYLOAD'],
    ],
  ] satisfies [
    string,
    (send: (payload: JsonObject) => void, payload: JsonObject, isOwn: boolean) => unknown,
    string[],
    string[],
  ][])('judges a system that %s', async (_name, deliver, routing, isolation) => {
    const address = await serveHub(deliver)
    const report = await runPreflight({
      env,
      targets: parseTargets(`bus=ws://${address},shield=ws://${address}`),
      only: ['live.shield-accepts-valid-token', 'live.shield-routes-payload', 'live.tenant-isolation'],
    })
    expect(codesOf(report, 'live.shield-routes-payload')).toEqual(routing)
    expect(codesOf(report, 'live.tenant-isolation')).toEqual(isolation)
  })
})
