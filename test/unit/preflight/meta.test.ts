// The checks of the preflight itself, over small catalogues and texts that are made up.
import { describe, expect, it } from 'vitest'
import { manifestOf, manifestText, readManifest } from '../../../src/preflight/catalogue-manifest.ts'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { type Check, defineCheck, failed, passed } from '../../../src/preflight/check.ts'
import { preflightDocument } from '../../../src/preflight/document.ts'
import { startInputs } from '../../../src/preflight/env-from/start-environment.ts'
import { healthyEnvironment } from '../../../src/preflight/healthy-world.ts'
import { createMetaChecks } from '../../../src/preflight/meta/meta-checks.ts'
import type { MetaSources } from '../../../src/preflight/meta/meta-probes.ts'
import type { Report } from '../../../src/preflight/report.ts'
import type { PreflightInputs } from '../../../src/preflight/inputs.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { readRunbook } from '../../../src/preflight/runbook-coverage.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'

const small: Check = defineCheck({
  id: 'a.small',
  title: 'small',
  proves: 'small',
  evidence: 'small',
  fix: 'small',
  runbook: [],
  phase: 'deps',
  severity: 'high',
  class: 'config',
  requires: [],
  appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
  deadlineMs: 1_000,
  effects: [],
  shape: { isFine: 'boolean' },
  probe: async () => ({ isFine: true }),
  judge: ({ isFine }) => (isFine ? passed() : failed('NOT_FINE', 'A', 'not fine', 'make it fine')),
  worlds: {
    passes: [{ name: 'fine', facts: { isFine: true } }],
    fails: [{ name: 'not fine', facts: { isFine: false }, expect: { code: 'NOT_FINE' } }],
    ignores: [{ name: 'fine elsewhere', facts: { isFine: true }, env: { OTHER: 'x' } }],
  },
})
const unproven: Check = { ...small, id: 'b.unproven', judge: () => passed() }

/** One of the checks, over a catalogue and sources that are made up. */
async function ask(
  id: string,
  catalogue: readonly Check[],
  sources: MetaSources = {},
  inputs: Partial<PreflightInputs> = {},
): Promise<{
  readonly report: Report
  readonly status: string
  readonly codes: readonly string[]
  readonly found: string
}> {
  const report = await runPreflight(
    { env: healthyEnvironment, only: [id], ...inputs },
    { catalogue: createMetaChecks(() => catalogue, sources), localAddresses: [] },
  )
  expect(report.observations.fault).toBeUndefined()
  const result = report.canonical.results.find((one) => one.id === id)!
  const codes = result.status === 'fail' ? result.findings.map(({ code }) => code) : []
  const seen = report.observations.results[id]!
  const found = [seen.observed ?? '', ...(seen.findings ?? []).map((finding) => finding.found)].join(' ')
  return { report, status: result.status, codes, found }
}

describe('the checks', () => {
  it.each(createMetaChecks(() => []).map((check) => [check.id, check]))('%s is proven to fail', (_id, check) => {
    expect(proveCheck(check as Check).faults).toEqual([])
  })
})

describe('the manifest', () => {
  it('is that of this catalogue, otherwise run node scripts/gen-config-docs.ts', () => {
    expect(readManifest()).toEqual(manifestOf(createCatalogue()))
    expect(JSON.parse(manifestText(createCatalogue()))).toEqual(readManifest())
  })

  it('misses a check that is gone, one that is new, and one that has become milder', async () => {
    const manifest = () => manifestOf([small, unproven])
    expect((await ask('meta.catalogue-complete', [unproven, small], { manifest })).status).toBe('pass')
    expect(await ask('meta.catalogue-complete', [small], { manifest })).toMatchObject({ codes: ['CHECK_MISSING'] })
    const more = [small, unproven, { ...small, id: 'c.new' }]
    expect(await ask('meta.catalogue-complete', more, { manifest })).toMatchObject({ codes: ['CHECK_UNEXPECTED'] })
    const milder = [small, { ...unproven, severity: 'advisory' as const }]
    expect(await ask('meta.catalogue-complete', milder, { manifest })).toMatchObject({ codes: ['CHECK_CHANGED'] })
  })

  it('that is not there is a fault of the build', async () => {
    const manifest = (): never => {
      throw new Error('gone')
    }
    const { codes, report } = await ask('meta.catalogue-complete', [small], { manifest })
    expect(codes).toEqual(['MANIFEST_MISSING'])
    expect(report.canonical.results.find(({ id }) => id === 'meta.catalogue-complete')?.class).toBe('regression')
  })
})

describe('the proof', () => {
  it('passes where every check was seen to fail, and names one that cannot', async () => {
    expect((await ask('meta.selfproof-fresh', [small])).status).toBe('pass')
    const { codes, found } = await ask('meta.selfproof-fresh', [small, unproven])
    expect(codes).toEqual(['UNPROVEN'])
    expect(found).toContain('b.unproven')
    expect(found).not.toContain('a.small')
    expect(await ask('meta.selfproof-fresh', [])).toMatchObject({ codes: ['NOTHING_PROVEN'] })
  })
})

