// What all connections of one tenant may send together: many of them, each within its own bounds, must not take the
// process from other tenants (reliability 4).
import { TokenBucket } from '../session/rate-limit.ts'

export interface TenantRateLimits {
  readonly messagesPerSecondPerTenant: number
  readonly bytesPerSecondPerTenant: number
}

/** Shared by the connections of a tenant. */
export interface SharedRate {
  /** Takes one frame of so many bytes, or nothing and false. */
  take(bytes: number, nowMs: number): boolean
}

/** At once: what may come in this many seconds. */
const burstSeconds = 2
/** Tenants remembered; beyond it the one seen first is forgotten, and begins with full buckets when it comes again. */
const rememberedTenants = 10_000

export function createTenantRates(limits: TenantRateLimits, now: () => number): (tenant: string) => SharedRate {
  const { messagesPerSecondPerTenant: frameRate, bytesPerSecondPerTenant: byteRate } = limits
  const byTenant = new Map<string, SharedRate>()

  function create(): SharedRate {
    const frames = new TokenBucket(frameRate, frameRate * burstSeconds, now())
    const bytes = new TokenBucket(byteRate, byteRate * burstSeconds, now())
    return { take: (count, nowMs) => frames.take(1, nowMs) && bytes.take(count, nowMs) }
  }

  return (tenant) => {
    let rate = byTenant.get(tenant)
    if (rate === undefined) {
      rate = create()
      byTenant.set(tenant, rate)
      const oldest = byTenant.keys().next()
      if (byTenant.size > rememberedTenants && !oldest.done) byTenant.delete(oldest.value)
    }
    return rate
  }
}
