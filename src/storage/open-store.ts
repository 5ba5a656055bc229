// Opens the store that the configuration names.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { openEmbeddedStore } from './embedded/embedded-store.ts'
import { createMemoryStore } from './memory/memory-store.ts'
import { openValkeyStore } from './valkey/valkey-store.ts'
import type { DedupWindow, HistoryStore, Retention, StoreCapabilities } from './store.ts'

export interface StoreConfig {
  readonly backend: StoreCapabilities['backend']
  /** Where the embedded store keeps its files; made when it is not there. */
  readonly dataDir: string
  /** Needed by `valkey`. Holds the password. */
  readonly valkeyUrl?: string
  readonly retention: Retention
  readonly dedup: DedupWindow
}

/** Rejects with FEATURE_DISABLED for a backend that is not there, else as the backend's own opening does. */
export async function openStore(
  { backend, dataDir, valkeyUrl, retention, dedup }: StoreConfig,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<HistoryStore> {
  switch (backend) {
    case 'memory':
      return createMemoryStore({ clock, retention, dedup })
    case 'embedded':
      return await openEmbeddedStore({ dataDir, clock, retention, dedup, logger })
    case 'valkey':
      if (valkeyUrl === undefined) {
        const message = 'History storage on valkey needs ARQONBUS_VALKEY_URL'
        throw new BusError('STORE_OPEN_FAILED', message, { reason: 'NO_URL', backend })
      }
      return await openValkeyStore({ url: valkeyUrl, clock, retention, dedup, logger })
    case 'postgres': {
      const message = `History storage on ${backend} is not available; use embedded, memory or valkey`
      throw new BusError('FEATURE_DISABLED', message, { reason: 'NO_SUCH_BACKEND', backend })
    }
  }
}
