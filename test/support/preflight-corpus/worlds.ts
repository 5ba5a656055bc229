// The fault corpus (preflight 6): one thing wrong in an otherwise healthy system, and what the preflight has to say of it;
// and systems that are odd and fine, of which it has to say nothing.
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { WebSocketServer } from 'ws'
import type { Environment } from '../../../src/config/resolution.ts'
import { openConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { lockKey } from '../../../src/postgres/migrations.ts'
import type { FaultClass, Severity } from '../../../src/rules/rule.ts'
import { parseValkeyUrl } from '../../../src/valkey/address.ts'
import { dialProbe } from '../../../src/valkey/probe-client.ts'
import { startClockProxy } from '../clock-proxy.ts'
import { strongSecret } from '../environments.ts'
import { startNatsServer } from '../servers/nats-server.ts'
import { startPostgresServer } from '../servers/postgres-server.ts'
import { createRespProxy } from '../servers/resp-proxy.ts'
import { startValkeyServer, type ValkeyServerOptions } from '../servers/valkey-server.ts'
import type { LabDatabase } from '../postgres-lab.ts'
import { type CorpusLab, labPassword, type WorldChanges } from './lab.ts'

export interface CorpusWorld {
  readonly name: string
  readonly arrange: (lab: CorpusLab) => WorldChanges | Promise<WorldChanges>
}

export interface FaultyWorld extends CorpusWorld {
  readonly id: string
  readonly code: string
  readonly class: FaultClass
  readonly label: Exclude<Severity, 'advisory'>
  /** Other checks that find the same fault for a reason of their own; one cause when absent. */
  readonly also?: readonly string[]
}

type Arrange = CorpusWorld['arrange']
type Expected = Pick<FaultyWorld, 'id' | 'code' | 'class' | 'label'>

const fault = (name: string, expected: Expected, arrange: Arrange, also: readonly string[] = []): FaultyWorld => ({
  name,
  ...expected,
  arrange,
  also,
})
const healthy = (name: string, arrange: Arrange): CorpusWorld => ({ name, arrange })
const set =
  (env: Environment): Arrange =>
  () => ({ env })

const expecting =
  (label: FaultyWorld['label'], fault: FaultClass) =>
  (id: string, code: string): Expected => ({ id, code, class: fault, label })
const blockedByConfig = expecting('blocker', 'config')
const criticalConfig = expecting('critical', 'config')
const highConfig = expecting('high', 'config')
const blockedByDependency = expecting('blocker', 'dependency')
const highDependency = expecting('high', 'dependency')
const blockedByRegression = expecting('blocker', 'regression')

// What worlds are made of.

const valkey =
  (options: ValkeyServerOptions, policy?: WorldChanges['policy']): Arrange =>
  async (lab) => {
    const server = await startValkeyServer(options)
    lab.closing.push(() => server.close())
    return { env: { ARQONBUS_VALKEY_URL: server.url }, ...(policy !== undefined && { policy }) }
  }

/** The real server through a proxy that changes its answers: named states it cannot be brought into. */
const valkeyThrough =
  (change: (command: readonly string[], reply: Buffer) => Buffer): Arrange =>
  async (lab) => {
    const proxy = await createRespProxy(lab.valkey.port, change)
    lab.closing.push(() => proxy.close())
    return { env: { ARQONBUS_VALKEY_URL: lab.valkey.url.replace(`:${lab.valkey.port}`, `:${proxy.port}`) } }
  }

const bulk = (text: string): Buffer => Buffer.from(`$${Buffer.byteLength(text)}\r\n${text}\r\n`)
const info = (change: (text: string) => string): Arrange =>
  valkeyThrough(([name], reply) => {
    if (name !== 'INFO') return reply
    const text = reply.toString('utf8')
    return bulk(change(text.slice(text.indexOf('\r\n') + 2, -2)))
  })

const asBus = (url: string): string => url.replace('//arqonbus@', '//bus@')
const rights =
  'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bus; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bus'

/** A migrated database of its own in the real server, changed. */
const postgres =
  (change: (database: LabDatabase, lab: CorpusLab) => unknown, more: WorldChanges = {}): Arrange =>
  async (lab) => {
    const database = await lab.postgres.newDatabase()
    await database.query(rights)
    await change(database, lab)
    return { ...more, env: { ARQONBUS_POSTGRES_URL: asBus(database.url), ...more.env } }
  }

const natsConfig = (more: string): string =>
  `max_payload: 2MB\njetstream: { store_dir: "./js" }\nauthorization: { users: [ { user: shield, password: "${labPassword}"${more} } ] }`

const nats =
  (config: string, more: WorldChanges = {}): Arrange =>
  async (lab) => {
    const server = await startNatsServer({ config })
    lab.closing.push(() => server.close())
    return { ...more, env: { NATS_URL: natsUrl(server.port), ...more.env } }
  }

const natsUrl = (...ports: readonly number[]): string =>
  ports.map((port) => `nats://shield:${encodeURIComponent(labPassword)}@127.0.0.1:${port}`).join(',')

async function listen(lab: CorpusLab, server: Server | HttpServer): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  lab.closing.push(() => server.close())
  return (server.address() as { port: number }).port
}

