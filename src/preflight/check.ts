// What a check is: data and one function. A check gets everything it may touch as an argument, so that the same inputs
// give the same report.
import type { Clock } from '../base/clock.ts'
import type { FaultClass, Finding, RuleContext, Severity } from '../rules/rule.ts'
import type { Targets } from './targets.ts'

/** In the order in which they run (preflight 2.0). */
export const phases = ['static', 'deps', 'gates', 'boot', 'live'] as const
export type Phase = (typeof phases)[number]

/** What checks look at. */
export interface CheckPorts {
  readonly ctx: RuleContext
  /** Addresses of a running system; empty when none was given. */
  readonly targets: Targets
  readonly clock: Clock
  /** Hex text that nobody can have sent before. */
  nonce(): string
}

export type CheckResult =
  | { readonly status: 'pass'; readonly observed?: string }
  | {
      readonly status: 'fail'
      readonly findings: readonly [Finding, ...Finding[]]
      /** Where what was observed tells more than the check's own class. */
      readonly class?: FaultClass
    }
  /** No answer was reached. `code` is upper-case and permanent; `observed` may be text of a server. */
  | { readonly status: 'error'; readonly code: string; readonly observed: string; readonly class?: FaultClass }

/** Why a check does not apply; the name and the reason are part of the report. */
export interface Applicability {
  readonly name: string
  /** `not-selected`: it would apply, but the operator left out what it needs. */
  test(ports: Pick<CheckPorts, 'ctx' | 'targets'>): {
    readonly holds: boolean
    readonly because: string
    readonly otherwise?: 'not-applicable' | 'not-selected'
  }
}

export interface Check {
  /** Permanent; anchor in docs/preflight.md. A retired id is never used again. */
  readonly id: string
  readonly title: string
  /** What a pass proves, in one sentence. */
  readonly proves: string
  /** What the verdict rests on. */
  readonly evidence: string
  /** What to do when it fails. */
  readonly fix: string
  readonly runbook: readonly string[]
  readonly phase: Phase
  readonly severity: Severity
  readonly class: FaultClass
  /** Ids that have to pass first. */
  readonly requires: readonly string[]
  readonly appliesWhen: Applicability
  readonly deadlineMs: number
  /** What it does to the world: `reads the environment`, `opens 2 connections`. */
  readonly effects: readonly string[]
  run(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> | CheckResult
}

export function failed(code: string, variable: string, found: string, fix: string): CheckResult {
  return { status: 'fail', findings: [{ code, variable, found, fix }] }
}

/** The part of an id that names its category: all but the last. */
export function categoryOf(id: string): string {
  return id.slice(0, id.lastIndexOf('.'))
}
