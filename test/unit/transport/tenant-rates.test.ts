import { describe, expect, it } from 'vitest'
import { createTenantRates, type TenantRates } from '../../../src/transport/tenant-rates.ts'

describe('the rate of a tenant', () => {
  const create = (messagesPerSecondPerTenant = 40): TenantRates =>
    createTenantRates({ messagesPerSecondPerTenant, bytesPerSecondPerTenant: 3_000, maxMessageBytes: 1_000 }, () => 0)

  it('is one for all its connections, and none of another tenant', () => {
    const rates = create()
    const [a, b, other] = [rates.of('acme'), rates.of('acme'), rates.of('globex')]
    let taken = 0
    for (let n = 0; n < 50; n++) if ((n % 2 === 0 ? a : b).take(1, 0)) taken++
    expect(taken).toBe(20)
    expect(other.take(1, 0)).toBe(true)
    expect(a.take(1, 25)).toBe(true)
    expect(b.take(1, 25)).toBe(false)
  })

  it('bounds bytes too, and lets the largest message through whatever the rate', () => {
    const rate = create().of('acme')
    expect(rate.take(1_400, 0)).toBe(true)
    expect(rate.take(600, 0)).toBe(false)
    expect(rate.take(600, 200)).toBe(true)
    const slow = createTenantRates(
      { messagesPerSecondPerTenant: 1, bytesPerSecondPerTenant: 10, maxMessageBytes: 1_000 },
      () => 0,
    ).of('acme')
    expect(slow.take(1_000, 0)).toBe(true)
  })

  it('is not fresh again for who comes back, unless thousands came meanwhile', () => {
    const rates = create()
    for (let n = 0; n < 20; n++) rates.of('acme').take(1, 0)
    for (let n = 0; n < 5_000; n++) rates.of(`t${n}`)
    expect(rates.of('acme').take(1, 0)).toBe(false)
    for (let n = 0; n < 10_000; n++) rates.of(`u${n}`)
    expect(rates.of('acme').take(1, 0)).toBe(true)
  })

  it('gives waiting connections their turn in order, no faster than frames may come', () => {
    const rates = create(640)
    const rate = rates.of('acme')
    for (let n = 0; n < 320; n++) rate.take(1, 0)
    const turns: number[] = []
    for (let n = 0; n < 100; n++) rate.wait(() => turns.push(n))
    rates.turn(0)
    expect(turns).toEqual([])
    rates.turn(50) // 32 frames later
    expect(turns).toEqual([0])
    for (let n = 0; n < 32; n++) rate.take(1, 50)
    rates.turn(50)
    expect(turns).toEqual([0])
    rates.turn(250) // 128 frames later
    expect(turns).toEqual([0, 1, 2, 3, 4])
    rates.turn(10_000)
    rates.turn(10_000)
    expect(turns.length).toBe(25)
  })
})
