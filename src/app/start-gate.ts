// Asks the start-up rules before anything is opened; all reasons against a start are told at once.
import { BusError } from '../base/errors.ts'
import type { Program } from '../config/keys.ts'
import type { Resolution } from '../config/resolution.ts'
import { contextOf } from '../rules/context.ts'
import { formatGate, gate } from '../rules/gate.ts'

/** Throws START_REFUSED; its message is the whole block for standard error, without secrets. */
export function requireSafeStart(program: Program, resolution: Resolution): void {
  const result = gate(program, contextOf(resolution, { programs: [program] }))
  if (result.findings.length === 0) return
  throw new BusError('START_REFUSED', formatGate(result).trimEnd(), { findings: result.findings.length })
}
