// Reports made of results, put together as a run does it: for tests of what reads reports.
import fc from 'fast-check'
import { type Ended, reportOf } from '../../src/preflight/build-report.ts'
import { type Phase, phases } from '../../src/preflight/check.ts'
import type { Outcome, Report, Result } from '../../src/preflight/report.ts'
import type { About } from '../../src/preflight/reporters/view.ts'

/** What breaks formats: quotes, ends of blocks, commands, line ends, what no encoding holds. */
export const hostile =
  'a "b" <c> & \'d\' ]]> --> </script><script>alert(1)</script> ::error::x %0A `e` ``` # | * _\n::set-env name=x::y\r\n  ...\nnot ok 1 \u0000\u001b[31m\u2028\ud800 ü 漢'

export interface SampleCheck {
  readonly id: string
  readonly outcome: Outcome
  readonly severity?: Result['severity']
  readonly phase?: Phase
  readonly runbook?: readonly string[]
  /** What was found, or what stood in the way. */
  readonly found?: string
  readonly ms?: number
}

export function sampleReport(
  checks: readonly SampleCheck[],
  run: { readonly required?: readonly Phase[]; readonly startedAt?: string; readonly ms?: number } = {},
): Report {
  const ended = checks.map(
    ({ id, outcome, severity = 'high', phase = 'static', runbook = [], found, ms = 12 }): Ended => {
      const findings = 'findings' in outcome ? outcome.findings : []
      return {
        result: { id, runbook, phase, severity, class: 'config', blocks: [], ...outcome },
        observation: {
          ms,
          ...(findings.length > 0 && { findings: findings.map(({ variable }) => ({ variable, found: found ?? '' })) }),
          ...(found !== undefined && { observed: found }),
          ...(outcome.status === 'waived' && {
            exception: { owner: 'o@example.org', approvedBy: ['a', 'b'], days: 12, renewals: 0 },
          }),
        },
      }
    },
  )
  const plan = {
    profile: 'prod',
    required: run.required ?? [],
    checks: ended.map(({ result }) => ({ check: { id: result.id } })),
    digest: `sha256:${'0'.repeat(64)}`,
  } as unknown as Parameters<typeof reportOf>[0] // only ids are read of its checks
  const judgedBy = { catalogue: 'sha256:c', policy: 'sha256:p', notes: [], plugins: [] }
  const { startedAt = '2026-02-19T12:00:00.000Z', ms = 1_500 } = run
  return reportOf(plan, judgedBy, ended, { node: '24.0.0', startedAt, ms, judged: {} })
}

export const sampleOutcomes: readonly Outcome[] = [
  { status: 'pass' },
  {
    status: 'fail',
    findings: [
      { code: 'NOT_SET', variable: 'NATS_URL', fix: 'set NATS_URL' },
      { code: 'NOT_SET', variable: 'NATS_URL', fix: 'set it <really> & "now"' },
    ],
  },
  { status: 'error', code: 'DEADLINE' },
  {
    status: 'waived',
    underlying: 'fail',
    waiver: 'EX-1',
    expires: '2026-03-01T00:00:00Z',
    findings: [{ code: 'OFF', variable: 'X', fix: 'set X' }],
  },
  {
    status: 'waived',
    underlying: 'error',
    waiver: 'EX-2',
    expires: '2026-03-01T00:00:00Z',
    findings: [],
    code: 'GONE',
  },
  { status: 'skip', reason: { kind: 'not-applicable', predicate: 'p', because: 'b' } },
  { status: 'skip', reason: { kind: 'blocked-by', id: 'x.check-0' } },
  { status: 'skip', reason: { kind: 'not-selected', because: '--skip # me' } },
  { status: 'skip', reason: { kind: 'not-permitted', because: '--read-only' } },
]

export const sampleReports: fc.Arbitrary<Report> = fc
  .array(
    fc.record({
      phase: fc.constantFrom(...phases),
      severity: fc.constantFrom('blocker' as const, 'critical' as const, 'high' as const, 'advisory' as const),
      outcome: fc.constantFrom(...sampleOutcomes),
      found: fc.oneof(fc.constant(hostile), fc.string({ unit: 'binary', maxLength: 40 })),
      ms: fc.nat(10_000),
      runbook: fc.constantFrom([], ['L22'], ['L31', 'L62']),
    }),
    { maxLength: 30 },
  )
  .chain((checks) =>
    fc.subarray([...phases]).map((required) =>
      sampleReport(
        checks.map((check, at) => ({ ...check, id: `x.check-${at}` })),
        { required },
      ),
    ),
  )

/** Each check waits on the one before it. */
export const aboutSample = ({ canonical }: Report): About =>
  new Map(
    canonical.planned.map((id, at) => [
      id,
      { title: `Title of ${id}`, fix: `mend ${id}`, requires: at === 0 ? [] : [canonical.planned[at - 1]!] },
    ]),
  )
