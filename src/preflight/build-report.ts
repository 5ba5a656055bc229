// Puts a report together: from the results of a run, or from the fault that kept it from running.
import { BusError } from '../base/errors.ts'
import { version } from '../base/version.ts'
import type { Profile } from '../config/shapes.ts'
import { digestOf } from '../base/canonical-json.ts'
import type { Plan } from './plan.ts'
import {
  type Canonical,
  type CountName,
  harmless,
  type Observation,
  type PluginNote,
  type Report,
  reportSchema,
  type Result,
  type WaiverNote,
} from './report.ts'
import { stops, unproven, verdictOf, worstOf } from './verdict.ts'

/** A check that came to its end, or was left out. */
export interface Ended {
  readonly result: Result
  readonly observation: Observation
}

/** What a report says of the run itself. */
export interface RunFacts {
  /** The Node version. */
  readonly node: string
  /** Absent: of this program. */
  readonly version?: string
  readonly startedAt: string
  readonly ms: number
  /** Somebody stopped it. */
  readonly isInterrupted?: boolean
}

/** One look of a probe: how long it took, and what it stopped with. */
export interface Attempt {
  readonly ms: number
  readonly code?: string
}

/** What may be shown of an error of any kind. */
export const describeFault = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : typeof error

/** Digests of what was judged by, and what is to be said of it. */
export interface JudgedBy {
  readonly catalogue: string
  readonly policy: string
  readonly waivers?: string
  readonly notes: readonly WaiverNote[]
  readonly plugins: readonly PluginNote[]
}

/** What was judged. */
export type Judged = Pick<Canonical, 'subject' | 'environment' | 'exceptions' | 'judgedFor'>

export function reportOf(
  plan: Plan,
  judgedBy: JudgedBy,
  ended: readonly Ended[],
  { judged, ...facts }: RunFacts & { readonly judged: Judged },
): Report {
  const { catalogue, policy, waivers, notes, plugins } = judgedBy
  const results = withBlocks(ended.map(({ result }) => result))
  const evidence = { planned: plan.checks.map(({ check }) => check.id), required: plan.required, results }
  const verdict = verdictOf(evidence)
  const causes = results.filter((result) => stops(result) && result.status !== 'skip')
  const label = worstOf(results)
  const canonical: Canonical = {
    verdict,
    unproven: verdict === 'INCONCLUSIVE' ? unproven(evidence) : [],
    profile: plan.profile,
    version: facts.version ?? version,
    node: facts.node,
    required: plan.required,
    planned: evidence.planned,
    plan: plan.digest,
    catalogue,
    policy,
    ...(waivers !== undefined && { waivers }),
    ...judged,
    counts: countsOf(results),
    rootCauses: causes.map(({ id }) => id),
    ...(label !== undefined && { route: { label, dedupe: dedupeOf(causes) } }),
    results,
    ...(facts.isInterrupted === true && { fault: { kind: 'interrupted', code: 'INTERRUPTED' } }),
  }
  return {
    schema: reportSchema,
    canonical,
    digest: digestOf(canonical),
    observations: {
      startedAt: facts.startedAt,
      ms: Math.round(facts.ms),
      ...(facts.isInterrupted === true && { fault: 'stopped before its end' }),
      ...(notes.length > 0 && { notes }),
      ...(plugins.length > 0 && { plugins }),
      results: Object.fromEntries(ended.map(({ result, observation }) => [result.id, observation])),
    },
  }
}

function withBlocks(results: readonly Result[]): Result[] {
  const blocks = new Map<string, string[]>()
  for (const result of results) {
    if (result.status !== 'skip' || result.reason.kind !== 'blocked-by') continue
    const { id } = result.reason
    const others = blocks.get(id)
    if (others === undefined) blocks.set(id, [result.id])
    else others.push(result.id)
  }
  return results.map((result) => ({ ...result, blocks: blocks.get(result.id) ?? [] }))
}

/** The same for the same causes, so that one ticket is opened for them. */
function dedupeOf(causes: readonly Result[]): string {
  const facts = causes.map((cause) => ({
    id: cause.id,
    class: cause.class,
    codes:
      cause.status === 'fail' ? cause.findings.map(({ code }) => code) : cause.status === 'error' ? [cause.code] : [],
  }))
  return digestOf(facts).slice('sha256:'.length, 'sha256:'.length + 8)
}

function countsOf(results: readonly Result[]): Record<CountName, number> {
  const counts = { pass: 0, fail: 0, error: 0, waived: 0, blocked: 0, notApplicable: 0, notRun: 0 }
  for (const result of results) {
    if (result.status !== 'skip') counts[result.status]++
    else if (result.reason.kind === 'blocked-by') counts.blocked++
    else if (result.reason.kind === 'not-applicable') counts.notApplicable++
    else counts.notRun++
  }
  return counts
}

const inputReasons: readonly unknown[] = ['WAIVER_INVALID', 'PREFLIGHT_POLICY_INVALID', 'PLUGIN_INVALID', 'BAD_RECORD']
const mostFaultLines = 100

/** A wrong call (USAGE), a file that is wrong, or a fault of ours; INCONCLUSIVE either way. */
export function faultReport(error: unknown, profile: Profile, facts: RunFacts): Report {
  const reason = error instanceof BusError ? error.details['reason'] : undefined
  const kind =
    error instanceof BusError && error.code === 'USAGE' ? 'usage' : inputReasons.includes(reason) ? 'input' : 'internal'
  const code = typeof reason === 'string' ? reason : kind === 'usage' ? 'USAGE' : 'UNEXPECTED'
  const canonical: Canonical = {
    verdict: 'INCONCLUSIVE',
    unproven: [faultWords[kind]],
    profile,
    version: facts.version ?? version,
    node: facts.node,
    required: [],
    planned: [],
    plan: '',
    catalogue: '',
    policy: '',
    counts: countsOf([]),
    rootCauses: [],
    results: [],
    fault: { kind, code },
  }
  const words = error instanceof BusError && kind !== 'internal' ? error.message : describeFault(error)
  const fault = words.split('\n').slice(0, mostFaultLines).map(harmless).join('\n')
  return {
    schema: reportSchema,
    canonical,
    digest: digestOf(canonical),
    observations: { startedAt: facts.startedAt, ms: Math.round(facts.ms), fault, results: {} },
  }
}

const faultWords = {
  usage: 'the call was wrong',
  input: 'a file it has to judge by is wrong',
  internal: 'the preflight itself failed',
} as const
