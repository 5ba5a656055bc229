// Exceptions in a run: what waits on an excused check runs, what has to make up for it counts, and a GO says so.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Check, CheckResult } from '../../../src/preflight/check.ts'
import { formatText } from '../../../src/preflight/format-text.ts'
import { lintWaivers } from '../../../src/preflight/lint-waivers.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import type { PreflightInputs } from '../../../src/preflight/inputs.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { exitCodeOf, verdictText } from '../../../src/preflight/verdict.ts'
import { bindOf, dayMs, type Subject } from '../../../src/waivers/judge-waivers.ts'
import type { Waiver } from '../../../src/waivers/waiver.ts'
import { fileOf, instant, policy, policyYaml, signed, waiverOf, yamlOf } from '../../support/waivers.ts'

const now = Date.UTC(2026, 10, 25, 12)
const failing = (facts?: JsonObject): CheckResult => ({
  status: 'fail',
  findings: [{ code: 'TOO_FEW', variable: 'replicas', found: 'one', fix: 'add one' }],
  ...(facts !== undefined && { facts }),
})

function check(id: string, judge: () => CheckResult = () => ({ status: 'pass' }), fields: Partial<Check> = {}): Check {
  return {
    id,
    title: id,
    proves: id,
    evidence: id,
    fix: id,
    runbook: [],
    phase: 'static',
    severity: 'high',
    class: 'config',
    requires: [],
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: [],
    shape: {},
    judge,
    worlds: { passes: [], fails: [], ignores: [] },
    ...fields,
  }
}

const subject = (changes: Partial<Subject> = {}): Subject => ({
  id: 'a.replicas',
  severity: 'high',
  class: 'config',
  status: 'fail',
  findings: [{ code: 'TOO_FEW', variable: 'replicas' }],
  ...changes,
})
const waiver = (changes: Partial<Waiver> = {}, bound: Subject = subject()): Waiver =>
  signed(
    waiverOf(now, { check: bound.id, bind: bindOf(bound), scope: { profile: 'dev', site: policy.site! }, ...changes }),
    ['s.kim'],
  )

const replicas = check('a.replicas', () => failing())
const live = check('z.live', undefined, { phase: 'live' })
const run = (checks: readonly Check[], inputs: Partial<PreflightInputs> = {}): Promise<Report> =>
  runPreflight(
    { env: {}, policy, now, ...inputs },
    { catalogue: [...checks, live, check('a.other')], localAddresses: [] },
  )
const resultOf = ({ canonical }: Report, id: string): Result => canonical.results.find((result) => result.id === id)!

