import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs } from '../../../src/base/backoff.ts'

const attempts = fc.nat({ max: 5_000 })
const fractions = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('backoffMs', () => {
  it('doubles its bound with each attempt, up to the most', () => {
    const almostOne = 1 - Number.EPSILON
    expect([0, 1, 2, 3, 4, 5, 6, 7, 100].map((attempt) => backoffMs(attempt, almostOne))).toEqual([
      99, 199, 399, 799, 1_599, 3_199, 4_999, 4_999, 4_999,
    ])
  })

  it('spreads over the whole range from zero', () => {
    expect(backoffMs(3, 0)).toBe(0)
    expect(backoffMs(3, 0.5)).toBe(400)
  })

  it('is a whole number below base and most, however many attempts there were', () => {
    const sizes = fc.integer({ min: 1, max: 100_000 })
    fc.assert(
      fc.property(attempts, fractions, sizes, sizes, (attempt, random, base, most) => {
        const wait = backoffMs(attempt, random, base, most)
        return Number.isInteger(wait) && wait >= 0 && wait < Math.min(most, base * 2 ** attempt)
      }),
    )
  })
})
