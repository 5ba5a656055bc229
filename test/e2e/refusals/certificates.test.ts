// GO certificates at a real start: the programs of production with a pinned key. They start under a certificate of this
// build and environment, again after that has expired, and not under any other; they show when it is no longer what they
// run on; break-glass and permit are bounded.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { requireCertifiedStart } from '../../../src/app/certified-start.ts'
import { digestOf } from '../../../src/base/canonical-json.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { signBreakGlass } from '../../../src/certificate/break-glass.ts'
import type { Certificate } from '../../../src/certificate/certificate.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { migrateUp } from '../../../src/postgres/migrations.ts'
import { bootCertificateCheck } from '../../../src/preflight/certificate/boot-checks.ts'
import { spawnWithPermit } from '../../../src/preflight/certificate/spawn-with-permit.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { certificateFor, pinned, resigned } from '../../support/certificates-go.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { startEventServer } from '../../support/launch/projector-lab.ts'
import { type Ended, type Started, start, type Variables } from '../../support/launch/watched-command.ts'
import { runCommand } from '../../support/run-command.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startPostgresServer } from '../../support/servers/postgres-server.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'
import { tamperings } from '../../support/tampered-certificates.ts'
import { approvers, fileOf, policyYaml, signed, site, waiverOf, yamlOf } from '../../support/waivers.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-certificates-'))
const data = join(folder, 'data')
const path = (name: string): string => join(folder, name)
const started: Started[] = []
let httpPort = 0
const apiKey = 'an-api-key-for-tests-0123456789'
let env: Variables = {}
/** The same with services, which nobody reaches: what is refused asks none. */
let whole: Variables = {}
let good: Certificate
let waivers: Certificate['waivers'] = []
const closers: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill('SIGTERM')
    await ended
  }
})

beforeAll(async () => {
  mkdirSync(data, { mode: 0o700 })
  const now = Date.now()
  const socket = path('valkey.sock')
  if (!skipWithout('valkey')) {
    const valkey = await startValkeyServer({ settings: { unixsocket: socket } })
    closers.push(() => valkey.close())
  }
  let postgresUrl: string = productionEnvironment.ARQONBUS_POSTGRES_URL
  if (!skipWithout('postgres')) {
    // By its socket: production takes no address of this machine.
    const postgres = await startPostgresServer({ settings: { fsync: 'off' } })
    closers.push(() => postgres.close())
    await migrateUp({ address: parsePostgresAddress(postgres.url) })
    postgresUrl = `postgresql://arqonbus@db.internal/arqonbus?host=${postgres.dir}&port=${postgres.port}`
  }
  const [ws, http, telemetry] = await findFreePorts(3)
  httpPort = http!
  // One store, excused for a week: what it needs then is on this machine, without a port.
  writeFileSync(path('waivers.yaml'), yamlOf(fileOf(signed(waiverOf(now)))))
  writeFileSync(path('policy.yaml'), policyYaml())
  // Whether schemas are strict stands in the file, which can change while the bus runs.
  const { NATS_URL, ARQON_SCHEMA_STRICT: _, ...production } = productionEnvironment
  writeFileSync(path('arqonbus.env'), 'ARQON_SCHEMA_STRICT=true\n')
  env = {
    ...production,
    ARQONBUS_CONFIG_FILE: path('arqonbus.env'),
    ARQONBUS_POSTGRES_URL: postgresUrl,
    ARQONBUS_HTTP_API_KEY: apiKey,
    ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false',
    ARQONBUS_PREFLIGHT_WAIVERS: path('waivers.yaml'),
    ARQONBUS_PREFLIGHT_POLICY: path('policy.yaml'),
    ARQONBUS_PREFLIGHT_PUBLIC_KEY: pinned,
    ARQONBUS_DATA_DIR: data,
    ARQONBUS_VALKEY_URL: `unix://${socket}`,
    ARQONBUS_SERVER_PORT: String(ws),
    ARQONBUS_HTTP_PORT: String(http),
    ARQONBUS_TELEMETRY_PORT: String(telemetry),
  }
  whole = { ...env, NATS_URL }
  const { id, check, expires, ...more } = signed(waiverOf(now))
  waivers = [{ id, check, expires, digest: digestOf({ id, check, expires, ...more }) }]
  good = await certificateFor(env, now, { waivers })
})
afterAll(async () => {
  for (const close of closers) await close()
  rmSync(folder, { recursive: true, force: true })
})

