// What live probes end with when they do not end well, and how that becomes a result.
import type { FaultClass, Finding } from '../../rules/rule.ts'
import type { CheckResult } from '../check.ts'

/** The system answered, and wrongly. */
export class ProbeFailure extends Error {
  readonly finding: Finding
  readonly faultClass: FaultClass | undefined

  constructor(finding: Finding, faultClass?: FaultClass) {
    super(`${finding.code}: ${finding.found}`)
    this.name = 'ProbeFailure'
    this.finding = finding
    this.faultClass = faultClass
  }
}

/** Nothing listens, the name is unknown, the way is blocked: the dependency is not there (preflight 2.0). */
const unreachable: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
])

/** Runs a probe; a wrong answer is a fail, no way to an answer an error. Faults of ours go on to the engine. */
export async function judged(probe: () => Promise<CheckResult>): Promise<CheckResult> {
  try {
    return await probe()
  } catch (error) {
    if (error instanceof ProbeFailure) {
      const { finding, faultClass } = error
      return { status: 'fail', findings: [finding], ...(faultClass !== undefined && { class: faultClass }) }
    }
    const code = systemCodeOf(error)
    if (code === undefined) throw error
    return { status: 'error', code, observed: (error as Error).message, class: 'dependency' }
  }
}

function systemCodeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return code !== undefined && unreachable.has(code) ? code : undefined
}