/** Takes connections and says nothing. */
async function blackHole(lab: CorpusLab): Promise<number> {
  const sockets = new Set<{ destroy(): void }>()
  const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)))
  lab.closing.push(() => {
    for (const socket of sockets) socket.destroy()
  })
  return await listen(lab, server)
}

const webServer = (lab: CorpusLab): Promise<number> =>
  listen(
    lab,
    createServer((socket) => {
      socket.on('error', () => undefined)
      socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n')
    }),
  )

const noPort = '127.0.0.1:1'
const projectorOn = { ARQONBUS_PROJECTOR_ENABLED: 'true' }

const configFaults: readonly FaultyWorld[] = [
  fault(
    'no server host',
    criticalConfig('bus.server-host-explicit', 'NOT_SET'),
    set({ ARQONBUS_SERVER_HOST: undefined }),
  ),
  fault(
    'a host of another machine',
    criticalConfig('bus.server-host-explicit', 'NOT_LOCAL'),
    set({ ARQONBUS_SERVER_HOST: '203.0.113.7' }),
  ),
  fault(
    'no server port',
    criticalConfig('bus.server-port-explicit', 'NOT_SET'),
    set({ ARQONBUS_SERVER_PORT: undefined }),
  ),
  fault(
    'an HTTP port from the defaults',
    criticalConfig('bus.no-defaults', 'NOT_SET'),
    set({ ARQONBUS_HTTP_PORT: undefined }),
  ),
  fault(
    'no storage mode',
    criticalConfig('bus.storage-mode-explicit', 'NOT_SET'),
    set({ ARQONBUS_STORAGE_MODE: undefined }),
  ),
  fault(
    'strict storage in memory',
    criticalConfig('bus.storage-backend-durable', 'MEMORY_IN_STRICT'),
    set({ ARQONBUS_STORAGE_BACKEND: 'memory' }),
  ),
  fault(
    'no Valkey address',
    blockedByConfig('bus.valkey-url-configured', 'NOT_SET'),
    set({ ARQONBUS_VALKEY_URL: undefined }),
  ),
  fault(
    'no Postgres address',
    blockedByConfig('bus.postgres-url-configured', 'NOT_SET'),
    set({ ARQONBUS_POSTGRES_URL: undefined }),
  ),
  fault(
    'the dual stack switched off',
    criticalConfig('bus.dual-stack-required', 'SWITCHED_OFF'),
    set({ ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false' }),
  ),
  fault(
    'JSON infrastructure',
    criticalConfig('bus.infra-protocol', 'NOT_PROTOBUF'),
    set({ ARQONBUS_INFRA_PROTOCOL: 'json' }),
  ),
  fault(
    'JSON frames allowed',
    criticalConfig('bus.json-infra-off', 'JSON_ALLOWED'),
    set({ ARQONBUS_ALLOW_JSON_INFRA: 'true' }),
  ),
  fault('telemetry on the port of the bus', criticalConfig('bus.telemetry-configured', 'PORT_TAKEN'), (lab) => ({
    env: { ARQONBUS_TELEMETRY_PORT: lab.env['ARQONBUS_SERVER_PORT'] },
  })),
  fault('a misspelt name', highConfig('meta.config-valid', 'UNKNOWN_NAME'), set({ ARQONBUS_STORAGE_MOD: 'strict' })),
  fault('another profile than the one asked for', blockedByConfig('meta.profile-production', 'OTHER_PROFILE'), () => ({
    // Of production it is asked besides that services are not of this machine, and are reached over TLS.
    env: { ARQONBUS_ENVIRONMENT: 'dev', ARQONBUS_PREFLIGHT_STRICT: 'true', ARQONBUS_ENABLE_AUTH: 'true' },
    inputs: { profile: 'staging' },
  })),
  fault(
    'a default secret',
    blockedByConfig('shield.jwt-secret-not-default', 'PUBLISHED'),
    set({ JWT_SECRET: 'replace-with-strong-secret' }),
  ),
  fault(
    'a short secret',
    criticalConfig('shield.jwt-secret-strong', 'TOO_SHORT'),
    set({ JWT_SECRET: strongSecret.slice(0, 20) }),
  ),
  fault(
    'a secret with a newline at its end',
    highConfig('shield.jwt-secret-hygiene', 'SURROUNDING_SPACE'),
    set({ JWT_SECRET: `${strongSecret}\n` }),
  ),
  fault(
    'a secret that is used elsewhere',
    highConfig('shield.jwt-secret-hygiene', 'ELSEWHERE_TOO'),
    set({ SESSION_KEY: strongSecret }),
  ),
  fault(
    'an empty switch that skips validation',
    blockedByConfig('shield.jwt-skip-absent', 'PRESENT'),
    set({ JWT_SKIP_VALIDATION: '' }),
  ),
  fault(
    'a switch that promises a bypass',
    criticalConfig('shield.bypass-toggles-absent', 'BYPASS_TOGGLE'),
    set({ GATEWAY_DISABLE_AUTH: '0' }),
  ),
  fault(
    'schemas that are not strict',
    criticalConfig('shield.schema-strict', 'NOT_STRICT'),
    set({ ARQON_SCHEMA_STRICT: 'false' }),
  ),
]

const valkeyFaults: readonly FaultyWorld[] = [
  fault(
    'Valkey is not there',
    blockedByDependency('dep.valkey.connect', 'ECONNREFUSED'),
    set({ ARQONBUS_VALKEY_URL: `redis://${noPort}` }),
  ),
  fault('Valkey’s password is wrong', blockedByConfig('dep.valkey.connect', 'AUTH_REFUSED'), (lab) => ({
    env: { ARQONBUS_VALKEY_URL: `redis://:wrong@127.0.0.1:${lab.valkey.port}` },
  })),
  fault('Valkey’s password is missing', blockedByConfig('dep.valkey.connect', 'AUTH_REQUIRED'), (lab) => ({
    env: { ARQONBUS_VALKEY_URL: `redis://127.0.0.1:${lab.valkey.port}` },
  })),
  fault('a black hole in Valkey’s place', blockedByDependency('dep.valkey.connect', 'NO_ANSWER'), async (lab) => ({
    env: { ARQONBUS_VALKEY_URL: `redis://127.0.0.1:${await blackHole(lab)}` },
  })),
  fault('a web server in Valkey’s place', blockedByConfig('dep.valkey.connect', 'NOT_THE_PROTOCOL'), async (lab) => ({
    env: { ARQONBUS_VALKEY_URL: `redis://127.0.0.1:${await webServer(lab)}` },
  })),
  fault('a replica of Valkey', highDependency('dep.valkey.identity', 'REPLICA'), async (lab) => {
    const primary = await startValkeyServer()
    const replica = await startValkeyServer({ settings: { replicaof: `127.0.0.1 ${primary.port}` } })
    lab.closing.push(
      () => primary.close(),
      () => replica.close(),
    )
    return { env: { ARQONBUS_VALKEY_URL: replica.url } }
  }),
  fault(
    'Valkey that evicts',
    highDependency('dep.valkey.eviction', 'EVICTS'),
    valkey({ settings: { maxmemory: '256mb', 'maxmemory-policy': 'allkeys-lru' } }),
  ),
  fault(
    'Valkey that evicts what expires',
    highDependency('dep.valkey.eviction', 'EVICTS_VOLATILE'),
    valkey({ settings: { maxmemory: '256mb', 'maxmemory-policy': 'volatile-lru' } }),
  ),
  fault(
    'Valkey that keeps nothing, in strict',
    highDependency('dep.valkey.persistence', 'NOTHING_KEPT'),
    valkey({ settings: { appendonly: 'no' } }),
  ),
  fault(
    'Valkey out of memory',
    blockedByDependency('dep.valkey.roundtrip', 'OUT_OF_MEMORY'),
    valkey({ settings: { maxmemory: '1', 'maxmemory-policy': 'noeviction' } }),
  ),
  fault(
    'Valkey with fewer replicas than declared',
    highDependency('dep.valkey.headroom', 'REPLICAS_MISSING'),
    (lab) => ({
      env: { ARQONBUS_VALKEY_URL: lab.valkey.url },
      policy: { valkeyReplicas: 1 },
    }),
  ),
  fault('a user who may not append', highConfig('dep.valkey.acl', 'COMMAND_DENIED'), async (lab) => {
    const server = await startValkeyServer()
    lab.closing.push(() => server.close())
    const client = await dialProbe(parseValkeyUrl(server.url), { signal: new AbortController().signal })
    await client.send(['ACL', 'SETUSER', 'bus', 'on', '>secret', '~*', '&*', '+@all', '-zadd'])
    client.close()
    return { env: { ARQONBUS_VALKEY_URL: `redis://bus:secret@127.0.0.1:${server.port}` } }
  }),
  // It greets, takes passwords and tells of itself while it loads; everything else it refuses.
  fault('Valkey that is loading', blockedByDependency('dep.valkey.ping', 'LOADING'), async (lab) => {
    const settings = { appendonly: 'no', rdbcompression: 'no' }
    const before = await startValkeyServer({ settings })
    lab.closing.push(() => before.close())
    const client = await dialProbe(parseValkeyUrl(before.url), { signal: new AbortController().signal })
    for (let n = 0; n < 200; n++) await client.send(['SET', `key-${n}`, 'x'.repeat(2_000)])
    await client.send(['SAVE'])
    const [, dir] = (await client.send(['CONFIG', 'GET', 'dir'])) as [unknown, string]
    client.close()
    const slow = { 'key-load-delay': '100000', 'loading-process-events-interval-bytes': '1024' }
    // With a password, since a server that loads is up as soon as it asks for one.
    const server = await startValkeyServer({ settings: { ...settings, ...slow, dir }, password: labPassword })
    lab.closing.push(() => server.close())
    return { env: { ARQONBUS_VALKEY_URL: server.url } }
  }),
  fault(
    'Valkey with a clock that is five seconds off',
    highDependency('dep.valkey.skew', 'SKEWED'),
    valkeyThrough(([name], reply) => {
      if (name !== 'TIME') return reply
      const seconds = /\r\n(\d{10})\r\n/.exec(reply.toString())![1]!
      return Buffer.from(reply.toString().replace(seconds, String(Number(seconds) + 5)))
    }),
  ),
  fault(
    'an old Redis',
    highDependency('dep.valkey.identity', 'TOO_OLD'),
    info((text) => text.replace(/redis_version:[\d.]+/, 'redis_version:6.2.1')),
  ),
]

const postgresFaults: readonly FaultyWorld[] = [
  fault(
    'Postgres is not there',
    blockedByDependency('dep.postgres.connect', 'ECONNREFUSED'),
    set({ ARQONBUS_POSTGRES_URL: `postgresql://bus@${noPort}/arqonbus` }),
  ),
  fault('a black hole in Postgres’ place', blockedByDependency('dep.postgres.connect', 'NO_ANSWER'), async (lab) => ({
    env: { ARQONBUS_POSTGRES_URL: `postgresql://bus@127.0.0.1:${await blackHole(lab)}/arqonbus` },
  })),
  fault('no such database', blockedByConfig('dep.postgres.connect', 'NO_DATABASE'), (lab) => ({
    env: { ARQONBUS_POSTGRES_URL: asBus(lab.postgres.server.urlOf('nowhere')) },
  })),
  fault('Postgres’ password is wrong', blockedByConfig('dep.postgres.connect', 'AUTH_REFUSED'), async (lab) => {
    const server = await startPostgresServer({
      settings: { fsync: 'off' },
      hba: 'host all bus 127.0.0.1/32 scram-sha-256',
    })
    lab.closing.push(() => server.close())
    await server.query("CREATE ROLE bus LOGIN PASSWORD 'hush-hush'")
    return { env: { ARQONBUS_POSTGRES_URL: server.url.replace('arqonbus@', 'bus:hush@') } }
  }),
  fault(
    'no connection left for the user',
    blockedByDependency('dep.postgres.connect', 'TOO_MANY_CONNECTIONS'),
    async (lab) => {
      await lab.postgres.server.query('CREATE ROLE crowded LOGIN CONNECTION LIMIT 0')
      lab.closing.push(() => lab.postgres.server.query('DROP ROLE crowded'))
      return { env: { ARQONBUS_POSTGRES_URL: lab.env['ARQONBUS_POSTGRES_URL']!.replace('//bus@', '//crowded@') } }
    },
  ),
  fault(
    'several hosts of Postgres',
    blockedByConfig('bus.postgres-url-configured', 'SEVERAL_HOSTS'),
    set({ ARQONBUS_POSTGRES_URL: 'postgresql://bus@db-1:5432,db-2:5432/arqonbus?target_session_attrs=read-write' }),
  ),
  fault(
    'a database that only reads',
    blockedByDependency('dep.postgres.writable', 'READ_ONLY'),
    postgres((database) => database.query(`ALTER DATABASE ${database.name} SET default_transaction_read_only = on`)),
  ),
  fault(
    'a right that is missing',
    blockedByConfig('dep.postgres.privileges', 'MISSING_GRANT'),
    postgres((database) => database.query('REVOKE INSERT ON arqonbus_audit FROM bus')),
  ),
  fault(
    'a migration that is missing',
    blockedByDependency('dep.postgres.migrations', 'PENDING'),
    postgres((database) => database.query("DELETE FROM arqonbus_migrations WHERE name = '20260216_audit.sql'")),
  ),
  fault(
    'a migration that was edited',
    blockedByDependency('dep.postgres.migrations', 'ALTERED'),
    postgres((database) =>
      database.query("UPDATE arqonbus_migrations SET checksum = 'x' WHERE name = '20260216_audit.sql'"),
    ),
  ),
  fault(
    'a database that is ahead',
    blockedByDependency('dep.postgres.migrations', 'AHEAD'),
    postgres((database) => database.query("INSERT INTO arqonbus_migrations VALUES ('20270101_more.sql', 'x')")),
  ),
  fault(
    'a migration under way',
    blockedByDependency('dep.postgres.migrations', 'LOCKED'),
    postgres(async (database, lab) => {
      const holder = await openConnection({ address: parsePostgresAddress(database.url), limits: slowLimits })
      await holder.query({ text: `SELECT pg_advisory_lock(${lockKey})` })
      lab.closing.push(() => holder.close())
    }),
  ),
  fault(
    'a trigger that is gone',
    blockedByDependency('dep.postgres.migrations', 'DRIFT'),
    postgres((database) => database.query('DROP TRIGGER arqonbus_audit_only_grows ON arqonbus_audit')),
  ),
  fault(
    'an index that is not valid',
    highDependency('dep.postgres.headroom', 'INVALID_INDEX'),
    postgres(async (database) => {
      await database.query("INSERT INTO arqonbus_probe VALUES ('a', 1), ('b', 1)")
      await database
        .query('CREATE UNIQUE INDEX CONCURRENTLY arqonbus_twice ON arqonbus_probe (at_ms)')
        .catch(() => undefined)
    }),
  ),
  fault(
    'more processes than Postgres has connections',
    highDependency('dep.postgres.headroom', 'TOO_FEW_CONNECTIONS'),
    () => ({ policy: { instances: 60 } }),
  ),
  fault(
    'fewer standbys than declared',
    highDependency('dep.postgres.replication', 'TOO_FEW_STANDBYS'),
    postgres(
      (_database, lab) =>
        lab.postgres.server.query('GRANT pg_monitor TO bus').then(() => {
          lab.closing.push(() => lab.postgres.server.query('REVOKE pg_monitor FROM bus'))
        }),
      { policy: { postgresStandbys: 1 } },
    ),
  ),
  fault(
    'Postgres with a clock that is five seconds off',
    highDependency('dep.postgres.skew', 'CLOCKS_APART'),
    async (lab) => {
      const proxy = await startClockProxy(lab.postgres.server.port, 5_000)
      lab.closing.push(() => proxy.close())
      return { env: { ARQONBUS_POSTGRES_URL: lab.env['ARQONBUS_POSTGRES_URL']!.replace(/:\d+\//, `:${proxy.port}/`) } }
    },
  ),
  fault(
    'a projector without its tables',
    blockedByConfig('projector.migration-applied', 'NOT_RECORDED'),
    postgres(
      (database) =>
        database.query(
          "DROP TABLE arqonbus_continuum_projection CASCADE; DELETE FROM arqonbus_migrations WHERE name LIKE '%projector%'",
        ),
      { env: projectorOn },
    ),
  ),
  fault(
    'a projector whose table has lost an index',
    blockedByConfig('projector.migration-applied', 'DRIFT'),
    postgres((database) => database.query('DROP INDEX idx_arqonbus_cont_proj_dlq_queued_at'), { env: projectorOn }),
  ),
]

const natsFaults: readonly FaultyWorld[] = [
  fault('NATS is not there', blockedByDependency('dep.nats.connect', 'ECONNREFUSED'), set({ NATS_URL: natsUrl(1) })),
  fault('one of two NATS servers is not there', blockedByDependency('dep.nats.connect', 'ECONNREFUSED'), (lab) => ({
    env: { NATS_URL: natsUrl(lab.nats.port, 1) },
  })),
  fault('NATS’ password is wrong', blockedByConfig('dep.nats.connect', 'AUTH_REFUSED'), (lab) => ({
    env: { NATS_URL: `nats://shield:wrong@127.0.0.1:${lab.nats.port}` },
  })),
  fault('NATS’ password is missing', blockedByConfig('dep.nats.connect', 'AUTH_REQUIRED'), (lab) => ({
    env: { NATS_URL: `nats://127.0.0.1:${lab.nats.port}` },
  })),
  fault('a black hole in NATS’ place', blockedByDependency('dep.nats.connect', 'NO_ANSWER'), async (lab) => ({
    env: { NATS_URL: natsUrl(await blackHole(lab)) },
  })),
  fault('a web server in NATS’ place', blockedByConfig('dep.nats.connect', 'NOT_THE_PROTOCOL'), async (lab) => ({
    env: { NATS_URL: natsUrl(await webServer(lab)) },
  })),
  fault(
    'a max_payload that is too small',
    expecting('high', 'dependency')('dep.nats.identity', 'PAYLOAD_TOO_SMALL'),
    nats(natsConfig('').replace('2MB', '64KB')),
  ),
  fault(
    'a user who may publish nothing',
    blockedByConfig('dep.nats.pubsub', 'NO_PERMISSION'),
    nats(natsConfig(', permissions: { publish: { deny: ">" }, subscribe: ">" }')),
  ),
  fault(
    'a user who may not hear answers',
    criticalConfig('dep.nats.permissions', 'DENIED'),
    nats(
      natsConfig(
        ', permissions: { publish: ">", subscribe: { allow: ["in.t.>", "shadow.>", "out.t.>", "_INBOX.>"] } }',
      ),
    ),
  ),
  fault(
    'a user with too long a list of rights',
    criticalConfig('dep.nats.permissions', 'TOO_MUCH'),
    nats(natsConfig(', permissions: { publish: ">", subscribe: { allow: ["out.t.>", "ctl.edge.>", "_INBOX.>"] } }')),
  ),
  fault(
    'no JetStream, and schemas are kept there',
    blockedByDependency('dep.nats.jetstream', 'NO_JETSTREAM'),
    nats(natsConfig('').replace(/jetstream.*\n/, ''), { env: { SHIELD_SCHEMA_SOURCE: 'nats' } }),
  ),
]

/** What stands in a server's place at the edge, and is what the live checks judge. */
const liveFaults: readonly FaultyWorld[] = [
  fault('a bus that is not there', blockedByDependency('live.bus-health', 'ECONNREFUSED'), () => ({
    live: { http: `http://${noPort}` },
  })),
  fault(
    'a health endpoint that names nothing',
    blockedByDependency('live.bus-health', 'NO_COMPONENTS'),
    async (lab) => {
      const answers = createHttpServer((request, response) => {
        void fetch(`${lab.addresses.http}${request.url}`).then(async (real) => {
          const body = (await real.json()) as object
          response.setHeader('content-type', 'application/json')
          response.end(JSON.stringify(request.url === '/ready' ? { ...body, components: [] } : body))
        })
      })
      return { live: { http: `http://127.0.0.1:${await listen(lab, answers)}` } }
    },
  ),
  fault(
    'telemetry that does not greet',
    expecting('critical', 'dependency')('live.telemetry-accepts', 'NO_GREETING'),
    async (lab) => {
      const server = createHttpServer()
      const sockets = new WebSocketServer({ server })
      sockets.on('connection', (socket) => socket.send('{"event_type":"other"}'))
      lab.closing.push(() => sockets.close())
      return { live: { telemetry: `ws://127.0.0.1:${await listen(lab, server)}` } }
    },
  ),
  fault(
    'a gateway that says 101 to everybody and then closes',
    blockedByRegression('live.shield-rejects-missing-token', 'LET_IN'),
    async (lab) => {
      const server = createHttpServer()
      const sockets = new WebSocketServer({ server })
      sockets.on('connection', (socket) => socket.close(1008))
      lab.closing.push(() => sockets.close())
      return { live: { shield: `ws://127.0.0.1:${await listen(lab, server)}/ws` } }
    },
    ['live.shield-rejects-bad-tokens', 'live.shield-accepts-valid-token'],
  ),
  fault(
    'a secret that is not the running Shield’s',
    blockedByRegression('live.shield-accepts-valid-token', 'NOT_LET_IN'),
    () => ({
      env: { JWT_SECRET: strongSecret.split('').reverse().join('') },
      live: true,
    }),
    ['live.shield-rejects-bad-tokens', 'live.telemetry-accepts'],
  ),
]

export const faults: readonly FaultyWorld[] = [
  ...configFaults,
  ...valkeyFaults,
  ...postgresFaults,
  ...natsFaults,
  ...liveFaults,
]

export const oddities: readonly CorpusWorld[] = [
  healthy('everything as it should be, and running', () => ({ live: true })),
  healthy('the other name of Valkey', (lab) => ({
    env: { ARQONBUS_VALKEY_URL: undefined, ARQONBUS_REDIS_URL: lab.valkey.url },
  })),
  healthy('both names with the same address', (lab) => ({ env: { ARQONBUS_REDIS_URL: lab.valkey.url } })),
  healthy('another database of Valkey', (lab) => ({ env: { ARQONBUS_VALKEY_URL: `${lab.valkey.url}/3` } })),
  healthy('Valkey without a bound on memory', valkey({})),
  healthy('Valkey with snapshots instead of a log', valkey({ settings: { appendonly: 'no', save: '3600 1' } })),
  healthy('Valkey that keeps nothing, in degraded', async (lab) => {
    const changes = await valkey({ settings: { appendonly: 'no' } })(lab)
    return { env: { ...changes.env, ARQONBUS_STORAGE_MODE: 'degraded' } }
  }),
  healthy(
    'a clock of Valkey that is a second off',
    valkeyThrough(([name], reply) => {
      if (name !== 'TIME') return reply
      const seconds = /\r\n(\d{10})\r\n/.exec(reply.toString())![1]!
      return Buffer.from(reply.toString().replace(seconds, String(Number(seconds) + 1)))
    }),
  ),
  healthy(
    'fields in INFO that nobody knows',
    info((text) => `${text}# Future\r\nshiny_new:1\r\n`),
  ),
  healthy(
    'tables, columns and broken indexes of others',
    postgres(async (database) => {
      await database.query('CREATE TABLE theirs (n int); INSERT INTO theirs VALUES (1), (1)')
      await database.query('CREATE UNIQUE INDEX CONCURRENTLY theirs_once ON theirs (n)').catch(() => undefined)
      await database.query('ALTER TABLE arqonbus_audit ADD COLUMN note text')
    }),
  ),
  healthy('a superuser', (lab) => ({
    env: { ARQONBUS_POSTGRES_URL: lab.env['ARQONBUS_POSTGRES_URL']!.replace('//bus@', '//arqonbus@') },
  })),
  healthy('a password where Postgres asks for none', (lab) => ({
    env: { ARQONBUS_POSTGRES_URL: lab.env['ARQONBUS_POSTGRES_URL']!.replace('//bus@', '//bus:un%40needed@') },
  })),
  healthy('the other scheme of Postgres', (lab) => ({
    env: { ARQONBUS_POSTGRES_URL: lab.env['ARQONBUS_POSTGRES_URL']!.replace('postgresql:', 'postgres:') },
  })),
  healthy('history in Postgres', set({ ARQONBUS_STORAGE_BACKEND: 'postgresql' })),
  healthy('history embedded', set({ ARQONBUS_STORAGE_BACKEND: 'embedded' })),
  healthy('NATS by two names of one server', (lab) => ({
    env: { NATS_URL: natsUrl(lab.nats.port, lab.nats.port) },
  })),
  healthy('one of two NATS servers is not there, and one is enough', (lab) => ({
    env: { NATS_URL: natsUrl(lab.nats.port, 1) },
    policy: { natsServers: 'any' },
  })),
  healthy('NATS without JetStream where nobody needs it', nats(natsConfig('').replace(/jetstream.*\n/, ''))),
  healthy(
    'a gateway with just the rights it needs',
    nats(
      natsConfig(
        ', permissions: { publish: ["in.t.>", "shadow.in.t.>", "out.t.>", "ctl.>", "_INBOX.>"], subscribe: ["in.t.>", "shadow.in.t.>", "out.t.>", "ctl.>", "_INBOX.>"] }',
      ),
    ),
  ),
  healthy(
    'booleans and modes in other spellings',
    set({
      ARQONBUS_ALLOW_JSON_INFRA: '0',
      ARQON_SCHEMA_STRICT: 'TRUE',
      ARQONBUS_STORAGE_MODE: 'STRICT',
      ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'True',
    }),
  ),
  healthy('every interface', set({ ARQONBUS_SERVER_HOST: '0.0.0.0' })),
  healthy(
    'a secret of the bus that is another one',
    set({ ARQONBUS_AUTH_JWT_SECRET: strongSecret.split('').reverse().join('') }),
  ),
  healthy('variables of others', set({ LC_PAPER: 'de_DE.UTF-8', MAIL: '/var/mail/bus', EMPTY: '' })),
  healthy('Ollama configured and switched off', set({ ARQONBUS_OLLAMA_ENABLED: 'false' })),
]
