// Which checks run, in which order, and which do not: decided before anything is touched.
import { BusError } from '../base/errors.ts'
import type { Profile } from '../config/shapes.ts'
import { digestOf } from '../base/canonical-json.ts'
import { categoryOf, type Check, type CheckPorts, type Effect, type Phase, phases } from './check.ts'
import type { SkipReason } from './report.ts'

export interface Selection {
  /** Ids, or categories as `shield.*`; absent: all. */
  readonly only?: readonly string[]
  readonly skip?: readonly string[]
  readonly phases?: readonly Phase[]
  /** Nothing outside this process is changed, not even for a moment. */
  readonly readOnly?: boolean
  /** No connection is opened. */
  readonly offline?: boolean
  /** Also what takes long or costs. */
  readonly deep?: boolean
  /** Also the gates: they install the package elsewhere and run its suites, which takes minutes. */
  readonly gates?: boolean
}

export interface PlannedCheck {
  readonly check: Check
  /** Why it will not run; absent when it will. */
  readonly skip?: SkipReason
}

export interface Plan {
  readonly profile: Profile
  readonly required: readonly Phase[]
  /** In the order of the report. */
  readonly checks: readonly PlannedCheck[]
  /** Of ids, order, skips: what a reviewer of the plan saw. */
  readonly digest: string
}

/** Production asks for all five phases; development for what can be seen without services. */
export function requiredPhases(profile: Profile): readonly Phase[] {
  return profile === 'dev' ? ['static', 'live'] : phases
}

/** Throws USAGE for a name that is no check's, INTERNAL_ERROR for a catalogue that contradicts itself. */
export function planPreflight(
  catalogue: readonly Check[],
  ports: Pick<CheckPorts, 'ctx' | 'targets'>,
  selection: Selection & { readonly expectPlan?: string } = {},
): Plan {
  const ordered = inOrder(catalogue)
  const only = selection.only === undefined ? undefined : withNeeded(idsOf(selection.only, catalogue), catalogue)
  const skip = idsOf(selection.skip ?? [], catalogue)
  const reasons = new Map<string, SkipReason>()
  for (const check of ordered) {
    // Whoever names the phase or a check asks for them: nobody starts suites by accident.
    const gates = selection.gates ?? (only !== undefined || selection.phases?.includes('gates') === true)
    const own = skipReason(check, ports, { ...selection, only, skip, gates, phases: selection.phases ?? phases })
    const reason = own ?? inheritedReason(check, reasons) ?? emptinessOf(check, reasons)
    if (reason !== undefined) reasons.set(check.id, reason)
  }
  const checks = ordered.map((check): PlannedCheck => {
    const reason = reasons.get(check.id)
    return { check, ...(reason !== undefined && { skip: reason }) }
  })
  const { profile } = ports.ctx
  const digest = digestOf({ profile, checks: checks.map((planned) => [planned.check.id, planned.skip ?? 'run']) })
  refuseOther(digest, selection.expectPlan)
  return { profile, required: requiredPhases(profile), checks, digest }
}

/** A roll-up of nothing would pass and prove nothing. */
function emptinessOf({ isRollUp, requires }: Check, reasons: ReadonlyMap<string, SkipReason>): SkipReason | undefined {
  if (isRollUp !== true || !requires.every((id) => reasons.get(id)?.kind === 'not-applicable')) return undefined
  return { kind: 'not-applicable', predicate: 'something-to-roll-up', because: 'nothing that it requires applies' }
}

/** A plan that was reviewed is run as it was, or not at all. */
function refuseOther(digest: string, expected: string | undefined): void {
  if (expected === undefined) return
  const hex = expected.replace(/^sha256:/, '')
  if (/^[0-9a-f]{8,64}$/.test(hex) && digest.startsWith(`sha256:${hex}`)) return
  throw new BusError('USAGE', `the plan is ${digest} now, not ${expected}: look at it again (preflight plan)`, {
    reason: 'PLAN_CHANGED',
  })
}

/** With everything that has to pass first. */
function withNeeded(ids: ReadonlySet<string>, catalogue: readonly Check[]): ReadonlySet<string> {
  const byId = new Map(catalogue.map((check) => [check.id, check]))
  const all = new Set<string>()
  const add = (id: string): void => {
    if (all.has(id)) return
    all.add(id)
    for (const needed of byId.get(id)?.requires ?? []) add(needed)
  }
  for (const id of ids) add(id)
  return all
}

/** What needs a check that was left out by hand is left out by hand itself, not blocked: nothing has failed. */
function inheritedReason(check: Check, reasons: ReadonlyMap<string, SkipReason>): SkipReason | undefined {
  for (const id of check.requires) {
    const reason = reasons.get(id)
    if (reason?.kind === 'not-selected' || reason?.kind === 'not-permitted') return reason
  }
  return undefined
}

