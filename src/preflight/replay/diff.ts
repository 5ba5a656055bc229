// Two runs side by side: which checks changed, what else changed, and what most likely came first. A pure function of two
// reports: judges are pure, so it can ask them whether a failure goes away when one fact is as it was before.
import { canonicalJson } from '../../base/canonical-json.ts'
import type { JsonObject, JsonValue } from '../../base/json.ts'
import { defaultPreflightPolicy } from '../../waivers/preflight-policy.ts'
import type { Check, JudgePorts } from '../check.ts'
import { judgeAnswer } from '../judge.ts'
import type { Report, Result } from '../report.ts'
import { publicContext } from './public-context.ts'
import { wordOf } from './replay.ts'

/** A check that says something else. */
export interface CheckChange {
  readonly id: string
  readonly before: string
  readonly after: string
  readonly class?: { readonly before: string; readonly after: string }
}

/** What the checks judged, or were judged by, is another: a variable, a fact, the commit. */
export interface InputChange {
  readonly kind:
    | 'variable'
    | 'fact'
    | 'stopped'
    | 'commit'
    | 'lock'
    | 'node'
    | 'version'
    | 'policy'
    | 'waivers'
    | 'catalogue'
    | 'profile'
  /** The variable, or the fact's field. */
  readonly name: string
  /** The check that saw it. */
  readonly check?: string
  readonly before?: JsonValue
  readonly after?: JsonValue
}

export interface Cause extends InputChange {
  /** The failure that it explains, and in how many steps of `requires`. */
  readonly explains: string
  readonly steps: number
  readonly why: string
}

export interface RunDiff {
  readonly before: { readonly digest: string; readonly at: string; readonly verdict: string }
  readonly after: { readonly digest: string; readonly at: string; readonly verdict: string }
  /** Equal results, equal inputs. Facts that no result rests on may move. */
  readonly isEqual: boolean
  readonly checks: readonly CheckChange[]
  readonly inputs: readonly InputChange[]
  /** Of those, what can explain a failure that is new; likeliest first. */
  readonly causes: readonly Cause[]
  readonly notes: readonly string[]
}

export function diffRuns(before: Report, after: Report, catalogue: readonly Check[]): RunDiff {
  const checks = checkChanges(before, after)
  const facts = factChanges(before, after)
  const { changes: surroundings, notes } = surroundingChanges(before, after)
  const headOf = ({ digest, canonical, observations }: Report) => ({
    digest,
    at: observations.startedAt,
    verdict: canonical.verdict,
  })
  return {
    before: headOf(before),
    after: headOf(after),
    isEqual: checks.length === 0 && surroundings.length === 0 && before.digest === after.digest,
    checks,
    inputs: [...surroundings, ...facts],
    causes: rank([...surroundings, ...facts], before, after, catalogue),
    notes,
  }
}

/** A check that was left out by hand on one side was not compared. */
const wasLeftOut = (result: Result): boolean =>
  result.status === 'skip' && (result.reason.kind === 'not-selected' || result.reason.kind === 'not-permitted')

const byId = ({ canonical }: Report): ReadonlyMap<string, Result> =>
  new Map(canonical.results.map((result) => [result.id, result]))

function checkChanges(before: Report, after: Report): CheckChange[] {
  const then = byId(before)
  return after.canonical.results.flatMap((result): CheckChange[] => {
    const earlier = then.get(result.id)
    if (earlier !== undefined && (wasLeftOut(earlier) || wasLeftOut(result))) return []
    if (earlier !== undefined && outcomeOf(earlier) === outcomeOf(result)) return []
    const isOtherClass = earlier !== undefined && earlier.class !== result.class
    return [
      {
        id: result.id,
        before: wordOf(earlier),
        after: wordOf(result),
        ...(isOtherClass && { class: { before: earlier.class, after: result.class } }),
      },
    ]
  })
}

/** Without what others made of it. */
const outcomeOf = (result: Result): string => canonicalJson({ ...result, blocks: [] })

const answerOf = ({ observations }: Report, id: string) => observations.results[id]?.answer

function factChanges(before: Report, after: Report): InputChange[] {
  const then = byId(before)
  return after.canonical.results.flatMap((result): InputChange[] => {
    const { id } = result
    const earlier = then.get(id)
    if (earlier === undefined) return []
    const [a, b] = [answerOf(before, id), answerOf(after, id)]
    if (a !== undefined && b !== undefined) {
      if ('facts' in a && 'facts' in b) return fieldChanges(id, a.facts, b.facts)
      const [was, is] = ['stopped' in a ? a.stopped.code : 'facts', 'stopped' in b ? b.stopped.code : 'facts']
      return was === is ? [] : [{ kind: 'stopped', name: is, check: id, before: was, after: is }]
    }
    // A check that only one of them ran has nothing to be compared with.
    return a !== undefined || b !== undefined ? [] : fieldChanges(id, factsOf(earlier), factsOf(result))
  })
}

