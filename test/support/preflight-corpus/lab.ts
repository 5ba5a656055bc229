// A healthy staging system on real servers - Valkey or Redis, Postgres, NATS with JetStream, a bus and a Shield as
// processes - and the preflight run against it, whole, with whatever a world changed.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Closers, createClosers } from '../../../src/base/closers.ts'
import type { Environment } from '../../../src/config/resolution.ts'
import type { Report } from '../../../src/preflight/report.ts'
import type { PreflightInputs } from '../../../src/preflight/inputs.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { parseTargets } from '../../../src/preflight/targets.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { productionEnvironment } from '../environments.ts'
import { findFreePorts } from '../launch/free-ports.ts'
import { launchBus, launchShield } from '../launch/launch-linked.ts'
import { type PostgresLab, openPostgresLab } from '../postgres-lab.ts'
import { type NatsServerProcess, startNatsServer } from '../servers/nats-server.ts'
import { startValkeyServer, type ValkeyServerProcess } from '../servers/valkey-server.ts'
import { probeHere } from '../probe-here.ts'

/** Needs escaping in every address. */
export const labPassword = 'p@ss:w/rd%'

export interface CorpusLab {
  readonly valkey: ValkeyServerProcess
  readonly postgres: PostgresLab
  readonly nats: NatsServerProcess
  /** The healthy environment. */
  readonly env: Environment
  readonly addresses: {
    readonly bus: string
    readonly http: string
    readonly telemetry: string
    readonly shield: string
  }
  /** Run when the world is over, last first. */
  readonly closing: (() => unknown)[]
  run(changes: WorldChanges): Promise<Report>
  endWorld(): Promise<void>
  close(): Promise<void>
}

export interface WorldChanges {
  readonly env?: Environment
  readonly policy?: Partial<PreflightPolicy>
  /** Judge the running system too; other addresses in its place. */
  readonly live?: true | Partial<CorpusLab['addresses']>
  readonly inputs?: Partial<PreflightInputs>
  /** Probes in processes of their own, many at once, as an operator's run has them. */
  readonly asOperator?: true
}

/** Everything but the machine this runs on: that is a developer's, and no part of a world. */
const judged = [
  'bus',
  'shield',
  'dep',
  'projector',
  'meta.profile-production',
  'meta.config-valid',
  'meta.files-readable',
]
/** What binds ports or reads the repository is judged in tests of its own. */
const machine = ['bus.server-port-free']

/** Leaves nothing running where a part of it does not start. */
export async function openCorpusLab(): Promise<CorpusLab> {
  const opened = createClosers()
  try {
    return await openParts(opened)
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** What it starts is put into `opened` as soon as it stands. */
async function openParts(opened: Closers): Promise<CorpusLab> {
  const keep = <T extends { close(): Promise<void> }>(name: string, part: T): T => {
    opened.push(name, () => part.close())
    return part
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-corpus-'))
  opened.push('data folder', () => rm(dataDir, { recursive: true, force: true }))
  const settings = { maxmemory: '256mb', 'maxmemory-policy': 'noeviction' }
  const valkey = keep('valkey', await startValkeyServer({ settings, password: labPassword }))
  const postgres = keep('postgres', await openPostgresLab({ fsync: 'off' }))
  const nats = keep(
    'nats',
    await startNatsServer({
      config: `max_payload: 2MB\njetstream: { store_dir: "./js" }\nauthorization: { users: [ { user: shield, password: "${labPassword}" } ] }`,
    }),
  )
  const { server } = postgres
  await server.query("CREATE ROLE bus LOGIN PASSWORD 'hush-hush'")
  const database = await postgres.newDatabase()
  await database.query(
    'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bus; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bus',
  )
  const [ws, http, telemetry] = (await findFreePorts(3)) as [number, number, number]
  const env: Environment = {
    ...productionEnvironment,
    ARQONBUS_ENVIRONMENT: 'staging',
    ARQONBUS_STORAGE_BACKEND: 'valkey',
    ARQONBUS_VALKEY_URL: valkey.url,
    ARQONBUS_POSTGRES_URL: database.url.replace('//arqonbus@', '//bus@'),
    NATS_URL: `nats://shield:${encodeURIComponent(labPassword)}@127.0.0.1:${nats.port}`,
    ARQONBUS_DATA_DIR: dataDir,
    ARQONBUS_SERVER_PORT: String(ws),
    ARQONBUS_HTTP_PORT: String(http),
    ARQONBUS_TELEMETRY_PORT: String(telemetry),
  }
  const closing: (() => unknown)[] = []
  const variables = env as Record<string, string> // every one is set
  const bus = await launchBus({ ...variables, ARQONBUS_ENABLE_TELEMETRY: 'true' }, [ws, http])
  opened.push('bus', () => bus.kill())
  const { SHIELD_PORT: _port, SHIELD_METRICS_PORT: _metrics, ...atFreePorts } = variables
  const shield = await launchShield(atFreePorts)
  opened.push('shield', () => shield.kill())
  const addresses = {
    bus: bus.url,
    http: bus.httpUrl,
    telemetry: `ws://127.0.0.1:${telemetry}`,
    shield: shield.url,
  }

  return {
    valkey,
    postgres,
    nats,
    env,
    addresses,
    closing,
    async run({ env: changes = {}, policy = {}, live, inputs = {}, asOperator }) {
      const targets = { ...addresses, ...(live === true ? {} : live) }
      return await runPreflight(
        {
          env: { ...env, ...changes },
          only: [...judged, ...(live === undefined ? [] : ['live'])],
          skip: machine,
          policy: { ...defaultPreflightPolicy, ...policy },
          ...(asOperator === undefined && { jobs: 1 }),
          ...(live !== undefined && {
            targets: parseTargets(
              Object.entries(targets)
                .map(([name, url]) => `${name}=${url}`)
                .join(','),
            ),
          }),
          ...inputs,
        },
        asOperator === undefined ? { prober: probeHere() } : {},
      )
    },
    async endWorld() {
      for (const close of closing.splice(0).reverse()) await close()
    },
    close: () => opened.close(),
  }
}
