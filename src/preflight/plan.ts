// Which checks run, in which order, and which do not: decided before anything is touched.
import { BusError } from '../base/errors.ts'
import type { Profile } from '../config/shapes.ts'
import { digestOf } from './canonical-json.ts'
import { categoryOf, type Check, type CheckPorts, type Phase, phases } from './check.ts'
import type { SkipReason } from './report.ts'

export interface Selection {
  /** Ids, or categories as `shield.*`; absent: all. */
  readonly only?: readonly string[]
  readonly skip?: readonly string[]
  readonly phases?: readonly Phase[]
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
  selection: Selection = {},
): Plan {
  const ordered = inOrder(catalogue)
  const only = selection.only === undefined ? undefined : idsOf(selection.only, catalogue)
  const skip = idsOf(selection.skip ?? [], catalogue)
  const checks = ordered.map((check): PlannedCheck => {
    const reason = skipReason(check, ports, { only, skip, phases: selection.phases ?? phases })
    return { check, ...(reason !== undefined && { skip: reason }) }
  })
  const { profile } = ports.ctx
  const digest = digestOf({ profile, checks: checks.map((planned) => [planned.check.id, planned.skip ?? 'run']) })
  return { profile, required: requiredPhases(profile), checks, digest }
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
  selected: { only: ReadonlySet<string> | undefined; skip: ReadonlySet<string>; phases: readonly Phase[] },
): SkipReason | undefined {
  if (selected.skip.has(check.id)) return { kind: 'not-selected', because: '--skip' }
  if (selected.only !== undefined && !selected.only.has(check.id)) return { kind: 'not-selected', because: '--only' }
  if (!selected.phases.includes(check.phase)) return { kind: 'not-selected', because: '--phase' }
  const { holds, because, otherwise = 'not-applicable' } = check.appliesWhen.test(ports)
  if (holds) return undefined
  if (otherwise === 'not-selected') return { kind: 'not-selected', because }
  return { kind: 'not-applicable', predicate: check.appliesWhen.name, because }
}

function idsOf(names: readonly string[], catalogue: readonly Check[]): ReadonlySet<string> {
  const ids = new Set<string>()
  for (const name of names) {
    const found = catalogue.filter(
      ({ id }) => id === name || (name.endsWith('.*') && categoryOf(id) === name.slice(0, -2)),
    )
    if (found.length === 0) throw new BusError('USAGE', `no check is called ${name}`, { reason: 'UNKNOWN_CHECK' })
    for (const { id } of found) ids.add(id)
  }
  return ids
}

/** Topological; ties by phase, category and id in code-unit order (preflight 3.8). */
function inOrder(catalogue: readonly Check[]): Check[] {
  const byId = new Map(catalogue.map((check) => [check.id, check]))
  if (byId.size !== catalogue.length) throw broken('an id is there twice')
  const waiting = [...catalogue].sort(compare)
  const done = new Set<string>()
  const ordered: Check[] = []
  while (waiting.length > 0) {
    const index = waiting.findIndex(({ requires }) => requires.every((id) => done.has(id)))
    const [next] = index === -1 ? [] : waiting.splice(index, 1)
    if (next === undefined)
      throw broken(`requirements in a circle, or unknown: ${waiting.map(({ id }) => id).join(', ')}`)
    if (next.requires.some((id) => phases.indexOf(byId.get(id)!.phase) > phases.indexOf(next.phase))) {
      throw broken(`${next.id} requires a check of a later phase`)
    }
    ordered.push(next)
    done.add(next.id)
  }
  return ordered
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
