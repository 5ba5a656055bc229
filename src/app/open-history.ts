// History as a bus uses it: the store that the configuration names, guarded against its absence, and what the rest of
// the process is told when it goes away and comes back.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import type { Logger } from '../base/logger.ts'
import type { BusConfig } from '../config/shapes.ts'
import { createOtherWriters } from '../router/other-writers.ts'
import type { GuardedStore } from '../storage/guard/guarded-store.ts'
import { startStore } from '../storage/guard/start-store.ts'
import { openStore } from '../storage/open-store.ts'
import type { ComponentReport, Health } from '../telemetry/health.ts'
import { envelopeOfFrame } from '../wire/message-frame.ts'
import type { BusCore } from './bus-core.ts'
import { canaryKey } from './canary.ts'

export interface HistoryPorts {
  readonly clock: Clock
  readonly logger: Logger
}

/** Rejects as `startStore` does. */
export function openHistory(
  { storage, profile }: BusConfig,
  { clock, logger, hasOthers }: HistoryPorts & { readonly hasOthers: () => boolean },
): Promise<GuardedStore> {
  const store = {
    backend: storage.backend,
    dataDir: storage.dataDir,
    ...(storage.valkeyUrl !== undefined && { valkeyUrl: storage.valkeyUrl.reveal() }),
    ...(storage.postgresUrl !== undefined && { postgresUrl: storage.postgresUrl.reveal() }),
    ...(storage.isMirrored && {
      mirror: { toEnvelope: envelopeOfFrame, maxEntries: storage.maxMirrorEntries },
    }),
    retention: {
      maxRecords: storage.maxRecordsPerStream,
      maxBytes: storage.maxBytesPerStream,
      maxAgeMs: storage.maxAgeMs,
    },
    dedup: { maxAgeMs: storage.dedupWindowMs, maxIds: storage.dedupMaxIds },
  }
  return startStore({
    mode: storage.mode,
    isProduction: profile === 'prod',
    backend: storage.backend,
    dataDir: storage.dataDir,
    ...(storage.acceptedIdentity !== undefined && { acceptedIdentity: storage.acceptedIdentity }),
    uncounted: canaryKey,
    isShared: hasOthers,
    rates: { flushPerSecond: storage.flushPerSecond, rampPerSecond: storage.rampPerSecond },
    open: () => openStore(store, { clock, logger }),
    clock,
    logger,
  })
}

/** What health tells of the store now. */
export function reportStore(store: GuardedStore, readyRequiresStore: boolean): ComponentReport {
  const { backend, level } = store.capabilities
  const name = 'store'
  if (store.state === 'ready') return { name, state: 'up', detail: `${backend}, level ${level}` }
  const mayServe = store.state === 'suspect' || (store.mode === 'degraded' && !readyRequiresStore)
  const { records, bytes } = store.held
  const held = store.mode === 'degraded' ? `; ${records} messages (${bytes} bytes) are held in memory` : ''
  return { name, state: mayServe ? 'degraded' : 'down', detail: `${backend}: ${words[store.state]}${held}` }
}

const words = {
  suspect: 'a call failed, it is being looked at',
  unavailable: 'away',
  recovering: 'answers again, it is being tried out',
  replaced: 'another store than before; set ARQONBUS_STORAGE_ACCEPT_IDENTITY to begin with it (docs/storage.md)',
} as const

/** No client is told of more than one state a second. */
const tellEveryMs = 1_000
/** How old the count of held messages in the last `state` frame and in the log may be. */
const countEveryMs = 2_000

/** How late a message can be that was published at another bus, to members of a channel in which nothing is published here. */
const lookEveryMs = 1_000

export interface HistoryWatch {
  /**
   * Before clients are sent away for good: waits for what is being flushed, and tells them how much of what is held will
   * be lost. Resolves soon after `deadline`.
   */
  readonly lastWord: (deadline: Promise<void>) => Promise<void>
  close(): void
}

export interface HistoryWatchPorts extends HistoryPorts {
  readonly store: GuardedStore
  readonly core: BusCore
  /** Are there other buses on the same hot state? */
  readonly hasOthers: () => boolean
  readonly health: Health
  /** Strict, with a bound on how long the store may be away: the bus has to end. */
  readonly onAwayTooLong: (error: BusError) => void
}

