import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs } from '../../../src/base/backoff.ts'

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('backoffMs', () => {
  it('stays below its ceiling, which doubles up to the maximum', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2_000 }), random, fc.integer({ min: 1, max: 1_000 }), (attempt, r, baseMs) => {
        const waitMs = backoffMs(attempt, r, baseMs, 5_000)
        expect(Number.isInteger(waitMs)).toBe(true)
        expect(waitMs).toBeGreaterThanOrEqual(0)
        expect(waitMs).toBeLessThan(Math.min(5_000, baseMs * 2 ** Math.min(attempt, 20)))
      }),
    )
  })

  it('uses the whole range from nothing to the ceiling', () => {
    expect([0, 1, 2, 3].map((attempt) => backoffMs(attempt, 0))).toEqual([0, 0, 0, 0])
    expect([0, 1, 2, 3, 6, 1_000].map((attempt) => backoffMs(attempt, 0.999_99))).toEqual([
      99, 199, 399, 799, 4_999, 4_999,
    ])
  })
})
