// How much of what waits may go to a store that is not to be given everything at once: in its order, and nothing waits
// for long, for the ways behind a gateway have time-outs of their own.
import type { Clock } from '../base/clock.ts'

/** Nothing waits for more than twice this, whatever the rate. */
const patienceMs = 500
/** The share of a second's appends that may go together. */
const burstS = 0.05
/** When to look again. */
export const paceMs = 10

export interface Pace {
  /** Of `waiting` publishes, oldest first: how many may go now. */
  take(waiting: number, perSecond: number | undefined): number
  /** Do so many wait that those who publish more should not be read? */
  isTooMuch(waiting: number): boolean
}

export function createPace(clock: Clock): Pace {
  let tokens: number | undefined
  let refilledAtMs = 0
  /** Those that waited at `markedAtMs` and wait still. */
  let marked = 0
  let markedAtMs = 0
  let bound = Number.POSITIVE_INFINITY

  function patient(waiting: number, nowMs: number, count: number): number {
    let going = count
    if (nowMs - markedAtMs >= patienceMs) {
      going = Math.max(going, marked)
      markedAtMs = nowMs
      marked = waiting
    }
    marked = Math.max(0, marked - going)
    return going
  }

  return {
    take(waiting, perSecond) {
      if (perSecond === undefined) {
        tokens = undefined
        bound = Number.POSITIVE_INFINITY
        return waiting
      }
      const nowMs = clock.monotonic()
      const burst = Math.max(1, perSecond * burstS)
      bound = burst * 2
      if (tokens === undefined) {
        tokens = burst
        marked = waiting
        markedAtMs = nowMs
      } else tokens = Math.min(burst, tokens + ((nowMs - refilledAtMs) / 1_000) * perSecond)
      refilledAtMs = nowMs
      const going = patient(waiting, nowMs, Math.min(waiting, Math.floor(tokens)))
      tokens = Math.max(0, tokens - going)
      return going
    },
    isTooMuch: (waiting) => waiting > bound,
  }
}
