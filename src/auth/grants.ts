// What an identity may do. Pure, and the same answer wherever it is asked.
import type { Identity } from './identity.ts'
import { everyTenant } from './tenants.ts'

/** An operator's token alone may cross tenants (design 4). */
export function isOperator(identity: Identity): boolean {
  return identity.role === 'operator' && identity.tenant === everyTenant
}

/** Admin of its own tenant, or operator of all. */
export function isAdmin(identity: Identity): boolean {
  return identity.role === 'admin' || isOperator(identity)
}

/** Built-in commands (original-contract 4.7): an admin may; without a list everybody may; a list is complete. */
export function may(identity: Identity, permission: string): boolean {
  return isAdmin(identity) || identity.permissions === undefined || identity.permissions.includes(permission)
}

/** May the identity see and touch what belongs to `tenant`? */
export function mayEnter(identity: Identity, tenant: string): boolean {
  return identity.tenant === tenant || isOperator(identity)
}
