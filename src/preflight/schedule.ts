// Checks of a phase in parallel, one phase after the other; results in plan order. Whatever a check does - throw, hang,
// return nothing - becomes an `error` of that check, never a pass and never the end of the run.
import type { Clock } from '../base/clock.ts'
import type { Attempt, Ended } from './build-report.ts'
import { type Answer, type Check, type CheckPorts, type Phase, phases } from './check.ts'
import type { CommandSpool } from './incident/commands.ts'
import type { OnPhase, Progress } from './inputs.ts'
import type { judgeAnswer } from './judge.ts'
import type { Plan, PlannedCheck } from './plan.ts'
import { judgeGuarded } from './plugins/load.ts'
import type { Prober } from './prober.ts'
import { harmless, type Result } from './report.ts'

interface RunOptions {
  readonly clock: Clock
  readonly prober: Prober
  readonly keepGoing?: boolean
  readonly jobs?: number
  readonly failFast?: boolean
  readonly waitMs?: number
  readonly timeoutMs?: number
  /** Aborted: nothing more is begun, and what is under way is not waited for. */
  readonly stop?: AbortSignal
  readonly progress?: Progress
  readonly spool?: CommandSpool
  readonly onPhase?: OnPhase
  /** Asked as each check ends, so that what waits on it can run. */
  readonly excuse: (ended: Ended) => Ended
}

export async function runPlan(plan: Plan, ports: CheckPorts, options: RunOptions): Promise<readonly Ended[]> {
  const ended = new Map<string, Promise<Ended>>()
  const slots = createSlots(options.jobs ?? 8)
  const lanes = createLanes()
  const look = createLooker(ports, options)
  const begin = async (check: Check, trouble: string | undefined): Promise<Ended> =>
    options.stop?.aborted === true ? leftOut(check, interrupted) : await look(check, trouble)
  const all: Ended[] = []
  for (const phase of phases) {
    const blocker = stopperOf(phase, all, options)
    const inPhase = plan.checks.filter(({ check }) => check.phase === phase)
    const isBegun = blocker === undefined && options.stop?.aborted !== true
    const hasWork = isBegun && inPhase.some(({ skip }) => skip === undefined)
    const prepared = hasWork ? await options.onPhase?.(phase, options) : undefined
    try {
      for (const planned of inPhase) {
        const ending = unlessStopped(planned, options.stop, () =>
          endOf(planned, ended, blocker, async () =>
            // Whoever waits for a lane keeps no slot from others.
            options.excuse(await lanes(planned.check, () => slots(() => begin(planned.check, prepared?.trouble)))),
          ),
        )
        ended.set(planned.check.id, ending)
        void ending.then(({ result }) =>
          options.progress?.write({ id: result.id, status: result.status, planned: plan.checks.length }),
        )
      }
      // Released in plan order, whoever was first.
      for (const planned of inPhase) {
        const one = await ended.get(planned.check.id)!
        all.push(one)
        options.progress?.release?.(one)
      }
    } finally {
      await prepared?.end()
    }
  }
  return all
}

const interrupted = { kind: 'not-selected', because: 'interrupted' } as const

/** What was not at its end when somebody stopped the run counts as left out by them. */
async function unlessStopped(
  { check, skip }: PlannedCheck,
  stop: AbortSignal | undefined,
  run: () => Promise<Ended>,
): Promise<Ended> {
  if (stop === undefined || skip !== undefined) return await run()
  if (stop.aborted) return leftOut(check, interrupted)
  return await new Promise<Ended>((resolve, reject) => {
    const end = (): void => resolve(leftOut(check, interrupted))
    stop.addEventListener('abort', end, { once: true })
    void run()
      .finally(() => stop.removeEventListener('abort', end))
      .then(resolve, reject)
  })
}

/** What keeps a phase from starting: a system that may not start is not started, nor spoken to. */
function stopperOf(phase: Phase, all: readonly Ended[], { keepGoing, failFast }: RunOptions): string | undefined {
  const hasFailed = ({ result: { status } }: Ended): boolean => status === 'fail' || status === 'error'
  if (failFast === true) return all.find((ended) => hasFailed(ended) && ended.result.severity !== 'advisory')?.result.id
  if (keepGoing === true || (phase !== 'boot' && phase !== 'live')) return undefined
  return all.find((ended) => hasFailed(ended) && ended.result.severity === 'blocker')?.result.id
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
const defaultTimeoutMs = 30 * 60_000

/** Looks, again while --wait lasts and the code is one that can heal, and judges the last answer. */
function createLooker(
  ports: CheckPorts,
  options: Omit<RunOptions, 'excuse'>,
): (check: Check, trouble: string | undefined) => Promise<Ended> {
  const { clock, prober, waitMs = 0, timeoutMs = defaultTimeoutMs } = options
  const waitUntilMs = clock.monotonic() + waitMs
  const endMs = clock.monotonic() + timeoutMs

  async function answerInTime(check: Check, trouble: string | undefined): Promise<Answer> {
    if (trouble !== undefined && check.probe !== undefined) {
      return { stopped: { code: 'NO_CANDIDATE', observed: trouble, step: 'start' } }
    }
    const leftMs = endMs - clock.monotonic()
    if (leftMs <= 0) return { stopped: { code: 'RUN_DEADLINE', observed: 'the time of the whole run was over' } }
    return await prober.answer({ ...check, deadlineMs: Math.min(check.deadlineMs, leftMs) }, ports)
  }

  const canHeal = (check: Check, answer: Answer): boolean =>
    'stopped' in answer && check.retryOn?.includes(answer.stopped.code) === true && clock.monotonic() < waitUntilMs

  return async (check, trouble) => {
    const attempts: Attempt[] = []
    let answer: Answer
    for (;;) {
      const startedMs = clock.monotonic()
      answer = await answerInTime(check, trouble)
      const ms = Math.round(clock.monotonic() - startedMs)
      attempts.push({ ms, ...('stopped' in answer && { code: answer.stopped.code }) })
      if (!canHeal(check, answer)) break
      await new Promise((resolve) => setTimeout(resolve, retryEveryMs))
    }
    if ('facts' in answer) await check.consult?.(answer.facts)
    return toEnded(check, judgeGuarded(check, answer, ports), answer, attempts)
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

/** One after the other in each lane, in the order of the calls; at once without one. */
function createLanes(): <T>(check: Check, run: () => Promise<T>) => Promise<T> {
  const lanes = new Map<string, ReturnType<typeof createSlots>>()
  return async ({ lane }, run) => {
    if (lane === undefined) return await run()
    const inTurn = lanes.get(lane) ?? createSlots(1)
    lanes.set(lane, inTurn)
    return await inTurn(run)
  }
}