let count = 0
/** `certificate`: as text, where it is no JSON. */
function run(
  certificate: object | string | undefined,
  changes: Variables = {},
  program: Parameters<typeof start>[0] = 'bus',
): Started {
  const file = path(`certificate-${count++}.json`)
  const text = typeof certificate === 'string' ? certificate : JSON.stringify(certificate)
  if (certificate !== undefined) writeFileSync(file, text)
  const one = start(program, { ...env, ARQONBUS_PREFLIGHT_CERTIFICATE: file, ...changes }, folder)
  started.push(one)
  return one
}

const metrics = async (port = httpPort): Promise<string> =>
  await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()

async function stop(bus: Started): Promise<Ended> {
  bus.child.kill('SIGTERM')
  return await bus.ended
}

function expectRefused({ code, stdout, stderr, hasListened }: Ended, mismatch: string): void {
  expect({ code, stdout, hasListened }, stderr).toEqual({ code: 78, stdout: '', hasListened: false })
  expect(stderr).toContain(mismatch)
}

const preflight = async (headers: Record<string, string> = {}, port = httpPort): Promise<object> =>
  (await (await fetch(`http://127.0.0.1:${port}/preflight`, { headers })).json()) as object

/** The configuration that the next start would read is another, and then the certified one again. */
async function expectDrift(): Promise<void> {
  expect(await preflight()).toEqual({ certificate: { state: 'valid' } })
  writeFileSync(path('arqonbus.env'), 'ARQON_SCHEMA_STRICT=false\n')
  await vi.waitFor(async () => expect(await preflight()).toEqual({ certificate: { state: 'drifted' } }), 5_000)
  expect(await preflight({ 'x-api-key': apiKey })).toMatchObject({
    certificate: {
      state: 'drifted',
      mismatches: [{ code: 'OTHER_ENVIRONMENT', found: 'ARQON_SCHEMA_STRICT (changed)' }],
      certificate: digestOf(good),
      fingerprint: good.environment.fingerprint,
      activateBy: good.activateBy,
    },
  })
  const text = await metrics()
  expect(text).toContain('arqonbus_preflight_state{state="drifted"} 1')
  expect(text).toContain('arqonbus_preflight_mismatches{code="OTHER_ENVIRONMENT"} 1')
  writeFileSync(path('arqonbus.env'), 'ARQON_SCHEMA_STRICT=true\n')
  await vi.waitFor(async () => expect(await preflight()).toEqual({ certificate: { state: 'valid' } }), 5_000)
}

const anHourAgo = (certificate: Certificate): Certificate => {
  const ms = Date.parse(certificate.issued)
  return resigned(certificate, {
    issued: new Date(ms - 7_200_000).toISOString(),
    activateBy: new Date(ms - 3_600_000).toISOString(),
  })
}

