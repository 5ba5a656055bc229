// A reconnect storm over real processes: many clients hang on one Shield, which is killed; all of them come to another
// one within two seconds, while publishers and a reader of that one go on. Says how it went; the caller judges.
import { fork } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mintToken } from '../../../src/auth/mint.ts'
import { compiled } from '../compiled.ts'
import { strongSecret } from '../environments.ts'
import { checkHistory } from '../history-checker.ts'
import { startNatsServer } from '../servers/nats-server.ts'
import { messageOf } from '../system-process.ts'
import { type LaunchedProgram, launchBus, launchShield, type Variables } from './launch-linked.ts'
import { createTraffic } from './traffic.ts'

export interface StormOrder {
  readonly url: string
  readonly count: number
  /** The first attempts come spread over this time. */
  readonly withinMs: number
  readonly secret: string
}

export interface StormReport {
  /** Until the last one was welcomed and a member again. */
  readonly tookMs: number
  /** By HTTP status. */
  readonly refusals: Readonly<Record<string, number>>
  readonly withoutRetryAfter: number
  /** Connections that ended without an answer. */
  readonly lost: number
}

export interface StormOutcome extends StormReport {
  readonly acknowledged: number
  readonly violations: number
  readonly gaps: number
  /** Exit codes of Shield and bus. */
  readonly exitCodes: readonly (number | null)[]
  readonly residentMiB: number
}

export async function runStorm(count: number, limits: Variables): Promise<StormOutcome> {
  const nats = await startNatsServer({ config: 'max_payload: 2MB' })
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-storm-'))
  const env = {
    NATS_URL: nats.url,
    JWT_SECRET: strongSecret,
    ARQONBUS_STORAGE_BACKEND: 'embedded',
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_DATA_DIR: dataDir,
    ARQONBUS_LIMIT_MAX_RECOVER_MESSAGES: '1000000',
    ARQONBUS_LIMIT_MAX_RECOVER_BYTES: '1000000000',
    ARQONBUS_LIMIT_MAX_MEMBERS_PER_CHANNEL: '20000',
    // The traffic is one client, and fast.
    SHIELD_LIMIT_MESSAGES_PER_SECOND: '1000000',
    SHIELD_LIMIT_MESSAGES_BURST: '1000000',
    ...limits,
  }
  const programs: LaunchedProgram[] = []
  const clients = fork(fileURLToPath(new URL('storm-child.ts', import.meta.url)), [], {
    env: { NODE_COMPILE_CACHE: compiled },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  try {
    await messageOf(clients, () => '')
    const bus = await launchBus(env)
    programs.push(bus)
    const [old, next] = await Promise.all([launchShield(env), launchShield(env)])
    programs.push(old, next)
    const storm = (order: Omit<StormOrder, 'secret' | 'count'>): Promise<StormReport> => {
      const report = messageOf<StormReport>(clients, () => '')
      clients.send({ ...order, count, secret: strongSecret })
      return report
    }
    await storm({ url: old.url, withinMs: count * 4 })
    const token = await mintToken({ secret: strongSecret, subject: 'tester', tenant: 'acme', ttlSeconds: 3_600 })
    const traffic = createTraffic(token, ['alpha'])
    const reader = await traffic.reader('reader', next.url)
    traffic.publisher([next.url], 'protobuf')
    await traffic.more(50)

    await old.kill()
    const report = await storm({ url: next.url, withinMs: 2_000 })
    await traffic.more(50)
    await traffic.stop()
    await traffic.readLog(next.url)
    const logged = traffic.events.filter((event) => event.op === 'deliver' && event.reader === 'log').length
    await reader.received(logged)
    const violations = checkHistory(traffic.events, { isReadToEnd: true })
    const status = await readFile(`/proc/${next.pid}/status`, 'utf8')
    await reader.terminate()
    clients.disconnect()
    const exitCodes = [await next.stop(), await bus.stop()]
    return {
      ...report,
      acknowledged: traffic.acks,
      violations: violations.length,
      gaps: traffic.gaps.length,
      exitCodes,
      residentMiB: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024),
    }
  } finally {
    if (clients.connected) clients.disconnect()
    for (const program of programs.toReversed()) await program.kill()
    await nats.close()
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** Rates of a storm out of the way; what counts connections stays. */
export const stormRates: Variables = {
  SHIELD_LIMIT_HANDSHAKES_PER_SECOND: '100000',
  SHIELD_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '100000',
  SHIELD_LIMIT_HANDSHAKES_PER_SECOND_PER_TENANT: '100000',
  SHIELD_LIMIT_MAX_HALF_OPEN: '10000',
}

/** As production has them, in development too. */
export const defaultRates: Variables = { SHIELD_LIMIT_HANDSHAKES_PER_SECOND_PER_TENANT: '500' }
