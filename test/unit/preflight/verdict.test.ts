// The verdict and the exit code: whatever the results are, what failed or was not proved is never GO.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Phase, phases } from '../../../src/preflight/check.ts'
import type { Canonical, Outcome, Result } from '../../../src/preflight/report.ts'
import { type Evidence, exitCodeOf, stops, unproven, verdictOf } from '../../../src/preflight/verdict.ts'

const severities = ['blocker', 'critical', 'high', 'advisory'] as const
const outcomes: readonly Outcome[] = [
  { status: 'pass' },
  { status: 'fail', findings: [{ code: 'X', variable: 'X', fix: 'x' }] },
  { status: 'error', code: 'DEADLINE' },
  { status: 'waived', underlying: 'fail', waiver: 'EX-1', expires: '2026-03-01T00:00:00Z', findings: [] },
  { status: 'skip', reason: { kind: 'not-applicable', predicate: 'p', because: 'b' } },
  { status: 'skip', reason: { kind: 'blocked-by', id: 'other' } },
  { status: 'skip', reason: { kind: 'not-selected', because: 'b' } },
  { status: 'skip', reason: { kind: 'not-permitted', because: 'b' } },
]

const results: fc.Arbitrary<Result[]> = fc
  .array(
    fc.record({
      phase: fc.constantFrom(...phases),
      severity: fc.constantFrom(...severities),
      outcome: fc.constantFrom(...outcomes),
    }),
    { maxLength: 12 },
  )
  .map((entries) =>
    entries.map(({ phase, severity, outcome }, index) => ({
      id: `x.check-${index}`,
      runbook: [],
      phase,
      severity,
      class: 'config',
      blocks: [],
      ...outcome,
    })),
  )

const evidence: fc.Arbitrary<Evidence> = fc
  .record({
    results,
    missing: fc.array(fc.constantFrom('x.lost-1', 'x.lost-2'), { maxLength: 2 }),
    required: fc.subarray([...phases]),
  })
  .map(({ results: all, missing, required }) => ({
    results: all,
    planned: [...all.map(({ id }) => id), ...missing],
    required,
  }))

const one = (severity: Result['severity'], outcome: Outcome, phase: Phase = 'static'): Result => ({
  id: `x.${severity}`,
  runbook: [],
  phase,
  severity,
  class: 'config',
  blocks: [],
  ...outcome,
})

const codeOf = (verdict: Canonical['verdict'], all: readonly Result[]): number =>
  exitCodeOf({ verdict, results: all } as unknown as Canonical) // all that it reads

describe('the verdict', () => {
  it('is never GO while a gating check failed, could not answer, or was blocked', () => {
    fc.assert(
      fc.property(evidence, (given) => {
        const isStopped = given.results.some(
          ({ severity, ...result }) =>
            severity !== 'advisory' &&
            (result.status === 'fail' ||
              result.status === 'error' ||
              (result.status === 'skip' && result.reason.kind === 'blocked-by') ||
              (result.status === 'waived' && severity === 'blocker')),
        )
        expect(verdictOf(given) === 'NO-GO').toBe(isStopped)
      }),
      { numRuns: 3_000 },
    )
  })

  it('is GO only when every planned check has a result, every required phase a proof, and nothing was left out', () => {
    fc.assert(
      fc.property(evidence, (given) => {
        if (verdictOf(given) !== 'GO') return
        expect(given.planned.length).toBeGreaterThan(0)
        expect(given.results.map(({ id }) => id)).toEqual(expect.arrayContaining([...given.planned]))
        for (const phase of given.required) {
          expect(
            given.results.some(
              (result) => result.phase === phase && result.status === 'pass' && result.severity !== 'advisory',
            ),
          ).toBe(true)
        }
        for (const result of given.results) {
          if (result.severity === 'advisory') continue
          expect(['pass', 'waived', 'skip']).toContain(result.status)
          if (result.status === 'skip') expect(result.reason.kind).toBe('not-applicable')
        }
      }),
      { numRuns: 3_000 },
    )
  })

  it('can be GO at all', () => {
    const passed = one('high', { status: 'pass' })
    expect(verdictOf({ planned: [passed.id], required: ['static'], results: [passed] })).toBe('GO')
  })

  it('does not depend on the order of results', () => {
    fc.assert(
      fc.property(evidence, (given) => {
        expect(verdictOf({ ...given, results: given.results.toReversed() })).toBe(verdictOf(given))
      }),
    )
  })

  it.each([
    ['an empty catalogue', { planned: [], required: [], results: [] }, 'no check was planned'],
    [
      'a check without a result',
      { planned: ['x.high', 'x.lost'], required: ['static'], results: [one('high', { status: 'pass' })] },
      'no result of x.lost',
    ],
    [
      'a required phase without a check',
      { planned: ['x.high'], required: ['static', 'boot'], results: [one('high', { status: 'pass' })] },
      'phase boot proved nothing',
    ],
    [
      'a required phase in which nothing applies',
      { planned: ['x.high'], required: ['static'], results: [one('high', outcomes[4]!)] },
      'phase static proved nothing',
    ],
    [
      'a required phase with advice only',
      { planned: ['x.advisory'], required: ['static'], results: [one('advisory', { status: 'pass' })] },
      'phase static proved nothing',
    ],
  ] satisfies [string, Evidence, string][])('is INCONCLUSIVE for %s', (_name, given, reason) => {
    expect(verdictOf(given)).toBe('INCONCLUSIVE')
    expect(unproven(given)).toContain(reason)
  })
})

describe('the exit code', () => {
  it.each([
    ['blocker', 20],
    ['critical', 21],
    ['high', 22],
  ] as const)('of a NO-GO tells the worst severity: %s', (severity, code) => {
    const failed = one(severity, { status: 'error', code: 'DEADLINE' })
    expect(codeOf('NO-GO', [one('high', { status: 'pass' }), failed])).toBe(code)
    expect(codeOf('NO-GO', [failed, one('high', outcomes[1]!)])).toBe(code)
  })

  it('is 0 for GO alone', () => {
    expect(codeOf('GO', [])).toBe(0)
    expect(codeOf('INCONCLUSIVE', [])).toBe(30)
    expect(codeOf('NO-GO', [])).toBe(70)
  })

  it('is 64 and 70 when the run itself went wrong, whatever else is in the report', () => {
    for (const [kind, code] of [
      ['usage', 64],
      ['internal', 70],
    ] as const) {
      const canonical = { verdict: 'GO', results: [], fault: { kind, code: 'X' } } as unknown as Canonical // all that it reads
      expect(exitCodeOf(canonical)).toBe(code)
    }
  })

  it('counts no advisory', () => {
    expect(stops(one('advisory', outcomes[1]!))).toBe(false)
  })
})
