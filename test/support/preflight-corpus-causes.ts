// Pairs of runs with one planted cause, made from the worlds of the catalogue: before, every check as in its first passing
// world; after, one check as in one of its failing worlds, and beside it changes that mean nothing.
import { canonicalJson, digestOf } from '../../src/base/canonical-json.ts'
import { allKeys } from '../../src/config/keys.ts'
import type { Answer, Check, CheckResult, FailingWorld, World } from '../../src/preflight/check.ts'
import { healthyEnvironment, portsOfWorld } from '../../src/preflight/healthy-world.ts'
import { judgeAnswer } from '../../src/preflight/judge.ts'
import { type Canonical, type Observation, type Report, reportSchema, type Result } from '../../src/preflight/report.ts'

export interface PlantedCase {
  readonly id: string
  readonly world: string
  readonly before: Report
  readonly after: Report
  /** `fact ID FIELD`, `stopped ID`, `variable NAME`: each of them is the cause. */
  readonly planted: ReadonlySet<string>
  readonly incidental: number
}

export type Random = () => number

export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const answerOf = ({ stopped, facts }: World): Answer => (stopped === undefined ? { facts: facts ?? {} } : { stopped })

/** Undefined where a world differs in what a report does not show: files, the instant, the policy. */
export function plantCase(
  catalogue: readonly Check[],
  check: Check,
  world: FailingWorld,
  random: Random,
  incidental: number,
): PlantedCase | undefined {
  const healthy = check.worlds.passes[0]!
  const planted = new Set<string>()
  const [was, is] = [answerOf(healthy), answerOf(world)]
  if ('stopped' in is) planted.add(`stopped ${check.id}`)
  else if ('facts' in was) {
    for (const name of Object.keys({ ...was.facts, ...is.facts }))
      if (canonicalJson(was.facts[name] ?? null) !== canonicalJson(is.facts[name] ?? null))
        planted.add(`fact ${check.id} ${name}`)
  }
  const [envBefore, envAfter] = [
    { ...healthyEnvironment, ...healthy.env },
    { ...healthyEnvironment, ...world.env },
  ]
  for (const name of Object.keys({ ...envBefore, ...envAfter }))
    if (envBefore[name] !== envAfter[name]) planted.add(`variable ${name}`)
  if (planted.size === 0) return undefined

  const noise = noiseFor(catalogue, check, envAfter, random, incidental)
  return {
    id: check.id,
    world: world.name,
    before: reportOf(catalogue, new Map([[check.id, healthy]]), envBefore, random, {}),
    after: reportOf(
      catalogue,
      new Map([...noise.worlds, [check.id, world]]),
      { ...envAfter, ...noise.env },
      random,
      noise,
    ),
    planted,
    incidental: noise.count,
  }
}

interface Noise {
  readonly node?: string
  readonly version?: string
  readonly commit?: string
  readonly lock?: string
}

/** Other checks in other worlds in which they pass, public variables, versions: nothing of it is the cause. */
function noiseFor(
  catalogue: readonly Check[],
  check: Check,
  env: Readonly<Record<string, string | undefined>>,
  random: Random,
  wanted: number,
): Noise & { worlds: Map<string, World>; env: Record<string, string>; count: number } {
  const surroundings = { node: '24.99.0', version: '9.9.9', commit: 'b'.repeat(40), lock: 'b'.repeat(64) }
  const worlds = new Map<string, World>()
  const changed: Record<string, string> = {}
  const others = catalogue.filter(({ id, probe, worlds: { passes, ignores } }) => {
    return id !== check.id && probe !== undefined && [...passes, ...ignores].length > 1
  })
  const names = allKeys.flatMap(({ names: [name], secret }) => (secret === undefined && !(name in env) ? [name] : []))
  let count = Object.keys(surroundings).length
  for (let tries = 0; count < wanted && tries < wanted * 20; tries++) {
    if (random() < 0.5) {
      const other = others[Math.floor(random() * others.length)]!
      const odd = [...other.worlds.passes.slice(1), ...other.worlds.ignores].filter(({ facts }) => facts !== undefined)
      const world = odd[Math.floor(random() * odd.length)]
      if (worlds.has(other.id) || world === undefined) continue
      if (canonicalJson(world.facts!) === canonicalJson(other.worlds.passes[0]!.facts ?? {})) continue
      worlds.set(other.id, world)
    } else {
      const name = names[Math.floor(random() * names.length)]!
      if (name in changed) continue
      changed[name] = `changed ${Math.floor(random() * 1e9)}`
    }
    count++
  }
  return { ...surroundings, worlds, env: changed, count }
}

function reportOf(
  catalogue: readonly Check[],
  worlds: ReadonlyMap<string, World>,
  env: Readonly<Record<string, string | undefined>>,
  random: Random,
  { node = '24.1.0', version = '1.0.0', commit = 'a'.repeat(40), lock = 'a'.repeat(64) }: Noise,
): Report {
  const results: Result[] = []
  const observations: Record<string, Observation> = {}
  for (const check of catalogue) {
    const world = worlds.get(check.id) ?? check.worlds.passes[0] ?? { name: 'a roll-up' }
    const judged = judgeAnswer(check, answerOf(world), portsOfWorld(world))
    const { id, runbook, phase, severity, class: fault } = check
    results.push({ id, runbook, phase, severity, class: fault, blocks: [], ...outcomeOf(judged) } as Result)
    observations[id] = {
      ms: Math.floor(random() * 1_000),
      ...(check.probe !== undefined && { answer: answerOf(world) }),
    }
  }
  const failed = results.filter(({ status }) => status === 'fail' || status === 'error').map(({ id }) => id)
  const canonical = {
    verdict: failed.length > 0 ? 'NO-GO' : 'GO',
    unproven: [],
    profile: 'prod',
    version,
    node,
    required: [],
    planned: catalogue.map(({ id }) => id),
    plan: '',
    catalogue: '',
    policy: '',
    results,
    counts: { pass: 0, fail: 0, error: 0, waived: 0, blocked: 0, notApplicable: 0, notRun: 0 },
    rootCauses: failed,
  } as Canonical
  const variables = Object.entries(env).flatMap(([name, text]) =>
    text === undefined ? [] : [[name, digestOf(text).slice(7, 11)] as const],
  )
  const { now } = portsOfWorld({ name: 'healthy' })
  return {
    schema: reportSchema,
    canonical,
    digest: digestOf(canonical),
    observations: {
      startedAt: new Date(now).toISOString(),
      ms: 0,
      inputs: { commit, lock, key: 'one', variables: Object.fromEntries(variables) },
      results: observations,
    },
  }
}

function outcomeOf(judged: CheckResult) {
  if (judged.status === 'pass') return { status: 'pass', ...(judged.facts !== undefined && { facts: judged.facts }) }
  if (judged.status === 'error') return { status: 'error', code: judged.code, class: judged.class ?? 'unknown' }
  const { findings, facts } = judged
  return {
    status: 'fail',
    findings: findings.map(({ code, variable, fix }) => ({ code, variable, fix })),
    ...(judged.class !== undefined && { class: judged.class }),
    ...(facts !== undefined && { facts }),
  }
}
