// Counts of uses in windows, for this process alone. Windows that have ended are forgotten.
import type { Clock } from '../../base/clock.ts'
import type { CountedUse, Counters } from '../hot-state.ts'

/** Windows kept at once; beyond it those that ended go, then the oldest. */
const maxWindows = 100_000

interface Window {
  count: number
  readonly endsAtMs: number
}

export function createMemoryCounters(clock: Clock): Counters {
  const windows = new Map<string, Window>()

  function makeRoom(nowMs: number): void {
    if (windows.size < maxWindows) return
    for (const [name, window] of windows) if (window.endsAtMs <= nowMs) windows.delete(name)
    for (const name of windows.keys()) {
      if (windows.size < maxWindows) break
      windows.delete(name)
    }
  }

  return {
    async take({ tenant, subject, name, max, windowMs }: CountedUse) {
      const nowMs = clock.monotonic()
      const key = JSON.stringify([tenant, subject ?? null, name])
      let window = windows.get(key)
      if (window === undefined || window.endsAtMs <= nowMs) {
        windows.delete(key)
        makeRoom(nowMs)
        window = { count: 0, endsAtMs: nowMs + windowMs }
        windows.set(key, window)
      }
      window.count++
      return { isAllowed: window.count <= max, retryAfterMs: Math.max(1, Math.ceil(window.endsAtMs - nowMs)) }
    },
  }
}
