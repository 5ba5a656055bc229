// Opens the store that the configuration names; the others, and their drivers, are not even loaded.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { FrameToEnvelope } from './mirror.ts'
import type { DedupWindow, HistoryStore, Retention, StoreCapabilities } from './store.ts'

export interface StoreConfig {
  readonly backend: StoreCapabilities['backend']
  /** Where the embedded store keeps its files; made when it is not there. */
  readonly dataDir: string
  /** Needed by `valkey`. Holds the password. */
  readonly valkeyUrl?: string
  /** Needed by `postgres`. Holds the password. */
  readonly postgresUrl?: string
  /** Given: a store on a server copies records to where earlier systems kept them. */
  readonly mirror?: {
    readonly toEnvelope: FrameToEnvelope
    /** Valkey: entries kept in each stream. */
    readonly maxEntries: number
  }
  readonly retention: Retention
  readonly dedup: DedupWindow
}

/** Rejects with CONFIG_INVALID where the backend has no address, else as the backend's own opening does. */
export async function openStore(
  { backend, dataDir, valkeyUrl, postgresUrl, mirror, retention, dedup }: StoreConfig,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<HistoryStore> {
  switch (backend) {
    case 'memory': {
      const { createMemoryStore } = await import('./memory/memory-store.ts')
      return createMemoryStore({ clock, retention, dedup })
    }
    case 'embedded': {
      const { openEmbeddedStore } = await import('./embedded/embedded-store.ts')
      return await openEmbeddedStore({ dataDir, clock, retention, dedup, logger })
    }
    case 'valkey': {
      if (valkeyUrl === undefined) throw noAddress('ARQONBUS_VALKEY_URL')
      const { openValkeyStore } = await import('./valkey/valkey-store.ts')
      const copying = mirror === undefined ? {} : { mirror }
      return await openValkeyStore({ url: valkeyUrl, clock, retention, dedup, logger, ...copying })
    }
    case 'postgres': {
      if (postgresUrl === undefined) throw noAddress('ARQONBUS_POSTGRES_URL')
      const { openPostgresStore } = await import('./postgres/postgres-store.ts')
      return await openPostgresStore({
        url: postgresUrl,
        clock,
        retention,
        dedup,
        logger,
        ...(mirror !== undefined && { mirrorAs: mirror.toEnvelope }),
      })
    }
  }
}

function noAddress(variable: string): BusError {
  return new BusError('CONFIG_INVALID', `No address is configured; set ${variable}`, { reason: 'NO_ADDRESS' })
}
