// Sends no faster than the server takes frames: above its rate it throws them away, and closes the connection of who
// goes on like that.
import { systemClock } from '../base/clock.ts'

export interface Pace {
  /** Takes one frame's worth, if there is some. */
  take(): boolean
  /** Takes it in any case; later frames wait longer. */
  force(): void
  /** Milliseconds until `take` succeeds. */
  waitMs(): number
}

/** A quarter of a second's worth may go at once: servers allow more for a moment, but how much they do not say. */
export function createPace(framesPerSecond: number, monotonic: () => number = () => systemClock.monotonic()): Pace {
  const burst = Math.max(1, framesPerSecond / 4)
  let allowance = burst
  let at = monotonic()

  function refill(): void {
    const now = monotonic()
    allowance = Math.min(burst, allowance + ((now - at) / 1_000) * framesPerSecond)
    at = now
  }

  return {
    take() {
      refill()
      if (allowance < 1) return false
      allowance--
      return true
    },
    force() {
      refill()
      allowance--
    },
    waitMs() {
      refill()
      return Math.max(0, ((1 - allowance) / framesPerSecond) * 1_000)
    },
  }
}