const factsOf = (result: Result): JsonObject => ('facts' in result ? (result.facts ?? {}) : {})

function fieldChanges(check: string, before: JsonObject, after: JsonObject): InputChange[] {
  return Object.keys({ ...before, ...after })
    .sort()
    .filter((name) => canonicalJson(before[name] ?? null) !== canonicalJson(after[name] ?? null))
    .map((name) => ({
      kind: 'fact',
      name,
      check,
      ...(before[name] !== undefined && { before: before[name] }),
      ...(after[name] !== undefined && { after: after[name] }),
    }))
}

const parts = ['profile', 'version', 'node', 'policy', 'waivers', 'catalogue'] as const

function surroundingChanges(before: Report, after: Report): { changes: InputChange[]; notes: string[] } {
  const changes: InputChange[] = []
  const add = (kind: InputChange['kind'], name: string, a: string | undefined, b: string | undefined): void => {
    if (a === b) return
    changes.push({ kind, name, ...(a !== undefined && { before: a }), ...(b !== undefined && { after: b }) })
  }
  for (const part of parts) add(part, part, before.canonical[part], after.canonical[part])
  const [a, b] = [before.observations.inputs, after.observations.inputs]
  if (a === undefined || b === undefined) return { changes, notes: ['no names of variables in one of the reports'] }
  add('commit', 'commit', a.commit, b.commit)
  add('lock', 'lock', a.lock, b.lock)
  const names = Object.keys({ ...a.variables, ...b.variables }).sort()
  if (a.key === b.key) {
    for (const name of names) add('variable', name, a.variables[name], b.variables[name])
    return { changes, notes: [] }
  }
  // Fingerprints of two keys say nothing about each other; that a variable came or went, they do say.
  const presence = (has: boolean): string | undefined => (has ? 'set' : undefined)
  for (const name of names) add('variable', name, presence(name in a.variables), presence(name in b.variables))
  return { changes, notes: ['fingerprints of different installations: values of variables were not compared'] }
}

const hasFailed = (result: Result | undefined): boolean => result?.status === 'fail' || result?.status === 'error'

/** Those that did not fail so before; a failure that was there is nobody's first cause today. */
function newFailures(before: Report, after: Report): Result[] {
  const then = byId(before)
  const word = (result: Result | undefined): string => wordOf(result)
  return after.canonical.results.filter((result) => hasFailed(result) && word(then.get(result.id)) !== word(result))
}

/** A change nearest upstream of a failure first: one that heals it when it is taken back, one that it names, its own. */
function rank(changes: readonly InputChange[], before: Report, after: Report, catalogue: readonly Check[]): Cause[] {
  const known = new Map(catalogue.map((check) => [check.id, check]))
  const order = new Map(after.canonical.planned.map((id, index) => [id, index]))
  const scored = newFailures(before, after).flatMap((failure) => {
    const steps = stepsUpstream(failure.id, known)
    const judge = counterfactual(failure, before, after, known.get(failure.id))
    return changes.flatMap((change) => {
      const score = scoreOf(change, failure, steps, known, judge)
      return score === undefined ? [] : [{ change, failure, ...score }]
    })
  })
  const place = (id: string | undefined): number => order.get(id ?? '') ?? 0
  scored.sort(
    (a, b) =>
      a.weight - b.weight ||
      // In plan order: configuration stands before names, names before connections, and so on down a chain.
      place(a.failure.id) - place(b.failure.id) ||
      place(a.change.check) - place(b.change.check) ||
      (`${a.change.kind} ${a.change.name}` < `${b.change.kind} ${b.change.name}` ? -1 : 1),
  )
  const seen = new Set<InputChange>()
  return scored.flatMap(({ change, failure, steps, why }): Cause[] => {
    if (seen.has(change)) return []
    seen.add(change)
    return [{ ...change, explains: failure.id, steps, why }]
  })
}

/** How many `requires` away each check is that has to pass before this one; itself 0. */
function stepsUpstream(id: string, known: ReadonlyMap<string, Check>): ReadonlyMap<string, number> {
  const steps = new Map([[id, 0]])
  for (const [at, count] of steps) {
    for (const needed of known.get(at)?.requires ?? []) if (!steps.has(needed)) steps.set(needed, count + 1)
  }
  return steps
}

type Judge = (field: string) => 'decides' | 'does not' | 'unknown'

