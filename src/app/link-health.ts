// What health and metrics tell of a link.
import type { Link } from '../link/link.ts'
import type { ComponentReport } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** A denied subject is `degraded`: the rest still flows, and what must not be missing stops the start. */
export function reportLink(link: Link): ComponentReport {
  if (link.state !== 'connected') return { name: 'link', state: 'down' }
  const trouble = link.report?.().trouble
  return trouble === undefined ? { name: 'link', state: 'up' } : { name: 'link', state: 'degraded', detail: trouble }
}

export function registerLinkMetrics(metrics: Metrics, { report }: Link): void {
  if (report === undefined) return
  const name = `${metrics.prefix}_link_events_total`
  const help = 'Reconnects, publishes and subscriptions denied, messages refused for congestion'
  metrics.countersFrom(name, help, 'event', () => report().counts)
}
