import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAdmin, isOperator, may, mayEnter } from '../../../src/auth/grants.ts'
import type { Identity } from '../../../src/auth/identity.ts'
import { isReservedTenantName, isTenantName } from '../../../src/auth/tenants.ts'
import { isReservedTenant, isTenant } from '../../../src/envelope/names.ts'

const user: Identity = { tenant: 'acme', subject: 'alice', role: 'user' }
const admin: Identity = { ...user, role: 'admin' }
const operator: Identity = { tenant: '*', subject: 'root', role: 'operator' }

describe('permission for a command', () => {
  it('is given to an admin and an operator, whatever their list says', () => {
    expect(may({ ...admin, permissions: [] }, 'channel_management')).toBe(true)
    expect(may({ ...operator, permissions: [] }, 'channel_management')).toBe(true)
  })
  it('is given to everybody whose token has no list', () => {
    expect(may(user, 'channel_management')).toBe(true)
  })
  it('is what the list says, where there is one', () => {
    const reader = { ...user, permissions: ['channel_view'] }
    expect(may(reader, 'channel_view')).toBe(true)
    expect(may(reader, 'channel_management')).toBe(false)
    expect(may({ ...user, permissions: [] }, 'channel_view')).toBe(false)
  })
})

describe('a tenant', () => {
  it('is entered by its own tokens and by operators only', () => {
    expect(mayEnter(user, 'acme')).toBe(true)
    expect(mayEnter(user, 'acme2')).toBe(false)
    expect(mayEnter(admin, 'other')).toBe(false)
    expect(mayEnter(operator, 'other')).toBe(true)
  })
  it('makes no operator of half the signs', () => {
    expect(isOperator({ ...operator, tenant: 'acme' })).toBe(false)
    expect(isOperator({ ...admin, tenant: '*' })).toBe(false)
    expect(isAdmin({ ...operator, tenant: 'acme' })).toBe(false)
    expect(isAdmin(user)).toBe(false)
  })
  it('has the same grammar in tokens as on the wire', () => {
    const name = fc.oneof(
      fc.string({ maxLength: 70 }),
      fc.stringMatching(/^[A-Za-z0-9_.-]{0,70}$/),
      fc.constant('arqon-x'),
    )
    fc.assert(
      fc.property(name, (text) => {
        expect(isTenantName(text)).toBe(isTenant(text))
        expect(isReservedTenantName(text)).toBe(isReservedTenant(text))
      }),
      { numRuns: 2_000 },
    )
  })
})
