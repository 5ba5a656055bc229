// The tenant wall, which stands before any policy.
import type { Identity } from '../auth/identity.ts'
import { BusError } from '../base/errors.ts'

/** A frame may name its own tenant or none; only an operator crosses (design 4). */
export function checkTenant(identity: Identity, named: string | undefined): void {
  if (named === undefined || named === identity.tenant || identity.role === 'operator') return
  throw new BusError('TENANT_MISMATCH')
}
