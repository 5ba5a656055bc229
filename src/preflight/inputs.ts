// What a run is asked, and with what it works.
import type { Clock } from '../base/clock.ts'
import type { Environment } from '../config/resolution.ts'
import type { Profile } from '../config/shapes.ts'
import type { ContextOptions } from '../rules/context.ts'
import type { PreflightPolicy } from '../waivers/preflight-policy.ts'
import type { WaiverFile } from '../waivers/waiver.ts'
import type { Ended } from './build-report.ts'
import type { Check, EnvSource, Phase } from './check.ts'
import type { CommandSpool } from './incident/commands.ts'
import type { JudgedPorts } from './judged.ts'
import type { Plan, Selection } from './plan.ts'
import type { Prober } from './prober.ts'
import type { Result } from './report.ts'
import type { Targets } from './targets.ts'

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

/** What was made ready for a phase. */
export interface Prepared {
  /** Why the system of its checks did not start: none of them looks, each is told (NO_CANDIDATE). */
  readonly trouble?: string
  /** Waited for when the phase is over, however it ends. */
  end(): Promise<void>
}

/** `spool` records every process; `stop` is aborted when nobody waits for the phase any more. */
export type OnPhase = (
  phase: Phase,
  ports: { readonly spool?: CommandSpool; readonly stop?: AbortSignal },
) => Promise<Prepared | undefined>

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
  /** Aborted by who wants the run to end; the report says so and holds what came before. */
  readonly stop?: AbortSignal
  /** Planted into the environments of probes, to prove that none gets out. */
  readonly canary?: string
  /** Records every process that is started. */
  readonly spool?: CommandSpool
  /** Waited for before a phase that has something to run: the system of the live checks starts here. */
  readonly onPhase?: OnPhase
  /** Told of the plan, before any of it runs. */
  readonly onPlan?: (plan: Plan) => void
}

/** Whoever brings a result of the gates asks for them. */
export function withAttested(inputs: PreflightInputs): PreflightInputs {
  return inputs.attestationPath === undefined ? inputs : { gates: true, ...inputs }
}