describe('production with a pinned key', () => {
  const programs = ['bus', 'shield', 'projector'] as const

  /** What `preflight verify` and the gate of each program say of a certificate, in this process: codes, none for yes. */
  async function judgements(text: string): Promise<Record<string, readonly string[]>> {
    const file = path('judged.json')
    writeFileSync(file, text)
    const asked = { ...whole, ARQONBUS_PREFLIGHT_CERTIFICATE: file }
    const { exitCode, out } = await runCommand(['preflight', 'verify', '--json'], asked)
    const { matches, mismatches } = JSON.parse(out.join('\n')) as { matches: boolean; mismatches: { code: string }[] }
    expect(exitCode).toBe(matches ? 0 : 40)
    const verdicts: Record<string, readonly string[]> = { verify: mismatches.map(({ code }) => code) }
    for (const program of programs) {
      verdicts[program] = await requireCertifiedStart(program, resolveKeys(asked)).then(
        ({ standing }) => (standing.kind === 'certified' ? [] : [standing.kind]),
        ({ message }: Error) => [...message.matchAll(/^ {2}([A-Z_]+): /gm)].map(([, code]) => code!),
      )
    }
    return verdicts
  }

  it('starts nothing under nine certificates that somebody tampered with, nor without one', async () => {
    const real = await certificateFor(whole, Date.now(), { waivers })
    const all = (codes: readonly string[]) => ({ verify: codes, bus: codes, shield: codes, projector: codes })
    expect(await judgements(JSON.stringify(real))).toEqual(all([])) // and so each of the nine is refused for its own fault
    const ways = tamperings(real)
    expect(ways).toHaveLength(9)
    for (const { name, text, code } of ways) expect(await judgements(text), name).toEqual(all([code]))

    // The programs themselves: one way of each kind, and no file at all.
    const kinds = [...new Set(ways.map(({ kind }) => kind))].map((kind) => ways.find((way) => way.kind === kind)!)
    for (const { text, code } of [...kinds, { text: undefined, code: 'CERTIFICATE_UNREADABLE' }]) {
      await Promise.all(
        programs.map(async (program) => {
          const end = await run(text, whole, program).ended
          expectRefused(end, `  ${code}: `)
          expect(end.stderr).toContain(`${program}: start refused, no GO certificate for it, 1 mismatch`)
        }),
      )
    }
  }, 30_000)

  it('names the variables that are not as they were certified, and no value', async () => {
    const changes = {
      JWT_SECRET: 'Hk3vQ8tZ1nW6xB9cR4yM7pL2sD5fG0jA8uE3iO6qT1wN4zX7',
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
    }
    const end = await run(good, changes).ended
    expectRefused(end, 'OTHER_ENVIRONMENT: JWT_SECRET (changed), NODE_TLS_REJECT_UNAUTHORIZED (added)')
    expect(end.stderr).not.toContain(changes.JWT_SECRET)
  })

  it.skipIf(skipWithout('valkey', 'postgres'))(
    'starts under its certificate, and again once that has expired',
    async () => {
      const expired = anHourAgo(good)
      expectRefused(await run(expired).ended, 'EXPIRED: had to be activated by ')
      const bus = run(good)
      await bus.until(/bus at ws:/)
      const text = await metrics()
      expect(text).toContain('arqonbus_preflight_state{state="valid"} 1')
      expect(text).toContain(
        `arqonbus_preflight_certificate_expiry_timestamp_seconds ${Date.parse(good.activateBy) / 1_000}`,
      )
      await expectDrift()
      expect((await stop(bus)).code).toBe(0)
      const record = join(data, 'activation.json')
      expect(statSync(record).mode & 0o777).toBe(0o600)
      const { activations } = JSON.parse(readFileSync(record, 'utf8')) as { activations: { certificate: string }[] }
      expect(activations).toMatchObject([{ certificate: digestOf(good), artefact: good.build.artefact }])
      rmSync(record) // as on another machine: the row in Postgres tells

      const again = run(expired)
      await again.until(/bus at ws:/)
      expect((await stop(again)).code).toBe(0)
      expectRefused(
        await run(expired, { ARQONBUS_STORAGE_MODE: 'Strict' }).ended,
        'OTHER_ENVIRONMENT: ARQONBUS_STORAGE_MODE (changed)',
      )
    },
    30_000,
  )

  it.skipIf(skipWithout('nats', 'postgres'))(
    'shows at Shield and projector too when it is no longer what they run on',
    async () => {
      const events = await startEventServer()
      try {
        await events.makeStream()
        const [shield, metricsOf, lane] = await findFreePorts(3)
        const staging = {
          ...env,
          ARQONBUS_ENVIRONMENT: 'staging',
          ARQONBUS_PREFLIGHT_WAIVERS: undefined,
          NATS_URL: events.url,
          SHIELD_PORT: String(shield),
          SHIELD_METRICS_PORT: String(metricsOf),
          ARQONBUS_PROJECTOR_METRICS_PORT: String(lane),
        }
        const certificate = await certificateFor(staging, Date.now())
        const places = [
          ['shield', metricsOf!, /Shield at ws:/],
          ['projector', lane!, /projector; health/],
        ] as const
        const files = await Promise.all(
          places.map(async ([program, _port, serves]) => {
            const file = path(`certificate-${count}.json`)
            await run(certificate, staging, program).until(serves)
            return file
          }),
        )
        for (const [index, [_program, port]] of places.entries()) {
          expect(await preflight({}, port)).toEqual({ certificate: { state: 'valid' } })
          expect(await metrics(port)).toContain('arqonbus_preflight_state{state="valid"} 1')
          rmSync(files[index]!)
          const isDrifted = async () => expect(await preflight({}, port)).toEqual({ certificate: { state: 'drifted' } })
          await vi.waitFor(isDrifted, 5_000)
          expect(await metrics(port)).toContain('arqonbus_preflight_mismatches{code="CERTIFICATE_UNREADABLE"} 1')
        }
      } finally {
        await events.close()
      }
    },
    30_000,
  )

  it.skipIf(skipWithout('valkey', 'postgres'))(
    'starts once without one by a break-glass, and says so everywhere',
    async () => {
      const now = Date.now()
      const breakGlass = signBreakGlass(
        {
          program: 'bus',
          reason: 'Certifier is down, customers cannot connect.',
          by: 'r.patel',
          site,
          at: new Date(now).toISOString(),
          until: new Date(now + 3_600_000).toISOString(),
          nonce: 'ab'.repeat(16),
        },
        approvers['r.patel'],
      )
      const file = path('break-glass.json')
      writeFileSync(file, JSON.stringify(breakGlass))
      const changes = { ARQONBUS_PREFLIGHT_BREAK_GLASS: file }
      const bus = run(undefined, changes)
      await bus.until(/bus at ws:/)
      expect(await metrics()).toContain('arqonbus_preflight_break_glass 1')
      const ready = (await (await fetch(`http://127.0.0.1:${httpPort}/ready`)).json()) as { components: object[] }
      const detail = `break-glass, signed by r.patel until ${breakGlass.until}: ${breakGlass.reason}`
      expect(ready).toMatchObject({ ready: true, degraded: true })
      expect(ready.components).toContainEqual(
        expect.objectContaining({ name: 'certificate', state: 'degraded', detail }),
      )
      const { code, stderr } = await stop(bus)
      expect(code).toBe(0)
      expect(stderr).toContain('BREAK-GLASS: started without a GO certificate, signed by r.patel until ')
      expect(stderr).toContain('preflight.break_glass')
      rmSync(join(data, 'break-glass'), { recursive: true }) // as on another machine
      expectRefused(await run(undefined, changes).ended, 'was used already; it is for one start')
    },
    30_000,
  )
})

