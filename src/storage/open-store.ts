// Opens the store that the configuration names.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { openEmbeddedStore } from './embedded/embedded-store.ts'
import { createMemoryStore } from './memory/memory-store.ts'
import type { FrameToJson } from './postgres/mirror.ts'
import { openPostgresStore } from './postgres/postgres-store.ts'
import { openValkeyStore } from './valkey/valkey-store.ts'
import type { DedupWindow, HistoryStore, Retention, StoreCapabilities } from './store.ts'

export interface StoreConfig {
  readonly backend: StoreCapabilities['backend']
  /** Where the embedded store keeps its files; made when it is not there. */
  readonly dataDir: string
  /** Needed by `valkey`. Holds the password. */
  readonly valkeyUrl?: string
  /** Needed by `postgres`. Holds the password. */
  readonly postgresUrl?: string
  /** Given: the Postgres store copies records to the table of earlier systems, as this JSON. */
  readonly mirrorAs?: FrameToJson
  readonly retention: Retention
  readonly dedup: DedupWindow
}

/** Rejects with CONFIG_INVALID where the backend has no address, else as the backend's own opening does. */
export async function openStore(
  { backend, dataDir, valkeyUrl, postgresUrl, mirrorAs, retention, dedup }: StoreConfig,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<HistoryStore> {
  switch (backend) {
    case 'memory':
      return createMemoryStore({ clock, retention, dedup })
    case 'embedded':
      return await openEmbeddedStore({ dataDir, clock, retention, dedup, logger })
    case 'valkey':
      if (valkeyUrl === undefined) throw noAddress('ARQONBUS_VALKEY_URL')
      return await openValkeyStore({ url: valkeyUrl, clock, retention, dedup, logger })
    case 'postgres':
      if (postgresUrl === undefined) throw noAddress('ARQONBUS_POSTGRES_URL')
      return await openPostgresStore({
        url: postgresUrl,
        clock,
        retention,
        dedup,
        logger,
        ...(mirrorAs !== undefined && { mirrorAs }),
      })
  }
}

function noAddress(variable: string): BusError {
  return new BusError('CONFIG_INVALID', `No address is configured; set ${variable}`, { reason: 'NO_ADDRESS' })
}
