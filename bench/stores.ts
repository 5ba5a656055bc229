// The history stores that are measured: one row each. A server found on this machine is started for the measurement,
// beside the load; a row whose server is not there, or whose backend this program has not, is left out and said so.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openHistory } from '../src/app/open-history.ts'
import { systemClock } from '../src/base/clock.ts'
import { isBusError } from '../src/base/errors.ts'
import { silentLogger } from '../src/base/logger.ts'
import { loadBusConfig } from '../src/config/load.ts'
import { parsePostgresAddress } from '../src/postgres/address.ts'
import { migrateUp } from '../src/postgres/migrations.ts'
import type { HistoryStore } from '../src/storage/store.ts'
import { type Neighbour, programOf } from '../test/support/servers/neighbours.ts'
import { startPostgresServer } from '../test/support/servers/postgres-server.ts'
import { startValkeyServer } from '../test/support/servers/valkey-server.ts'
import type { SuiteOptions } from './suite.ts'

export interface StoreSetup {
  readonly name: string
  readonly backend: string
  readonly server?: {
    readonly program: Neighbour
    /** The setting that takes its address. */
    readonly variable: string
    readonly start: () => Promise<{ readonly url: string; close(): Promise<void> }>
  }
}

const valkey = (appendfsync: string): NonNullable<StoreSetup['server']> => ({
  program: 'valkey',
  variable: 'ARQONBUS_VALKEY_URL',
  start: () => startValkeyServer({ settings: { appendfsync } }),
})

const setups: readonly StoreSetup[] = [
  { name: 'memory', backend: 'memory' },
  { name: 'embedded', backend: 'embedded' },
  { name: 'valkey-everysec', backend: 'valkey', server: valkey('everysec') },
  { name: 'valkey-always', backend: 'valkey', server: valkey('always') },
  {
    name: 'postgres',
    backend: 'postgres',
    server: { program: 'postgres', variable: 'ARQONBUS_POSTGRES_URL', start: startMigratedPostgres },
  },
]

async function startMigratedPostgres(): Promise<{ url: string; close(): Promise<void> }> {
  const server = await startPostgresServer()
  await migrateUp({ address: parsePostgresAddress(server.url) })
  return server
}

/** Those asked for by name, or all. */
export function storesOf({ stores }: SuiteOptions): readonly StoreSetup[] {
  return setups.filter(({ name }) => stores.length === 0 || stores.includes(name))
}

/** Runs `use` with the settings under which the bus keeps its history there. */
export async function withServer(
  setup: StoreSetup,
  use: (env: Readonly<Record<string, string>>) => Promise<void>,
): Promise<void> {
  const { server } = setup
  if (server !== undefined && programOf(server.program) === undefined) {
    console.log(`  ${setup.name}: left out, there is no ${server.program} on this machine`)
    return
  }
  const running = await server?.start()
  try {
    const env = {
      ARQONBUS_STORAGE_BACKEND: setup.backend,
      ARQONBUS_LIMIT_DEDUP_MAX_IDS: '10000000',
      ...(server !== undefined && running !== undefined && { [server.variable]: running.url }),
    }
    await use(env)
  } catch (error) {
    if (!/FEATURE_DISABLED|NO_SUCH_BACKEND/.test(String(error)) && !isBusError(error, 'FEATURE_DISABLED')) throw error
    console.log(`  ${setup.name}: left out, this program has no such backend`)
  } finally {
    await running?.close()
  }
}

/** The store itself, without a bus, with what is raised by `extra`; its data is gone afterwards. */
export async function withStore<T>(
  env: Readonly<Record<string, string>>,
  extra: Readonly<Record<string, string>>,
  use: (store: HistoryStore) => Promise<T>,
): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-bench-'))
  try {
    const config = loadBusConfig({
      ARQONBUS_ENVIRONMENT: 'development',
      ARQONBUS_ENABLE_PERSISTENCE: 'true',
      ARQONBUS_DATA_DIR: dataDir,
      ...env,
      ...extra,
    })
    const store = await openHistory(config, { clock: systemClock, logger: silentLogger, hasOthers: () => false })
    try {
      return await use(store)
    } finally {
      await store.close()
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}
