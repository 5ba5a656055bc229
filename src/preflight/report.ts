// The report: `canonical` holds what the verdict rests on and is the same for the same system, whenever and wherever
// it is judged; times, addresses and texts of servers stand in `observations`.
import type { JsonObject } from '../base/json.ts'
import type { Build } from '../certificate/build.ts'
import type { UsedWaiver } from '../certificate/certificate.ts'
import type { EnvironmentFingerprint } from '../certificate/environment.ts'
import type { Profile } from '../config/shapes.ts'
import type { FaultClass, Severity } from '../rules/rule.ts'
import type { Refusal } from '../waivers/judge-waivers.ts'
import type { Answer, Phase } from './check.ts'

export const reportSchema = 'arqonbus/preflight-report/1.0'

export type Verdict = 'GO' | 'NO-GO' | 'INCONCLUSIVE'

export type SkipReason =
  | { readonly kind: 'not-applicable'; readonly predicate: string; readonly because: string }
  | { readonly kind: 'blocked-by'; readonly id: string }
  | { readonly kind: 'not-selected'; readonly because: string }
  | { readonly kind: 'not-permitted'; readonly because: string }

/** What became of a check. */
export type Outcome =
  /** `facts` hold no time, address, number that moves, or text of a server. */
  | { readonly status: 'pass'; readonly facts?: JsonObject }
  | { readonly status: 'fail'; readonly findings: readonly CanonicalFinding[]; readonly facts?: JsonObject }
  | { readonly status: 'error'; readonly code: string }
  | { readonly status: 'skip'; readonly reason: SkipReason }
  /** Failed, and a waiver excuses exactly this: its id, and the instant at which it ends. */
  | {
      readonly status: 'waived'
      readonly underlying: 'fail' | 'error'
      readonly waiver: string
      readonly expires: string
      /** Of what is excused; an error has a code instead. */
      readonly findings: readonly CanonicalFinding[]
      readonly code?: string
      readonly facts?: JsonObject
    }

export interface CanonicalFinding {
  readonly code: string
  readonly variable: string
  readonly fix: string
}

export type Result = {
  readonly id: string
  readonly runbook: readonly string[]
  readonly phase: Phase
  readonly severity: Severity
  readonly class: FaultClass
  /** Checks that could not run because this one did not pass. */
  readonly blocks: readonly string[]
} & Outcome

export interface Canonical {
  readonly verdict: Verdict
  /** Why the verdict is INCONCLUSIVE; empty otherwise. */
  readonly unproven: readonly string[]
  readonly profile: Profile
  readonly version: string
  readonly node: string
  /** Phases that have to prove something before GO. */
  readonly required: readonly Phase[]
  /** Ids of all checks of the plan, in plan order. */
  readonly planned: readonly string[]
  readonly plan: string
  readonly catalogue: string
  /** Digest of the policy it was judged by. */
  readonly policy: string
  /** Digest of the waivers that could have excused something; absent when there were none. */
  readonly waivers?: string
  /** What was judged, outside development: which build, and whether it is a commit and nothing else. */
  readonly subject?: Build & { readonly commit?: string; readonly isDirty: boolean }
  /** Kind of place the environment came from, and its fingerprint where ARQONBUS_DATA_DIR holds the key for one. */
  readonly environment?: { readonly source: string } & Partial<EnvironmentFingerprint>
  /** Waivers that excused something; absent when none did. */
  readonly exceptions?: readonly UsedWaiver[]
  /** The instant that was asked for with --now, RFC 3339; absent: that of the run. */
  readonly judgedFor?: string
  readonly counts: Readonly<Record<CountName, number>>
  /** Gating checks that failed themselves, in plan order. */
  readonly rootCauses: readonly string[]
  readonly route?: { readonly label: Exclude<Severity, 'advisory'>; readonly dedupe: string }
  readonly results: readonly Result[]
  /** The run itself went wrong: how it was called, a fault of ours, or somebody stopped it. */
  readonly fault?: { readonly kind: 'usage' | 'input' | 'internal' | 'interrupted'; readonly code: string }
}

export type CountName = 'pass' | 'fail' | 'error' | 'waived' | 'blocked' | 'notApplicable' | 'notRun'

