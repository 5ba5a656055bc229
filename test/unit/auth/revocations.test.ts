import { describe, expect, it } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import { createRevocations, type Revocation } from '../../../src/auth/revocations.ts'
import { isBusError } from '../../../src/base/errors.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { goodClaims, hs256, testNow, testSecret } from '../../support/tokens.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const bob = { tenant: 'acme', subject: 'bob' }

describe('a revocation', () => {
  it('of a subject touches that subject of that tenant only, until its end', () => {
    const clock = createManualClock(1_000)
    const revocations = createRevocations(clock)
    revocations.revoke({ ...alice, untilMs: 2_000 })
    expect(revocations.isRevoked(alice)).toBe(true)
    expect(revocations.isRevoked(bob)).toBe(false)
    expect(revocations.isRevoked({ tenant: 'other', subject: 'alice' })).toBe(false)
    clock.advance(1_000)
    expect(revocations.isRevoked(alice)).toBe(false)
  })

  it('of a tenant touches all of it', () => {
    const revocations = createRevocations(createManualClock())
    revocations.revoke({ tenant: 'acme', untilMs: 10 })
    expect(revocations.isRevoked(bob)).toBe(true)
    expect(revocations.isRevoked({ tenant: 'acme2', subject: 'bob' })).toBe(false)
  })

  it('is not shortened by a later one that ends earlier', () => {
    const clock = createManualClock()
    const revocations = createRevocations(clock)
    revocations.revoke({ ...alice, untilMs: 100 })
    revocations.revoke({ ...alice, untilMs: 10 })
    clock.advance(50)
    expect(revocations.isRevoked(alice)).toBe(true)
  })

  it('is told to listeners once, while it says something new, until they leave', () => {
    const revocations = createRevocations(createManualClock())
    const heard: Revocation[] = []
    const leave = revocations.onRevoked((revocation) => heard.push(revocation))
    revocations.revoke({ ...alice, untilMs: 5 })
    revocations.revoke({ ...alice, untilMs: 5 })
    revocations.revoke({ ...alice, untilMs: 4 })
    revocations.revoke({ ...alice, untilMs: 6 })
    leave()
    revocations.revoke({ ...bob, untilMs: 5 })
    expect(heard.map(({ untilMs }) => untilMs)).toEqual([5, 6])
  })

  it('is among those in force until its end', () => {
    const clock = createManualClock()
    const revocations = createRevocations(clock)
    revocations.revoke({ ...alice, untilMs: 5 })
    revocations.revoke({ tenant: 'other', untilMs: 10 })
    expect([...revocations.inForce()]).toEqual([
      { ...alice, untilMs: 5 },
      { tenant: 'other', untilMs: 10 },
    ])
    clock.advance(5)
    expect([...revocations.inForce()]).toEqual([{ tenant: 'other', untilMs: 10 }])
    expect(revocations.size).toBe(1)
  })

  it('is refused, not forgotten, when 100,000 are in force; those that ended make room', () => {
    const clock = createManualClock()
    const revocations = createRevocations(clock)
    for (let i = 0; i < 100_000; i++) revocations.revoke({ tenant: 'acme', subject: `s${i}`, untilMs: 10 })
    const attempt = (): unknown => {
      try {
        revocations.revoke({ tenant: 'acme', subject: 'one-more', untilMs: 100 })
        return undefined
      } catch (error) {
        return error
      }
    }
    expect(isBusError(attempt(), 'LIMIT_EXCEEDED')).toBe(true)
    clock.advance(10)
    expect(attempt()).toBeUndefined()
  })

  it('makes a good token refused', async () => {
    const clock = createManualClock(testNow * 1_000)
    const revocations = createRevocations(clock)
    const authenticator = await createAuthenticator({ algorithm: 'HS256', secret: testSecret, clock, revocations })
    const token = hs256(goodClaims)
    expect(await authenticator.authenticate(token)).toMatchObject({ ok: true })
    revocations.revoke({ ...alice, untilMs: (testNow + 3_600) * 1_000 })
    expect(await authenticator.authenticate(token)).toEqual({ ok: false, refusal: 'AUTH_REVOKED' })
  })
})
