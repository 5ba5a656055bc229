// Which tenant names a token may carry. The grammar is that of the envelope part, which auth must not import; a unit
// test holds the two equal.

const tenantForm = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/

/** The tenant of tokens that name none, as the original's bus tokens may (original-contract 3.1). */
export const defaultTenant = 'default'

/** The tenant an operator's token carries, and nobody else's. */
export const everyTenant = '*'

export function isTenantName(name: string): boolean {
  return tenantForm.test(name)
}

/** Tenants of the system's own probes; clients' tokens may not name them. */
export function isReservedTenantName(name: string): boolean {
  return name.startsWith('arqon-')
}
