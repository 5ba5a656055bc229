// The reports, text and JSON, held to golden files (`vitest -u` rewrites them).
import { describe, expect, it } from 'vitest'
import { formatJson } from '../../../src/preflight/format-json.ts'
import { formatText } from '../../../src/preflight/format-text.ts'
import { healthyBuild } from '../../../src/preflight/healthy-world.ts'
import { liveChecks } from '../../../src/preflight/live/live-checks.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { staticChecks } from '../../../src/preflight/static-checks.ts'
import { productionEnvironment, strongSecret } from '../../support/environments.ts'

const fixed = {
  clock: { now: () => Date.UTC(2026, 1, 19, 12), monotonic: () => 1_000 },
  localAddresses: ['127.0.0.1'],
  files: { mode: () => undefined, isReadable: () => false },
  node: '24.0.0',
  build: healthyBuild,
  // Nothing that looks at services or at this build: the reports are held to the letter.
  catalogue: [...staticChecks, ...liveChecks],
}

const golden = (name: string): string => `../../support/golden/preflight/${name}`

async function brokenReport(): Promise<Report> {
  const { NATS_URL: _, ...rest } = productionEnvironment
  const env = {
    ...rest,
    JWT_SKIP_VALIDATION: '',
    JWT_SECRET: 'changeme',
    ARQONBUS_STORAGE_MODE: 'degraded',
    ARQONBUS_STORAGE_MOD: 'x',
  }
  return runPreflight({ env, profile: 'prod', phases: ['static', 'live'] }, fixed)
}

describe('the text report', () => {
  it('is short when nothing failed, and says what is not proved', async () => {
    const text = formatText(
      await runPreflight({ env: productionEnvironment, profile: 'prod', phases: ['static', 'live'] }, fixed),
    )
    await expect(text).toMatchFileSnapshot(golden('production-healthy.txt'))
    expect(text.split('\n').length).toBeLessThan(30)
  })

  it('shows for each failure what was found and what to do', async () => {
    await expect(formatText(await brokenReport())).toMatchFileSnapshot(golden('production-broken.txt'))
  })

  it('says what was wrong with the call', async () => {
    const text = formatText(await runPreflight({ env: {}, skip: ['shield.jwt-skip'] }, fixed))
    await expect(text).toMatchFileSnapshot(golden('wrong-call.txt'))
  })

  it('fits 80 columns in its own words', async () => {
    for (const line of formatText(await brokenReport()).split('\n')) {
      if (!line.startsWith('        ')) expect(line.length, line).toBeLessThanOrEqual(80)
    }
  })
})

describe('the JSON report', () => {
  it('is one document with a digest of its canonical part', async () => {
    const text = formatJson(await brokenReport())
    expect(() => JSON.parse(text)).not.toThrow()
    await expect(text).toMatchFileSnapshot(golden('production-broken.json.golden'))
  })

  it('holds no secret, no host and no time in its canonical part', async () => {
    const env = {
      ...productionEnvironment,
      JWT_SECRET: strongSecret,
      ARQONBUS_TELEMETRY_PORT: '19100',
      ARQONBUS_SERVER_HOST: '203.0.113.7',
    }
    const report = await runPreflight({ env, profile: 'prod', phases: ['static', 'live'] }, fixed)
    expect(formatJson(report)).not.toContain(strongSecret)
    expect(formatJson(report)).not.toContain('hunter-two')
    const canonical = JSON.stringify(report.canonical)
    for (const text of ['203.0.113.7', '19100', '2026']) expect(canonical).not.toContain(text)
  })

  it('asks the environment to confirm the profile', async () => {
    for (const [asked, env, status] of [
      ['prod', { ...productionEnvironment, ARQONBUS_ENVIRONMENT: 'staging' }, 'fail'],
      ['prod', {}, 'fail'],
      ['prod', productionEnvironment, 'pass'],
      ['dev', productionEnvironment, 'fail'],
      ['dev', {}, 'pass'],
    ] as const) {
      const { canonical } = await runPreflight({ env, profile: asked, phases: ['static'] }, fixed)
      expect(canonical.results.find(({ id }) => id === 'meta.profile-production')?.status).toBe(status)
    }
  })
})
