// Opening something a start depends on: an outage may be short, so it is tried three times; anything else is told at once.
import { setTimeout as pause } from 'node:timers/promises'
import { isBusError } from './errors.ts'
import { describeError, type Logger } from './logger.ts'

/** Waits between the attempts; with connect time-outs below 2 s all of them end within 10 s (reliability 5.2). */
const waitsMs = [400, 1_100]

/** Nobody answers there; waiting may help. */
export function isAway(error: unknown): boolean {
  return isBusError(error, 'STORE_UNAVAILABLE') || isBusError(error, 'STORE_TIMEOUT')
}

/** Rejects as the last attempt did. `backend` is for the log. */
export async function openRepeatedly<T>(open: () => Promise<T>, backend: string, logger: Logger): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await open()
    } catch (error) {
      const waitMs = waitsMs[attempt]
      if (!isAway(error) || waitMs === undefined) throw error
      logger.warn('store.open_failed', { backend, attempt: attempt + 1, ...describeError(error) })
      await pause(waitMs)
    }
  }
}
