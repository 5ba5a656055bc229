// From a report to a certificate: a whole GO is signed, everything less is refused with its reasons.
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/base/canonical-json.ts'
import { isSignedBy, parseCertificate } from '../../../src/certificate/certificate.ts'
import { fingerprintOf } from '../../../src/certificate/environment.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { bootCertificateCheck } from '../../../src/preflight/certificate/boot-checks.ts'
import { certify } from '../../../src/preflight/certificate/certify.ts'
import { pinnedCheck } from '../../../src/preflight/certificate/pinned-checks.ts'
import { type Check, defineCheck, passed, phases } from '../../../src/preflight/check.ts'
import { healthyBuild, healthyEnvironment } from '../../../src/preflight/healthy-world.ts'
import type { PreflightInputs } from '../../../src/preflight/inputs.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import type { Canonical, Report } from '../../../src/preflight/report.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'
import { certifier, pinned } from '../../support/certificates-go.ts'

const now = Date.UTC(2026, 10, 25, 12)
const minute = 60_000
const commit = 'c'.repeat(40)

/** One that passes for each phase; the build's is where the commit comes from. */
const catalogue: readonly Check[] = phases.map((phase) =>
  defineCheck({
    id: phase === 'deps' ? 'runtime.build-provenance' : `x.${phase}`,
    title: phase,
    proves: phase,
    evidence: phase,
    fix: phase,
    runbook: [],
    phase,
    severity: 'high',
    class: 'config',
    requires: [],
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: phase === 'deps' ? [{ kind: 'net', what: 'nothing' }] : [],
    shape: { commit: 'string' },
    probe: () => Promise.resolve({ commit }),
    judge: () => passed(),
    worlds: { passes: [], fails: [], ignores: [] },
  }),
)

const fingerprint = fingerprintOf(resolveKeys(healthyEnvironment), Buffer.alloc(32, 7))

/** Without a data folder there is no fingerprint; most of these are about something else. */
async function report(inputs: Partial<PreflightInputs> = {}, changes: Partial<Canonical> = {}): Promise<Report> {
  const made = await runPreflight(
    { env: healthyEnvironment, gates: true, ...inputs },
    { catalogue, build: healthyBuild, clock: { now: () => now, monotonic: () => 0 } },
  )
  const canonical = { ...made.canonical, environment: { source: 'systemd', ...fingerprint }, ...changes }
  return { ...made, canonical, digest: digestOf(canonical) }
}

const result = (value: Report | string, at = now + minute) =>
  certify(typeof value === 'string' ? value : JSON.stringify(value), certifier, { now: at, catalogue })
function refusal(value: Report | string, at?: number): readonly [number, string] {
  const made = result(value, at)
  if (!('refused' in made)) throw new Error('it was certified')
  return [made.exit, made.refused.join('; ')]
}

describe('a whole GO', () => {
  it('becomes a certificate that holds what was judged', async () => {
    const go = await report()
    const made = result(go)
    if (!('certificate' in made)) throw new Error(made.refused.join())
    const { certificate } = made
    expect(certificate).toMatchObject({
      verdict: 'GO',
      profile: 'prod',
      report: go.digest,
      commit,
      build: healthyBuild,
      policy: go.canonical.policy,
      waivers: [],
      issued: '2026-11-25T12:01:00.000Z',
      activateBy: '2026-11-25T13:01:00.000Z',
      key: pinned,
    })
    expect(certificate.environment).toEqual({ source: 'systemd', ...fingerprint })
    expect(isSignedBy(certificate, pinned)).toBe(true)
    expect(parseCertificate(Buffer.from(JSON.stringify(certificate)))).toEqual({ certificate })
  })

  it('is the same for the same system: the report has one digest', async () => {
    expect((await report()).digest).toBe((await report({ jobs: 1 })).digest)
  })
})

describe('what proves too little', () => {
  it.each<[string, Partial<PreflightInputs>, string]>([
    ['a part of the phases', { phases: ['static', 'deps', 'gates', 'boot'] }, 'its verdict is INCONCLUSIVE'],
    ['without connections', { offline: true }, 'checks were left out (--offline)'],
    ['judged for another time', { now: now - 86_400_000 }, '--now 2026-11-24T12:00:00.000Z'],
    ['of development', { env: { ...healthyEnvironment, ARQONBUS_ENVIRONMENT: 'dev' } }, 'it is about development'],
  ])('is refused: %s', async (_name, inputs, why) => {
    const [exit, reasons] = refusal(await report(inputs))
    expect(exit).toBe(30)
    expect(reasons).toContain(why)
  })

  it.each<[string, (go: Canonical) => Partial<Canonical>, string]>([
    ['a dirty tree', ({ subject }) => ({ subject: { ...subject!, isDirty: true } }), 'not a commit and nothing else'],
    ['no fingerprint', () => ({ environment: { source: 'process' } }), 'ARQONBUS_DATA_DIR has to name a folder'],
    ['another catalogue', () => ({ catalogue: digestOf('other') }), 'another catalogue of checks'],
    [
      'a waiver that has expired since',
      () => ({
        exceptions: [{ id: 'EX-1', check: 'x.static', expires: '2026-11-25T12:00:30Z', digest: digestOf('w') }],
      }),
      'waiver EX-1 expired',
    ],
  ])('is refused: %s', async (_name, change, why) => {
    const { canonical } = await report()
    const [exit, reasons] = refusal(await report({}, change(canonical)))
    expect(exit).toBe(30)
    expect(reasons).toContain(why)
  })

  it('is refused once it is older than an hour', async () => {
    const go = await report()
    expect(result(go, now + 60 * minute)).toHaveProperty('certificate')
    expect(refusal(go, now + 60 * minute + 1)).toEqual([30, expect.stringContaining('older than 60 minutes')])
    expect(refusal(go, now - 2 * minute)).toEqual([30, expect.stringContaining('still to come')])
  })
})

describe('what is no report of a run', () => {
  it('is refused as bad input', async () => {
    const go = await report()
    expect(refusal('GO')[0]).toBe(65)
    expect(refusal(JSON.stringify({ ...go, digest: digestOf('other') }))).toEqual([
      65,
      expect.stringContaining('digest'),
    ])
    const failed = go.canonical.results.map((one, at) =>
      at === 0 ? { ...one, status: 'error' as const, code: 'DEADLINE' } : one,
    )
    const [exit, why] = refusal(await report({}, { results: failed }))
    expect([exit, why]).toEqual([65, 'its verdict is GO, and its results say NO-GO'])
    expect(refusal(await report({}, { results: undefined as unknown as [] }))).toEqual([65, 'the report is not whole'])
  })
})

describe('the checks about certificates', () => {
  it.each([pinnedCheck, bootCertificateCheck])('are proven able to fail: $id', (check) => {
    expect(proveCheck(check).faults).toEqual([])
  })
})
