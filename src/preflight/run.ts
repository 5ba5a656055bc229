// Runs the preflight: from what was asked to a report.
import { digestOf } from '../base/canonical-json.ts'
import { systemClock, toIsoTime } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { faultReport, reportOf, type RunFacts } from './build-report.ts'
import type { Check, CheckPorts } from './check.ts'
import { createExceptions, requireKnownChecks } from './exceptions.ts'
import { gateMarker } from './gates/gate-environment.ts'
import { type PreflightInputs, type PreflightPorts, withAttested } from './inputs.ts'
import { judgedOf } from './judged.ts'
import { type Plan, planPreflight } from './plan.ts'
import { checkPortsOf, probeInputsOf, unlistedPlugins, waiversOf, wholeCatalogue } from './ports.ts'
import { createProber, type Prober } from './prober.ts'
import type { Report } from './report.ts'
import { runPlan } from './schedule.ts'

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
  const ends: (() => void | Promise<void>)[] = []
  try {
    const basePorts = checkPortsOf(inputs, ports, clock)
    const { checks, plugins, digest } = await wholeCatalogue(inputs, basePorts, ports)
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
    prober =
      ports.prober ?? createProber(probeInputsOf(inputs, checkPorts, plugins, ports.canary), ports.spool, ports.stop)
    const exceptions = createExceptions(waivers, checkPorts)
    const outcomes = exceptions.settle(
      await runPlan(plan, checkPorts, { ...inputs, ...ports, clock, prober, excuse: exceptions.excuse }),
    )
    const judgedBy = {
      catalogue: digest,
      policy: digestOf(checkPorts.policy),
      ...(waivers.waivers.length > 0 && { waivers: digestOf(waivers) }),
      notes: exceptions.notes(outcomes),
      plugins: unlistedPlugins(inputs, checkPorts),
    }
    return reportOf(plan, judgedBy, outcomes, {
      ...facts(),
      ...(ports.stop?.aborted === true && { isInterrupted: true }),
      judged: judgedOf({ inputs, ports: checkPorts, outcomes, waivers, node: facts().node }, ports),
    })
  } catch (error) {
    return faultReport(error, inputs.profile ?? 'dev', facts())
  } finally {
    await prober?.close()
    for (const end of ends.reverse()) await quietly(end)
  }
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
async function quietly(end: () => void | Promise<void>): Promise<void> {
  try {
    await end()
  } catch {
    // As said above.
  }
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
