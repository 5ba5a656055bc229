// Asks the start-up rules before anything is opened; all reasons against a start are told at once.
import { type Clock, systemClock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import type { Program } from '../config/keys.ts'
import type { Resolution } from '../config/resolution.ts'
import { contextOf } from '../rules/context.ts'
import { type Excused, formatGate, gate, type GateExceptions } from '../rules/gate.ts'
import type { RuleContext } from '../rules/rule.ts'
import { readPreflightPolicy, readWaivers } from '../waivers/read-files.ts'

/**
 * What is excused, and by which waiver: to be told where the program starts. Throws START_REFUSED; its message is the
 * whole block for standard error, without secrets.
 */
export function requireSafeStart(
  program: Program,
  resolution: Resolution,
  clock: Pick<Clock, 'now'> = systemClock,
): readonly Excused[] {
  const ctx = contextOf(resolution, { programs: [program] })
  const exceptions = exceptionsOf(ctx, clock)
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

function exceptionsOf(
  { resolution: { values }, files }: RuleContext,
  clock: Pick<Clock, 'now'>,
): GateExceptions | { readonly problem: string } {
  const read = (path: string, maxBytes: number): Uint8Array | undefined => files.read?.(path, maxBytes)
  try {
    const { waivers } = readWaivers(values.preflightWaivers, read)
    return { waivers, policy: readPreflightPolicy(values.preflightPolicy, read), now: clock.now() }
  } catch (error) {
    if (!isBusError(error, 'CONFIG_INVALID')) throw error
    return { problem: `${String(error.details['reason'])}: ${error.message}` }
  }
}
