// What the hub counted, as metrics.
import type { Metrics } from './metrics.ts'
import type { TelemetryHub } from './telemetry-hub.ts'

/** Registers the `…_telemetry_…` metrics; once per registry. */
export function registerHubMetrics(metrics: Metrics, hub: TelemetryHub): void {
  const name = (rest: string): string => `${metrics.prefix}_telemetry_${rest}`
  metrics.countersFrom(name('events_total'), 'Events reported, by type', 'type', () => hub.counts().byType)
  metrics.counterFrom(name('delivered_total'), 'Events delivered to subscribers', () => hub.counts().delivered)
  metrics.counterFrom(name('dropped_total'), 'Events that slow subscribers missed', () => hub.counts().dropped)
  metrics.counterFrom(name('evicted_total'), 'Events that left the ring of recent ones', () => hub.counts().evicted)
  metrics.gauge(name('active_clients'), 'Subscribers', () => hub.counts().subscribers)
}
