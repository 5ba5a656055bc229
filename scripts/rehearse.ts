// `npm run rehearse [-- --without-gates] [--keep]`: the production runbook on this machine, from nothing to servers that
// run under a certificate. Real Valkey or Redis, Postgres and NATS, with TLS, passwords and an address of this machine
// that is not loopback; then the commands of docs/preflight.md and docs/certificate.md, each as an operator types it:
// migrate, preflight run with every phase, certify, verify, start bus, Shield and projector, publish, read, restart.
// Ends with 0 when all of that went well, and says how long each step took. The checkout has to be clean.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { jetstreamManager } from '@nats-io/jetstream'
import { dialAny } from '../src/link/nats-dial.ts'
import { type Certificates, makeCertificates } from '../test/support/certificates.ts'
import { findFreePorts } from '../test/support/launch/free-ports.ts'
import { requireProgram } from '../test/support/servers/neighbours.ts'
import { startPostgresServer } from '../test/support/servers/postgres-server.ts'
import { answers, startServer } from '../test/support/servers/server-process.ts'

const { values } = parseArgs({
  options: { 'without-gates': { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
})
const command = fileURLToPath(new URL('../bin/arqonbus.mjs', import.meta.url))
const root = fileURLToPath(new URL('..', import.meta.url))
const host = ownAddress()
const folder = fs.mkdtempSync(join(tmpdir(), 'arqonbus-rehearsal-'))
const at = (name: string): string => join(folder, name)
const password = (): string => randomBytes(24).toString('base64url')
const closers: (() => Promise<unknown>)[] = []
const began = performance.now()

/** What production is reached by: the rules refuse loopback for stores there. */
function ownAddress(): string {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal)
  if (own === undefined)
    throw new Error('this machine has no address but loopback: production cannot be rehearsed here')
  return own.address
}

function say(text: string): void {
  console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(6)} s  ${text}`)
}

interface Ran {
  readonly exit: number | null
  readonly out: string
  readonly errors: string
}

/** Aborted by ^C: the command at work ends, nothing more begins, and what was started is ended. */
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort(new Error('stopped')))

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const child = spawn(process.execPath, [command, ...args], {
    cwd: root,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: stop.signal,
  })
  child.on('error', () => undefined) // told of the stop, below
  let out = ''
  let errors = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const exit = await new Promise<number | null>((resolve) => child.on('close', resolve))
  stop.signal.throwIfAborted()
  return { exit, out, errors }
}

/** Runs a command that has to end well; returns what it printed. */
async function step(words: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { exit, out, errors } = await run(args, env)
  if (exit !== 0) throw new Error(`${words}: exit ${exit}\n${out}\n${errors}`)
  say(words)
  return out
}

interface Services {
  readonly valkeyUrl: string
  readonly postgresUrl: string
  readonly natsUrl: string
}

async function startServices({ certificate, key, authority }: Certificates): Promise<Services> {
  const [tlsPort] = (await findFreePorts(1)) as [number]
  const [valkeyPassword, busPassword, natsPassword] = [password(), password(), password()]
  const valkey = await startServer({
    program: requireProgram('valkey'),
    args: ({ dir, port }) =>
      Object.entries({
        port: `${port}`,
        'tls-port': `${tlsPort}`,
        bind: `127.0.0.1 ${host}`,
        'tls-cert-file': certificate,
        'tls-key-file': key,
        'tls-ca-cert-file': authority,
        'tls-auth-clients': 'no',
        requirepass: valkeyPassword,
        appendonly: 'yes',
        appendfsync: 'always',
        maxmemory: '256mb',
        'maxmemory-policy': 'noeviction',
        save: '',
        dir,
      }).flatMap(([name, value]) => [`--${name}`, value]),
    isReady: ({ port }) => answers(port, 'PING\r\n', (text) => text.startsWith('-NOAUTH')),
  })
  closers.push(() => valkey.close())

  const postgresFiles = at('postgres')
  fs.mkdirSync(postgresFiles, { mode: 0o755 })
  fs.chmodSync(folder, 0o755)
  for (const file of [certificate, key])
    fs.copyFileSync(file, join(postgresFiles, file.endsWith('.key') ? 'key' : 'pem'))
  if (process.getuid?.() === 0) {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres']).toString()))
    fs.chownSync(join(postgresFiles, 'key'), uid!, gid!)
  }
  fs.chmodSync(join(postgresFiles, 'key'), 0o600)
  const postgres = await startPostgresServer({
    settings: {
      listen_addresses: `127.0.0.1,${host}`,
      ssl: 'on',
      ssl_cert_file: join(postgresFiles, 'pem'),
      ssl_key_file: join(postgresFiles, 'key'),
      password_encryption: 'scram-sha-256',
    },
    hba: `hostssl all all ${host}/32 scram-sha-256`,
  })
  closers.push(() => postgres.close())
  await postgres.query(`CREATE ROLE bus LOGIN PASSWORD '${busPassword}'`)
  await postgres.query(`CREATE ROLE owner LOGIN PASSWORD '${busPassword}'`)
  await postgres.query(
    'GRANT CREATE, USAGE ON SCHEMA public TO owner; GRANT USAGE ON SCHEMA public TO bus',
    [],
    'arqonbus',
  )
  await postgres.query(
    'ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO bus; ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO bus',
    [],
    'arqonbus',
  )

  const adminPassword = password()
  const nats = await startServer({
    program: requireProgram('nats'),
    prepare: ({ dir, port }) => {
      const tls = `tls { cert_file: "${certificate}", key_file: "${key}", ca_file: "${authority}" }`
      // One user for the three programs, since they share an environment here; docs/link.md has one for each.
      const rights = `permissions: {
        publish: { allow: [${names(...linkSubjects, '$JS.API.>', '$JS.ACK.>', 'arqon-preflight.js.>', 'continuum.>')}], deny: [${names('$SYS.>', '$JS.API.STREAM.DELETE.>', '$JS.API.STREAM.PURGE.>')}] }
        subscribe: { allow: [${names(...linkSubjects)}] }
      }`
      const users = `authorization { users: [
        { user: admin, password: "${adminPassword}" }
        { user: arqonbus, password: "${natsPassword}", ${rights} }
      ] }`
      fs.writeFileSync(
        join(dir, 'nats.conf'),
        `listen: "0.0.0.0:${port}"\nmax_payload: 2MB\njetstream { store_dir: "${dir}/js" }\n${tls}\n${users}\n`,
      )
      return Promise.resolve()
    },
    args: ({ dir }) => ['-c', join(dir, 'nats.conf')],
    isReady: ({ port }) => answers(port, '', (text) => text.startsWith('INFO')),
  })
  closers.push(() => nats.close())
  await makeStreams(nats.port, adminPassword, authority)
  return {
    valkeyUrl: `rediss://:${valkeyPassword}@${host}:${tlsPort}/0`,
    postgresUrl: `postgresql://bus:${busPassword}@${host}:${postgres.port}/arqonbus?sslmode=verify-full&sslrootcert=${authority}`,
    natsUrl: `tls://arqonbus:${natsPassword}@${host}:${nats.port}`,
  }
}

