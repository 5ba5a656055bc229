// A whole bus inside the test's own process, on free ports, as `arqonbus bus` starts it: for tests that look inside, or
// that start many.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningBus, startBus } from '../../../src/app/bus.ts'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../../src/base/logger.ts'
import { loadBusConfig } from '../../../src/config/load.ts'
import { raisedLimits } from './raised-limits.ts'
import { WireClient, type WireClientOptions } from './wire-client.ts'

export interface BusInProcess extends RunningBus {
  readonly url: string
  client(options?: WireClientOptions & { readonly path?: string }): Promise<WireClient>
}

const anyPorts = {
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
  ARQONBUS_LIMIT_DRAIN_TIMEOUT_MS: '2000',
}

/** `history: 'memory'` keeps history in memory; the environment can say otherwise. */
export async function startBusInProcess(
  options: { history?: 'memory' | 'none'; env?: Readonly<Record<string, string>>; clock?: Clock; logger?: Logger } = {},
): Promise<BusInProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-bus-'))
  const config = loadBusConfig({
    ...raisedLimits,
    ...anyPorts,
    ARQONBUS_DATA_DIR: dataDir,
    ARQONBUS_ENABLE_PERSISTENCE: String(options.history !== 'none'),
    ...options.env,
  })
  const bus = await startBus(config, { clock: options.clock ?? systemClock, logger: options.logger ?? silentLogger })
  const url = `ws://127.0.0.1:${bus.wsPort}`
  const clients: WireClient[] = []
  return {
    ...bus,
    url,
    async client({ path = '', ...rest } = {}) {
      const client = await WireClient.connect(`${url}${path}`, rest)
      clients.push(client)
      return client
    },
    async close() {
      await bus.close()
      for (const client of clients) client.ws.terminate()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
