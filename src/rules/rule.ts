// What a start-up rule is. Rules are data: servers run them before they open anything, the preflight runs the same
// ones as its static checks.
import type { Program } from '../config/keys.ts'
import type { Resolution } from '../config/resolution.ts'
import type { Profile } from '../config/shapes.ts'

/** The runbook's three labels, and one that never stops anything. */
export type Severity = 'blocker' | 'critical' | 'high' | 'advisory'

/** Where the cause lies (runbook L75). */
export type FaultClass = 'config' | 'dependency' | 'regression' | 'unknown'

/** What one violation was. Holds no secret. */
export interface Finding {
  /** Upper-case, permanent. */
  readonly code: string
  readonly variable: string
  /** What was found, redacted. */
  readonly found: string
  /** What to do. Depends on names and rules only, never on values. */
  readonly fix: string
}

export type Judgement =
  | { readonly status: 'pass'; readonly found: string }
  | { readonly status: 'fail'; readonly findings: readonly [Finding, ...Finding[]] }

/** When a rule applies. The name and the reason are recorded where it does not. */
export interface Predicate {
  readonly name: string
  test(ctx: RuleContext): { readonly holds: boolean; readonly because: string }
}

/** What a rule may know about files. */
export interface FileFacts {
  /** Permission bits, or undefined when there is no such file. */
  mode(path: string): number | undefined
  isReadable(path: string): boolean
  /** At most `maxBytes` and one more; undefined where it cannot be read. */
  read?(path: string, maxBytes: number): Uint8Array | undefined
}

export interface RuleContext {
  readonly resolution: Resolution
  /** Whose start is judged: one program at its gate, both in the preflight. */
  readonly programs: readonly Program[]
  /** The profile judged against: the one asked for, else the environment's own. */
  readonly profile: Profile
  /** The profile somebody asked for (`preflight --profile`), which the environment has to confirm. */
  readonly asked?: Profile
  readonly files: FileFacts
  /** Addresses of this machine's interfaces. */
  readonly localAddresses: readonly string[]
}

export interface Rule {
  /** Permanent; also the id of the preflight check and its anchor in docs/preflight.md. */
  readonly id: string
  readonly title: string
  /** What a pass proves; one sentence for the docs. */
  readonly proves: string
  /** Lines of the runbook, `L19`; empty for a rule beyond it. */
  readonly runbook: readonly string[]
  readonly severity: Severity
  readonly class: FaultClass
  readonly programs: readonly Program[]
  readonly appliesWhen: Predicate
  /** Rules before this one that have to hold first: what it adds is worth a look only then. */
  readonly requires?: readonly string[]
  judge(ctx: RuleContext): Judgement
}

export const pass = (found: string): Judgement => ({ status: 'pass', found })

export function fail(code: string, variable: string, found: string, fix: string): Judgement {
  return { status: 'fail', findings: [{ code, variable, found, fix }] }
}

/** Fails with all findings, or passes when there is none. */
export function failIfAny(findings: readonly Finding[], otherwise: string): Judgement {
  const [first, ...others] = findings
  return first === undefined ? pass(otherwise) : { status: 'fail', findings: [first, ...others] }
}
