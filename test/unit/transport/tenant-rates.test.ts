import { describe, expect, it } from 'vitest'
import { createTenantRates } from '../../../src/transport/tenant-rates.ts'

describe('the rate of a tenant', () => {
  const create = (): ReturnType<typeof createTenantRates> =>
    createTenantRates({ messagesPerSecondPerTenant: 10, bytesPerSecondPerTenant: 1_000 }, () => 0)

  it('is one for all its connections, and none of another tenant', () => {
    const rateOf = create()
    const [a, b, other] = [rateOf('acme'), rateOf('acme'), rateOf('globex')]
    let taken = 0
    for (let n = 0; n < 50; n++) if ((n % 2 === 0 ? a : b).take(1, 0)) taken++
    expect(taken).toBe(20)
    expect(other.take(1, 0)).toBe(true)
    expect(a.take(1, 100)).toBe(true)
    expect(b.take(1, 100)).toBe(false)
  })

  it('bounds bytes too', () => {
    const rate = create()('acme')
    expect(rate.take(1_500, 0)).toBe(true)
    expect(rate.take(600, 0)).toBe(false)
    expect(rate.take(600, 200)).toBe(true)
  })

  it('is not fresh again for who comes back, unless thousands came meanwhile', () => {
    const rateOf = create()
    for (let n = 0; n < 20; n++) rateOf('acme').take(1, 0)
    for (let n = 0; n < 5_000; n++) rateOf(`t${n}`)
    expect(rateOf('acme').take(1, 0)).toBe(false)
    for (let n = 0; n < 10_000; n++) rateOf(`u${n}`)
    expect(rateOf('acme').take(1, 0)).toBe(true)
  })
})
