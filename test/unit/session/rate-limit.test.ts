import { describe, expect, test } from 'vitest'
import { TokenBucket } from '../../../src/session/rate-limit.ts'

describe('TokenBucket', () => {
  test('gives its burst at once and refuses the next', () => {
    const bucket = new TokenBucket(10, 3, 0)
    expect([1, 2, 3, 4].map(() => bucket.take(1, 0))).toEqual([true, true, true, false])
  })

  test('refills at its rate and never above its burst', () => {
    const bucket = new TokenBucket(10, 3, 0)
    bucket.take(3, 0)
    expect(bucket.take(1, 99)).toBe(false)
    expect(bucket.take(1, 100)).toBe(true)
    expect(bucket.take(4, 10_000)).toBe(false)
    expect(bucket.take(3, 10_000)).toBe(true)
  })

  test('says how long to wait, and is right about it', () => {
    const bucket = new TokenBucket(10, 3, 0)
    bucket.take(3, 0)
    const wait = bucket.waitMs(1)
    expect(bucket.take(1, wait - 1)).toBe(false)
    expect(bucket.take(1, wait)).toBe(true)
  })

  test('takes nothing when there is too little, and a clock that steps back gives nothing', () => {
    const bucket = new TokenBucket(10, 3, 1_000)
    expect(bucket.take(5, 1_000)).toBe(false)
    expect(bucket.take(3, 500)).toBe(true)
    expect(bucket.take(1, 600)).toBe(false)
  })
})
