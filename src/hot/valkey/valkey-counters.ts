// Counts of uses in windows, shared over Valkey; counted here alone while it cannot be asked.
import type { Clock } from '../../base/clock.ts'
import { asList, asNumber } from '../../valkey/replies.ts'
import type { Counters } from '../hot-state.ts'
import { createMemoryCounters } from '../memory/memory-counters.ts'
import type { Backend } from './backend.ts'
import { counterKey } from './keys.ts'

/** ARGV: milliseconds of the window. By the server's clock alone. */
const takeScript = `
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}`

export interface ValkeyCountersPorts {
  readonly backend: Backend
  readonly clock: Clock
  readonly failed: (error: unknown) => void
}

export function createValkeyCounters({ backend, clock, failed }: ValkeyCountersPorts): Counters {
  const alone = createMemoryCounters(clock)
  return {
    async take(use) {
      try {
        const reply = await backend.send(['EVAL', takeScript, '1', counterKey(use), String(use.windowMs)])
        const [count, left] = asList(reply).map(asNumber) as [number, number]
        return { isAllowed: count <= use.max, retryAfterMs: Math.max(1, left) }
      } catch (error) {
        failed(error)
        return await alone.take(use)
      }
    },
  }
}
