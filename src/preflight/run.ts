// Runs a plan: checks of a phase in parallel; results in plan order. Whatever a check does - throw, hang, return nothing -
// becomes an `error` of that check, never a pass and never the end of the run.
import type { Clock } from '../base/clock.ts'
import { systemClock, toIsoTime } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { randomHex } from '../base/ids.ts'
import type { Environment } from '../config/resolution.ts'
import type { Profile } from '../config/shapes.ts'
import { type ContextOptions, createRuleContext } from '../rules/context.ts'
import { digestOf } from '../base/canonical-json.ts'
import type { PreflightPolicy } from '../waivers/preflight-policy.ts'
import type { ReadBytes } from '../waivers/read-bytes.ts'
import { readPreflightPolicy, readWaivers } from '../waivers/read-files.ts'
import { noWaivers, type WaiverFile } from '../waivers/waiver.ts'
import { type Attempt, type Ended, faultReport, reportOf, type RunFacts } from './build-report.ts'
import { createCatalogue, register } from './catalogue.ts'
import { type Answer, type Check, type CheckPorts, type EnvSource, type Phase, phases } from './check.ts'
import { judgedOf, type JudgedPorts } from './judged.ts'
import { createExceptions, requireKnownChecks } from './exceptions.ts'
import type { CommandSpool } from './incident/commands.ts'
import type { judgeAnswer } from './judge.ts'
import { catalogueDigest, type Plan, type PlannedCheck, planPreflight, type Selection } from './plan.ts'
import { gateMarker } from './gates/gate-environment.ts'
import { createProber, type Prober, type ProbeInputs } from './prober.ts'
import { judgeGuarded, loadPlugins, noPlugins, type Plugins, policyFolder } from './plugins/load.ts'
import { unlistedPrograms } from './plugins/search-path.ts'
import { harmless, type PluginNote, type Report, type Result } from './report.ts'
import { type Targets, targetTexts } from './targets.ts'

export interface PreflightInputs extends Selection {
  readonly env: Environment
  /** Where `env` came from; absent: the operator's shell, and nobody said so. */
  readonly envSource?: EnvSource
  /** Asked for; the environment has to confirm it. Absent: whatever the environment says. */
  readonly profile?: Profile
  readonly targets?: Targets
  /** Absent: the file that the environment names (ARQONBUS_PREFLIGHT_POLICY), else the default. */
  readonly policy?: PreflightPolicy
  /** In place of the one that the environment names. */
  readonly policyPath?: string
  /** As PATH: folders in which programs of plug-ins that nobody listed are noted. Absent: not looked for. */
  readonly searchPath?: string
  /** Absent: the file that the environment names (ARQONBUS_PREFLIGHT_WAIVERS); `none`: judge without exceptions. */
  readonly waivers?: WaiverFile | 'none'
  /** In place of the one that the environment names. */
  readonly waiversPath?: string
  /** The operator's own environment, where `env` came from elsewhere. */
  readonly shell?: Environment
  /** A signed result of the gates, to be taken in place of a run. */
  readonly attestationPath?: string
  /** Run `boot` and `live` even after a blocker has failed. */
  readonly keepGoing?: boolean
  /** Checks at once; default 8. Changes how long it takes, never what comes out. */
  readonly jobs?: number
  /** Start no further phase after something failed. */
  readonly failFast?: boolean
  /** For the whole run; default half an hour. What had no answer by then is an error. */
  readonly timeoutMs?: number
  /** By id; in place of the check's own deadline. */
  readonly checkTimeoutsMs?: Readonly<Record<string, number>>
  /** How long, in all, what is not ready yet is tried again; default 0. */
  readonly waitMs?: number
  /** The instant to judge for, ms since the Unix epoch; default: now. */
  readonly now?: number
  /** Run only if the plan still has this digest, or one that begins so. */
  readonly expectPlan?: string
}

/** Told of each check that ended, as it ends. */
export interface Progress {
  /** In plan order. An exception can still turn out not to hold: the report has the last word. */
  release?(ended: Ended): void
  write(ended: { readonly id: string; readonly status: Result['status']; readonly planned: number }): void
}

export interface PreflightPorts
  extends Pick<ContextOptions, 'readFile' | 'files' | 'localAddresses' | 'overlay'>,
    JudgedPorts {
  readonly clock?: Clock
  readonly nonce?: () => string
  readonly progress?: Progress
  readonly catalogue?: readonly Check[]
  /** The Node version of the report. */
  readonly node?: string
  /** Our own version of the report, where it is not that of this program: a replay. */
  readonly version?: string
  /** Looks in place of the real one: recorded answers, for instance. */
  readonly prober?: Prober
  readonly runId?: string
  /** Planted into the environments of probes, to prove that none gets out. */
  readonly canary?: string
  /** Records every process that is started. */
  readonly spool?: CommandSpool
  /** Told of the plan, before any of it runs. */
  readonly onPlan?: (plan: Plan) => void
}