describe('a run with an exception', () => {
  it('is a GO that says so, and shows who excused what', async () => {
    const report = await run([replicas], { waivers: fileOf(waiver()) })
    expect(resultOf(report, 'a.replicas')).toMatchObject({
      status: 'waived',
      underlying: 'fail',
      waiver: 'EX-2026-014',
      expires: '2026-12-01T12:00:00.000Z',
      findings: [{ code: 'TOO_FEW', variable: 'replicas', fix: 'add one' }],
    })
    expect(exitCodeOf(report.canonical)).toBe(0)
    expect(report.canonical.verdict).toBe('GO')
    expect(verdictText(report.canonical)).toBe('GO (1 exception)')
    const text = formatText(report)
    expect(text).toContain('WAIVED high      config      a.replicas')
    expect(text).toContain('replicas: one')
    expect(text).toContain('EX-2026-014  owner a.ngata@example.org  approved by s.kim')
    expect(text).toContain('expires 2026-12-01T12:00:00.000Z (6 days)  renewals 0 of 1')
    expect(text).toMatch(/^GO \(1 exception\)$/m)
    expect(text).not.toMatch(/^GO$/m)
  })

  it('is NO-GO with --no-waivers, and has no digest of waivers then', async () => {
    const report = await run([replicas], { waivers: 'none' })
    expect(exitCodeOf(report.canonical)).toBe(22)
    expect(report.canonical.waivers).toBeUndefined()
    const excused = await run([replicas], { waivers: fileOf(waiver()) })
    expect(excused.canonical.waivers).toMatch(/^sha256:/)
    expect(excused.digest).not.toBe(report.digest)
    const other = await run([replicas], { waivers: 'none', policy: { ...policy, site: 'akl-2' } })
    expect(other.canonical.policy).not.toBe(report.canonical.policy)
  })

  it('excuses an error by its code, too', async () => {
    const broken = check('a.replicas', () => ({ status: 'error', code: 'DEADLINE', observed: 'no answer' }))
    const bound = subject({ status: 'error', findings: [{ code: 'DEADLINE', variable: '' }] })
    const report = await run([broken], { waivers: fileOf(waiver({}, bound)) })
    expect(resultOf(report, 'a.replicas')).toMatchObject({ status: 'waived', underlying: 'error', code: 'DEADLINE' })
    expect(formatText(report)).toContain('DEADLINE: no answer')
  })

  it('refuses where the facts are others than those that were approved', async () => {
    const bound = subject({ facts: { replicas: 1 } })
    const judged = (facts?: JsonObject) =>
      run([check('a.replicas', () => failing(facts))], { waivers: fileOf(waiver({}, bound)) })
    expect(resultOf(await judged({ replicas: 1 }), 'a.replicas').status).toBe('waived')
    expect(resultOf(await judged({ replicas: 0 }), 'a.replicas').status).toBe('fail')
    expect(resultOf(await judged(), 'a.replicas').status).toBe('fail')
  })

  it('says why a waiver is refused', async () => {
    const late = waiver({ expires: instant(now - 2 * dayMs), requested: instant(now - 5 * dayMs) })
    const report = await run([replicas], { waivers: fileOf(late) })
    expect(exitCodeOf(report.canonical)).toBe(22)
    expect(report.observations.results['a.replicas']?.refusals).toEqual([
      { waiver: 'EX-2026-014', reason: 'EXPIRED', words: 'expired 2 d ago' },
    ])
    expect(formatText(report)).toContain('waiver EX-2026-014 refused: expired 2 d ago')
  })

  it('never excuses a blocker', async () => {
    const blocker = check('a.replicas', () => failing(), { severity: 'blocker' })
    const report = await run([blocker], { waivers: fileOf(waiver()), policy: { ...policy, waivable: ['a.replicas'] } })
    expect(exitCodeOf(report.canonical)).toBe(20)
    expect(formatText(report)).toContain('refused: a.replicas is a blocker')
  })

  it('runs what waits on the excused check', async () => {
    const after = check('b.after', undefined, { requires: ['a.replicas'] })
    const report = await run([replicas, after], { waivers: fileOf(waiver()) })
    expect(resultOf(report, 'b.after').status).toBe('pass')
    const without = await run([replicas, after], { waivers: 'none' })
    expect(resultOf(without, 'b.after').status).toBe('skip')
  })
})

describe('a check that has to make up for it', () => {
  const counted = waiver({ compensating: ['b.backup'] })
  const result = async (backup: Check): Promise<[string, string | undefined, number]> => {
    const report = await run([replicas, backup], { waivers: fileOf(counted) })
    const words = report.observations.results['a.replicas']?.refusals?.[0]?.words
    return [resultOf(report, 'a.replicas').status, words, exitCodeOf(report.canonical)]
  }

  it('lets the exception stand when it passes', async () => {
    expect(await result(check('b.backup'))).toEqual(['waived', undefined, 0])
    // It may wait on the excused check itself, or come long after it.
    expect((await result(check('b.backup', undefined, { requires: ['a.replicas'] })))[0]).toBe('waived')
    expect((await result(check('b.backup', undefined, { phase: 'live' })))[0]).toBe('waived')
  })

  it.each([
    ['fails', check('b.backup', () => failing()), 'ended with fail'],
    ['comes to no answer', check('b.backup', () => ({ status: 'error', code: 'X', observed: '' })), 'ended with error'],
    ['fails and is advisory', check('b.backup', () => failing(), { severity: 'advisory' }), 'ended with fail'],
    [
      'does not apply',
      check('b.backup', undefined, { appliesWhen: { name: 'never', test: () => ({ holds: false, because: 'x' }) } }),
      'did not run',
    ],
  ])('takes it away when it %s', async (_name, backup, words) => {
    expect(await result(backup)).toEqual(['fail', `b.backup, which has to make up for it, ${words}`, 22])
  })

  it('takes it away when it was not selected', async () => {
    const report = await run([replicas, check('b.backup')], { waivers: fileOf(counted), skip: ['b.backup'] })
    expect(resultOf(report, 'a.replicas').status).toBe('fail')
  })

  it('does not count when it is excused itself', async () => {
    const own = subject({ id: 'b.backup' })
    const waivers = fileOf(counted, waiver({ id: 'EX-2' }, own))
    const report = await run([replicas, check('b.backup', () => failing())], { waivers })
    expect([resultOf(report, 'a.replicas').status, resultOf(report, 'b.backup').status]).toEqual(['fail', 'waived'])
  })

  it('leaves the results of what ran meanwhile', async () => {
    const after = check('c.after', undefined, { requires: ['a.replicas'] })
    const report = await run([replicas, check('b.backup', () => failing()), after], { waivers: fileOf(counted) })
    expect(resultOf(report, 'c.after').status).toBe('pass')
    expect(report.canonical.rootCauses).toEqual(['a.replicas', 'b.backup'])
  })
})