describe('the runbook', () => {
  it('that has changed is named, with lines and checks that lack each other', async () => {
    const runbook = () => `${readRunbook()}\n- one more\n`
    const catalogue = [{ ...small, runbook: ['L2'] }]
    const { codes, found } = await ask('meta.runbook-digest', catalogue, { runbook, notYet: { L999: 'later' } })
    expect(codes).toEqual(['RUNBOOK_CHANGED', 'LINE_WITHOUT_CHECK', 'NO_SUCH_LINE', 'REASON_IS_OVER'])
    expect(found).toContain('a.small at L2')
    expect(found).toContain('L86')
  })

  it('of this build is covered by a catalogue that names its lines', async () => {
    const lines = Array.from({ length: 84 }, (_, index) => `L${index + 1}`)
    const stated = new Set(
      preflightDocument([], readRunbook())
        .match(/^\| L\d+ /gm)
        ?.map((row) => row.slice(2).trim()),
    )
    const catalogue = [{ ...small, runbook: lines.filter((line) => stated.has(line)) }]
    expect((await ask('meta.runbook-digest', catalogue, { notYet: {} })).status).toBe('pass')
  })

  it('that is not there is a fault of the build', async () => {
    const runbook = (): never => {
      throw Object.assign(new Error('gone'), { code: 'ENOENT' })
    }
    expect(await ask('meta.runbook-digest', [], { runbook })).toMatchObject({ codes: ['RUNBOOK_MISSING'] })
    expect(await ask('meta.runbook-dated', [], { runbook })).toMatchObject({ codes: ['RUNBOOK_MISSING'] })
  })

  it.each([
    ['as it is: it names a migration of the day after', (text: string) => text, ['OLDER_THAN_NAMED']],
    ['dated as what it names', (text: string) => text.replace('2026-02-19', '2026-02-20'), []],
    ['dated later', (text: string) => text.replace('2026-02-19', '2026-03-01'), []],
    ['without a date', (text: string) => text.replace('Last updated', 'Updated'), ['NO_DATE']],
    ['with a date that is none', (text: string) => text.replace('2026-02-19', '2026-02-31'), ['NOT_A_DATE']],
    ['dated in the future', (text: string) => text.replace('2026-02-19', '2027-01-01'), ['IN_FUTURE']],
    ['that names no day', (text: string) => text.replace('20260220_', '20261399_'), []],
  ])('%s', async (_name, change, codes) => {
    const runbook = () => change(readRunbook())
    const found = await ask('meta.runbook-dated', [], { runbook }, { now: Date.parse('2026-11-25T00:00:00Z') })
    expect(found.codes).toEqual(codes)
  })

  it('has its lines in the document, with a reason where there is no check', () => {
    const text = preflightDocument([{ ...small, runbook: ['L1'] }], '# One\n\n## Incident Notes\n\n- git | commit\n')
    expect(text).toContain('| L1 | One | [`a.small`](#a.small) |')
    expect(text).toContain('| L5 | git \\| commit | none: no reason given |')
  })
})

describe('the source of the environment', () => {
  it('has to be named in production, even if it is this shell', async () => {
    const refused = await ask('meta.env-source', [])
    expect(refused.codes).toEqual(['NOT_NAMED'])
    expect(refused.report.canonical.results.find(({ id }) => id === 'meta.env-source')?.severity).toBe('critical')
    const env = Object.fromEntries(Object.entries(healthyEnvironment).map(([name, text]) => [name, text ?? '']))
    const named = startInputs('process', { env })
    expect((await ask('meta.env-source', [], {}, named)).status).toBe('pass')
  })

  it('is no matter in development', async () => {
    const env = { ...healthyEnvironment, ARQONBUS_ENVIRONMENT: 'development' }
    expect((await ask('meta.env-source', [], {}, { env })).status).toBe('skip')
  })

  it('shows names that differ and places that are hidden, and keeps paths out of the canonical part', async () => {
    const envSource = {
      name: 'file:/etc/arqonbus.env',
      isGiven: true,
      drift: ['JWT_SECRET'],
      shadowed: [{ variable: 'NATS_URL', where: '/a:1', by: '/b:2' }],
    }
    const { found, report } = await ask('meta.env-source', [], {}, { envSource })
    expect(found).toContain('JWT_SECRET')
    expect(found).toContain('NATS_URL of /a:1 by /b:2')
    expect(JSON.stringify(report.canonical)).not.toContain('/etc/arqonbus.env')
  })

  it('gives findings of the rules their line', async () => {
    const where = new Map([['JWT_SKIP_VALIDATION', '/etc/systemd/system/a.service.d/10-debug.conf:4']])
    const report = await runPreflight(
      {
        env: { ...healthyEnvironment, JWT_SKIP_VALIDATION: '' },
        envSource: { name: 'systemd:a.service', isGiven: true, drift: [], shadowed: [], where },
        only: ['shield.jwt-skip-absent'],
      },
      { localAddresses: [] },
    )
    const [finding] = report.observations.results['shield.jwt-skip-absent']?.findings ?? []
    expect(finding?.found).toContain('in /etc/systemd/system/a.service.d/10-debug.conf:4')
    expect(JSON.stringify(report.canonical)).not.toContain('10-debug')
  })
})
