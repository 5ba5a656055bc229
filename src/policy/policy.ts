// The port between the gateway and whatever decides on frames. A policy reads a frame and answers; it never throws and
// never just allows: what cannot be decided is POLICY_ERROR, which refuses like a denial.
import type { Identity } from '../auth/identity.ts'

export interface PolicyInput {
  readonly identity: Identity
  readonly clientId: string
  readonly trace: string
  /** The protobuf frame; to be read, not kept or changed. */
  readonly frame: Uint8Array
  /** A view of that frame: the Struct of a message's payload, or of a command's arguments where it has any. */
  readonly payload: Uint8Array | undefined
  /** Headers of the client's upgrade request that policies may read, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>
}

/** Headers that travel on beside the frame, by name. */
export type AddedHeaders = Readonly<Record<string, string>>

export type Verdict =
  | { readonly allows: true; readonly headers?: AddedHeaders }
  | {
      readonly allows: false
      readonly code: 'POLICY_DENIED' | 'POLICY_ERROR'
      /** Safe to show: a sub-code, or the policy's own words, bounded and clean. */
      readonly reason?: string
      /** Which policy of several. */
      readonly policy?: string
    }

export interface Policy {
  readonly name: string
  readonly decide: (input: PolicyInput) => Verdict | Promise<Verdict>
}

export const allowed: Verdict = Object.freeze({ allows: true })

/** No policy module is configured: said by name, never by absence. */
export const allowAll: Policy = { name: 'allow-all', decide: () => allowed }