const linkSubjects = ['in.t.>', 'out.t.>', 'ctl.>', '_INBOX.>']
const names = (...subjects: readonly string[]): string => subjects.map((subject) => `"${subject}"`).join(', ')

/** What an administrator does once: the projector's stream, and the one that the preflight may write to. */
async function makeStreams(port: number, pass: string, authority: string): Promise<void> {
  setDefaultCACertificates([...getCACertificates('default'), fs.readFileSync(authority, 'utf8')])
  const server = { host, port, isTls: true, user: 'admin', password: pass }
  const connection = await dialAny([server], { name: 'rehearsal', timeoutMs: 2_000 })
  const manager = await jetstreamManager(connection)
  const [day, second] = [86_400_000_000_000, 1_000_000_000]
  const streams = [
    { name: 'CONTINUUM_EPISODES', subjects: ['continuum.episode.v1'], max_age: 7 * day },
    { name: 'ARQON_PREFLIGHT', subjects: ['arqon-preflight.js.>'], max_age: 60 * second },
  ]
  for (const stream of streams) await manager.streams.add(stream)
  await connection.close()
}

interface Served {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  readonly errors: () => string
}

function serve(program: string, env: NodeJS.ProcessEnv): Served {
  const child = spawn(process.execPath, [command, program], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  child.stdout!.resume()
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await ended
  }
  closers.push(stop)
  return { child, ended, errors: () => errors }
}

async function ready(name: string, port: number, { child, errors }: Served): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}\n${errors()}`)
    try {
      if ((await fetch(`http://127.0.0.1:${port}/ready`)).ok) return say(`${name} is ready`)
    } catch {
      // not yet
    }
    await pause(100, undefined, { signal: stop.signal })
  }
  throw new Error(`${name} is not ready\n${errors()}`)
}

function environmentFile(name: string, env: Readonly<Record<string, string>>): string {
  const path = at(name)
  fs.writeFileSync(
    path,
    Object.entries(env)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
    { mode: 0o600 },
  )
  return path
}

type Judged = Readonly<Record<'id' | 'status' | 'phase', string>>
interface Seen {
  readonly ms: number
  readonly findings?: readonly { readonly found: string }[]
  readonly observed?: string
}

/** What the runbook promises of each proof that starts the candidate. */
const bootProofMs = 10_000