interface Score {
  /** Smaller is likelier. */
  readonly weight: number
  readonly steps: number
  readonly why: string
}

const perStep = 10
const far = 1_000

function scoreOf(
  change: InputChange,
  failure: Result,
  upstream: ReadonlyMap<string, number>,
  known: ReadonlyMap<string, Check>,
  judge: Judge,
): Score | undefined {
  if (change.check !== undefined) return seenScore(change, failure, upstream, judge)
  if (change.kind === 'variable') return variableScore(change.name, failure, upstream, known)
  const why = `nothing nearer changed: the ${change.kind} is another one`
  return { weight: far + (failure.class === 'regression' ? 0 : perStep), steps: upstream.size, why }
}

function seenScore(
  { check = '', kind, name }: InputChange,
  { id }: Result,
  upstream: ReadonlyMap<string, number>,
  judge: Judge,
): Score | undefined {
  const steps = upstream.get(check)
  if (steps === undefined) return undefined
  if (steps > 0) return { weight: steps * perStep + 5, steps, why: `seen by ${check}, which ${id} needs` }
  if (kind === 'stopped') return { weight: 0, steps, why: 'the look itself came to another end' }
  const verdict = judge(name)
  if (verdict === 'decides') return { weight: 1, steps, why: 'with the earlier value, the judgement is another' }
  return verdict === 'unknown'
    ? { weight: 4, steps, why: `${id} judges it` }
    : { weight: far / 2, steps, why: `${id} judges the same with the earlier value` }
}

function variableScore(
  name: string,
  failure: Result,
  upstream: ReadonlyMap<string, number>,
  known: ReadonlyMap<string, Check>,
): Score | undefined {
  const isNamed = failure.status === 'fail' && failure.findings.some(({ variable }) => variable === name)
  if (isNamed) return { weight: 2, steps: 0, why: 'the finding names it' }
  let best: Score | undefined
  for (const [id, steps] of upstream) {
    const check = known.get(id)
    if (check === undefined || !dependsOn(check, name)) continue
    const weight = steps * perStep + 3
    if (best === undefined || weight < best.weight) best = { weight, steps, why: `${id} can fail by it` }
  }
  return best
}

/** The worlds of a check say which variables it can fail by. */
const dependsOn = ({ worlds }: Check, variable: string): boolean =>
  worlds.fails.some(({ env }) => env !== undefined && Object.hasOwn(env, variable))

/**
 * Asks the judge again with one field as it was: another judgement means that the field decides. Also the other way
 * round, for failures that have more than one reason. A judge that asks for the configuration itself cannot tell.
 */
function counterfactual(failure: Result, before: Report, after: Report, check: Check | undefined): Judge {
  const [a, b] = [answerOf(before, failure.id), answerOf(after, failure.id)]
  if (check === undefined || a === undefined || b === undefined || 'stopped' in a || 'stopped' in b)
    return () => 'unknown'
  const context = publicContext({
    asked: after.canonical.profile,
    variables: hiddenVariables(after),
    sources: {},
    problems: [],
    warnings: [],
    localAddresses: [],
  })
  const now = Date.parse(after.observations.startedAt)
  const ports: JudgePorts = { ctx: context.ctx, targets: {}, policy: defaultPreflightPolicy, now }
  const verdictOf = (facts: JsonObject): string | undefined => {
    context.takeMissing()
    const result = judgeAnswer(check, { facts }, ports)
    if (context.takeMissing().length > 0) return undefined
    if (result.status === 'fail') return `fail ${result.findings.map(({ code }) => code).join(',')}`
    return result.status === 'error' ? `error ${result.code}` : 'pass'
  }
  const [was, is] = [verdictOf(a.facts), verdictOf(b.facts)]
  if (was === undefined || is === undefined || was === is) return () => 'unknown'
  return (field) => {
    const [healed, broken] = [
      verdictOf(withField(b.facts, a.facts, field)),
      verdictOf(withField(a.facts, b.facts, field)),
    ]
    if (healed === undefined || broken === undefined) return 'unknown'
    return healed !== is || broken !== was ? 'decides' : 'does not'
  }
}

function withField(facts: JsonObject, from: JsonObject, field: string): JsonObject {
  const { [field]: _, ...rest } = facts
  return from[field] === undefined ? rest : { ...rest, [field]: from[field] }
}

/** A report says which variables there were, not what stood in them. */
function hiddenVariables({ observations: { inputs } }: Report) {
  const names = Object.keys(inputs?.variables ?? {})
  return Object.fromEntries(
    names.map((name) => [name, { hidden: true as const, source: { kind: 'env' as const, name } }]),
  )
}
