// May this frame pass? First the tenant wall, then the policy.
import type { Identity } from '../auth/identity.ts'
import { BusError } from '../base/errors.ts'

export interface PolicyInput {
  readonly identity: Identity
  readonly clientId: string
  readonly trace: string
  /** The protobuf frame; to be read, not kept or changed. */
  readonly frame: Uint8Array
}

export type Verdict =
  | { readonly allows: true }
  | { readonly allows: false; readonly code: 'POLICY_DENIED' | 'POLICY_ERROR'; readonly reason?: string }

/** The way to a decision. A policy that cannot decide answers POLICY_ERROR; it never throws and never just allows. */
export interface Policy {
  readonly name: string
  decide(input: PolicyInput): Verdict | Promise<Verdict>
}

const allowed: Verdict = { allows: true }

/** No policy module is configured: said by name, never by absence. */
export const allowAll: Policy = { name: 'allow-all', decide: () => allowed }

/** A frame may name its own tenant or none; only an operator crosses (design 4). */
export function checkTenant(identity: Identity, named: string | undefined): void {
  if (named === undefined || named === identity.tenant || identity.role === 'operator') return
  throw new BusError('TENANT_MISMATCH')
}
