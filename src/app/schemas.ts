// The schemas of payloads in a running gateway: opened, and told of in health and metrics.
import type { Logger } from '../base/logger.ts'
import type { SchemaRegistryConfig } from '../config/shapes.ts'
import { type LiveRegistry, openLiveRegistry } from '../schemas/live-registry.ts'
import type { ComponentReport } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { openSchemaSource } from './schema-source.ts'

/** Strict: rejects where they cannot be loaded. */
export async function openSchemas(
  config: SchemaRegistryConfig,
  isStrict: boolean,
  logger: Logger,
): Promise<LiveRegistry> {
  return openLiveRegistry({ source: await openSchemaSource(config, logger), isStrict, logger })
}

/** The last good schemas serve on: never `down`. */
export function reportSchemas({ current, trouble }: LiveRegistry): ComponentReport {
  if (trouble !== undefined) return { name: 'schemas', state: 'degraded', detail: trouble }
  return { name: 'schemas', state: 'up', ...(current !== undefined && { detail: `digest ${current.digest}` }) }
}

export function registerSchemaMetrics(metrics: Metrics, registry: LiveRegistry): void {
  const name = `${metrics.prefix}_schema_loads_total`
  metrics.countersFrom(name, 'Schemas loaded, refused as bad, or unreadable', 'outcome', () => registry.counts)
  metrics.gauge(
    `${metrics.prefix}_schemas`,
    'Schemas that serve',
    () => Object.keys(registry.current?.map.schemas ?? {}).length,
  )
}
