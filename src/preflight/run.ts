// Runs a plan: checks of a phase in parallel; results in plan order. Whatever a check does - throw, hang, return nothing -
// becomes an `error` of that check, never a pass and never the end of the run.
import type { Clock } from '../base/clock.ts'
import { systemClock, toIsoTime } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import type { Environment } from '../config/resolution.ts'
import type { Profile } from '../config/shapes.ts'
import { type ContextOptions, createRuleContext } from '../rules/context.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from '../waivers/preflight-policy.ts'
import { type Attempt, type Ended, faultReport, reportOf, type RunFacts } from './build-report.ts'
import { createCatalogue } from './catalogue.ts'
import { type Answer, type Check, type CheckPorts, type Phase, phases } from './check.ts'
import type { CommandSpool } from './incident/commands.ts'
import { judgeAnswer } from './judge.ts'
import { catalogueDigest, type Plan, type PlannedCheck, planPreflight, type Selection } from './plan.ts'
import { createProber, type Prober, type ProbeInputs } from './prober.ts'
import { harmless, type Report, type Result } from './report.ts'
import { type Targets, targetTexts } from './targets.ts'

export interface PreflightInputs extends Selection {
  readonly env: Environment
  /** Asked for; the environment has to confirm it. Absent: whatever the environment says. */
  readonly profile?: Profile
  readonly targets?: Targets
  readonly policy?: PreflightPolicy
  /** Run `boot` and `live` even after a blocker has failed. */
  readonly keepGoing?: boolean
  /** Checks at once; default 8. Changes how long it takes, never what comes out. */
  readonly jobs?: number
  /** How long, in all, what is not ready yet is tried again; default 0. */
  readonly waitMs?: number
  /** The instant to judge for, ms since the Unix epoch; default: now. */
  readonly now?: number
  /** Run only if the plan still has this digest, or one that begins so. */
  readonly expectPlan?: string
}

export interface PreflightPorts extends Pick<ContextOptions, 'readFile' | 'files' | 'localAddresses' | 'overlay'> {
  readonly clock?: Clock
  readonly nonce?: () => string
  /** One line for each check that ended, as it ends. */
  readonly progress?: { write(line: string): void }
  readonly catalogue?: readonly Check[]
  /** The Node version of the report. */
  readonly node?: string
  /** Looks in place of the real one: recorded answers, for instance. */
  readonly prober?: Prober
  readonly runId?: string
  /** Planted into the environments of probes, to prove that none gets out. */
  readonly canary?: string
  /** Records every process that is started. */
  readonly spool?: CommandSpool
}

/** Never rejects: a wrong call and a fault of ours are reports too, with the verdict INCONCLUSIVE. */
export async function runPreflight(inputs: PreflightInputs, ports: PreflightPorts = {}): Promise<Report> {
  const { clock = systemClock } = ports
  const startedAt = toIsoTime(clock.now())
  const startedMs = clock.monotonic()
  const facts = (): RunFacts => ({
    node: ports.node ?? process.versions.node,
    startedAt,
    ms: clock.monotonic() - startedMs,
  })
  let prober: Prober | undefined
  try {
    const catalogue = ports.catalogue ?? createCatalogue()
    const checkPorts = checkPortsOf(inputs, ports, clock)
    const plan = planPreflight(catalogue, checkPorts, inputs)
    prober = ports.prober ?? createProber(probeInputsOf(inputs, checkPorts, ports.canary), ports.spool)
    const outcomes = await runPlan(plan, checkPorts, { ...inputs, ...ports, clock, prober })
    return reportOf(plan, catalogueDigest(catalogue), outcomes, facts())
  } catch (error) {
    return faultReport(error, inputs.profile ?? 'dev', facts())
  } finally {
    await prober?.close()
  }
}

export function checkPortsOf(inputs: PreflightInputs, ports: PreflightPorts, clock: Clock = systemClock): CheckPorts {
  const { readFile, files, localAddresses, overlay } = ports
  const ctx = createRuleContext(inputs.env, {
    ...(inputs.profile !== undefined && { asked: inputs.profile }),
    ...(readFile !== undefined && { readFile }),
    ...(files !== undefined && { files }),
    ...(localAddresses !== undefined && { localAddresses }),
    ...(overlay !== undefined && { overlay }),
  })
  return {
    ctx,
    targets: inputs.targets ?? {},
    policy: inputs.policy ?? defaultPreflightPolicy,
    now: inputs.now ?? clock.now(),
    clock,
    nonce: ports.nonce ?? (() => randomHex(16)),
    runId: ports.runId ?? randomHex(8),
  }
}

