// Asks the start-up rules before anything is opened; all reasons against a start are told at once.
import { type Clock, systemClock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import type { Program } from '../config/keys.ts'
import type { Resolution } from '../config/resolution.ts'
import { contextOf } from '../rules/context.ts'
import { type Excused, formatGate, gate, type GateExceptions } from '../rules/gate.ts'
import type { RuleContext } from '../rules/rule.ts'
import { defaultPreflightPolicy } from '../waivers/preflight-policy.ts'

/**
 * What is excused, and by which waiver: to be told where the program starts. Throws START_REFUSED; its message is the
 * whole block for standard error, without secrets.
 */
export async function requireSafeStart(
  program: Program,
  resolution: Resolution,
  clock: Pick<Clock, 'now'> = systemClock,
): Promise<readonly Excused[]> {
  const ctx = contextOf(resolution, { programs: [program] })
  const exceptions = await exceptionsOf(ctx, clock)
  const result = gate(program, ctx, 'problem' in exceptions ? undefined : exceptions)
  if (!('problem' in exceptions) && result.findings.length === 0) return result.excused
  // A file of exceptions that is wrong refuses by itself: whoever named it relies on it.
  const blocks = [
    ...('problem' in exceptions ? [`${program}: start refused, ${exceptions.problem}`] : []),
    ...(result.findings.length > 0 ? [formatGate(result).trimEnd()] : []),
  ]
  throw new BusError('START_REFUSED', blocks.join('\n\n'), { findings: result.findings.length })
}

/** `bus.dual-stack-required is excused by EX-2026-014 until …`. */
export const describeExcused = ({ rule, waiver }: Excused): string =>
  `${rule.id} is excused by ${waiver.id} until ${waiver.expires}, owner ${waiver.owner}`

async function exceptionsOf(
  { resolution: { values }, files }: RuleContext,
  clock: Pick<Clock, 'now'>,
): Promise<GateExceptions | { readonly problem: string }> {
  const now = clock.now()
  const { preflightWaivers, preflightPolicy } = values
  if (preflightWaivers === undefined && preflightPolicy === undefined) {
    return { waivers: [], policy: defaultPreflightPolicy, now }
  }
  // Only where there is a file is YAML loaded.
  const { readPreflightPolicy, readWaivers } = await import('../waivers/read-files.ts')
  const read = (path: string, maxBytes: number): Uint8Array | undefined => files.read?.(path, maxBytes)
  try {
    const { waivers } = readWaivers(preflightWaivers, read)
    return { waivers, policy: readPreflightPolicy(preflightPolicy, read), now }
  } catch (error) {
    if (!isBusError(error, 'CONFIG_INVALID')) throw error
    return { problem: `${String(error.details['reason'])}: ${error.message}` }
  }
}
