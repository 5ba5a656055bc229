// A clock that moves when told to.
import type { Clock } from '../../src/base/clock.ts'

export interface ManualClock extends Clock {
  advance(ms: number): void
}

export function createManualClock(nowMs = 0): ManualClock {
  let passed = 0
  return {
    now: () => nowMs + passed,
    monotonic: () => passed,
    advance(ms) {
      passed += ms
    },
  }
}
