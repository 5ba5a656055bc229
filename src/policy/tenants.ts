// The instances of one metered module, one for each tenant, so that nothing of one tenant's frames is in reach of
// another's. The least recently used makes room; whatever broke off is replaced by a fresh one.
import type { CallInput, LogLine, Outcome } from './instance.ts'
import { createInstance, type PolicyInstance } from './instance.ts'
import { RecentMap } from './recent-map.ts'

export interface ModuleSettings {
  readonly module: WebAssembly.Module
  readonly fuelExport?: string
  readonly fuel: number
  readonly maxInstances: number
}

export interface Judged {
  readonly outcome: Outcome
  readonly fuelUsed: number
}

export interface TenantInstances {
  call(tenant: string, input: CallInput): Outcome
  /** Of the last call. */
  readonly fuelUsed: number
}

export function createTenantInstances(
  settings: ModuleSettings,
  log: (tenant: string, line: LogLine) => void,
): TenantInstances {
  const instances = new RecentMap<PolicyInstance>(settings.maxInstances)
  let fuelUsed = 0

  function open(tenant: string): PolicyInstance {
    const instance = createInstance({ ...settings, log: (line) => log(tenant, line) })
    instances.set(tenant, instance)
    return instance
  }

  return {
    get fuelUsed() {
      return fuelUsed
    },
    call(tenant, input) {
      fuelUsed = 0
      let instance: PolicyInstance
      try {
        instance = instances.get(tenant) ?? open(tenant)
      } catch {
        return { kind: 'failure', failure: 'START_FAILED', isBroken: true }
      }
      const outcome = instance.call(input)
      fuelUsed = instance.fuelUsed
      if (outcome.kind !== 'allow' && outcome.isBroken === true) instances.delete(tenant)
      return outcome
    },
  }
}
