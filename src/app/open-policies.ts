// The policies of a configuration, opened before anything that a client could reach.
import type { ShieldConfig } from '../config/shapes.ts'
import { openPolicies, type PolicyChain, type PolicyPorts } from '../policy/policy-chain.ts'

/** Undefined where none is configured; rejects with START_REFUSED where one may not run. */
export async function openConfiguredPolicies(
  { policies }: Pick<ShieldConfig, 'policies'>,
  ports: PolicyPorts,
): Promise<PolicyChain | undefined> {
  if (policies.files.length === 0) return undefined
  return openPolicies(
    {
      files: policies.files,
      pins: policies.pins,
      fuel: policies.policyFuel,
      maxMemoryPages: policies.policyMemoryPages,
      maxInstances: policies.policyInstances,
      deadlineMs: policies.policyDeadlineMs,
      threads: policies.policyThreads,
      maxWaiting: policies.policyQueue,
      reloadMs: policies.policyReloadMs,
    },
    ports,
  )
}
