// What all connections of one tenant may send together: many of them, each within its own bounds, must not take the
// process from other tenants (reliability 4). A connection that comes too early is not read for a while, which costs
// nothing; the waiting ones have their turn in order, as fast as the tenant's rate allows, so that no wave builds up.
import { TokenBucket } from '../session/rate-limit.ts'

export interface TenantRateLimits {
  readonly messagesPerSecondPerTenant: number
  readonly bytesPerSecondPerTenant: number
  readonly maxMessageBytes: number
}

/** Shared by the connections of a tenant. */
export interface SharedRate {
  /** Takes one frame of so many bytes, or nothing and false. */
  take(bytes: number, nowMs: number): boolean
  /** `resume` is called once, when it is this connection's turn. */
  wait(resume: () => void): void
}

export interface TenantRates {
  of(tenant: string): SharedRate
  /** Gives waiting connections their turn; to be called many times a second. */
  turn(nowMs: number): void
}

interface Entry extends SharedRate {
  readonly frames: TokenBucket
  readonly waiting: (() => void)[]
}

/** At once: what may come in this time. */
const burstSeconds = 0.5
/** A connection whose turn it is brings a whole chunk, of which about so many frames are expected. */
const framesPerTurn = 32
/** Tenants remembered; beyond it the one seen first is forgotten, and begins with full buckets when it comes again. */
const rememberedTenants = 10_000

export function createTenantRates(limits: TenantRateLimits, now: () => number): TenantRates {
  const { messagesPerSecondPerTenant: frameRate, bytesPerSecondPerTenant: byteRate, maxMessageBytes } = limits
  const byTenant = new Map<string, Entry>()
  const crowded = new Set<Entry>()

  function create(): Entry {
    const frames = new TokenBucket(frameRate, Math.max(1, frameRate * burstSeconds), now())
    const bytes = new TokenBucket(byteRate, Math.max(maxMessageBytes, byteRate * burstSeconds), now())
    const entry: Entry = {
      frames,
      waiting: [],
      take: (count, nowMs) => frames.take(1, nowMs) && bytes.take(count, nowMs),
      wait(resume) {
        entry.waiting.push(resume)
        crowded.add(entry)
      },
    }
    return entry
  }

  return {
    of(tenant) {
      let entry = byTenant.get(tenant)
      if (entry === undefined) {
        entry = create()
        byTenant.set(tenant, entry)
        const oldest = byTenant.keys().next()
        if (byTenant.size > rememberedTenants && !oldest.done) byTenant.delete(oldest.value)
      }
      return entry
    },
    turn(nowMs) {
      for (const entry of crowded) {
        const turns = Math.ceil(entry.frames.available(nowMs) / framesPerTurn)
        for (const resume of entry.waiting.splice(0, turns)) resume()
        if (entry.waiting.length === 0) crowded.delete(entry)
      }
    },
  }
}
