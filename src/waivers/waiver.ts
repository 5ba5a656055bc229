// What a waiver ("approved exception") is: one named check may fail in one known way, for a while, because named people
// agreed to it (runbook L24, L34; docs/waivers.md).
import type { Profile } from '../config/shapes.ts'

export const waiverSchema = 'arqonbus/waivers/1'

export interface Approval {
  /** A name that the policy lists. */
  readonly by: string
  /** RFC 3339. */
  readonly at: string
  /** `ed25519:` and base64 of 32 bytes; has to be the policy's key of that name. */
  readonly key: string
  /** Base64 of the Ed25519 signature (sign.ts says of what). */
  readonly sig: string
}

export interface Waiver {
  /** `EX-2026-014`. */
  readonly id: string
  /** The exact id of one check. */
  readonly check: string
  readonly scope: {
    readonly profile: Profile
    /** Equal to the policy's `site`; absent where that has none. */
    readonly site?: string
  }
  readonly reason: string
  readonly risk: string
  /** Ids of checks that have to pass while this one is excused. */
  readonly compensating: readonly string[]
  readonly ticket: string
  /** The person who answers for it; never one of the approvers. */
  readonly owner: string
  /** Instants with a zone, RFC 3339, as they were written: the text is what was signed. */
  readonly requested: string
  readonly expires: string
  /** 0 and null for a first waiver; else how often it was renewed, and the id of the one before. */
  readonly renewal: { readonly number: number; readonly of: string | null }
  /** Digest of the failure that was approved (judge-waivers.ts, bindOf). */
  readonly bind: string
  readonly approvals: readonly Approval[]
}

export interface WaiverFile {
  readonly schema: typeof waiverSchema
  readonly waivers: readonly Waiver[]
}

export const noWaivers: WaiverFile = { schema: waiverSchema, waivers: [] }

/** Milliseconds since the Unix epoch of an instant that the parser took. */
export const instantOf = (text: string): number => Date.parse(text)
