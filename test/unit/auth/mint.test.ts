import { describe, expect, it } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { testNow, testSecret } from '../../support/tokens.ts'

const nowMs = testNow * 1_000 + 999
const base = { secret: testSecret, subject: 'dev', tenant: 'acme', ttlSeconds: 3_600, nowMs }

describe('a minted token', () => {
  it('is accepted by the strictest authenticator of the same secret, for as long as it says', async () => {
    const clock = createManualClock(nowMs)
    const authenticator = await createAuthenticator({
      algorithm: 'HS256',
      secret: testSecret,
      clock,
      requireClaims: true,
    })
    const token = await mintToken({ ...base, role: 'admin', permissions: ['channel_view'] })
    expect(await authenticator.authenticate(token)).toEqual({
      ok: true,
      identity: {
        tenant: 'acme',
        subject: 'dev',
        role: 'admin',
        permissions: ['channel_view'],
        expiresAtMs: (testNow + 3_600) * 1_000,
      },
    })
    clock.advance(3_600_000 + 30_000)
    expect(await authenticator.authenticate(token)).toEqual({ ok: false, refusal: 'AUTH_EXPIRED' })
  })

  it('is of role user unless told otherwise, and dated by the machine when no time is given', async () => {
    const { nowMs: _nowMs, ...undated } = base
    const token = await mintToken({ ...undated, ttlSeconds: 86_400 })
    const clock = { now: () => Date.now(), monotonic: () => 0 }
    const authenticator = await createAuthenticator({ algorithm: 'HS256', secret: testSecret, clock })
    expect(await authenticator.authenticate(token)).toMatchObject({ ok: true, identity: { role: 'user' } })
  })

  it.each([0, -1, 1.5, 86_401, Number.NaN, Number.POSITIVE_INFINITY])('never lives %d seconds', async (ttlSeconds) => {
    await expect(mintToken({ ...base, ttlSeconds })).rejects.toMatchObject({
      code: 'VALIDATION_ERROR',
      details: { reason: 'BAD_TTL' },
    })
  })

  it('is never made from a short secret', async () => {
    await expect(mintToken({ ...base, secret: 'x'.repeat(31) })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
