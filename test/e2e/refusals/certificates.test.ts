// GO certificates at a real start: `arqonbus bus` of production with a pinned key. It starts under a certificate of this
// build and environment, again after that has expired, and not under any other; break-glass and permit are bounded.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/base/canonical-json.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { signBreakGlass } from '../../../src/certificate/break-glass.ts'
import type { Certificate } from '../../../src/certificate/certificate.ts'
import { bootCertificateCheck } from '../../../src/preflight/certificate/boot-checks.ts'
import { spawnWithPermit } from '../../../src/preflight/certificate/spawn-with-permit.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { certificateFor, otherCertifier, pinned, resigned } from '../../support/certificates-go.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { type Ended, type Started, start, type Variables } from '../../support/launch/watched-command.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'
import { approvers, fileOf, policyYaml, signed, site, waiverOf, yamlOf } from '../../support/waivers.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-certificates-'))
const data = join(folder, 'data')
const path = (name: string): string => join(folder, name)
const started: Started[] = []
let httpPort = 0
let env: Variables = {}
let good: Certificate
let closeValkey: (() => Promise<void>) | undefined

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
    closeValkey = () => valkey.close()
  }
  const [ws, http, telemetry] = await findFreePorts(3)
  httpPort = http!
  // One store, excused for a week: what it needs then is on this machine, without a port.
  writeFileSync(path('waivers.yaml'), yamlOf(fileOf(signed(waiverOf(now)))))
  writeFileSync(path('policy.yaml'), policyYaml())
  const { NATS_URL: _, ...production } = productionEnvironment
  env = {
    ...production,
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
  const waiver = signed(waiverOf(now))
  good = await certificateFor(env, now, {
    waivers: [{ id: waiver.id, check: waiver.check, expires: waiver.expires, digest: digestOf(waiver) }],
  })
})
afterAll(async () => {
  await closeValkey?.()
  rmSync(folder, { recursive: true, force: true })
})

let count = 0
function run(certificate: object | undefined, changes: Variables = {}): Started {
  const file = path(`certificate-${count++}.json`)
  if (certificate !== undefined) writeFileSync(file, JSON.stringify(certificate))
  const one = start('bus', { ...env, ARQONBUS_PREFLIGHT_CERTIFICATE: file, ...changes }, folder)
  started.push(one)
  return one
}

const metrics = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()

async function stop(bus: Started): Promise<Ended> {
  bus.child.kill('SIGTERM')
  return await bus.ended
}

function expectRefused({ code, stdout, stderr, hasListened }: Ended, mismatch: string): void {
  expect({ code, stdout, hasListened }, stderr).toEqual({ code: 78, stdout: '', hasListened: false })
  expect(stderr).toContain(mismatch)
}

const anHourAgo = (certificate: Certificate): Certificate => {
  const ms = Date.parse(certificate.issued)
  return resigned(certificate, {
    issued: new Date(ms - 7_200_000).toISOString(),
    activateBy: new Date(ms - 3_600_000).toISOString(),
  })
}

describe('a production bus with a pinned key', () => {
  it('is refused under nine certificates that somebody tampered with', async () => {
    const other = { ...good.build, artefact: digestOf('another build') }
    const cases: readonly (readonly [object | undefined, string])[] = [
      [undefined, 'CERTIFICATE_UNREADABLE: '],
      [{ ...good, activateBy: new Date(Date.now() + 86_400_000).toISOString() }, 'BAD_SIGNATURE: '],
      [{ ...good, sig: resigned(good, { commit: 'b'.repeat(40) }).sig }, 'BAD_SIGNATURE: '],
      [{ ...resigned(good, {}, otherCertifier), key: pinned }, 'BAD_SIGNATURE: '],
      [resigned(good, {}, otherCertifier), 'OTHER_KEY: '],
      [{ ...good, force: true }, 'CERTIFICATE_MALFORMED: force is unknown'],
      [resigned(good, { build: other }), 'OTHER_BUILD: '],
      [resigned(good, { verdict: 'NO-GO' }), 'NOT_GO: '],
      [resigned(good, { waivers: [{ ...good.waivers[0], digest: digestOf('x') }] }), 'WAIVER_CHANGED: EX-2026-014'],
    ]
    for (const [certificate, mismatch] of cases) {
      const end = await run(certificate).ended
      expectRefused(end, `  ${mismatch}`)
      expect(end.stderr).toContain('bus: start refused, no GO certificate for it, 1 mismatch')
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

  it.skipIf(skipWithout('valkey'))(
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
      expect((await stop(bus)).code).toBe(0)
      const record = join(data, 'activation.json')
      expect(statSync(record).mode & 0o777).toBe(0o600)
      const { activations } = JSON.parse(readFileSync(record, 'utf8')) as { activations: { certificate: string }[] }
      expect(activations).toMatchObject([{ certificate: digestOf(good), artefact: good.build.artefact }])

      const again = run(expired)
      await again.until(/bus at ws:/)
      expect((await stop(again)).code).toBe(0)
      expectRefused(
        await run(expired, { ARQON_SCHEMA_STRICT: '1' }).ended,
        'OTHER_ENVIRONMENT: ARQON_SCHEMA_STRICT (changed)',
      )
    },
    30_000,
  )

  it.skipIf(skipWithout('valkey'))(
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

  it.skipIf(skipWithout('valkey'))(
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