/** Never rejects: a wrong call and a fault of ours are reports too, with the verdict INCONCLUSIVE. */
export async function runPreflight(inputs: PreflightInputs, ports: PreflightPorts = {}): Promise<Report> {
  const { clock = systemClock } = ports
  const startedAt = toIsoTime(clock.now())
  const startedMs = clock.monotonic()
  const facts = (): RunFacts => ({
    node: ports.node ?? process.versions.node,
    ...(ports.version !== undefined && { version: ports.version }),
    startedAt,
    ms: clock.monotonic() - startedMs,
  })
  let prober: Prober | undefined
  const ends: (() => void)[] = []
  try {
    const basePorts = checkPortsOf(inputs, ports, clock)
    const { checks, plugins } = await wholeCatalogue(inputs, basePorts, ports)
    const catalogue = withTimeouts(checks, inputs.checkTimeoutsMs ?? {})
    const checkPorts: CheckPorts = {
      ...basePorts,
      ...(plugins.entries.length > 0 && { plugins: plugins.entries }),
      atEnd: (end) => void ends.push(end),
    }
    const waivers = waiversOf(inputs, checkPorts)
    requireKnownChecks(waivers, checkPorts.policy, catalogue)
    const plan = planPreflight(catalogue, checkPorts, withAttested(inputs))
    refuseGateInGate(plan, inputs)
    ports.onPlan?.(plan)
    prober = ports.prober ?? createProber(probeInputsOf(inputs, checkPorts, plugins, ports.canary), ports.spool)
    const exceptions = createExceptions(waivers, checkPorts)
    const outcomes = exceptions.settle(
      await runPlan(plan, checkPorts, { ...inputs, ...ports, clock, prober, excuse: exceptions.excuse }),
    )
    const judgedBy = {
      catalogue: catalogueDigest(catalogue),
      policy: digestOf(checkPorts.policy),
      ...(waivers.waivers.length > 0 && { waivers: digestOf(waivers) }),
      notes: exceptions.notes(outcomes),
      plugins: unlistedPlugins(inputs, checkPorts),
    }
    return reportOf(plan, judgedBy, outcomes, {
      ...facts(),
      judged: judgedOf({ inputs, ports: checkPorts, outcomes, waivers, node: facts().node }, ports),
    })
  } catch (error) {
    return faultReport(error, inputs.profile ?? 'dev', facts())
  } finally {
    await prober?.close()
    for (const end of ends.reverse()) quietly(end)
  }
}

/** Whoever brings a result of the gates asks for them. */
export function withAttested(inputs: PreflightInputs): PreflightInputs {
  return inputs.attestationPath === undefined ? inputs : { gates: true, ...inputs }
}

/** A suite that runs the suites would not end. Throws USAGE. */
function refuseGateInGate(plan: Plan, { env, shell }: PreflightInputs): void {
  const isInside = (shell ?? env)[gateMarker] !== undefined || env[gateMarker] !== undefined
  if (!isInside || !plan.checks.some(({ check, skip }) => check.phase === 'gates' && skip === undefined)) return
  throw new BusError('USAGE', `a gate inside a gate: ${gateMarker} is set, so this preflight was started by a suite`, {
    reason: 'GATE_IN_GATE',
  })
}

/** What cannot be cleared away changes no verdict: the next run sees that its owner is gone. */
function quietly(end: () => void): void {
  try {
    end()
  } catch {
    // As said above.
  }
}

/** What is built in, and the plug-ins that the policy lists. Throws CONFIG_INVALID (PLUGIN_INVALID). */
export async function wholeCatalogue(
  inputs: Pick<PreflightInputs, 'policy' | 'policyPath'>,
  ports: Pick<CheckPorts, 'ctx' | 'policy'>,
  { catalogue: builtIn = createCatalogue(), spool }: Pick<PreflightPorts, 'catalogue' | 'spool'> = {},
): Promise<{ readonly checks: readonly Check[]; readonly plugins: Plugins }> {
  const { plugins: entries = [] } = ports.policy
  if (entries.length === 0) return { checks: builtIn, plugins: noPlugins }
  const plugins = await loadPlugins(entries, { policyPath: policyPathOf(inputs, ports), builtIn, spool })
  return { checks: register([...builtIn, ...plugins.checks]), plugins }
}

/** Of the file that the policy came from; undefined where it was given as it is. */
function policyPathOf(
  { policy, policyPath }: Pick<PreflightInputs, 'policy' | 'policyPath'>,
  { ctx }: Pick<CheckPorts, 'ctx'>,
): string | undefined {
  return policy === undefined ? (policyPath ?? ctx.resolution.values.preflightPolicy) : undefined
}

function unlistedPlugins(inputs: PreflightInputs, ports: CheckPorts): readonly PluginNote[] {
  if (inputs.searchPath === undefined) return []
  return unlistedPrograms(inputs.searchPath, ports.plugins ?? [], policyFolder(policyPathOf(inputs, ports)))
}

