// Judges a record again: no network, no service, no file. Judges run anew wherever the record holds all that they ask
// for; what they said of a secret or a file stays as it was recorded. Everything after - plan, exceptions, verdict,
// digest - is computed again.
import { canonicalJson, digestOf } from '../../base/canonical-json.ts'
import { createCatalogue } from '../catalogue.ts'
import type { Check, CheckResult, JudgePorts } from '../check.ts'
import type { Prober } from '../prober.ts'
import type { Canonical, ReplayNotes, Report, Result } from '../report.ts'
import type { PreflightPorts } from '../inputs.ts'
import { runPreflight } from '../run.ts'
import { targetsOf } from '../targets.ts'
import type { Profile } from '../../config/shapes.ts'
import { type Changes, publicContext, publicEnvironment, type PublicContext } from './public-context.ts'
import type { Applies, RecordedCheck, RunRecord } from './record.ts'

export interface ReplayOptions {
  /** What if: these variables instead of the recorded ones. Public ones only. */
  readonly changes?: Changes
  /** Judge with the checks of then: those that are new since are left out. */
  readonly asRecorded?: boolean
  readonly catalogue?: readonly Check[]
}

export interface Replayed {
  /** With `observations.replay`. */
  readonly report: Report
  readonly isEqual: boolean
  readonly expected: string
  /** Checks whose result is another one, in plan order, in words. */
  readonly differing: readonly { readonly id: string; readonly recorded: string; readonly now: string }[]
  /** Other parts of the report that differ: `catalogue`, `policy`. */
  readonly parts: readonly string[]
  readonly notes: readonly string[]
}

export async function replayRecord(record: RunRecord, options: ReplayOptions = {}): Promise<Replayed> {
  const { changes = {}, asRecorded = false } = options
  const current = options.catalogue ?? createCatalogue()
  const recorded = new Map(record.checks.map((check) => [check.head.id, check]))
  const context = publicContext(record, changes)
  const isWhatIf = Object.keys(changes).length > 0
  const sitting: Sitting = { context, isWhatIf, rejudged: new Set(), kept: new Map() }
  const wrapped = asRecorded
    ? record.checks.map((one) =>
        fromThen(
          one,
          current.find(({ id }) => id === one.head.id),
        ),
      )
    : current
  const report = await runPreflight(
    {
      ...record.selection,
      env: publicEnvironment(record, changes),
      ...(record.asked !== null && { profile: record.asked as Profile }), // written from one
      now: record.now,
      policy: record.policy,
      waivers: record.waivers,
      targets: targetsOf(record.targets),
    },
    {
      catalogue: wrapped.map((check) => replaying(check, recorded.get(check.id), sitting)),
      prober: recordedProber(recorded),
      node: record.node,
      version: record.version,
      judged: judgedIn(record.canonical),
      files: context.ctx.files,
      localAddresses: record.localAddresses,
      readFile: () => {
        throw new Error('not recorded')
      },
    },
  )
  return compare(record, withNotes(report, sitting))
}

function judgedIn({ subject, environment, judgedFor }: RunRecord['canonical']): NonNullable<PreflightPorts['judged']> {
  return {
    ...(subject !== undefined && { subject }),
    ...(environment !== undefined && { environment }),
    ...(judgedFor !== undefined && { judgedFor }),
  }
}

interface Sitting {
  readonly context: PublicContext
  readonly isWhatIf: boolean
  readonly rejudged: Set<string>
  /** Id, and what its judge asked for that was not recorded. */
  readonly kept: Map<string, readonly string[]>
}

const notRecorded: Applies = { holds: false, because: 'not recorded', otherwise: 'not-selected' }

function replaying(check: Check, recorded: RecordedCheck | undefined, sitting: Sitting): Check {
  return {
    ...check,
    appliesWhen: { name: check.appliesWhen.name, test: (ports) => applies(check, recorded, sitting, ports) },
    judge: (facts, ports) =>
      judgeAgain(check, recorded, sitting, () => check.judge(facts, sittingPorts(sitting, ports))),
  }
}

const sittingPorts = ({ context }: Sitting, ports: JudgePorts): JudgePorts => ({ ...ports, ctx: context.ctx })

function applies(
  check: Check,
  recorded: RecordedCheck | undefined,
  { context, isWhatIf }: Sitting,
  { targets }: Pick<JudgePorts, 'targets'>,
): Applies {
  if (recorded?.applies === undefined) return notRecorded
  if (!isWhatIf) return recorded.applies
  const again = attempt(context, () => check.appliesWhen.test({ ctx: context.ctx, targets }))
  const now = 'value' in again ? again.value : recorded.applies
  // Nobody looked then: what it would have seen is not known now.
  const wasSeen = recorded.judged !== undefined || recorded.answer !== undefined
  return now.holds && !wasSeen ? notRecorded : now
}