function probeInputsOf(
  inputs: PreflightInputs,
  { targets, policy, now, runId }: CheckPorts,
  canary: string | undefined,
): ProbeInputs {
  const env = Object.fromEntries(
    Object.entries(inputs.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
  return {
    env,
    targets: targetTexts(targets),
    policy,
    now,
    runId,
    ...(inputs.profile !== undefined && { asked: inputs.profile }),
    ...(canary !== undefined && { canary }),
  }
}

interface RunOptions {
  readonly clock: Clock
  readonly prober: Prober
  readonly keepGoing?: boolean
  readonly jobs?: number
  readonly waitMs?: number
  readonly progress?: { write(line: string): void }
}

async function runPlan(plan: Plan, ports: CheckPorts, options: RunOptions): Promise<readonly Ended[]> {
  const ended = new Map<string, Promise<Ended>>()
  const slots = createSlots(options.jobs ?? 8)
  const look = createLooker(ports, options)
  const all: Ended[] = []
  for (const phase of phases) {
    const blocker = isGuarded(phase) && options.keepGoing !== true ? firstBlocker(all) : undefined
    const inPhase = plan.checks.filter(({ check }) => check.phase === phase)
    for (const planned of inPhase) {
      const ending = endOf(planned, ended, blocker, () => slots(() => look(planned.check)))
      ended.set(planned.check.id, ending)
      void ending.then(({ result }) => options.progress?.write(`${result.status.padEnd(6)} ${result.id}\n`))
    }
    // Released in plan order, whoever was first.
    for (const planned of inPhase) all.push(await ended.get(planned.check.id)!)
  }
  return all
}

/** A system that may not start is not started, nor spoken to. */
const isGuarded = (phase: Phase): boolean => phase === 'boot' || phase === 'live'

function firstBlocker(all: readonly Ended[]): string | undefined {
  return all.find(
    ({ result }) => result.severity === 'blocker' && (result.status === 'fail' || result.status === 'error'),
  )?.result.id
}

async function endOf(
  { check, skip }: PlannedCheck,
  ended: ReadonlyMap<string, Promise<Ended>>,
  blocker: string | undefined,
  run: () => Promise<Ended>,
): Promise<Ended> {
  if (skip !== undefined) return leftOut(check, skip)
  const blockedBy = blocker ?? (await rootOfUnmet(check, ended))
  return blockedBy === undefined ? await run() : leftOut(check, { kind: 'blocked-by', id: blockedBy })
}

const leftOut = (check: Check, reason: Extract<Result, { status: 'skip' }>['reason']): Ended => ({
  result: { ...headOf(check), status: 'skip', reason },
  observation: { ms: 0 },
})

/** The check at the root of what is missing: one cause has one name, however long the chain below it. */
async function rootOfUnmet(check: Check, ended: ReadonlyMap<string, Promise<Ended>>): Promise<string | undefined> {
  for (const id of check.requires) {
    const needed = (await ended.get(id))?.result
    if (needed === undefined) return id
    if (needed.status === 'pass' || needed.status === 'waived') continue
    if (needed.status !== 'skip') return id
    if (needed.reason.kind === 'blocked-by') return needed.reason.id
    if (needed.reason.kind !== 'not-applicable') return id
  }
  return undefined
}

const headOf = ({ id, runbook, phase, severity, class: fault }: Check): Omit<Result, 'status'> => ({
  id,
  runbook,
  phase,
  severity,
  class: fault,
  blocks: [],
})

const retryEveryMs = 500

/** Looks, again while --wait lasts and the code is one that can heal, and judges the last answer. */
function createLooker(ports: CheckPorts, { clock, prober, waitMs = 0 }: RunOptions): (check: Check) => Promise<Ended> {
  const waitUntilMs = clock.monotonic() + waitMs
  const canHeal = (check: Check, answer: Answer): boolean =>
    'stopped' in answer && check.retryOn?.includes(answer.stopped.code) === true && clock.monotonic() < waitUntilMs

  return async (check) => {
    const attempts: Attempt[] = []
    let answer: Answer
    for (;;) {
      const startedMs = clock.monotonic()
      answer = await prober.answer(check, ports)
      const ms = Math.round(clock.monotonic() - startedMs)
      attempts.push({ ms, ...('stopped' in answer && { code: answer.stopped.code }) })
      if (!canHeal(check, answer)) break
      await new Promise((resolve) => setTimeout(resolve, retryEveryMs))
    }
    return toEnded(check, judgeAnswer(check, answer, ports), answer, attempts)
  }
}

function toEnded(check: Check, result: ReturnType<typeof judgeAnswer>, answer: Answer, attempts: Attempt[]): Ended {
  const head = headOf(check)
  const seen = {
    ms: attempts.reduce((sum, { ms }) => sum + ms, 0),
    ...(attempts.length > 1 && { attempts }),
    ...(check.probe !== undefined && { answer }),
  }
  switch (result.status) {
    case 'pass':
      return {
        result: { ...head, status: 'pass', ...(result.facts !== undefined && { facts: result.facts }) },
        observation: { ...seen, ...(result.observed !== undefined && { observed: harmless(result.observed) }) },
      }
    case 'fail':
      return {
        result: {
          ...head,
          class: result.class ?? check.class,
          status: 'fail',
          findings: result.findings.map(({ code, variable, fix }) => ({ code, variable, fix })),
          ...(result.facts !== undefined && { facts: result.facts }),
        },
        observation: {
          ...seen,
          findings: result.findings.map(({ variable, found }) => ({ variable, found: harmless(found) })),
        },
      }
    case 'error':
      return {
        result: { ...head, class: result.class ?? check.class, status: 'error', code: result.code },
        observation: { ...seen, observed: harmless(result.observed) },
      }
  }
}

/** At most `count` at once; the rest wait in order. */
function createSlots(count: number): <T>(run: () => Promise<T>) => Promise<T> {
  let free = Math.max(1, count)
  const waiting: (() => void)[] = []
  return async (run) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await run()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}
