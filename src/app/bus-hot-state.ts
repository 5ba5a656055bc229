// Hot state as the bus uses it: opened by configuration, shown the memberships of this process, watched by health and
// metrics, asked for the one handshake limit that holds over all processes.
import type { Identity } from '../auth/identity.ts'
import type { Revocations } from '../auth/revocations.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { BusConfig } from '../config/shapes.ts'
import { type HotState, hotOperations, type LocalPresence } from '../hot/hot-state.ts'
import { openHotState } from '../hot/open-hot-state.ts'
import type { ComponentReport } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { HttpRefusal } from '../transport/http-refusal.ts'
import type { BusCore } from './bus-core.ts'

export async function openBusHotState(
  { hotState, storage }: Pick<BusConfig, 'hotState' | 'storage'>,
  ports: { readonly clock: Clock; readonly logger: Logger; readonly revocations: Revocations },
): Promise<HotState> {
  const { valkeyUrl, mode, maxStoreKeys, maxStoreBytes } = hotState
  return await openHotState(
    {
      mode,
      limits: { maxKeys: maxStoreKeys, maxBytes: maxStoreBytes },
      ...(valkeyUrl !== undefined && { valkeyUrl: valkeyUrl.reveal() }),
      // The embedded store holds the lock of the folder.
      ...(storage.enabled && storage.backend === 'embedded' && { dataDir: storage.dataDir }),
    },
    ports,
  )
}

/** From now on other processes see who is here. */
export function showPresence({ presence }: HotState, { rooms, clients }: BusCore): void {
  const local: LocalPresence = {
    find(key, clientId) {
      const client = clients.find(clientId)
      const joinedAtMs = client === undefined ? undefined : rooms.joinedAtMs(key, client)
      if (client === undefined || joinedAtMs === undefined) return undefined
      return { clientId, subject: client.identity.subject, joinedAtMs }
    },
    isUsed: (key) => rooms.isJoined(key),
    *all() {
      for (const { key, recipient } of rooms.memberships()) yield { key, clientId: recipient.id }
    },
  }
  rooms.membershipChanged = (key, recipient) => presence.changed(key, recipient.id)
  presence.follow(local)
}

/** Never `down`: without it the bus goes on, with less. */
export function reportHotState(hot: HotState): ComponentReport {
  const { state, detail } = hot.report()
  return { name: 'hot state', state, detail: detail ?? hot.backend }
}

export function registerHotStateMetrics(metrics: Metrics, hot: HotState, revocations: Revocations): void {
  metrics.gauge('arqonbus_hot_state_up', 'Is hot state whole? 1 or 0', () => (hot.report().state === 'up' ? 1 : 0))
  metrics.countersFrom('arqonbus_hot_state_failures_total', 'Operations of hot state that failed', 'operation', () =>
    Object.fromEntries(hotOperations.map((operation) => [operation, hot.report().failures[operation]])),
  )
  metrics.gauge('arqonbus_revocations', 'Revocations remembered', () => revocations.size)
}

/** One handshake more of this tenant: may it be? */
export async function refuseHandshake(
  { counters }: HotState,
  { tenant }: Identity,
  perSecond: number,
): Promise<HttpRefusal | undefined> {
  if (perSecond === 0) return undefined
  const use = { tenant, name: 'handshakes', max: perSecond, windowMs: 1_000 }
  const { isAllowed, retryAfterMs } = await counters.take(use)
  if (isAllowed) return undefined
  return {
    status: 429,
    body: { error: 'Too Many Requests', limit: 'handshakes-per-tenant' },
    headers: { 'retry-after': String(Math.ceil(retryAfterMs / 1_000)) },
  }
}