function judgeAgain(
  { id }: Check,
  recorded: RecordedCheck | undefined,
  { context, rejudged, kept }: Sitting,
  judge: () => CheckResult,
): CheckResult {
  const again = attempt(context, judge)
  if ('value' in again) {
    rejudged.add(id)
    return again.value
  }
  kept.set(id, again.missing)
  return recorded?.judged ?? neverJudged(again.missing.join(', '))
}

const neverJudged = (observed: string): CheckResult => ({
  status: 'error',
  code: 'NOT_RECORDED',
  observed,
  class: 'unknown',
})

/** A judge that swallows the refusal has judged without what it asked for, and does not count either. */
function attempt<T>(context: PublicContext, ask: () => T): { value: T } | { missing: readonly string[] } {
  context.takeMissing()
  try {
    const value = ask()
    const missing = context.takeMissing()
    return missing.length === 0 ? { value } : { missing }
  } catch (error) {
    const missing = context.takeMissing()
    if (missing.length === 0) throw error
    return { missing }
  }
}

/** A check as the record knows it; one that is no more says what it said. */
function fromThen({ head, judged }: RecordedCheck, current: Check | undefined): Check {
  const appliesWhen = { name: head.appliesWhen, test: () => notRecorded }
  if (current !== undefined) return { ...current, ...head, appliesWhen }
  const worlds = { passes: [], fails: [], ignores: [] }
  return { ...head, appliesWhen, shape: {}, judge: () => judged ?? neverJudged(head.id), worlds }
}

function recordedProber(recorded: ReadonlyMap<string, RecordedCheck>): Prober {
  return {
    answer(check) {
      const answer = recorded.get(check.id)?.answer
      // A rule, or a check that is no more: what its judge said is recorded, not what it saw.
      const isBlind = check.probe === undefined && (answer === undefined || 'facts' in answer)
      const stopped = { code: 'NOT_RECORDED', observed: 'the record holds no answer of this check' }
      return Promise.resolve(isBlind ? { facts: {} } : (answer ?? { stopped }))
    },
    close: () => Promise.resolve(),
  }
}

function withNotes(report: Report, { rejudged, kept }: Sitting): Report {
  const replay: ReplayNotes = {
    rejudged: [...rejudged].sort(),
    notRejudged: [...kept].map(([id, needs]) => ({ id, needs })).sort((a, b) => (a.id < b.id ? -1 : 1)),
  }
  return { ...report, observations: { ...report.observations, replay } }
}

function compare(record: RunRecord, report: Report): Replayed {
  const { canonical, digest } = report
  const differing = differingResults(record.canonical, canonical)
  const parts = Object.keys({ ...record.canonical, ...canonical }).filter((name) => {
    const of = (side: Canonical): string => canonicalJson(side[name as keyof Canonical] ?? null)
    return name !== 'results' && of(record.canonical) !== of(canonical)
  })
  const isWhole = digestOf(record.canonical) === record.digest
  return {
    report,
    isEqual: digest === record.digest && isWhole,
    expected: record.digest,
    differing,
    parts: parts.sort(),
    notes: isWhole ? [] : ['the recorded report is not the one with the recorded digest: somebody changed it'],
  }
}

function differingResults(then: Canonical, now: Canonical): Replayed['differing'] {
  const before = new Map(then.results.map((result) => [result.id, result]))
  const after = new Map(now.results.map((result) => [result.id, result]))
  return [...new Set([...after.keys(), ...before.keys()])].flatMap((id) => {
    const [a, b] = [before.get(id), after.get(id)]
    if (a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b)) return []
    const [recorded, words] = [wordOf(a), wordOf(b)]
    return [{ id, recorded, now: recorded === words ? `${words}, with other facts or words` : words }]
  })
}

/** `pass`, `fail CODE`, `error CODE`, `skip blocked-by ID`, `absent`. */
export function wordOf(result: Result | undefined): string {
  if (result === undefined) return 'absent'
  switch (result.status) {
    case 'pass':
      return 'pass'
    case 'fail':
      return `fail ${result.findings.map(({ code }) => code).join(',')}`
    case 'error':
      return `error ${result.code}`
    case 'waived':
      return `waived ${result.waiver}`
    case 'skip':
      return result.reason.kind === 'blocked-by' ? `skip blocked-by ${result.reason.id}` : `skip ${result.reason.kind}`
  }
}
