// A bus on real stores under load, while the bus and each store are killed (kill -9) or frozen (SIGSTOP) in an order
// that a seed repeats. What clients saw is a history for the checker.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { checkHistory, type Violation } from '../history-checker.ts'
import { startPostgresServer } from '../servers/postgres-server.ts'
import type { ServerProcess } from '../servers/server-process.ts'
import { startValkeyServer } from '../servers/valkey-server.ts'
import { findFreePorts } from './free-ports.ts'
import { launchBus, runCommand, type Variables } from './launch-linked.ts'
import { raisedLimits } from './raised-limits.ts'
import { createSeeded } from './seeded.ts'
import { createTraffic } from './traffic.ts'
import type { WireClient } from './wire-client.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly backend: 'valkey' | 'postgres'
  /** Ends when both are reached. */
  readonly faults: number
  readonly acks: number
  /** Ends no earlier than this. */
  readonly minutes?: number
  readonly freezeMs: readonly [number, number]
  readonly onFault?: (fault: string, acks: number) => void
}

export interface ChaosReport {
  readonly acks: number
  readonly events: number
  readonly counts: { readonly unknown: number; readonly refused: number; readonly duplicates: number }
  readonly faults: Readonly<Record<string, number>>
  /** What readers were told they miss, or that a recovery was refused. */
  readonly gaps: readonly string[]
  readonly violations: readonly Violation[]
  readonly exitCode: number | null
}

export function describeChaos(seed: number, report: ChaosReport): string {
  const { acks, events, counts, faults, gaps, violations } = report
  const figures = { acks, events, ...counts, gaps: gaps.length, violations: violations.length }
  const list = (of: Readonly<Record<string, number>>): string =>
    Object.entries(of)
      .map(([name, count]) => `${name}=${count}`)
      .join(' ')
  return `TEST_SEED=${seed} ${list(figures)} (${list(faults)})`
}

const publisherCount = 8
export const chaosChannels: readonly string[] = Array.from({ length: 20 }, (_, n) => `channel-${n}`)
/** Acknowledgements between two faults, so that each meets a system at work. */
const acksBetween = [100, 400] as const

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const random = createSeeded(options.seed)
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-chaos-'))
  const [valkey, postgres] = await Promise.all([startValkeyServer(), startPostgresServer()])
  const env: Variables = {
    ...raisedLimits,
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_STORAGE_BACKEND: options.backend,
    ARQONBUS_STORAGE_MODE: 'strict',
    ARQONBUS_VALKEY_URL: valkey.url,
    ARQONBUS_POSTGRES_URL: postgres.url,
    ARQONBUS_DATA_DIR: dataDir,
    ARQONBUS_LOG_LEVEL: 'error',
  }
  const busPorts = await findFreePorts(2)
  const faults: Record<string, number> = {}
  const traffic = createTraffic(undefined, chaosChannels)
  const untilMs = performance.now() + (options.minutes ?? 0) * 60_000
  await migrate(env)
  let bus = await launchBus(env, busPorts)
  let reader: WireClient | undefined

  const freeze = async (server: ServerProcess): Promise<void> => {
    await server.freeze()
    await pause(random.int(...options.freezeMs)) // the fault is that long
    server.thaw()
  }
  const restart = async (server: ServerProcess): Promise<void> => {
    await server.kill()
    await pause(random.int(0, 1_000)) // as long as a supervisor may take
    await server.restart()
  }
  const acts: Readonly<Record<string, () => Promise<void>>> = {
    'bus killed': async () => {
      await bus.kill()
      await reader!.closed
      bus = await launchBus(env, busPorts)
      reader = await traffic.reader('reader', bus.url)
    },
    'valkey killed': () => restart(valkey),
    'valkey frozen': () => freeze(valkey),
    'postgres killed': () => restart(postgres),
    'postgres frozen': () => freeze(postgres),
  }
  const names = Object.keys(acts)

  try {
    reader = await traffic.reader('reader', bus.url)
    for (let n = 0; n < publisherCount; n++) traffic.publisher([bus.url], n % 2 === 0 ? 'json' : 'protobuf')
    for (let n = 0; n < options.faults || performance.now() < untilMs; n++) {
      await traffic.more(random.int(...acksBetween))
      // Each kind in turn, so that none is left out; then whatever the seed says.
      const name = n < names.length ? names[n]! : random.pick(names)
      faults[name] = (faults[name] ?? 0) + 1
      options.onFault?.(name, traffic.acks)
      await acts[name]!()
    }
    await traffic.more(Math.max(500, options.acks - traffic.acks))
    await traffic.stop()
    await traffic.readLog(bus.url)
    await reader.close()
    const exitCode = await bus.stop()
    const violations = checkHistory(traffic.events, { isReadToEnd: true })
    const { acks, counts, gaps } = traffic
    return { acks, events: traffic.events.length, counts, faults, gaps, violations, exitCode }
  } finally {
    await Promise.allSettled([traffic.stop()])
    await reader?.terminate()
    await bus.kill()
    await Promise.all([valkey.close(), postgres.close()])
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** As an operator does it before the first start. */
async function migrate(env: Variables): Promise<void> {
  const { code, stderr } = await runCommand(['migrate', 'up'], env)
  if (code !== 0) throw new Error(`migrate up ended with ${code}:\n${stderr}`)
}
