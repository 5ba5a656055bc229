// Runs a plan: checks of a phase in parallel, each under its own deadline; results in plan order. Whatever a check
// does - throw, hang, return nothing - becomes an `error` of that check, never a pass and never the end of the run.
import type { Clock } from '../base/clock.ts'
import { systemClock, toIsoTime } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import type { Environment } from '../config/resolution.ts'
import type { Profile } from '../config/shapes.ts'
import { type ContextOptions, createRuleContext } from '../rules/context.ts'
import { describeFault, type Ended, faultReport, reportOf, type RunFacts } from './build-report.ts'
import { createCatalogue } from './catalogue.ts'
import { type Check, type CheckPorts, type CheckResult, type Phase, phases } from './check.ts'
import { catalogueDigest, type Plan, type PlannedCheck, planPreflight, type Selection } from './plan.ts'
import { harmless, type Report, type Result } from './report.ts'
import type { Targets } from './targets.ts'

export interface PreflightInputs extends Selection {
  readonly env: Environment
  /** Asked for; the environment has to confirm it. Absent: whatever the environment says. */
  readonly profile?: Profile
  readonly targets?: Targets
  /** Run `boot` and `live` even after a blocker has failed. */
  readonly keepGoing?: boolean
  /** Checks at once; default 8. Changes how long it takes, never what comes out. */
  readonly jobs?: number
}

export interface PreflightPorts extends Pick<ContextOptions, 'readFile' | 'files' | 'localAddresses' | 'overlay'> {
  readonly clock?: Clock
  readonly nonce?: () => string
  /** One line for each check that ended, as it ends. */
  readonly progress?: { write(line: string): void }
  readonly catalogue?: readonly Check[]
  /** The Node version of the report. */
  readonly node?: string
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
  try {
    const catalogue = ports.catalogue ?? createCatalogue()
    const checkPorts = checkPortsOf(inputs, ports, clock)
    const plan = planPreflight(catalogue, checkPorts, inputs)
    const outcomes = await runPlan(plan, checkPorts, { ...inputs, ...ports, clock })
    return reportOf(plan, catalogueDigest(catalogue), outcomes, facts())
  } catch (error) {
    return faultReport(error, inputs.profile ?? 'dev', facts())
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
  return { ctx, targets: inputs.targets ?? {}, clock, nonce: ports.nonce ?? (() => randomHex(16)) }
}

interface RunOptions {
  readonly clock: Clock
  readonly keepGoing?: boolean
  readonly jobs?: number
  readonly progress?: { write(line: string): void }
}

async function runPlan(plan: Plan, ports: CheckPorts, options: RunOptions): Promise<readonly Ended[]> {
  const ended = new Map<string, Promise<Ended>>()
  const slots = createSlots(options.jobs ?? 8)
  const all: Ended[] = []
  for (const phase of phases) {
    const blocker = isGuarded(phase) && options.keepGoing !== true ? firstBlocker(all) : undefined
    const inPhase = plan.checks.filter(({ check }) => check.phase === phase)
    for (const planned of inPhase) {
      const ending = endOf(planned, ended, blocker, () => slots(() => execute(planned.check, ports, options.clock)))
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
  run: () => Promise<{ result: CheckResult; ms: number }>,
): Promise<Ended> {
  if (skip !== undefined) return { result: { ...headOf(check), status: 'skip', reason: skip }, observation: { ms: 0 } }
  const blockedBy = blocker ?? (await firstUnmet(check, ended))
  if (blockedBy !== undefined) {
    return {
      result: { ...headOf(check), status: 'skip', reason: { kind: 'blocked-by', id: blockedBy } },
      observation: { ms: 0 },
    }
  }
  const { result, ms } = await run()
  return toEnded(check, result, ms)
}

async function firstUnmet(check: Check, ended: ReadonlyMap<string, Promise<Ended>>): Promise<string | undefined> {
  for (const id of check.requires) {
    const needed = await ended.get(id)
    if (needed?.result.status !== 'pass' && needed?.result.status !== 'waived') return id
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

function toEnded(check: Check, result: CheckResult, ms: number): Ended {
  const head = headOf(check)
  switch (result.status) {
    case 'pass':
      return {
        result: { ...head, status: 'pass' },
        observation: { ms, ...(result.observed !== undefined && { observed: harmless(result.observed) }) },
      }
    case 'fail':
      return {
        result: {
          ...head,
          class: result.class ?? check.class,
          status: 'fail',
          findings: result.findings.map(({ code, variable, fix }) => ({ code, variable, fix })),
        },
        observation: {
          ms,
          findings: result.findings.map(({ variable, found }) => ({ variable, found: harmless(found) })),
        },
      }
    case 'error':
      return {
        result: { ...head, class: result.class ?? check.class, status: 'error', code: result.code },
        observation: { ms, observed: harmless(result.observed) },
      }
  }
}

/** The check's answer, or an error in its place. The timer keeps the process alive while a check hangs. */
async function execute(check: Check, ports: CheckPorts, clock: Clock): Promise<{ result: CheckResult; ms: number }> {
  const startedMs = clock.monotonic()
  const aborter = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<CheckResult>((resolve) => {
    timer = setTimeout(() => {
      // First the answer: a check that honours the signal would otherwise win with an error of its own.
      resolve({ status: 'error', code: 'DEADLINE', observed: `no answer within ${check.deadlineMs} ms` })
      aborter.abort()
    }, check.deadlineMs)
  })
  const result = await Promise.race([answerOf(check, ports, aborter.signal), deadline])
  clearTimeout(timer)
  aborter.abort()
  return { result, ms: Math.round(clock.monotonic() - startedMs) }
}

async function answerOf(check: Check, ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  try {
    const result: unknown = await check.run(ports, signal)
    return isResult(result) ? result : { status: 'error', code: 'NO_ANSWER', observed: 'the check returned no result' }
  } catch (error) {
    return { status: 'error', code: 'THREW', observed: describeFault(error), class: 'unknown' }
  }
}

function isResult(value: unknown): value is CheckResult {
  if (typeof value !== 'object' || value === null || !('status' in value)) return false
  if (value.status === 'pass') return true
  if (value.status === 'error') return 'code' in value && typeof value.code === 'string'
  return value.status === 'fail' && 'findings' in value && Array.isArray(value.findings) && value.findings.length > 0
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
