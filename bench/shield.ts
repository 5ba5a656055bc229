// Through the edge: the same fan-out with Shield in front (token, strict schema, a policy in Wasm, NATS, the bus, NATS,
// back out) against the bus alone. Bus, Shield and their nats-server share core 0.
import { join } from 'node:path'
import { type FanOutRow, measureFanOut, printFanOut, ratio } from './fan-out.ts'
import { isOnPath, type MeasuredProcess, startPinned } from './load/processes.ts'
import { openRawSocket } from './load/raw-socket.ts'
import { busPeer, type FanOutPeer, openBusMember, ports, raisedLimits, startBus } from './peers.ts'
import type { SuiteOptions } from './suite.ts'
import { benchSecret, benchToken } from './token.ts'

const subscribers = 100
const natsUrl = `nats://127.0.0.1:${ports.nats}`

export async function shield(options: SuiteOptions): Promise<FanOutRow[]> {
  console.log(`\nthrough Shield (token, strict schema, a Wasm policy, NATS), S=${subscribers}: deliveries/s`)
  if (!isOnPath('nats-server')) {
    console.log('  left out, there is no nats-server on PATH')
    return []
  }
  const rows: FanOutRow[] = []
  for (const format of ['protobuf', 'json'] as const) {
    const direct = await measureFanOut(busPeer(format), subscribers, options.rounds)
    const through = await measureFanOut(await shieldPeer(format), subscribers, options.rounds)
    rows.push(direct, through)
    printFanOut(direct)
    printFanOut(through)
    console.log(`         ${through.server} = ${ratio(through, direct)} × direct`)
  }
  return rows
}

async function shieldPeer(format: 'protobuf' | 'json'): Promise<FanOutPeer> {
  const headers = { authorization: `Bearer ${await benchToken()}` }
  return {
    ...busPeer(format),
    name: `arqonbus ${format} via Shield`,
    start: startEdgeAsOne,
    openSubscriber: () => openBusMember(format, ports.shield, '/ws', headers),
    openPublisher: () => openRawSocket({ port: ports.shield, path: '/ws', headers }),
  }
}

export interface Edge {
  readonly nats: MeasuredProcess
  readonly bus: MeasuredProcess
  readonly shield: MeasuredProcess
  stop(): Promise<void>
}

/** nats-server, bus and Shield, each a process of its own. `build`: Shield as `npm run build` makes it, without a loader. */
export async function startEdge(shieldFrom: 'sources' | 'build' = 'sources'): Promise<Edge> {
  const started: MeasuredProcess[] = []
  const stop = async () => {
    for (const process of started.toReversed()) await process.stop()
  }
  const open = async (process: Promise<MeasuredProcess>) => {
    started.push(await process)
    return started.at(-1)!
  }
  try {
    const files = { 'nats.conf': `listen: 127.0.0.1:${ports.nats}\nmax_payload: 2MB\nmax_pending: 256MB\n` }
    const nats = await open(startPinned('nats-server', ['-c', 'nats.conf'], { core: 0, port: ports.nats, files }))
    const bus = await open(
      startBus({ NATS_URL: natsUrl, ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: benchSecret }),
    )
    const command = join(
      import.meta.dirname,
      shieldFrom === 'build' ? '../dist/bin/arqonbus.js' : '../src/bin/arqonbus.ts',
    )
    const shield = await open(
      startPinned(process.execPath, [command, 'shield'], { core: 0, port: ports.shield, env: shieldEnvironment }),
    )
    return { nats, bus, shield, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The three measured as one. */
async function startEdgeAsOne(): Promise<MeasuredProcess> {
  const edge = await startEdge()
  const sum = (of: (one: MeasuredProcess) => number) => of(edge.nats) + of(edge.bus) + of(edge.shield)
  return {
    pid: edge.nats.pid,
    cpuSeconds: () => sum((one) => one.cpuSeconds()),
    residentBytes: () => sum((one) => one.residentBytes()),
    stop: () => edge.stop(),
  }
}

const shieldEnvironment: Readonly<Record<string, string>> = {
  SHIELD_HOST: '127.0.0.1',
  SHIELD_PORT: String(ports.shield),
  SHIELD_METRICS_PORT: String(ports.shieldHttp),
  ARQONBUS_ENVIRONMENT: 'development',
  ARQONBUS_LOG_LEVEL: 'error',
  JWT_SECRET: benchSecret,
  NATS_URL: natsUrl,
  POLICY_WASM_PATH: join(import.meta.dirname, '../policies/block-empty.wasm'),
  ...Object.fromEntries(
    Object.entries(raisedLimits)
      .filter(([name]) => name.startsWith('ARQONBUS_LIMIT_'))
      .map(([name, value]) => [name.replace('ARQONBUS_', 'SHIELD_'), value]),
  ),
  SHIELD_LIMIT_MAX_CONNECTIONS: '20000',
  // Nothing holds back a publisher that asks for no acknowledgement but its rate.
  SHIELD_LIMIT_MAX_INFLIGHT: '1000000',
}
