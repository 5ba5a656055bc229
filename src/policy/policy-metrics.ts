// What is counted and logged of policies (docs/policies.md). Labels are names from the configuration: a fixed set.
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { LogLine } from './instance.ts'
import type { PolicyNotes } from './loaded-policy.ts'

type Counts = Record<string, number>

export interface PolicyMeter extends PolicyNotes {
  readonly denials: Readonly<Counts>
  readonly errors: Readonly<Counts>
  readonly fuel: Readonly<Counts>
  /** One frame through all policies. */
  took(seconds: number): void
  policyOf(id: number): string
}

/** A module's own lines and its failures, each policy; what is more is counted. */
const maxLinesPerSecond = 20
const buckets = [0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1]
const levels = ['error', 'warn', 'info', 'debug', 'debug'] as const

export function createPolicyMeter(metrics: Metrics | undefined, logger: Logger, clock: Clock): PolicyMeter {
  const denials: Counts = Object.create(null)
  const errors: Counts = Object.create(null)
  const fuel: Counts = Object.create(null)
  const names = new Map<number, string>()
  const lines = new Map<string, { second: number; count: number; dropped: number }>()
  const count = (counts: Counts, policy: string, by = 1): void => {
    counts[policy] = (counts[policy] ?? 0) + by
  }
  const seconds = metrics?.histogram('shield_policy_duration_seconds', 'Time of all policies for one frame', buckets)
  metrics?.countersFrom('shield_policy_denials_total', 'Frames denied, by policy', 'policy', () => denials)
  metrics?.countersFrom('shield_policy_errors_total', 'Frames without a decision, by policy', 'policy', () => errors)
  metrics?.countersFrom('shield_wasm_fuel_consumed_total', 'Fuel that policies used', 'policy', () => fuel)

  /** Whether one more line may be written; tells of those that were not. */
  function mayLog(policy: string): boolean {
    const second = Math.floor(clock.monotonic() / 1_000)
    const entry = lines.get(policy) ?? { second, count: 0, dropped: 0 }
    lines.set(policy, entry)
    if (entry.second !== second) {
      if (entry.dropped > 0) logger.warn('policy.lines_dropped', { policy, count: entry.dropped })
      Object.assign(entry, { second, count: 0, dropped: 0 })
    }
    if (entry.count++ < maxLinesPerSecond) return true
    entry.dropped++
    return false
  }

  return {
    denials,
    errors,
    fuel,
    took: (value) => seconds?.observe(value),
    policyOf: (id) => names.get(id) ?? 'unknown',
    runsAs: (policy, id) => void names.set(id, policy),
    judged(policy, outcome, fuelUsed) {
      if (fuelUsed > 0) count(fuel, policy, fuelUsed)
      if (outcome.kind === 'allow') return
      if (outcome.kind === 'deny') {
        count(denials, policy)
        return
      }
      count(errors, policy)
      if (outcome.failure !== 'CIRCUIT_OPEN' && mayLog(policy)) {
        logger.warn('policy.failed', { policy, failure: outcome.failure })
      }
    },
    logged(policy, tenant, { level, text }: LogLine) {
      if (mayLog(policy)) logger[levels[level] ?? 'debug']('policy.said', { policy, tenant, text })
    },
    circuitOpened(policy, tenant, failure) {
      logger.error('policy.circuit_opened', { policy, tenant, failure })
    },
  }
}