/** Says which were slowest; throws where one broke the promise. */
function holdBootProofs(results: readonly Judged[], seen: Readonly<Record<string, Seen>>): void {
  const proofs = results
    .filter(({ phase, status }) => phase === 'boot' && status !== 'skip')
    .map(({ id }) => ({ id, ms: seen[id]?.ms ?? Number.NaN }))
    .sort((a, b) => b.ms - a.ms)
  say(`${proofs.length} boot proofs, slowest first`)
  for (const { id, ms } of proofs) console.log(`          ${(ms / 1_000).toFixed(1).padStart(4)} s  ${id}`)
  const late = proofs.filter(({ ms }) => !(ms < bootProofMs))
  if (proofs.length === 0 || late.length > 0) {
    throw new Error(
      `not each boot proof took less than ${bootProofMs / 1_000} s: ${late.map(({ id }) => id).join(', ')}`,
    )
  }
}

async function rehearse(): Promise<void> {
  if (execFileSync('git', ['status', '--porcelain'], { cwd: root }).toString() !== '') {
    throw new Error('the checkout has changes: a certificate is of a commit, and of nothing else')
  }
  const certificates = await makeCertificates(host, 90)
  closers.push(() => certificates.close())
  // Whom this machine trusts besides, for the gate that asks the registry.
  const trusted = process.env['NODE_EXTRA_CA_CERTS']
  const others = trusted === undefined ? '' : fs.readFileSync(trusted, 'utf8')
  fs.writeFileSync(at('authorities.pem'), `${fs.readFileSync(certificates.authority, 'utf8')}\n${others}`)
  const { valkeyUrl, postgresUrl, natsUrl } = await startServices(certificates)
  say(`Valkey, Postgres and NATS with TLS at ${host}`)
  const [bus, http, telemetry, shield, metrics, projector] = (await findFreePorts(6)) as number[]
  fs.mkdirSync(at('data'), { mode: 0o700 })

  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', at('certifier.pem')], { stdio: 'ignore' })
  const pinned = execFileSync('openssl', ['pkey', '-in', at('certifier.pem'), '-pubout', '-outform', 'DER'])
    .subarray(-32)
    .toString('base64')
  const declared = {
    ARQONBUS_ENVIRONMENT: 'production',
    ARQONBUS_SERVER_HOST: '127.0.0.1',
    ARQONBUS_SERVER_PORT: String(bus),
    ARQONBUS_HTTP_HOST: '127.0.0.1',
    ARQONBUS_HTTP_PORT: String(http),
    ARQONBUS_TELEMETRY_HOST: '127.0.0.1',
    ARQONBUS_TELEMETRY_PORT: String(telemetry),
    ARQONBUS_STORAGE_MODE: 'strict',
    ARQONBUS_STORAGE_BACKEND: 'valkey',
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_VALKEY_URL: valkeyUrl,
    ARQONBUS_POSTGRES_URL: postgresUrl,
    ARQONBUS_PROJECTOR_ENABLED: 'true',
    ARQONBUS_PROJECTOR_METRICS_HOST: '127.0.0.1',
    ARQONBUS_PROJECTOR_METRICS_PORT: String(projector),
    ARQONBUS_INFRA_PROTOCOL: 'protobuf',
    ARQONBUS_ALLOW_JSON_INFRA: 'false',
    ARQONBUS_DATA_DIR: at('data'),
    ARQONBUS_PREFLIGHT_PUBLIC_KEY: `ed25519:${pinned}`,
    ARQONBUS_PREFLIGHT_CERTIFICATE: at('go.json'),
    JWT_SECRET: randomBytes(48).toString('base64'),
    NATS_URL: natsUrl,
    ARQON_SCHEMA_STRICT: 'true',
    SHIELD_HOST: '127.0.0.1',
    SHIELD_PORT: String(shield),
    SHIELD_METRICS_HOST: '127.0.0.1',
    SHIELD_METRICS_PORT: String(metrics),
    NODE_EXTRA_CA_CERTS: at('authorities.pem'),
    // What a shell's limit of open files has room for; a unit sets LimitNOFILE=.
    ARQONBUS_MAX_CONNECTIONS: '5000',
    SHIELD_LIMIT_MAX_CONNECTIONS: '5000',
  }
  const trust = { NODE_EXTRA_CA_CERTS: at('authorities.pem') }
  const owner = { ...trust, ARQONBUS_POSTGRES_URL: postgresUrl.replace('//bus:', '//owner:') }
  await step('migrate up', ['migrate', 'up'], owner)
  await step('projector migrate', ['projector', 'migrate'], owner)

  // Where no preflight has been green before, somebody has to say that this is the database that is meant.
  const asked = await run(
    [
      'preflight',
      'run',
      '--env-from',
      `file:${environmentFile('first.env', declared)}`,
      '--only',
      'projector.new-environment',
      '--json',
    ],
    { ...trust, ARQONBUS_PREFLIGHT_DIR: folder },
  )
  const identity = /no preflight has said GO for ([0-9a-f]{16})/.exec(asked.out)?.[1]
  if (identity === undefined) throw new Error(`no new environment was found\n${asked.out}${asked.errors}`)
  say(`the database ${identity} is new, and accepted`)
  const production = { ...declared, ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT: identity }
  const file = environmentFile('service.env', production)

  const refused = await run(['bus'], { ...production })
  if (refused.exit !== 78) throw new Error(`a bus without a certificate ended with ${refused.exit}\n${refused.errors}`)
  say('a bus without a certificate is refused (78)')

  const gates = values['without-gates'] ? [] : ['--gates']
  const from = ['--profile', 'prod', '--env-from', `file:${file}`]
  const startedMs = performance.now()
  const judged = await run(['preflight', 'run', ...from, ...gates, '--candidate', '--json'], {
    ...trust,
    ARQONBUS_PREFLIGHT_DIR: folder,
  })
  fs.writeFileSync(at('report.json'), judged.out)
  if (judged.out === '') throw new Error(`preflight run printed nothing: exit ${judged.exit}\n${judged.errors}`)
  const report = JSON.parse(judged.out) as {
    canonical: { verdict: string; results: Judged[] }
    observations: { results: Record<string, Seen> }
  }
  const { verdict, results } = report.canonical
  const counts = Object.entries(Object.groupBy(results, ({ status }) => status))
  say(
    `preflight run: ${verdict}, exit ${judged.exit}, ${((performance.now() - startedMs) / 1_000).toFixed(1)} s; ${counts
      .map(([status, of]) => `${of!.length} ${status}`)
      .join(', ')}`,
  )
  for (const { id, status } of results.filter((one) => one.status === 'fail' || one.status === 'error')) {
    const seen = report.observations.results[id]
    console.log(`          ${status} ${id}: ${seen?.findings?.map(({ found }) => found).join('; ') ?? seen?.observed}`)
  }
  // A blocker before them leaves them out; without gates they run, and there is no GO.
  if (verdict !== 'NO-GO') holdBootProofs(results, report.observations.results)
  if (verdict !== 'GO') {
    console.log(judged.errors)
    throw new Error(`the verdict is ${verdict}`)
  }

  await step('preflight certify', [
    'preflight',
    'certify',
    '--report',
    at('report.json'),
    '--key',
    at('certifier.pem'),
    '--out',
    at('go.json'),
  ])
  process.stdout.write(await step('preflight verify', ['preflight', 'verify', '--env-from', `file:${file}`], trust))

  const programs = await startAll(production, { http: http!, metrics: metrics!, projector: projector! })
  const token = (
    await step('token', ['token', '--tenant', 'acme', '--subject', 'rehearsal'], {
      ...trust,
      JWT_SECRET: production.JWT_SECRET,
    })
  ).trim()
  const url = ['--url', `ws://127.0.0.1:${shield}/ws`, '--token', token]
  await step('publish through Shield', ['publish', ...url, '--room', 'lab', '--channel', 'general', '{"a":1}'], trust)
  for (const { child, ended } of programs) {
    child.kill('SIGTERM')
    const exit = await ended
    if (exit !== 0) throw new Error(`a program ended with ${exit}`)
  }
  say('all three ended with 0')
  await startAll(production, { http: http!, metrics: metrics!, projector: projector! })
  say('all three again, under the same certificate')

  const other = await run(['shield'], { ...production, ARQON_SCHEMA_STRICT: '1' })
  if (other.exit !== 78 || !other.errors.includes('ARQON_SCHEMA_STRICT')) {
    throw new Error(`one changed variable: exit ${other.exit}\n${other.errors}`)
  }
  say('with one variable changed Shield is refused (78)')
}

async function startAll(
  env: NodeJS.ProcessEnv,
  { http, metrics, projector }: { http: number; metrics: number; projector: number },
): Promise<readonly Served[]> {
  const started = [
    { name: 'bus', port: http },
    { name: 'shield', port: metrics },
    { name: 'projector', port: projector },
  ].map((one) => ({ ...one, served: serve(one.name, env) }))
  for (const { name, port, served } of started) await ready(name, port, served)
  return started.map(({ served }) => served)
}

try {
  await rehearse()
  say('GO, certified, started under it')
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  for (const close of closers.toReversed()) await close()
  if (values.keep) console.log(`kept: ${folder}`)
  else fs.rmSync(folder, { recursive: true, force: true })
}
