// The number of a store's life.
import type { Clock } from '../base/clock.ts'

const startMs = Date.UTC(2020, 0, 1)

/**
 * The epoch of a store that begins now: milliseconds since 2020, so that a store begun after another one was lost
 * has a higher number than it, without anything kept. At least 1.
 */
export function newEpoch(clock: Clock): number {
  return Math.max(1, Math.floor(clock.now() - startMs))
}
