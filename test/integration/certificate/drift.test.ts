// What a running program shows of its certificate when something changes beside it: the state, why, and until when.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CertificateWatch, certificateWatch } from '../../../src/app/certificate-watch.ts'
import { requireCertifiedStart } from '../../../src/app/certified-start.ts'
import { digestOf } from '../../../src/base/canonical-json.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { buildOf } from '../../../src/certificate/build.ts'
import { fingerprintAt } from '../../../src/certificate/environment.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { createHealth } from '../../../src/telemetry/health.ts'
import { createMetrics, type Metrics } from '../../../src/telemetry/metrics.ts'
import { certificateFor, otherCertifier, pinned, resigned } from '../../support/certificates-go.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { createRecordLogger } from '../../support/record-logger.ts'
import { runCommand } from '../../support/run-command.ts'
import { fileOf, policyYaml, signed, waiverOf, yamlOf } from '../../support/waivers.ts'

const hour = 3_600_000
const day = 24 * hour

describe('a program that runs under a certificate', () => {
  let folder: string
  let env: Record<string, string>
  let watch: CertificateWatch
  let metrics: Metrics
  let certificate: Awaited<ReturnType<typeof certificateFor>>
  const clock = createManualClock(Date.UTC(2026, 10, 25, 12))
  const logger = createRecordLogger()
  const path = (name: string): string => join(folder, name)
  const write = (name: string, text: string): void => writeFileSync(path(name), text)

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'arqonbus-drift-'))
    mkdirSync(path('data'))
    const now = clock.now()
    const waiver = signed(waiverOf(now))
    write('waivers.yaml', yamlOf(fileOf(waiver)))
    write('policy.yaml', policyYaml())
    write('arqonbus.env', 'ARQON_SCHEMA_STRICT=true\n')
    const { ARQON_SCHEMA_STRICT: _, ARQONBUS_POSTGRES_URL: __, ...production } = productionEnvironment
    env = {
      ...production,
      ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false',
      ARQONBUS_CONFIG_FILE: path('arqonbus.env'),
      ARQONBUS_PREFLIGHT_WAIVERS: path('waivers.yaml'),
      ARQONBUS_PREFLIGHT_POLICY: path('policy.yaml'),
      ARQONBUS_PREFLIGHT_PUBLIC_KEY: pinned,
      ARQONBUS_PREFLIGHT_CERTIFICATE: path('go.json'),
      ARQONBUS_DATA_DIR: path('data'),
    }
    const { id, check, expires } = waiver
    certificate = await certificateFor(env, now, { waivers: [{ id, check, expires, digest: digestOf(waiver) }] })
    write('go.json', JSON.stringify(certificate))
    const { standing, begun } = await requireCertifiedStart('projector', resolveKeys(env), clock)
    await begun({ logger: silentLogger, shutdown: () => undefined })
    metrics = createMetrics()
    logger.lines.length = 0
    watch = certificateWatch(standing, () => resolveKeys(env), { clock, logger })({
      metrics,
      health: createHealth({ clock, canary: 'none' }),
    })
  })
  afterEach(() => {
    watch.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** State and codes, as metrics show them. */
  async function shown(): Promise<string> {
    await watch.look()
    const text = await metrics.text()
    const state = /arqonbus_preflight_state\{state="(\w+)"\} 1/.exec(text)?.[1]
    const codes = [...text.matchAll(/arqonbus_preflight_mismatches\{code="(\w+)"\} 1/g)].map((match) => match[1])
    expect(watch.state).toBe(state)
    return [state, ...codes].join(' ')
  }

  it('says so while all is as it was certified, also after the certificate could be activated', async () => {
    expect(await shown()).toBe('valid')
    clock.advance(2 * hour)
    expect(await shown()).toBe('valid')
    const text = await metrics.text()
    const seconds = (time: string): number => Date.parse(time) / 1_000
    expect(text).toContain(
      `arqonbus_preflight_certificate_expiry_timestamp_seconds ${seconds(certificate.activateBy)}\n`,
    )
    const { id, expires } = certificate.waivers[0]!
    expect(text).toContain(`arqonbus_preflight_waiver_expiry_timestamp_seconds{id="${id}"} ${seconds(expires)}\n`)
  })

  it.each<[string, () => void, string]>([
    ['schemas are no longer strict', () => write('arqonbus.env', 'ARQON_SCHEMA_STRICT=0\n'), 'OTHER_ENVIRONMENT'],
    ['the file of the configuration is gone', () => rmSync(path('arqonbus.env')), 'OTHER_ENVIRONMENT'],
    ['the certificate is gone', () => rmSync(path('go.json')), 'CERTIFICATE_UNREADABLE'],
    ['the certificate is another', () => write('go.json', '{}'), 'CERTIFICATE_MALFORMED'],
    [
      'somebody else signed it',
      () => write('go.json', JSON.stringify(resigned(certificate, {}, otherCertifier))),
      'OTHER_KEY',
    ],
    ['the key of the installation is gone', () => rmSync(path('data/preflight.key')), 'NO_FINGERPRINT'],
  ])('shows that %s', async (_what, change, code) => {
    change()
    expect(await shown()).toBe(`drifted ${code}`)
  })

  it.each<[string, () => void]>([
    [
      'the file names what the environment sets',
      () => write('arqonbus.env', 'ARQON_SCHEMA_STRICT=true\nSHIELD_HOST=::1\n'),
    ],
    ['the policy is another, which bounds a first start alone', () => write('policy.yaml', policyYaml({ site: 'x' }))],
  ])('shows nothing where %s', async (_what, change) => {
    change()
    expect(await shown()).toBe('valid')
  })

  it('shows that a waiver it rests on was changed, and that one has expired', async () => {
    write('waivers.yaml', yamlOf(fileOf()))
    expect(await shown()).toBe('violated WAIVER_CHANGED')
    clock.advance(7 * day)
    expect(await shown()).toBe('violated WAIVER_EXPIRED')
    expect(logger.lines.map(({ event, fields }) => `${event} ${String(fields['state'])}`)).toEqual([
      'preflight.state violated',
    ])
  })

  it('shows that nothing tells any more that it was activated, once it cannot be', async () => {
    rmSync(path('data/activation.json'))
    expect(await shown()).toBe('valid')
    clock.advance(2 * hour)
    expect(await shown()).toBe('drifted EXPIRED')
  })

  it('shows that the program was replaced beneath it, and not that a file was only touched', async () => {
    const root = path('program')
    const runbook = 'docs/ArqonBus/runbooks/production_preflight_runbook.md'
    for (const [name, text] of [
      ['src/bin/arqonbus.ts', 'run()'],
      ['src/preflight/catalogue-manifest.json', JSON.stringify({ digest: digestOf('checks') })],
      ['package-lock.json', '{}'],
      [runbook, 'run it'],
    ] as const) {
      mkdirSync(join(root, dirname(name)), { recursive: true })
      writeFileSync(join(root, name), text)
    }
    const own = { build: buildOf(root), environment: fingerprintAt(resolveKeys(env)) }
    const itsOwn = resigned(certificate, { build: own.build })
    write('go.json', JSON.stringify(itsOwn))
    watch.close()
    metrics = createMetrics()
    const standing = { kind: 'certified', certificate: itsOwn, own, row: { isThere: true } } as const
    watch = certificateWatch(standing, () => resolveKeys(env), { clock, logger, root })({
      metrics,
      health: createHealth({ clock, canary: 'none' }),
    })
    expect(await shown()).toBe('valid')
    write('program/src/bin/arqonbus.ts', 'run()')
    expect(await shown()).toBe('valid')
    write('program/src/bin/other.ts', 'more()')
    expect(await shown()).toBe('drifted OTHER_BUILD')
    rmSync(path('program/src/bin/other.ts'))
    writeFileSync(join(root, runbook), 'run something else')
    expect(await shown()).toBe('drifted OTHER_RUNBOOK')
  })

  it('is what a report of the preflight gives to a collector of metrics', async () => {
    const report = path('preflight.prom')
    const { out } = await runCommand(
      [
        'preflight',
        'run',
        '--only',
        'meta.certificate-pinned',
        '--bundle',
        'never',
        '--report',
        `openmetrics=${report}`,
      ],
      env,
    )
    expect(readFileSync(report, 'utf8'), out.join('\n')).toContain(
      `arqon_preflight_certificate_expiry_timestamp_seconds ${Date.parse(certificate.activateBy) / 1_000}\n`,
    )
    write('go.json', JSON.stringify(resigned(certificate, {}, otherCertifier)))
    await runCommand(
      ['preflight', 'run', '--only', 'meta.certificate-pinned', '--report', `openmetrics=${report}`],
      env,
    )
    expect(readFileSync(report, 'utf8')).not.toContain('certificate_expiry')
  })

  it('is looked at anew for who asks, but not again and again', async () => {
    rmSync(path('go.json'))
    clock.advance(1_000)
    expect(await watch.view()).toMatchObject({ state: 'drifted', details: { commit: certificate.commit } })
    write('go.json', JSON.stringify(certificate))
    expect(await watch.view()).toMatchObject({ state: 'drifted' }) // asked again at once
    clock.advance(1_000)
    expect(await watch.view()).toMatchObject({ state: 'valid', details: { mismatches: [] } })
  })
})
