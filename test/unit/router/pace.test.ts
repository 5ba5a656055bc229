import { describe, expect, it } from 'vitest'
import { createPace } from '../../../src/router/pace.ts'
import { createManualClock } from '../../support/manual-clock.ts'

/** Publishes come as told for each step of 10 ms; how many went by the end of each, and how long the oldest waited. */
function run(steps: number, perSecond: (step: number) => number | undefined, come: (step: number) => number) {
  const clock = createManualClock()
  const pace = createPace(clock)
  const waiting: number[] = []
  const gone: number[] = []
  let longestMs = 0
  for (let step = 0; step < steps; step++) {
    for (let n = come(step); n > 0; n--) waiting.push(clock.monotonic())
    const going = waiting.splice(0, pace.take(waiting.length, perSecond(step)))
    for (const since of going) longestMs = Math.max(longestMs, clock.monotonic() - since)
    gone.push((gone.at(-1) ?? 0) + going.length)
    clock.advance(10)
  }
  return { gone, longestMs, left: waiting.length, pace }
}

describe('pace', () => {
  it('lets everything go where there is no rate', () => {
    const { gone, longestMs, pace } = run(
      3,
      () => undefined,
      () => 1_000,
    )
    expect(gone).toEqual([1_000, 2_000, 3_000])
    expect(longestMs).toBe(0)
    expect(pace.isTooMuch(1_000_000)).toBe(false)
  })

  it('lets a burst go, then the rate, while publishers who are not read wait for it', () => {
    let waits = 0
    const { gone, longestMs, pace } = run(
      200,
      () => 1_000,
      (step) => (step === 0 ? 100 : waits++ % 2 === 0 ? 20 : 0),
    )
    expect(gone[0]).toBe(50)
    for (let step = 100; step < 200; step++) expect(gone[step]! - gone[step - 100]!).toBeLessThanOrEqual(1_000)
    expect(gone[199]).toBeGreaterThanOrEqual(2_000)
    expect(longestMs).toBeLessThanOrEqual(60)
    expect([pace.isTooMuch(100), pace.isTooMuch(101)]).toEqual([false, true])
  })

  it('makes nobody wait for more than a second, however much comes', () => {
    const { longestMs, gone } = run(
      500,
      () => 100,
      () => 50,
    )
    expect(longestMs).toBeLessThanOrEqual(1_000)
    expect(longestMs).toBeGreaterThan(500)
    expect(gone[49]).toBeLessThanOrEqual(5 + 50)
  })

  it('saves nothing up while little comes, and begins anew after it was off', () => {
    const { gone } = run(
      100,
      (step) => (step === 60 ? undefined : 1_000),
      (step) => (step === 50 || step === 61 ? 500 : 0),
    )
    expect(gone[49]).toBe(0)
    expect(gone[50]).toBe(50)
    expect(gone[59]).toBe(50 + 90)
    expect(gone[60]).toBe(500)
    expect(gone[61]).toBe(550)
  })
})