describe('every run', () => {
  const noteOf = async (daysLeft: number, checks = [replicas]): Promise<string | undefined> => {
    const ending = waiver({ expires: instant(now + daysLeft * dayMs), requested: instant(now - dayMs) })
    const report = await run(checks, { waivers: fileOf(ending) })
    const [note] = report.observations.notes ?? []
    if (note !== undefined) expect(formatText(report)).toContain(`note     EX-2026-014 ${note.text}`)
    return note?.text.split(',')[0]
  }

  it('warns 7, 3 and 1 days before a waiver ends', async () => {
    expect(await noteOf(7)).toBeUndefined()
    expect(await noteOf(7 - 1e-6)).toBe('expires within 7 days')
    expect(await noteOf(3)).toBe('expires within 7 days')
    expect(await noteOf(3 - 1e-6)).toBe('expires within 3 days')
    expect(await noteOf(1)).toBe('expires within 3 days')
    expect(await noteOf(1 - 1e-6)).toBe('expires within 1 day')
  })

  it('warns of a waiver that is in use while nobody has approved its renewal', async () => {
    const ending = waiver({ expires: instant(now + dayMs / 2) })
    const renewal = { ...ending, id: 'EX-2', renewal: { number: 1, of: ending.id }, requested: instant(now - 1) }
    const codesOf = async (...waivers: readonly Waiver[]): Promise<unknown> => {
      const { observations } = await run([replicas], { waivers: fileOf(...waivers) })
      return observations.notes?.map(({ waiver: id, code }) => `${id} ${code}`)
    }
    expect(await codesOf(ending, { ...renewal, approvals: [] })).toEqual(['EX-2026-014 EXPIRES_SOON'])
    const approved = signed({ ...renewal, expires: instant(now + 20 * dayMs) }, ['s.kim'], instant(now))
    expect(await codesOf(ending, approved)).toBeUndefined()
  })

  it('says that an advisory check needs no waiver', async () => {
    const advisory = check('a.replicas', () => failing(), { severity: 'advisory' })
    const report = await run([advisory], { waivers: fileOf(waiver()) })
    expect(resultOf(report, 'a.replicas').status).toBe('fail')
    expect(report.observations.results['a.replicas']?.refusals).toMatchObject([{ reason: 'NOT_WAIVABLE' }])
  })

  it('notes a waiver that nothing needs', async () => {
    expect(await noteOf(20, [check('a.replicas')])).toBe(
      'is not used: a.replicas passes without it; take it out of the file',
    )
  })

  it('comes to the same digest, whatever comes first and however many run at once', async () => {
    const backup = check('b.backup')
    const after = check('c.after', () => failing(), { requires: ['a.replicas'] })
    const waivers = fileOf(waiver({ compensating: ['b.backup'] }), waiver({ id: 'EX-2' }, subject({ id: 'c.after' })))
    const first = await run([replicas, backup, after], { waivers })
    expect(first.canonical.counts).toMatchObject({ waived: 2, fail: 0 })
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([replicas, backup, after], { minLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        async (checks, jobs) => {
          expect((await run(checks, { waivers, jobs })).digest).toBe(first.digest)
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe('a file that is wrong', () => {
  const files = (texts: Readonly<Record<string, string>>) => ({
    mode: () => undefined,
    isReadable: () => true,
    read: (path: string) => (texts[path] === undefined ? undefined : Buffer.from(texts[path])),
  })
  const env = { ARQONBUS_PREFLIGHT_WAIVERS: 'w.yaml', ARQONBUS_PREFLIGHT_POLICY: 'p.yaml' }
  const withFiles = (texts: Readonly<Record<string, string>>, inputs: object = {}): Promise<Report> =>
    runPreflight(
      { env, now, ...inputs },
      { catalogue: [replicas, live, check('a.other')], localAddresses: [], files: files(texts) },
    )
  const good = { 'w.yaml': yamlOf(fileOf(waiver())), 'p.yaml': policyYaml() }

  it('is read where the environment names it', async () => {
    expect(verdictText((await withFiles(good)).canonical)).toBe('GO (1 exception)')
    expect(exitCodeOf((await withFiles(good, { waivers: 'none' })).canonical)).toBe(22)
    const other = { ...good, 'q.yaml': policyYaml({ site: 'akl-2' }), 'v.yaml': yamlOf(fileOf()) }
    expect(exitCodeOf((await withFiles(other, { policyPath: 'q.yaml' })).canonical)).toBe(22)
    expect(exitCodeOf((await withFiles(other, { waiversPath: 'v.yaml' })).canonical)).toBe(22)
  })

  it.each([
    ['no YAML', { ...good, 'w.yaml': 'a: [' }, 'WAIVER_INVALID'],
    ['not there', { 'p.yaml': policyYaml() }, 'WAIVER_INVALID'],
    [
      'of a check that is not there',
      { ...good, 'w.yaml': yamlOf(fileOf(waiver({}, subject({ id: 'a.none' })))) },
      'WAIVER_INVALID',
    ],
    [
      'counting on a check that is not there',
      { ...good, 'w.yaml': yamlOf(fileOf(waiver({ compensating: ['a.none'] }))) },
      'WAIVER_INVALID',
    ],
    ['a policy of another schema', { ...good, 'p.yaml': 'schema: x\n' }, 'PREFLIGHT_POLICY_INVALID'],
    [
      'a policy for a check that is not there',
      { ...good, 'p.yaml': policyYaml({ waivable: ['a.none'] }) },
      'PREFLIGHT_POLICY_INVALID',
    ],
  ])('ends the run with 65 before it begins: %s', async (_name, texts, code) => {
    const { canonical, observations } = await withFiles(texts)
    expect(canonical).toMatchObject({ verdict: 'INCONCLUSIVE', fault: { kind: 'input', code }, results: [] })
    expect(exitCodeOf(canonical)).toBe(65)
    expect(formatText({ schema: 'arqonbus/preflight-report/1.0', canonical, digest: '', observations })).toContain(
      'Bad input: ',
    )
  })
})

describe('lint', () => {
  const lint = (...waivers: readonly Waiver[]) => lintWaivers(fileOf(...waivers), policy, now, [replicas])

  it('tells which waivers hold', () => {
    const old = waiver({ expires: instant(now - 1) })
    const renewal = waiver({ id: 'EX-2', renewal: { number: 1, of: old.id } })
    expect(lint(old, renewal, { ...waiver({ id: 'EX-3' }), reason: 'Another.' })).toMatchObject([
      { id: 'EX-2026-014', days: -1, refusal: { reason: 'EXPIRED' }, renewedBy: 'EX-2' },
      { id: 'EX-2', severity: 'high', days: 6, approvals: 1, needed: 1 },
      { id: 'EX-3', refusal: { reason: 'BAD_SIGNATURE' } },
    ])
    expect(lint(waiver())[0]).not.toHaveProperty('refusal')
  })
})
