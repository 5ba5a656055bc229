// A Postgres server with migrated databases and the stores opened on them, for tests of faults.
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { BusError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/logger.ts'
import type { StreamKey } from '../../src/envelope/envelope.ts'
import { parsePostgresAddress } from '../../src/postgres/address.ts'
import { migrateUp } from '../../src/postgres/migrations.ts'
import type { FrameToJson } from '../../src/storage/postgres/mirror.ts'
import { openPostgresStore } from '../../src/storage/postgres/postgres-store.ts'
import type { AppendRequest, AppendResult, DedupWindow, HistoryStore, Retention } from '../../src/storage/store.ts'
import { type PostgresServerProcess, startPostgresServer } from './servers/postgres-server.ts'

export const labKey: StreamKey = { tenant: 'acme', room: 'lobby', channel: 'general' }
export const everything = { limit: 1_000_000, maxBytes: 2 ** 40 }

export function labRequest(id: string, more: Partial<AppendRequest> = {}): AppendRequest {
  const hash = new Uint8Array(16).fill(id.length)
  return {
    key: labKey,
    id,
    hash,
    sender: 'arq_client_1',
    frame: new TextEncoder().encode(id),
    atMs: Date.now(),
    ...more,
  }
}

export interface PostgresLab {
  readonly server: PostgresServerProcess
  /** A new, migrated, empty database; as superuser. */
  newDatabase(): Promise<LabDatabase>
  close(): Promise<void>
}

export interface LabDatabase {
  readonly name: string
  readonly url: string
  query(sql: string): Promise<Record<string, unknown>[]>
  /** A store on it, closed with the lab. */
  open(options?: LabStoreOptions): Promise<HistoryStore>
}

export interface LabStoreOptions {
  readonly url?: string
  readonly clock?: Clock
  readonly retention?: Partial<Retention>
  readonly dedup?: Partial<DedupWindow>
  readonly mirrorAs?: FrameToJson
}

export async function openPostgresLab(settings: Readonly<Record<string, string>> = {}): Promise<PostgresLab> {
  const server = await startPostgresServer({ settings })
  const stores: HistoryStore[] = []
  await migrateUp({ address: parsePostgresAddress(server.url) })
  return {
    server,
    async newDatabase() {
      const url = await server.createDatabase('arqonbus')
      const name = url.slice(url.lastIndexOf('/') + 1)
      return {
        name,
        url,
        query: async (sql) => (await server.query(sql, [], name)).rows as Record<string, unknown>[],
        async open({ url: other = url, clock = systemClock, retention, dedup, mirrorAs } = {}) {
          const store = await openPostgresStore({
            url: other,
            clock,
            logger: silentLogger,
            ...(mirrorAs !== undefined && { mirrorAs }),
            retention: { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000, ...retention },
            dedup: { maxAgeMs: 600_000, maxIds: 1_000_000, ...dedup },
          })
          stores.push(store)
          return store
        },
      }
    },
    async close() {
      await Promise.all(stores.map((store) => store.close()))
      await server.close()
    },
  }
}

/** Sends the same request until it is settled for certain, as a client would; gives up after `withinMs`. */
export async function appendUntilCertain(
  store: HistoryStore,
  request: AppendRequest,
  withinMs = 30_000,
): Promise<AppendResult> {
  const untilMs = performance.now() + withinMs
  for (;;) {
    try {
      return (await store.append([request]))[0]!
    } catch (error) {
      if (!(error instanceof BusError) || !error.code.startsWith('STORE_') || performance.now() > untilMs) throw error
      await new Promise((resolve) => setTimeout(resolve, 10)) // as a client's pace, not to wait for something
    }
  }
}

/** Waits until `isTrue` resolves to true; a rejection counts as not yet. */
export async function eventually(isTrue: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const untilMs = performance.now() + withinMs
  while (!(await isTrue().catch(() => false))) {
    if (performance.now() > untilMs) throw new Error('did not come true in time')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
