// What a check is. It looks with a probe, which may touch the world and comes back with facts, and it judges with a
// function of those facts alone: what was recorded can be judged again anywhere, and a judge that cannot fail is found
// by the worlds that every check brings (self-proof.ts).
import type { Clock } from '../base/clock.ts'
import type { JsonObject, JsonValue } from '../base/json.ts'
import type { Program } from '../config/keys.ts'
import type { Environment } from '../config/resolution.ts'
import type { Profile } from '../config/shapes.ts'
import type { FaultClass, Finding, RuleContext, Severity } from '../rules/rule.ts'
import type { PluginEntry, PreflightPolicy } from '../waivers/preflight-policy.ts'
import type { CommandSpool } from './incident/commands.ts'
import type { Targets } from './targets.ts'

/** In the order in which they run (preflight 2.0). */
export const phases = ['static', 'deps', 'gates', 'boot', 'live'] as const
export type Phase = (typeof phases)[number]

/** What a judge may know beside the facts. Pure: equal ports and facts give an equal result. */
export interface JudgePorts {
  readonly ctx: RuleContext
  /** Addresses of a running system; empty when none was given. */
  readonly targets: Targets
  readonly policy: PreflightPolicy
  /** The instant judged for, ms since the Unix epoch. */
  readonly now: number
}

/** Where the environment that is judged came from. Names only, never a value. */
export interface EnvSource {
  /** As for --env-from: `process`, `systemd:arqonbus.service`. */
  readonly name: string
  /** Did the operator name it? */
  readonly isGiven: boolean
  /** Variables of ours of which this source and the operator's shell say different things, sorted. */
  readonly drift: readonly string[]
  /** What is hidden, and by which place. */
  readonly shadowed: readonly { readonly variable: string; readonly where: string; readonly by: string }[]
  /** `path:line` by variable; absent for a process. */
  readonly where?: ReadonlyMap<string, string>
  /** Names of Node's options in the command of the start, without values; absent where the source has no command. */
  readonly nodeFlags?: readonly string[]
}

/** What probes look at, and with. */
export interface CheckPorts extends JudgePorts {
  readonly clock: Clock
  /** Hex text that nobody can have sent before. */
  nonce(): string
  /** Names what this run writes anywhere: lower-case letters and digits. */
  readonly runId: string
  /** Absent: the operator's shell, and nobody said so. */
  readonly envSource?: EnvSource
  /** Keeps everything that programs write. Only for checks without a resource; absent: nobody keeps it. */
  readonly spool?: CommandSpool
  /** The operator's own environment, where the judged one came from elsewhere: for programs that a gate starts. */
  readonly shell?: Environment
  /** No connection may be opened (--offline), by a program that is started neither. */
  readonly isOffline?: boolean
  /** A signed result of the gates, to be taken in place of a run. */
  readonly attestationPath?: string
  /** Files whose checks are part of this run's catalogue; absent: none. */
  readonly plugins?: readonly PluginEntry[]
  /** Calls back at the end of the run, last first, and waits. Only for checks without a resource: others look elsewhere. */
  atEnd?(end: () => void | Promise<void>): void
}

/** No facts: why a probe came to none. Codes and what they mean stand in stops.ts. */
export interface Stopped {
  /** Upper-case, permanent. */
  readonly code: string
  /** Where in the probe: `tcp`, `auth`, `read`. */
  readonly step?: string
  /** May be text of a server; never a secret. */
  readonly observed: string
}

/** What a probe came back with. Recorded, and never a secret in it. */
export type Answer = { readonly facts: JsonObject } | { readonly stopped: Stopped }

