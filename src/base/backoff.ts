// How long to wait before the next attempt. Pure: the random number is passed in.

/** Full jitter: uniform in [0, min(maxMs, baseMs * 2^attempt)); `attempt` from 0, `random` in [0, 1). */
export function backoffMs(attempt: number, random: number, baseMs = 100, maxMs = 5_000): number {
  return Math.floor(random * Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 20)))
}
