// What the bus shows of itself over HTTP and by the `status` command: counts and states, never secrets.
import type { Clock } from '../base/clock.ts'
import type { JsonObject } from '../base/json.ts'
import { version } from '../base/version.ts'
import type { BusConfig } from '../config/shapes.ts'
import { type HistoryPage, readPage } from '../router/history-page.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { Health } from '../telemetry/health.ts'
import type { HistoryQuery, HttpViews } from '../transport/http-routes.ts'
import type { BusCore } from './bus-core.ts'

export interface BusViewPorts {
  readonly config: BusConfig
  readonly core: BusCore
  readonly store: HistoryStore | undefined
  readonly health: Health
  readonly clock: Clock
  readonly startedAtMs: number
}

/** Messages looked through for one sender before the answer is what was found. */
const senderScan = 5_000

export function createBusViews(ports: BusViewPorts): Required<Pick<HttpViews, 'status' | 'systemInfo'>> & HttpViews {
  const { config, core, store, health, clock, startedAtMs } = ports

  function status(): JsonObject {
    const { ready, status: state, components } = health.ready()
    const { tenants, rooms, streams, memberships } = core.rooms.counts()
    const { published, duplicates, refused } = core.publisher.counts
    return {
      server: { status: state, ready, version, uptime_seconds: Math.round((clock.now() - startedAtMs) / 1_000) },
      clients: { total: core.clients.size },
      rooms: { total: rooms, tenants },
      channels: { total: streams, memberships },
      routing: { published, duplicates, refused, deliveries: core.rooms.fanOut.deliveries },
      storage:
        store === undefined
          ? { enabled: false }
          : {
              enabled: true,
              backend: store.capabilities.backend,
              level: store.capabilities.level,
              mode: config.storage.mode,
            },
      health: components.map(({ name, state: componentState }) => ({ name, state: componentState })),
    }
  }

  /** Oldest first. */
  async function history(log: HistoryStore, query: HistoryQuery): Promise<HistoryPage> {
    const { tenant, room, channel, clientId, sinceMs, limit } = query
    const { entries, facts } = await readPage(
      {
        tenant,
        ...(room !== undefined && { room }),
        ...(channel !== undefined && { channel }),
        ...(sinceMs !== undefined && { sinceMs }),
        order: 'newest',
        limit: clientId === undefined ? limit : senderScan,
        maxBytes: config.limits.maxHistoryPageBytes,
      },
      { store: log, rooms: core.rooms },
    )
    const found = entries.filter(({ envelope }) => clientId === undefined || envelope.sender === clientId)
    return { entries: found.slice(0, limit).toReversed(), facts }
  }

  return {
    status,
    systemInfo: () => ({
      description: 'A message bus over WebSocket: tenants, rooms, channels, history, recovery, presence, commands',
      features: {
        authentication: config.auth.enabled,
        persistence: store !== undefined,
        json: config.wire.allowJson,
        telemetry: config.telemetry.enabled,
      },
    }),
    ...(store !== undefined && {
      storageStats: async () => ({ ...(await store.stats()), level: store.capabilities.level }),
      history: (query: HistoryQuery) => history(store, query),
    }),
  }
}