/** Throws USAGE for an id that is no check's. */
function withTimeouts(
  catalogue: readonly Check[],
  timeouts: NonNullable<PreflightInputs['checkTimeoutsMs']>,
): readonly Check[] {
  const unknown = Object.keys(timeouts).find((id) => !catalogue.some((check) => check.id === id))
  if (unknown !== undefined) {
    throw new BusError('USAGE', `no check is called ${unknown}`, { reason: 'UNKNOWN_CHECK' })
  }
  return catalogue.map((check) => ({ ...check, deadlineMs: timeouts[check.id] ?? check.deadlineMs }))
}

/** Throws CONFIG_INVALID for a policy file that cannot be read. */
export function checkPortsOf(inputs: PreflightInputs, ports: PreflightPorts, clock: Clock = systemClock): CheckPorts {
  const { readFile, files, localAddresses, overlay } = ports
  const ctx = createRuleContext(inputs.env, {
    ...(inputs.profile !== undefined && { asked: inputs.profile }),
    ...(readFile !== undefined && { readFile }),
    ...(files !== undefined && { files }),
    ...(localAddresses !== undefined && { localAddresses }),
    ...(overlay !== undefined && { overlay }),
    ...(inputs.envSource?.where !== undefined && { where: inputs.envSource.where }),
  })
  return {
    ctx,
    targets: inputs.targets ?? {},
    policy:
      inputs.policy ?? readPreflightPolicy(inputs.policyPath ?? ctx.resolution.values.preflightPolicy, readerOf(ctx)),
    now: inputs.now ?? clock.now(),
    clock,
    nonce: ports.nonce ?? (() => randomHex(16)),
    runId: ports.runId ?? randomHex(8),
    ...(inputs.envSource !== undefined && { envSource: inputs.envSource }),
    ...(ports.spool !== undefined && { spool: ports.spool }),
    ...(inputs.shell !== undefined && { shell: inputs.shell }),
    ...(inputs.offline === true && { isOffline: true }),
    ...(inputs.attestationPath !== undefined && { attestationPath: inputs.attestationPath }),
  }
}

/** The waivers of a run. Throws CONFIG_INVALID for a file that cannot be read. */
export function waiversOf(
  { waivers, waiversPath }: Pick<PreflightInputs, 'waivers' | 'waiversPath'>,
  { ctx }: Pick<CheckPorts, 'ctx'>,
): WaiverFile {
  if (waivers === 'none') return noWaivers
  return waivers ?? readWaivers(waiversPath ?? ctx.resolution.values.preflightWaivers, readerOf(ctx))
}

const readerOf =
  ({ files }: CheckPorts['ctx']): ReadBytes =>
  (path, maxBytes) =>
    files.read?.(path, maxBytes)

function probeInputsOf(
  inputs: PreflightInputs,
  { targets, policy, now, runId }: CheckPorts,
  { modules }: Plugins,
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
    ...(modules.length > 0 && { plugins: modules }),
    ...(canary !== undefined && { canary }),
  }
}

interface RunOptions {
  readonly clock: Clock
  readonly prober: Prober
  readonly keepGoing?: boolean
  readonly jobs?: number
  readonly failFast?: boolean
  readonly waitMs?: number
  readonly timeoutMs?: number
  readonly progress?: Progress
  /** Asked as each check ends, so that what waits on it can run. */
  readonly excuse: (ended: Ended) => Ended
}

async function runPlan(plan: Plan, ports: CheckPorts, options: RunOptions): Promise<readonly Ended[]> {
  const ended = new Map<string, Promise<Ended>>()
  const slots = createSlots(options.jobs ?? 8)
  const look = createLooker(ports, options)
  const all: Ended[] = []
  for (const phase of phases) {
    const blocker = stopperOf(phase, all, options)
    const inPhase = plan.checks.filter(({ check }) => check.phase === phase)
    for (const planned of inPhase) {
      const ending = endOf(planned, ended, blocker, async () => options.excuse(await slots(() => look(planned.check))))
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
  }
  return all
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
function createLooker(ports: CheckPorts, options: Omit<RunOptions, 'excuse'>): (check: Check) => Promise<Ended> {
  const { clock, prober, waitMs = 0, timeoutMs = defaultTimeoutMs } = options
  const waitUntilMs = clock.monotonic() + waitMs
  const endMs = clock.monotonic() + timeoutMs

  async function answerInTime(check: Check): Promise<Answer> {
    const leftMs = endMs - clock.monotonic()
    if (leftMs <= 0) return { stopped: { code: 'RUN_DEADLINE', observed: 'the time of the whole run was over' } }
    return await prober.answer({ ...check, deadlineMs: Math.min(check.deadlineMs, leftMs) }, ports)
  }

  const canHeal = (check: Check, answer: Answer): boolean =>
    'stopped' in answer && check.retryOn?.includes(answer.stopped.code) === true && clock.monotonic() < waitUntilMs

  return async (check) => {
    const attempts: Attempt[] = []
    let answer: Answer
    for (;;) {
      const startedMs = clock.monotonic()
      answer = await answerInTime(check)
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
