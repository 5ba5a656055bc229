import { describe, expect, test } from 'vitest'
import { addressGroup, createAdmission } from '../../../src/transport/admission.ts'

const limits = {
  maxConnections: 4,
  maxConnectionsPerTenant: 3,
  maxConnectionsPerSubject: 2,
  maxConnectionsPerAddress: 3,
  handshakesPerSecond: 10,
  handshakesPerSecondPerAddress: 2,
  maxHalfOpen: 3,
}
const who = (tenant: string, subject: string) => ({ tenant, subject, role: 'user' as const })
const limitOf = (outcome: object) => ('limit' in outcome ? outcome.limit : undefined)

describe('admission', () => {
  test('counts each subject, tenant, address and the process, and frees what was released once', () => {
    const admission = createAdmission(limits, 0)
    const first = admission.admit('1.1.1.1', who('a', 'x'))
    admission.admit('1.1.1.1', who('a', 'x'))
    expect(limitOf(admission.admit('2.2.2.2', who('a', 'x')))).toBe('connections-per-subject')
    admission.admit('1.1.1.1', who('a', 'y'))
    expect(limitOf(admission.admit('2.2.2.2', who('a', 'z')))).toBe('connections-per-tenant')
    expect(limitOf(admission.admit('1.1.1.1', who('b', 'x')))).toBe('connections-per-address')
    admission.admit('2.2.2.2', who('b', 'x'))
    expect(limitOf(admission.admit('3.3.3.3', who('c', 'x')))).toBe('connections')
    if (!('release' in first)) throw new Error('the first was refused')
    first.release()
    first.release()
    expect(admission.open).toBe(3)
    expect(limitOf(admission.admit('3.3.3.3', who('c', 'x')))).toBeUndefined()
  })

  test('bounds half-open handshakes and rates, each with a time to come back', () => {
    const admission = createAdmission(limits, 0)
    const entered = ['1.1.1.1', '2.2.2.2', '3.3.3.3'].map((address) => admission.enter(address, 0))
    expect(admission.enter('4.4.4.4', 0)).toMatchObject({ status: 503, limit: 'half-open', retryAfterSeconds: 1 })
    for (const outcome of entered) if ('leave' in outcome) outcome.leave()
    for (let i = 0; i < 3; i++) {
      const outcome = admission.enter('1.1.1.1', 0)
      if ('leave' in outcome) outcome.leave()
    }
    expect(admission.enter('1.1.1.1', 0)).toMatchObject({ status: 429, limit: 'handshakes-per-address' })
    expect(limitOf(admission.enter('1.1.1.1', 1_000))).toBeUndefined()
  })

  test('bounds how fast a tenant opens connections, where that is set', () => {
    const admission = createAdmission({ ...limits, handshakesPerSecondPerTenant: 2 }, 0)
    const outcomes = Array.from({ length: 5 }, () => admission.judgeTenant('acme', 0))
    expect(outcomes.map((outcome) => outcome?.limit)).toEqual([
      ...Array<undefined>(4).fill(undefined),
      'handshakes-per-tenant',
    ])
    expect(outcomes[4]).toMatchObject({ status: 429, retryAfterSeconds: 1 })
    expect(admission.judgeTenant('globex', 0)).toBeUndefined()
    expect(admission.judgeTenant('acme', 500)).toBeUndefined()
    expect(createAdmission(limits, 0).judgeTenant('acme', 0)).toBeUndefined()
  })

  test('groups IPv6 by /64 and mapped IPv4 with IPv4', () => {
    expect(addressGroup('2001:db8:1:2:3:4:5:6')).toBe(addressGroup('2001:db8:1:2::1'))
    expect(addressGroup('2001:db8:1:2::1')).not.toBe(addressGroup('2001:db8:1:3::1'))
    expect(addressGroup('::ffff:10.0.0.1')).toBe('10.0.0.1')
    expect(addressGroup('::1')).toBe('0:0:0:0')
    expect(addressGroup('fe80::1%eth0')).toBe('fe80:0:0:0')
  })
})