/** What the catalogue is: ids, severities, requirements. */
export function catalogueDigest(catalogue: readonly Check[]): string {
  return digestOf(
    inOrder(catalogue).map(({ id, phase, severity, class: fault, requires }) => ({
      id,
      phase,
      severity,
      class: fault,
      requires,
    })),
  )
}

function skipReason(
  check: Check,
  ports: Pick<CheckPorts, 'ctx' | 'targets'>,
  selected: Omit<Selection, 'only' | 'skip'> & {
    only: ReadonlySet<string> | undefined
    skip: ReadonlySet<string>
    phases: readonly Phase[]
  },
): SkipReason | undefined {
  const byHand = (because: string): SkipReason => ({ kind: 'not-selected', because })
  if (selected.skip.has(check.id)) return byHand('--skip')
  if (selected.only !== undefined && !selected.only.has(check.id)) return byHand('--only')
  if (!selected.phases.includes(check.phase)) return byHand('--phase')
  const { holds, because, otherwise = 'not-applicable' } = check.appliesWhen.test(ports)
  if (!holds) {
    return otherwise === 'not-selected'
      ? byHand(because)
      : { kind: 'not-applicable', predicate: check.appliesWhen.name, because }
  }
  if (check.phase === 'gates' && selected.gates !== true) return byHand('only with --gates')
  if (check.isDeep === true && selected.deep !== true) return byHand('only with --deep')
  const does = (kind: Effect['kind']): boolean => check.effects.some((effect) => effect.kind === kind)
  if (selected.offline === true && (does('net') || does('write'))) {
    return { kind: 'not-permitted', because: '--offline' }
  }
  return selected.readOnly === true && does('write') ? { kind: 'not-permitted', because: '--read-only' } : undefined
}

/** `dep.valkey`, `dep.valkey.*` and `dep.*` name all checks below them. */
function idsOf(names: readonly string[], catalogue: readonly Check[]): ReadonlySet<string> {
  const ids = new Set<string>()
  for (const name of names) {
    const prefix = `${name.replace(/\.\*$/, '')}.`
    const found = catalogue.filter(({ id }) => id === name || id.startsWith(prefix))
    if (found.length === 0) throw new BusError('USAGE', `no check is called ${name}`, { reason: 'UNKNOWN_CHECK' })
    for (const { id } of found) ids.add(id)
  }
  return ids
}

/** Topological; ties by phase, category and id in code-unit order (preflight 3.8). */
function inOrder(catalogue: readonly Check[]): Check[] {
  const byId = new Map(catalogue.map((check) => [check.id, check]))
  if (byId.size !== catalogue.length) throw broken('an id is there twice')
  const waitingFor = new Map(catalogue.map((check) => [check.id, check.requires.length]))
  const dependents = new Map<string, Check[]>()
  for (const check of catalogue) {
    for (const id of check.requires) {
      const needed = byId.get(id)
      if (needed === undefined) throw broken(`${check.id} requires ${id}, which is not there`)
      if (phases.indexOf(needed.phase) > phases.indexOf(check.phase)) {
        throw broken(`${check.id} requires a check of a later phase`)
      }
      dependents.set(id, [...(dependents.get(id) ?? []), check])
    }
  }
  // Last first, so that the next one is taken from the end.
  const ready = catalogue.filter(({ requires }) => requires.length === 0).sort((a, b) => compare(b, a))
  const ordered: Check[] = []
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    ordered.push(next)
    for (const check of dependents.get(next.id) ?? []) {
      const left = waitingFor.get(check.id)! - 1
      waitingFor.set(check.id, left)
      if (left === 0) insert(ready, check)
    }
  }
  if (ordered.length < catalogue.length) {
    const done = new Set(ordered)
    const left = catalogue.filter((check) => !done.has(check)).map(({ id }) => id)
    throw broken(`requirements in a circle: ${left.sort().join(', ')}`)
  }
  return ordered
}

/** Into its place of a list that is sorted last first. */
function insert(ready: Check[], check: Check): void {
  let [low, high] = [0, ready.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare(ready[middle]!, check) > 0) low = middle + 1
    else high = middle
  }
  ready.splice(low, 0, check)
}

function compare(a: Check, b: Check): number {
  const byPhase = phases.indexOf(a.phase) - phases.indexOf(b.phase)
  if (byPhase !== 0) return byPhase
  const keyA = `${categoryOf(a.id)} ${a.id}`
  const keyB = `${categoryOf(b.id)} ${b.id}`
  return keyA < keyB ? -1 : 1
}

function broken(message: string): BusError {
  return new BusError('INTERNAL_ERROR', `The catalogue of checks is wrong: ${message}`, { reason: 'BAD_CATALOGUE' })
}