export interface Observation {
  readonly ms: number
  /** What a pass saw, or what stood in the way. May hold text of servers, stripped and cut. */
  readonly observed?: string
  readonly findings?: readonly { readonly variable: string; readonly found: string }[]
  /** What the probe came back with: the judgement can be made again from it. */
  readonly answer?: Answer
  /** Who excused it, and for how long yet. */
  readonly exception?: {
    readonly owner: string
    readonly approvedBy: readonly string[]
    /** Whole days that are left, down. */
    readonly days: number
    readonly renewals: number
  }
  /** Waivers that were meant for it and do not hold. */
  readonly refusals?: readonly Refusal[]
  /** Where there was more than one. */
  readonly attempts?: readonly { readonly ms: number; readonly code?: string }[]
}

export interface WaiverNote {
  /** Its id. */
  readonly waiver: string
  readonly code: 'EXPIRES_SOON' | 'UNUSED'
  readonly text: string
}

export interface PluginNote {
  /** The file's name. */
  readonly plugin: string
  readonly code: 'NOT_LISTED'
  readonly text: string
}

export interface Report {
  readonly schema: typeof reportSchema
  readonly canonical: Canonical
  /** Of `canonical` alone. */
  readonly digest: string
  readonly observations: {
    readonly startedAt: string
    readonly ms: number
    /** The words of a fault. */
    readonly fault?: string
    /** Waivers that need somebody's attention, though they stop nothing. */
    readonly notes?: readonly WaiverNote[]
    /** The same of plug-ins. */
    readonly plugins?: readonly PluginNote[]
    readonly results: Readonly<Record<string, Observation>>
    /** What became of evidence and tickets; after the verdict, which it does not change. */
    readonly incident?: IncidentOutcome
    /** What it was judged in: for comparison with other runs. */
    readonly inputs?: RunInputs
    /** The certificate that the environment names, where the pinned key signed it. */
    readonly certificate?: { readonly digest: string; readonly activateBy: string }
    /** What changed since the last green run here, and what is remembered of the causes. */
    readonly since?: SinceGreen
    /** Only in a replay. */
    readonly replay?: ReplayNotes
  }
}

/** Names and fingerprints only. */
export interface RunInputs {
  /** 40 hex. */
  readonly commit?: string
  /** SHA-256 of package-lock.json. */
  readonly lock?: string
  /** Names the key of the fingerprints: only those of one key compare. */
  readonly key: string
  /** Variable: four hex of a keyed hash of its value. */
  readonly variables: Readonly<Record<string, string>>
}

export interface SinceGreen {
  /** Compared with the run that --baseline names, green or not. */
  readonly isBaseline?: true
  /** When that run started, and its verdict. */
  readonly at: string
  readonly verdict: Verdict
  /** Phases in which it proved something. */
  readonly phases: readonly Phase[]
  readonly checks: number
  readonly variables: number
  readonly isOtherCommit: boolean
  /** The likeliest first cause, in words; absent where nothing newly failed. */
  readonly cause?: string
  /** By root cause. */
  readonly memory: Readonly<Record<string, RememberedCause>>
}

/** Earlier cases here, the usual time until it passed again, and what had changed then most often. */
export interface RememberedCause {
  readonly cases: number
  readonly medianMinutes?: number
  readonly usualFix?: { readonly change: string; readonly cases: number }
}

/** Which judges ran again, and which results stand as they were recorded. */
export interface ReplayNotes {
  readonly rejudged: readonly string[]
  readonly notRejudged: readonly { readonly id: string; readonly needs: readonly string[] }[]
}

export interface IncidentOutcome {
  /** Path of the bundle, and how many files are in it. */
  readonly bundle?: { readonly path: string; readonly files: number }
  /** What the bundle lacks (preflight 2.8). */
  readonly findings: readonly BundleFinding[]
  /** What could not be done: no bundle, no delivery. */
  readonly notes: readonly string[]
}

export interface BundleFinding {
  readonly id: 'incident.commit' | 'incident.command' | 'incident.env' | 'incident.class' | 'incident.route'
  readonly severity: 'high'
  readonly code: string
  readonly found: string
}

/** Text of foreign origin made harmless: control characters out, at most 500 characters. */
export function harmless(text: string): string {
  const plain = Array.from(text, (letter) =>
    letter < ' ' || (letter >= '\u007f' && letter <= '\u009f') ? ' ' : letter,
  )
  return plain.length > 500 ? `${plain.slice(0, 500).join('')}…` : plain.join('')
}