/** Keeps health, clients and the publisher informed; looks for what other buses have appended. */
export function watchHistory(config: BusConfig, ports: HistoryWatchPorts): HistoryWatch {
  const { store, core, health, logger } = ports
  const { readyRequiresStore, exitAfterS } = config.storage
  let told = 'ready'
  let telling: NodeJS.Timeout | undefined
  let ending: NodeJS.Timeout | undefined
  let counted = 0
  let counting: NodeJS.Timeout | undefined

  const isAway = (): boolean => store.state !== 'ready' && store.state !== 'suspect'

  function facts(): JsonObject {
    const { records } = store.held
    return {
      storage: isAway() ? (store.mode === 'degraded' ? 'degraded' : 'unavailable') : 'ready',
      durability: isAway() ? 'memory' : store.capabilities.level,
      held: records,
    }
  }

  function tell(): void {
    telling = undefined
    const now = isAway() ? 'away' : 'ready'
    if (now === told) return
    told = now
    send(facts())
  }

  function send(notice: JsonObject): void {
    counted = store.held.records
    const frame = core.replies.notice('state', notice)
    for (const client of core.clients.all()) client.send(frame)
    telling = setTimeout(tell, tellEveryMs)
  }

  /** What a crash would lose now: after one, the last count is all there is. */
  function count(): void {
    const { records, bytes } = store.held
    if (told !== 'away' || telling !== undefined || records === counted) return
    logger.warn('store.holding', { records, bytes })
    send(facts())
  }

  function countWhileHolding(): void {
    if (store.mode === 'strict' || isAway() === (counting !== undefined)) return
    clearInterval(counting)
    counting = isAway() ? setInterval(count, countEveryMs) : undefined
  }

  async function lastWord(deadline: Promise<void>): Promise<void> {
    if (store.held.records > 0 && store.state === 'recovering')
      await Promise.race([leaves(store, 'recovering'), deadline])
    if (store.held.records === 0) return
    // The frame before may just have been sent: not more than one a second.
    if (telling !== undefined) await new Promise((resolve) => setTimeout(resolve, tellEveryMs))
    clearTimeout(telling)
    const { records } = store.held
    if (records > 0) send({ ...facts(), lost: records })
  }

  function boundAbsence(): void {
    if (!isAway()) {
      clearTimeout(ending)
      ending = undefined
    } else if (store.mode === 'strict' && exitAfterS > 0) {
      ending ??= setTimeout(() => {
        const message = `The store was away for ${exitAfterS} s (ARQONBUS_STRICT_EXIT_AFTER_S)`
        ports.onAwayTooLong(new BusError('STORE_UNAVAILABLE', message, { reason: 'AWAY_TOO_LONG' }))
      }, exitAfterS * 1_000)
    }
  }

  function changed(): void {
    health.report(reportStore(store, readyRequiresStore))
    boundAbsence()
    countWhileHolding()
    if (store.state === 'ready') core.publisher.storeReturned([]) // what landed late is looked for
    if (telling === undefined) tell()
  }

  const stops = [
    store.onState(changed),
    store.onReturned((heads) => core.publisher.storeReturned(heads)),
    store.onFlushed((records) => core.publisher.flushed(records)),
  ]
  const { rooms, publisher } = core
  const others = createOtherWriters({ rooms, store, catchUp: (stream) => publisher.catchUp(stream), logger })
  const looking = setInterval(() => ports.hasOthers() && void others.look(), lookEveryMs)
  changed()
  if (isAway()) logger.warn('bus.started_without_store', { mode: store.mode })
  return {
    lastWord,
    close() {
      for (const stop of stops) stop()
      clearTimeout(telling)
      clearInterval(looking)
      clearInterval(counting)
      clearTimeout(ending)
    },
  }
}

function leaves(store: GuardedStore, state: GuardedStore['state']): Promise<void> {
  return new Promise((resolve) => {
    const stop = store.onState(() => {
      if (store.state === state) return
      stop()
      resolve()
    })
  })
}
