// Spans for the collector that the configuration names.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Secret } from '../config/secret.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createSpanExporter, type SpanExporter, type SpanOutcome } from '../telemetry/spans.ts'

/** Throws CONFIG_INVALID for an address that is none of http:// or https://. */
export function openSpans(
  endpoint: Secret,
  { metrics, clock, logger }: { metrics: Metrics; clock: Clock; logger: Logger },
): SpanExporter {
  const address = endpoint.reveal()
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new BusError('CONFIG_INVALID', `${endpoint.name} is not an http:// or https:// address`, {
      variable: endpoint.name,
    })
  }
  const counts: Record<SpanOutcome, number> = { sent: 0, dropped: 0, failed: 0 }
  metrics.countersFrom(
    `${metrics.prefix}_spans_total`,
    'Spans by what became of them: sent, dropped for a full queue, failed at the collector',
    'outcome',
    () => counts,
  )
  return createSpanExporter({
    endpoint: address,
    service: metrics.prefix === 'shield' ? 'arqonbus-shield' : 'arqonbus-bus',
    clock,
    logger,
    count: (outcome, by) => {
      counts[outcome] += by
    },
  })
}
