// What Shield counts (docs/shield.md): plain numbers, read by the registry at each scrape.
import type { Overflow } from '../rooms/overflow.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** Counters by name: help text, and the name of the one label, if any. Label values come from fixed sets, or from the operator's schemas. */
export const shieldCounters = {
  shield_connections_total: ['Upgrade requests by outcome', 'outcome'],
  shield_auth_refusals_total: ['Tokens refused at the upgrade or at a refresh, by reason', 'reason'],
  shield_frames_total: ['Client frames by outcome: forwarded, or the code of the refusal', 'outcome'],
  shield_schema_violations_total: ['Frames against the schema, also where they are let through', 'rule'],
  shield_schema_violation_total: ['The same by schema: envelope, or the id of a payload schema', 'schema'],
  shield_unmatched_payloads_total: ['Messages that no rule of the schemas matches', undefined],
  shield_messages_total: ['Messages by direction: in from clients, out from the bus', 'direction'],
  shield_bytes_total: ["Bytes of clients' sockets by direction", 'direction'],
  shield_mirror_traffic_total: ['Copies for shadow consumers by outcome', 'outcome'],
  shield_mirror_redacted_total: ['Copies sent without what is marked as secret', undefined],
  shield_policy_decisions_total: ['Policy decisions', 'decision'],
  shield_deliveries_total: ['Messages handed to local fan-out', undefined],
  shield_holes_total: ['Messages that did not arrive by themselves: filled from the log, or why not', 'outcome'],
  shield_resyncs_total: ['Times all sessions were opened again at a bus', undefined],
} as const satisfies Record<string, readonly [string, string | undefined]>
export type ShieldCounter = keyof typeof shieldCounters

export const shieldGauges = {
  shield_connections: 'Open client connections',
  shield_unanswered_frames: 'Frames forwarded and not answered yet',
  shield_link_connected: '1 while the link is connected',
  shield_bus_reachable: '1 while a bus answers',
  shield_subscriptions: 'Subjects listened to for members',
} as const
export type ShieldGauge = keyof typeof shieldGauges

/** What members that were passed over have missed. */
export function registerOverflowMetrics(metrics: Metrics | undefined, overflow: Overflow): void {
  metrics?.countersFrom('shield_gaps_total', 'Gaps told to members passed over', 'policy', () => overflow.gaps)
  metrics?.countersFrom('shield_dropped_total', 'Messages in those gaps', 'policy', () => overflow.dropped)
  metrics?.gauge('shield_held_bytes', 'Held for members that are behind', () => overflow.heldBytes)
}

export interface ShieldMetrics {
  /** Adds `by`, one when absent; `label` is the value of the counter's one label. */
  count(name: ShieldCounter, label?: string, by?: number): void
  set(name: ShieldGauge, value: number): void
  read(name: ShieldCounter, label?: string): number
  gauge(name: ShieldGauge): number
}

export function createShieldMetrics(metrics: Metrics | undefined): ShieldMetrics {
  const counters = new Map<ShieldCounter, Record<string, number>>()
  const gauges = new Map<ShieldGauge, number>()
  const valuesOf = (name: ShieldCounter): Record<string, number> => counters.get(name)!
  const unlabelled = ''

  for (const name of Object.keys(shieldCounters) as ShieldCounter[]) {
    const [help, label] = shieldCounters[name]
    counters.set(name, Object.create(null) as Record<string, number>)
    if (label === undefined) metrics?.counterFrom(name, help, () => valuesOf(name)[unlabelled] ?? 0)
    else metrics?.countersFrom(name, help, label, () => valuesOf(name))
  }
  for (const name of Object.keys(shieldGauges) as ShieldGauge[]) {
    metrics?.gauge(name, shieldGauges[name], () => gauges.get(name) ?? 0)
  }

  return {
    count(name, label = unlabelled, by = 1) {
      const values = valuesOf(name)
      values[label] = (values[label] ?? 0) + by
    },
    set: (name, value) => void gauges.set(name, value),
    read: (name, label = unlabelled) => valuesOf(name)[label] ?? 0,
    gauge: (name) => gauges.get(name) ?? 0,
  }
}