describe('a candidate of the preflight', () => {
  const launcher = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
  const launch = (changes: Variables) => {
    const child = spawnWithPermit(
      process.execPath,
      [launcher, 'bus'],
      { env: { PATH: process.env['PATH'], ...env, ...changes }, cwd: folder },
      systemClock,
    )
    let text = ''
    child.stdout!.on('data', (chunk: Buffer) => (text += chunk.toString()))
    child.stderr!.on('data', (chunk: Buffer) => (text += chunk.toString()))
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    const serves = new Promise<void>((resolve, reject) => {
      child.stdout!.on('data', () => text.includes('bus at ws:') && resolve())
      void ended.then(() => reject(new Error(text)))
    })
    serves.catch(() => undefined)
    return { child, ended, serves, text: () => text }
  }

  it.skipIf(skipWithout('valkey', 'postgres'))(
    'starts with a permit, on loopback',
    async () => {
      const candidate = launch({})
      await candidate.serves
      expect(await metrics()).toContain('arqonbus_preflight_state{state="none"} 1')
      candidate.child.kill('SIGTERM')
      expect(await candidate.ended).toBe(0)
      expect(candidate.text()).toContain('started by a preflight, on loopback and for ten minutes at most')
    },
    20_000,
  )

  it('is refused with one where anything listens for others', async () => {
    const candidate = launch({ ARQONBUS_TELEMETRY_HOST: '0.0.0.0' })
    expect(await candidate.ended).toBe(78)
    expect(candidate.text()).toContain(
      'the permit does not hold: it is for loopback only, and a listener is on 0.0.0.0',
    )
  }, 20_000)

  it('proves that this build refuses what it has to', async () => {
    const report = await runPreflight(
      {
        env: { ...env, PATH: process.env['PATH'] },
        only: ['boot.certificate-enforced'],
        keepGoing: true,
        waivers: 'none',
      },
      { catalogue: [{ ...bootCertificateCheck, requires: [] }] },
    )
    expect(report.canonical.results).toMatchObject([{ id: 'boot.certificate-enforced', status: 'pass' }])
  }, 40_000)
})
