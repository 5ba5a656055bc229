// The bus's own counts as metrics; the hot paths add to plain numbers, which are read at each scrape.
import type { monitorEventLoopDelay } from 'node:perf_hooks'
import type { AuditLog } from '../audit/audit-log.ts'
import { errorTable } from '../base/errors.ts'
import type { GuardedStore } from '../storage/guard/guarded-store.ts'
import { storeStates } from '../storage/guard/store-state.ts'
import { registerHubMetrics } from '../telemetry/hub-metrics.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { TelemetryHub } from '../telemetry/telemetry-hub.ts'
import type { BusCore } from './bus-core.ts'

export interface BusMetricPorts {
  readonly core: BusCore
  readonly hub: TelemetryHub
  readonly store: GuardedStore | undefined
  /** Does the store copy its records for readers of earlier systems? */
  readonly isMirrored: boolean
  readonly audit: AuditLog
  /** Nanoseconds that the event loop was late. */
  readonly loopDelay: ReturnType<typeof monitorEventLoopDelay>
}

export function registerBusMetrics(
  metrics: Metrics,
  { core, hub, store, isMirrored, audit, loopDelay }: BusMetricPorts,
): void {
  const { counts } = core.publisher
  registerHubMetrics(metrics, hub)
  metrics.gauge('arqonbus_active_connections', 'Clients connected here or behind gateways', () => core.clients.size)
  metrics.gauge('arqonbus_rooms', 'Rooms in use', () => core.rooms.counts().rooms)
  metrics.gauge('arqonbus_channels', 'Channels in use', () => core.rooms.counts().streams)
  metrics.gauge('arqonbus_memberships', 'Memberships of clients in channels', () => core.rooms.counts().memberships)
  metrics.counterFrom('arqonbus_messages_published_total', 'Messages accepted', () => counts.published)
  metrics.counterFrom('arqonbus_messages_duplicate_total', 'Publishes answered as duplicates', () => counts.duplicates)
  metrics.counterFrom('arqonbus_deliveries_total', 'Messages written to members', () => core.rooms.fanOut.deliveries)
  const { overflow } = core.rooms
  metrics.countersFrom(
    'arqonbus_gaps_total',
    'Gaps told to members that were passed over',
    'policy',
    () => overflow.gaps,
  )
  metrics.countersFrom('arqonbus_messages_dropped_total', 'Messages in those gaps', 'policy', () => overflow.dropped)
  metrics.gauge('arqonbus_held_bytes', 'Held for members that are behind', () => overflow.heldBytes)
  metrics.countersFrom('arqonbus_frames_refused_total', 'Frames refused, by error code', 'code', () =>
    Object.fromEntries(Object.keys(errorTable).map((code) => [code, core.router.refusals.get(code) ?? 0])),
  )
  metrics.gauge(
    'arqonbus_pending_bytes',
    'Bytes of publishes that wait for the store',
    () => core.publisher.pendingBytes,
  )
  metrics.gauge('arqonbus_store_enabled', 'Is history kept? 1 or 0', () => (store === undefined ? 0 : 1))
  if (store !== undefined) {
    metrics.gaugesFrom('arqonbus_store_state', '1 for the state history storage is in', 'state', () =>
      Object.fromEntries(storeStates.map((state) => [state, store.state === state ? 1 : 0])),
    )
    metrics.gauge('arqonbus_store_held', 'Messages held in memory for a store that is away', () => store.held.records)
    if (isMirrored) registerMirrorMetrics(metrics, store)
  }
  metrics.counterFrom('arqonbus_audit_written_total', 'Audit entries written to Postgres', () => audit.state.written)
  metrics.counterFrom('arqonbus_audit_lost_total', 'Audit entries that are in no row', () => audit.state.lost)
  metrics.gauge(
    'arqonbus_event_loop_delay_max_seconds',
    'Longest the event loop was late since the last scrape',
    () => {
      const seconds = loopDelay.max / 1e9
      loopDelay.reset()
      return seconds
    },
  )
}

function registerMirrorMetrics(metrics: Metrics, store: GuardedStore): void {
  const seconds = (): number => (store.mirror?.lagMs ?? 0) / 1_000
  metrics.gauge('arqonbus_mirror_lag_seconds', 'For how long the first stream has waited to be copied', seconds)
  metrics.gauge('arqonbus_mirror_waiting', 'Streams that wait to be copied', () => store.mirror?.waiting ?? 0)
  metrics.counterFrom('arqonbus_mirror_copied_total', 'Records copied', () => store.mirror?.copied ?? 0)
  metrics.counterFrom(
    'arqonbus_mirror_failures_total',
    'Steps of copying that failed',
    () => store.mirror?.failures ?? 0,
  )
}
