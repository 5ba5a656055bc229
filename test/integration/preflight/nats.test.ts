// The NATS chain against real servers: healthy ones, odd ones, and each fault that can be brought about.
import { execFile } from 'node:child_process'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createConnection, createServer, type Server } from 'node:net'
import { promisify } from 'node:util'
import { connect } from '@nats-io/transport-node'
import { jetstreamManager } from '@nats-io/jetstream'
import { afterEach, describe, expect, test } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import { probeNats } from '../../../src/link/nats-probe.ts'
import { natsChecks } from '../../../src/preflight/nats/nats-checks.ts'
import { checkPortsOf } from '../../../src/preflight/ports.ts'
import { lookHere } from '../../../src/preflight/prober.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { standingStream, standingSubjects } from '../../../src/preflight/nats/jetstream-probes.ts'
import { defaultPreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { makeCertificates } from '../../support/certificates.ts'
import { strongSecret } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { startNatsGreeter } from '../../support/servers/nats-greeter.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { requireProgram, skipWithout } from '../../support/servers/neighbours.ts'
import { proberFor } from '../../support/probe-here.ts'

const roomy = 'max_payload: 1064960'
const withJetStream = `${roomy}\njetstream: { store_dir: "./js" }`
const password = 'p@ss:w/rd%'

/** docs/link.md shows the same. */
const gateway = {
  publish: ['in.t.>', 'ctl.bus.open', 'ctl.bus.close', 'ctl.bus.lease', 'ctl.bus.read'],
  subscribe: ['out.t.>', 'ctl.edge.>', '_INBOX.>'],
}
type Rights = { readonly publish: readonly string[]; readonly subscribe: readonly string[] }
const userWith = (rights?: Rights): string => {
  const permissions = rights === undefined ? '' : `, permissions: ${JSON.stringify(rights)}`
  return `${roomy}\nauthorization: { users: [ { user: shield, password: "${password}"${permissions} } ] }`
}

/** The same for the whole test, so that the server and NATS_URL have one. */
const startedS = Math.floor(Date.now() / 1_000)
const jwt = (days: number): string =>
  [{ alg: 'EdDSA' }, { exp: startedS + days * 86_400 }, 'signature']
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')

describe.skipIf(skipWithout('nats'))('the NATS chain', () => {
  const closing: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })

  async function start(config = roomy): Promise<NatsServerProcess> {
    const server = await startNatsServer({ config })
    closing.push(() => server.close())
    return server
  }

  const urlOf = ({ port }: { readonly port: number }, user = ''): string =>
    `nats://${user === '' ? '' : `${user}@`}127.0.0.1:${port}`
  const shield = `shield:${encodeURIComponent(password)}`

  interface Options {
    readonly env?: Environment
    readonly any?: true
    readonly only?: readonly string[]
    readonly waitMs?: number
  }

  function run(url: string, { env = {}, any, only = ['dep.nats.*'], waitMs = 0 }: Options = {}): Promise<Report> {
    return runPreflight(
      {
        env: { ARQONBUS_ENVIRONMENT: 'staging', JWT_SECRET: strongSecret, NATS_URL: url, ...env },
        only,
        waitMs,
        phases: ['static', 'deps'],
        policy: { ...defaultPreflightPolicy, natsServers: any === true ? 'any' : 'all' },
      },
      proberFor(env),
    )
  }

  /** Of each NATS check what became of it: `pass`, the reason of a skip, or codes with the class. */
  function outcomes(report: Report): Record<string, string> {
    const ours = report.canonical.results.filter(({ id }) => id.startsWith('dep.nats.'))
    expect(JSON.stringify(report)).not.toContain(password)
    return Object.fromEntries(ours.map((result) => [result.id.slice('dep.nats.'.length), outcome(result)]))
  }

  function outcome(result: Result): string {
    if (result.status === 'fail') return `${result.findings.map(({ code }) => code).join(' ')} (${result.class})`
    if (result.status === 'error') return `error ${result.code} (${result.class})`
    return result.status === 'skip' ? result.reason.kind : result.status
  }

  const without = 'not-applicable'
  const withoutJetStream = { jetstream: without, 'jetstream-roundtrip': without, streams: without, skew: without }
  const coreHealthy = {
    connect: 'pass',
    identity: 'pass',
    pubsub: 'pass',
    permissions: 'pass',
    credential: without,
    ...withoutJetStream,
  }
  const blocked = 'blocked-by'
  const waiting = { pubsub: blocked, permissions: blocked }
  const afterConnect = (connected: string): Record<string, string> => ({
    connect: connected,
    identity: blocked,
    ...waiting,
    credential: without,
    ...withoutJetStream,
  })

  describe('takes what is healthy', () => {
    test('one server without users', async () => {
      const report = await run(urlOf(await start()))
      expect(outcomes(report)).toEqual(coreHealthy)
      const pubsub = report.canonical.results.find(({ id }) => id === 'dep.nats.pubsub')
      expect(pubsub).toMatchObject({ facts: { proof: 'loop' } })
    })

    test('a user with the rights of docs/link.md, whose password has to be escaped', async () => {
      const report = await run(urlOf(await start(userWith(gateway)), shield))
      expect(outcomes(report)).toEqual(coreHealthy)
      const pubsub = report.canonical.results.find(({ id }) => id === 'dep.nats.pubsub')
      expect(pubsub).toMatchObject({ facts: { proof: 'receipt' } })
    })

    test('a user without a list of rights, and a token', async () => {
      expect(outcomes(await run(urlOf(await start(userWith()), shield)))).toEqual(coreHealthy)
      const server = await start(`${roomy}\nauthorization: { token: "t0ken" }`)
      expect(outcomes(await run(urlOf(server, 't0ken')))).toEqual(coreHealthy)
    })

    test('a JWT for an authorization service, which ends in a year', async () => {
      const server = await start(`${roomy}\nauthorization: { token: "${jwt(365)}" }`)
      expect(outcomes(await run(urlOf(server, jwt(365))))).toEqual({ ...coreHealthy, credential: 'pass' })
    })

    test('a cluster of two', async () => {
      const [first, second] = await cluster()
      expect(outcomes(await run(`${urlOf(first)},${urlOf(second)}`))).toEqual(coreHealthy)
    })

    test('one server under two names', async () => {
      const server = await start()
      expect(outcomes(await run(`${urlOf(server)},nats://localhost:${server.port}`))).toEqual(coreHealthy)
    })

    test('one dead seed, where one server is enough', async () => {
      const [dead] = (await findFreePorts(1)) as [number]
      const server = await start()
      expect(outcomes(await run(`${urlOf({ port: dead })},${urlOf(server)}`, { any: true }))).toEqual(coreHealthy)
    })

    test('TLS, with the authority that the operator named', async () => {
      const { url, env } = await startTls('localhost')
      expect(outcomes(await run(url, { env }))).toEqual(coreHealthy)
    })
  })

  async function cluster(): Promise<[NatsServerProcess, NatsServerProcess]> {
    const [a, b] = (await findFreePorts(2)) as [number, number]
    const block = (own: number, other: number): string =>
      `${roomy}\ncluster: { name: "both", listen: "127.0.0.1:${own}", routes: ["nats://127.0.0.1:${other}"] }`
    return [await start(block(a, b)), await start(block(b, a))]
  }

  async function startTls(name: string): Promise<{ url: string; env: Environment }> {
    const made = await makeCertificates(name)
    closing.push(() => made.close())
    const tls = `tls: { cert_file: "${made.certificate}", key_file: "${made.key}" }`
    const server = await start(`${roomy}\n${tls}`)
    return { url: `tls://localhost:${server.port}`, env: { NODE_EXTRA_CA_CERTS: made.authority } }
  }

  async function listen(server: Server): Promise<number> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => new Promise((resolve) => server.close(resolve)))
    return (server.address() as AddressInfo).port
  }

  describe('names what is wrong with', () => {
    test('nobody there, and with one dead seed of two', async () => {
      const [dead] = (await findFreePorts(1)) as [number]
      expect(outcomes(await run(urlOf({ port: dead })))).toEqual(afterConnect('ECONNREFUSED (dependency)'))
      const report = await run(`${urlOf(await start())},${urlOf({ port: dead })}`)
      expect(outcomes(report)).toEqual(afterConnect('ECONNREFUSED (dependency)'))
      const { findings } = report.observations.results['dep.nats.connect']!
      expect(findings).toEqual([expect.objectContaining({ found: expect.stringContaining(`127.0.0.1:${dead}`) })])
    })

    test('a wrong password, and none', async () => {
      const server = await start(userWith())
      expect(outcomes(await run(urlOf(server, 'shield:other')))).toEqual(afterConnect('AUTH_REFUSED (config)'))
      expect(outcomes(await run(urlOf(server)))).toEqual(afterConnect('AUTH_REQUIRED (config)'))
    })

    test('a black hole', async () => {
      const sockets = new Set<{ destroy(): void }>()
      const port = await listen(createServer((socket) => sockets.add(socket)))
      closing.push(() => {
        for (const socket of sockets) socket.destroy()
      })
      expect(outcomes(await run(urlOf({ port })))).toEqual(afterConnect('error NO_ANSWER (dependency)'))
    })

    test('a web server', async () => {
      const port = await listen(createHttpServer((_request, response) => response.end('hello')))
      expect(outcomes(await run(urlOf({ port })))).toEqual(afterConnect('NOT_THE_PROTOCOL (config)'))
    })

    test('a frozen server', async () => {
      const server = await start()
      await server.freeze()
      closing.push(() => server.thaw())
      expect(outcomes(await run(urlOf(server)))).toEqual(afterConnect('error NO_ANSWER (dependency)'))
    })

    test('a max_payload that our largest message does not fit', async () => {
      expect(outcomes(await run(urlOf(await start('max_payload: 1064959'))))).toEqual({
        ...coreHealthy,
        identity: 'PAYLOAD_TOO_SMALL (dependency)',
        ...waiting,
      })
    })

    test('two servers that know nothing of each other', async () => {
      const url = `${urlOf(await start())},${urlOf(await start())}`
      expect(outcomes(await run(url))).toEqual({
        ...coreHealthy,
        identity: 'NOT_ONE_CLUSTER (dependency)',
        ...waiting,
      })
      // What waits would have seen the same.
      const inputs = { env: { ARQONBUS_ENVIRONMENT: 'staging', NATS_URL: url } }
      const pubsub = natsChecks.find(({ id }) => id === 'dep.nats.pubsub')!
      expect(await lookHere(pubsub, checkPortsOf(inputs, {}))).toEqual({ facts: { proof: 'loop', received: 0 } })
    })

    test('a user who may publish nothing', async () => {
      const server = await start(userWith({ ...gateway, publish: ['elsewhere'] }))
      expect(outcomes(await run(urlOf(server, shield)))).toMatchObject({
        connect: 'pass',
        pubsub: 'NO_PERMISSION (config)',
        permissions: blocked,
      })
    })

    test('a user who may hear nothing', async () => {
      const server = await start(userWith({ publish: [...gateway.publish, '_INBOX.>'], subscribe: ['elsewhere'] }))
      expect(outcomes(await run(urlOf(server, shield)))).toMatchObject({
        connect: 'pass',
        pubsub: 'NO_PERMISSION (config)',
        permissions: blocked,
      })
    })

    test('a user who may neither ask for leases nor hear that it lost a channel', async () => {
      const without = (list: readonly string[], subject: string) => list.filter((one) => one !== subject)
      const rights = {
        publish: without(gateway.publish, 'ctl.bus.lease'),
        subscribe: [
          ...without(gateway.subscribe, 'ctl.edge.>'),
          'ctl.edge.resync',
          'ctl.edge.heads',
          'ctl.edge.close.>',
        ],
      }
      const report = await run(urlOf(await start(userWith(rights)), shield))
      expect(outcomes(report)).toEqual({ ...coreHealthy, permissions: 'DENIED DENIED (config)' })
    })

    test('a JWT that ends within a week', async () => {
      const server = await start(`${roomy}\nauthorization: { token: "${jwt(6)}" }`)
      expect(outcomes(await run(urlOf(server, jwt(6))))).toEqual({
        ...coreHealthy,
        credential: 'EXPIRES_SOON (dependency)',
      })
    })

    test('a user who may too much', async () => {
      const server = await start(
        userWith({ publish: [...gateway.publish, '$JS.API.>'], subscribe: [...gateway.subscribe, '$SYS.>'] }),
      )
      expect(outcomes(await run(urlOf(server, shield)))).toMatchObject({ permissions: 'TOO_MUCH TOO_MUCH (config)' })
    })

    test('a server that leaves: it takes nobody any more, and tells those whom it has', async () => {
      const server = await start(`${roomy}\nlame_duck_duration: "30s"`)
      const probe = await probeNats(natsServerOf(server), { name: 'test', timeoutMs: 2_000 })
      closing.push(() => probe.close())
      expect(probe.greeting.isLeaving).toBe(false)
      await promisify(execFile)(requireProgram('nats'), ['--signal', `ldm=${server.pid}`])
      await expect.poll(() => probe.greeting.isLeaving, { timeout: 5_000 }).toBe(true)
      expect(outcomes(await run(urlOf(server)))).toEqual(afterConnect('ECONNREFUSED (dependency)'))
    })

    test.each([
      ['is about to end', { ldm: true }, 'LEAVING (dependency)'],
      ['is of an old version', { version: '2.8.4' }, 'TOO_OLD (dependency)'],
      ['says nothing of its limits', { max_payload: undefined }, 'PAYLOAD_TOO_SMALL (dependency)'],
    ])('a server that %s, by its greeting', async (_name, change, expected) => {
      const greeter = await startNatsGreeter({
        server_id: 'FAKE',
        version: '2.9.10',
        max_payload: 1_064_960,
        headers: true,
        ...change,
      })
      closing.push(() => greeter.close())
      const report = await run(urlOf(greeter), { only: ['dep.nats.identity'] })
      expect(outcomes(report)).toMatchObject({ connect: 'pass', identity: expected })
    })

    test('a certificate of an unknown authority, and of another name', async () => {
      const { url } = await startTls('localhost')
      expect(outcomes(await run(url))).toEqual(afterConnect('TLS_UNTRUSTED (config)'))
      const other = await startTls('nats.elsewhere')
      expect(outcomes(await run(other.url, { env: other.env }))).toEqual(afterConnect('TLS_NAME (config)'))
    })

    test('TLS asked of a server that has none', async () => {
      const { port } = await start()
      expect(outcomes(await run(`tls://127.0.0.1:${port}`))).toEqual(afterConnect('TLS_REFUSED (config)'))
    })
  })

  test('--wait outlives a server that hangs up at first', async () => {
    const server = await start()
    let connections = 0
    const port = await listen(
      createServer((near) => {
        if (connections++ === 0) {
          near.destroy()
          return
        }
        const far = createConnection({ host: '127.0.0.1', port: server.port })
        near.pipe(far).pipe(near)
        for (const side of [near, far]) side.on('error', () => near.destroy())
      }),
    )
    const once = await run(urlOf({ port }), { only: ['dep.nats.connect'] })
    expect(outcomes(once)).toMatchObject({ connect: expect.stringMatching(/^(?:HUNG_UP|ECONNRESET) \(dependency\)$/) })
    connections = 0
    const waited = await run(urlOf({ port }), { only: ['dep.nats.connect'], waitMs: 20_000 })
    expect(outcomes(waited)).toMatchObject({ connect: 'pass' })
    expect(waited.observations.results['dep.nats.connect']?.attempts).toHaveLength(2)
  })

  test('a publish that is only asked about reaches nobody', async () => {
    const server = await start()
    const listener = await probeNats(natsServerOf(server), { name: 'listener', timeoutMs: 2_000 })
    const asking = await probeNats(natsServerOf(server), { name: 'asking', timeoutMs: 2_000 })
    closing.push(
      () => listener.close(),
      () => asking.close(),
    )
    const heard = listener.subscribe('>')
    await listener.flush()
    expect(await asking.mayPublish('in.t.acme.raw')).toBe(true)
    asking.publish('end')
    await asking.flush()
    expect((await heard.next(2_000)).subject).toBe('end')
  })

  describe('with JetStream', () => {
    const schemas = { SHIELD_SCHEMA_SOURCE: 'nats' }
    const projector = { ARQONBUS_PROJECTOR_WORKERS: '2' }
    const users = { env: { ...schemas, ...projector } }
    /** What is made as the operator would. */
    async function prepare(server: NatsServerProcess, user: { user?: string; pass?: string } = {}) {
      const nc = await connect({ servers: server.url, ...user })
      closing.push(() => nc.close())
      const manager = await jetstreamManager(nc)
      await manager.streams.add({ name: 'KV_ARQON_SCHEMAS', subjects: ['$KV.ARQON_SCHEMAS.>'] })
      await manager.streams.add({ name: 'CONTINUUM_EPISODES', subjects: ['continuum.episode.v1'] })
      return { nc, manager }
    }

    test('all is healthy, and nothing is left', async () => {
      const server = await start(withJetStream)
      const { manager } = await prepare(server)
      expect(outcomes(await run(urlOf(server), users))).toEqual({
        ...coreHealthy,
        jetstream: 'pass',
        'jetstream-roundtrip': 'pass',
        streams: 'pass',
        skew: 'pass',
      })
      expect(outcomes(await run(urlOf(server), { env: projector }))).toMatchObject({ skew: 'pass' })
      for (const name of ['KV_ARQON_SCHEMAS', 'CONTINUUM_EPISODES']) {
        expect((await manager.streams.info(name)).state.consumer_count).toBe(0)
      }
      const names: string[] = []
      for await (const { config } of manager.streams.list()) names.push(config.name)
      expect(names.sort()).toEqual(['CONTINUUM_EPISODES', 'KV_ARQON_SCHEMAS'])
    })

    test('it is off, and somebody needs it', async () => {
      expect(outcomes(await run(urlOf(await start()), users))).toEqual({
        ...coreHealthy,
        jetstream: 'NO_JETSTREAM (dependency)',
        'jetstream-roundtrip': blocked,
        streams: blocked,
        skew: blocked,
      })
    })

    test('the bucket is missing, and so is the stream', async () => {
      const report = await run(urlOf(await start(withJetStream)), users)
      expect(outcomes(report)).toMatchObject({
        jetstream: 'pass',
        streams: 'STREAM_MISSING STREAM_MISSING (dependency)',
      })
    })

    test('streams are in memory, and drop what nobody reads', async () => {
      const server = await start(withJetStream)
      const nc = await connect({ servers: server.url })
      closing.push(() => nc.close())
      const manager = await jetstreamManager(nc)
      await manager.streams.add({ name: 'E', subjects: ['continuum.>'], storage: 'memory', retention: 'interest' })
      const report = await run(urlOf(server), { env: projector })
      expect(outcomes(report)).toMatchObject({ streams: 'NOT_ON_DISK WRONG_RETENTION (dependency)' })
    })

    const inAccount = (limits: string, rights?: Rights): string => {
      const permissions = rights === undefined ? '' : `, permissions: ${JSON.stringify(rights)}`
      const ours = `{ jetstream: { ${limits} }, users: [ { user: all, password: p }, { user: shield, password: "${password}"${permissions} } ] }`
      return `${withJetStream}\naccounts: { A: ${ours} }`
    }

    test('the storage of the account is used up', async () => {
      const server = await start(inAccount('max_mem: 65536, max_file: 65536'))
      const { nc } = await prepare(server, { user: 'all', pass: 'p' })
      const { jetstream } = await import('@nats-io/jetstream')
      const js = jetstream(nc)
      let isFull = false
      while (!isFull) {
        isFull = await js.publish('continuum.episode.v1', new Uint8Array(1_000)).then(
          () => false,
          () => true,
        )
      }
      expect(outcomes(await run(urlOf(server, shield), users))).toMatchObject({
        connect: 'pass',
        jetstream: 'LIMIT_REACHED (dependency)',
        'jetstream-roundtrip': blocked,
      })
    })

    test('a user of the link and of the bucket only, who may not see the account', async () => {
      // docs/schemas.md shows these.
      const bucket = [
        'STREAM.INFO.KV_ARQON_SCHEMAS',
        'CONSUMER.CREATE.KV_ARQON_SCHEMAS.>',
        'CONSUMER.DELETE.KV_ARQON_SCHEMAS.>',
      ]
      const rights = { ...gateway, publish: [...gateway.publish, ...bucket.map((verb) => `$JS.API.${verb}`)] }
      const server = await start(inAccount('max_mem: -1, max_file: -1', rights))
      await prepare(server, { user: 'all', pass: 'p' })
      const report = await run(urlOf(server, shield), { env: schemas })
      expect(outcomes(report)).toEqual({
        ...coreHealthy,
        jetstream: 'pass',
        'jetstream-roundtrip': without,
        streams: 'pass',
        skew: 'pass',
      })
    })

    test('a JetStream a year ahead, by a proxy that changes what it says of consumers', async () => {
      const server = await start(withJetStream)
      await prepare(server)
      const ahead = (text: string): string =>
        text.replaceAll(/"created":"(\d{4})-/g, (_, year: string) => `"created":"${Number(year) + 1}-`)
      const port = await listen(
        createServer((near) => {
          const far = createConnection({ host: '127.0.0.1', port: server.port })
          near.pipe(far)
          far.on('data', (bytes: Buffer) => near.write(ahead(bytes.toString('latin1')), 'latin1'))
          for (const side of [near, far]) side.on('error', () => near.destroy())
        }),
      )
      expect(outcomes(await run(urlOf({ port }), users))).toMatchObject({
        streams: 'pass',
        skew: 'SKEWED (dependency)',
      })
    })

    test('the standing stream serves a user who may make none, and its absence is named', async () => {
      const api = [
        'INFO',
        'STREAM.NAMES',
        'STREAM.INFO.>',
        `CONSUMER.*.${standingStream}`,
        `CONSUMER.*.${standingStream}.>`,
      ]
      const probes = [...api, `CONSUMER.MSG.NEXT.${standingStream}.>`].map((verb) => `$JS.API.${verb}`)
      const publish = [...gateway.publish, ...probes, `$JS.ACK.${standingStream}.>`, 'arqon-preflight.js.>']
      const server = await start(inAccount('max_mem: -1, max_file: -1', { ...gateway, publish }))
      const { manager } = await prepare(server, { user: 'all', pass: 'p' })
      const only = { env: projector, only: ['dep.nats.jetstream-roundtrip', 'dep.nats.permissions'] }
      expect(outcomes(await run(urlOf(server, shield), only))).toMatchObject({
        permissions: 'pass',
        'jetstream-roundtrip': 'NO_STREAM (config)',
      })
      await manager.streams.add({
        name: standingStream,
        subjects: [standingSubjects],
        storage: 'memory',
        max_age: 60e9,
      })
      const report = await run(urlOf(server, shield), only)
      expect(outcomes(report)).toMatchObject({ 'jetstream-roundtrip': 'pass' })
      const trip = report.canonical.results.find(({ id }) => id === 'dep.nats.jetstream-roundtrip')
      expect(trip).toMatchObject({ facts: { stream: 'standing' } })
    })
  })
})
