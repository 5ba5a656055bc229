// Time, as an argument. The only file that reads the machine's clock.

export interface Clock {
  /** Milliseconds since the Unix epoch (wall clock; may step). */
  now(): number
  /** Milliseconds from an arbitrary start (monotonic). */
  monotonic(): number
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() }

/** UTC with milliseconds and `Z` (RFC 3339): the form of every time this system emits. */
export function toIsoTime(ms: number): string {
  return new Date(ms).toISOString()
}