export type CheckResult =
  | { readonly status: 'pass'; readonly observed?: string; readonly facts?: JsonObject }
  | {
      readonly status: 'fail'
      readonly findings: readonly [Finding, ...Finding[]]
      /** Where what was observed tells more than the check's own class. */
      readonly class?: FaultClass
      readonly facts?: JsonObject
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

/** What a check does to the world; `preflight plan` shows it, --read-only and --offline go by it. */
export interface Effect {
  /** `write` changes something outside this process, if only for a moment; `net` opens connections; `spawn` runs programs. */
  readonly kind: 'env' | 'file' | 'net' | 'write' | 'spawn'
  /** `key arqon:pf:<run>, 30 s`. */
  readonly what: string
}

/** A fact's form; `?` where it may be absent. */
export type FactForm = FactName | `${FactName}?`
type FactName = 'string' | 'number' | 'boolean' | 'strings' | 'objects' | 'object'
export type Shape = Readonly<Record<string, FactForm>>

interface FactTypes {
  string: string
  number: number
  boolean: boolean
  strings: readonly string[]
  objects: readonly JsonObject[]
  object: JsonObject
}
export type FactsOf<S extends Shape> = {
  readonly [K in keyof S as S[K] extends `${string}?` ? never : K]: S[K] extends FactName ? FactTypes[S[K]] : never
} & {
  readonly [K in keyof S as S[K] extends `${string}?` ? K : never]?: S[K] extends `${infer N extends FactName}?`
    ? FactTypes[N]
    : never
}

/** One state of the world, as far as a check sees it: the healthy production environment, and what differs from it. */
export interface World<F = JsonObject> {
  readonly name: string
  /** For checks with a probe. */
  readonly facts?: F
  readonly stopped?: Stopped
  /** Over the healthy environment; undefined takes a variable away. */
  readonly env?: Environment
  readonly files?: Readonly<Record<string, { readonly mode?: number; readonly text?: string }>>
  readonly localAddresses?: readonly string[]
  readonly asked?: Profile
  /** Whose start is judged; both when absent, as in a preflight. */
  readonly programs?: readonly Program[]
  readonly policy?: Partial<PreflightPolicy>
  /** RFC 3339. */
  readonly now?: string
  readonly targets?: string
}

export interface FailingWorld<F = JsonObject> extends World<F> {
  readonly expect: {
    /** `fail` when absent. */
    readonly status?: 'fail' | 'error'
    /** One of the findings', or the error's. */
    readonly code: string
    /** The check's own when absent. */
    readonly class?: FaultClass
    /** `VARIABLE CODE` of each finding, when there may be no others, in their order. */
    readonly findings?: readonly string[]
  }
}

export interface Worlds<F = JsonObject> {
  readonly passes: readonly World<F>[]
  /** Each has to be seen. A check without one does not register. */
  readonly fails: readonly FailingWorld<F>[]
  /** Odd, and none of this check's business: it has to pass (inverted controls). */
  readonly ignores: readonly World<F>[]
  /** The check does not apply there. */
  readonly skips?: readonly World<F>[]
}

export interface CheckHead {
  /** Permanent; anchor in docs/preflight.md. A retired id is never used again. */
  readonly id: string
  readonly title: string
  /** What a pass proves, in one sentence. */
  readonly proves: string
  /** What the verdict rests on. */
  readonly evidence: string
  /** What to do when it fails. */
  readonly fix: string
  /** Lines of the runbook, `L19`; empty for a check beyond it. */
  readonly runbook: readonly string[]
  readonly phase: Phase
  readonly severity: Severity
  /** Under a policy that is `hardened`: what the runbook only recommends gates there. */
  readonly hardenedSeverity?: Exclude<Severity, 'advisory'>
  readonly class: FaultClass
  /** Ids that have to pass first. One that does not apply counts as passed. */
  readonly requires: readonly string[]
  readonly appliesWhen: Applicability
  readonly deadlineMs: number
  readonly effects: readonly Effect[]
  /** Only with --deep. */
  readonly isDeep?: boolean
  /** Adds nothing to what it requires but a name: it has no fault of its own. */
  readonly isRollUp?: boolean
  /** Codes of `stopped` that --wait tries again for. */
  readonly retryOn?: readonly string[]
  /** Better words than stops.ts has, by code. */
  readonly hints?: Readonly<Record<string, string>>
  /** The plug-in it came from; absent: it is part of this build. */
  readonly origin?: PluginEntry
}

export interface Check<F = JsonObject> extends CheckHead {
  readonly shape: Shape
  /**
   * Comes back with facts of that shape, or throws ProbeStop. Absent: there is nothing to look at but the ports.
   */
  readonly probe?: (ports: CheckPorts, signal: AbortSignal) => Promise<F>
  /**
   * What it connects to. Probes with one run in a process of their own, one at a time for each name, and the process is
   * killed when a deadline passes.
   */
  readonly resource?: string
  /** Checks of one lane run one at a time, and are timed from their turn: one is not late because of another. */
  readonly lane?: string
  judge(facts: F, ports: JudgePorts): CheckResult
  /** Asks a program to judge these facts, so that `judge` knows the answer. Never rejects. */
  readonly consult?: (facts: JsonObject) => Promise<void>
  readonly worlds: Worlds<F>
}

export type CheckSpec<S extends Shape> = Omit<Check<FactsOf<S>>, 'shape'> & { readonly shape: S }

/** Facts are held to the shape before they are judged, so that the judge may rely on it. */
export function defineCheck<const S extends Shape>(spec: CheckSpec<S>): Check {
  return spec as unknown as Check // the shape is checked at run time (facts.ts), which types cannot follow
}

export function passed(observed?: string, facts?: JsonObject): CheckResult {
  return {
    status: 'pass',
    ...(observed !== undefined && { observed }),
    ...(facts !== undefined && { facts }),
  }
}

export function failed(code: string, variable: string, found: string, fix: string, facts?: JsonObject): CheckResult {
  return { status: 'fail', findings: [{ code, variable, found, fix }], ...(facts !== undefined && { facts }) }
}

/** Fails with all findings, passes when there is none. */
export function judgeAll(findings: readonly Finding[], observed?: string, facts?: JsonObject): CheckResult {
  const [first, ...others] = findings
  if (first === undefined) return passed(observed, facts)
  return { status: 'fail', findings: [first, ...others], ...(facts !== undefined && { facts }) }
}

/** The part of an id that names its category: all but the last. */
export function categoryOf(id: string): string {
  return id.slice(0, id.lastIndexOf('.'))
}

export type { JsonObject, JsonValue }
