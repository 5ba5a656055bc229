// What a plug-in imports as `arqonbus/preflight`. Everything here is public: changes follow the package's version.
import type { Applicability, Check, CheckPorts, FactsOf, Shape, Worlds } from '../check.ts'

/** What a probe looks at, and with. `ctx.resolution` is the whole environment that is judged: secrets are in it. */
export interface PluginPorts extends Omit<CheckPorts, 'atEnd' | 'plugins'> {
  /** Of the environment that is judged, those that the check named in `variables` and that are set. */
  readonly variables: Readonly<Record<string, string>>
}

export type PluginSpec<S extends Shape> = Pick<
  Check<FactsOf<S>>,
  'id' | 'title' | 'proves' | 'evidence' | 'fix' | 'phase' | 'class' | 'judge' | 'isDeep' | 'retryOn' | 'hints'
> & {
  /** A blocker stops a start and cannot be excused: that is for the runbook alone. */
  readonly severity: Exclude<Check['severity'], 'blocker'>
  /** Ids that have to pass first; default: none. */
  readonly requires?: readonly string[]
  /** Default: always. */
  readonly appliesWhen?: Applicability
  /** Default: 5 000. */
  readonly deadlineMs?: number
  /** Shown in `preflight plan`; --read-only and --offline go by it. */
  readonly effects: Check['effects']
  /** Variables that the probe is given in `ports.variables`. */
  readonly variables?: readonly string[]
  /** Form of the facts; at least one has to be there always. */
  readonly shape: S
  /** Comes back with facts, or throws ProbeStop. Runs in a process of its own that is killed at the deadline. */
  probe(ports: PluginPorts, signal: AbortSignal): Promise<FactsOf<S>>
  /** In each of `fails` it has to fail, else the plug-in is refused. */
  readonly worlds: Worlds<FactsOf<S>>
}

/** A check of a plug-in: its default export, alone or in a list. */
export function defineCheck<const S extends Shape>(spec: PluginSpec<S>): PluginSpec<S> {
  return spec
}

export { failed, judgeAll, passed } from '../check.ts'
export { ProbeStop } from '../stops.ts'
export type {
  Applicability,
  CheckResult,
  Effect,
  FactForm,
  FactsOf,
  FailingWorld,
  JsonObject,
  JsonValue,
  JudgePorts,
  Phase,
  Shape,
  Stopped,
  World,
  Worlds,
} from '../check.ts'
export type { FaultClass, Finding, Severity } from '../../rules/rule.ts'
