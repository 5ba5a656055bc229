// A bus for these tests: the real core behind a real WebSocket listener, which can be stopped and started again on the
// same port and the same store, as a restart of the process would.
import { systemClock } from '../../../src/base/clock.ts'
import { isBusError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { anonymousIdentity } from '../../../src/auth/identity.ts'
import { createBusCore, type BusCore } from '../../../src/app/bus-core.ts'
import { loadBusConfig } from '../../../src/config/load.ts'
import { createLabHotState } from '../../support/lab-hot-state.ts'
import { createMemoryStore } from '../../../src/storage/memory/memory-store.ts'
import type { HistoryStore } from '../../../src/storage/store.ts'
import { noTelemetry } from '../../../src/telemetry/events.ts'
import { startWsServer, type WsServer } from '../../../src/transport/ws-server.ts'

export interface TestBus {
  readonly url: string
  readonly core: BusCore
  /** Drains like a stopping process: goaway, then close 1012. */
  stop(): Promise<void>
  /** Ends every connection without a word, like a killed process. */
  kill(): Promise<void>
  start(): Promise<void>
}

export interface TestBusOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly history?: boolean
  /** The bearer token asked for. */
  readonly token?: () => string
}

export async function startTestBus(options: TestBusOptions = {}): Promise<TestBus> {
  const config = loadBusConfig({ ARQONBUS_SERVER_PORT: '0', ...options.env })
  const { storage } = config
  const store: HistoryStore | undefined =
    options.history === false
      ? undefined
      : createMemoryStore({
          clock: systemClock,
          retention: {
            maxRecords: storage.maxRecordsPerStream,
            maxBytes: storage.maxBytesPerStream,
            maxAgeMs: storage.maxAgeMs,
          },
          dedup: { maxAgeMs: storage.dedupWindowMs, maxIds: storage.dedupMaxIds },
        })
  let core: BusCore
  let server: WsServer | undefined
  let port = 0

  async function start(): Promise<void> {
    core = createBusCore(config, {
      store,
      hot: createLabHotState(),
      authenticator: undefined,
      telemetry: noTelemetry,
      clock: systemClock,
      logger: silentLogger,
      status: () => ({}),
    })
    server = await startWsServer({
      host: '127.0.0.1',
      port,
      limits: config.limits,
      allowedOrigins: [],
      clock: systemClock,
      logger: silentLogger,
      authenticate: async ({ headers }) =>
        options.token === undefined || headers.authorization === `Bearer ${options.token()}`
          ? { identity: anonymousIdentity }
          : { status: 401, body: { error: 'Unauthorized' } },
      answer: () => ({ status: 426, body: {} }),
      open: (connection, identity) => core.openSession(connection, identity),
    })
  }

  // Below the range of outgoing connections (32768 and up): none of them can hold the port when the bus comes back.
  for (let attempt = 0; server === undefined; attempt++) {
    port = 20_000 + Math.floor(Math.random() * 12_700)
    try {
      await start()
    } catch (error) {
      if (attempt === 20 || !isBusError(error, 'PORT_UNAVAILABLE')) throw error
    }
  }
  return {
    url: `ws://127.0.0.1:${port}`,
    get core() {
      return core
    },
    start,
    async stop() {
      await server?.stopAccepting()
      await core.drain(1_000)
      await server?.close()
      server = undefined
    },
    async kill() {
      await server?.close()
      server = undefined
    },
  }
}
