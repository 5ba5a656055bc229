// How many frames are unanswered, for each tenant and for the process: while the bus or the link is slow they are what
// fills memory, and one tenant's must not use up what is there for all.
import { BusError } from '../base/errors.ts'

export interface InflightLimits {
  readonly maxInflightPerTenant: number
  readonly maxInflightPerProcess: number
}

/** One tenant's share of the count. */
export interface InflightShare {
  /** Throws INFLIGHT_EXCEEDED. */
  begin(): void
  end(count: number): void
}

export function createInflight(limits: InflightLimits): (tenant: string) => InflightShare {
  const { maxInflightPerTenant: maxOfTenant, maxInflightPerProcess: maxOfAll } = limits
  const counts = new Map<string, number>()
  let all = 0

  return (tenant) => ({
    begin() {
      const count = counts.get(tenant) ?? 0
      if (count >= maxOfTenant) throw exceeded('tenant', maxOfTenant)
      if (all >= maxOfAll) throw exceeded('process', maxOfAll)
      counts.set(tenant, count + 1)
      all++
    },
    end(count) {
      const left = (counts.get(tenant) ?? 0) - count
      all -= count
      if (left > 0) counts.set(tenant, left)
      else counts.delete(tenant)
    },
  })
}

function exceeded(limit: 'tenant' | 'process', max: number): BusError {
  return new BusError('INFLIGHT_EXCEEDED', `${max} frames of the ${limit} are unanswered; wait for answers`, {
    limit,
    max,
  })
}
