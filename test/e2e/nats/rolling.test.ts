// Rolling restarts of two Shields under load: each gets SIGTERM in turn, is not ready at once, says goodbye, answers what
// is under way, closes with 1012 and ends with 0; its clients come back through the other one and have missed nothing.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import { closeTable } from '../../../src/base/close-codes.ts'
import { isJsonObject } from '../../../src/base/json.ts'
import { strongSecret } from '../../support/environments.ts'
import { checkHistory } from '../../support/history-checker.ts'
import { openIdle } from '../../support/launch/idle-clients.ts'
import { isReady, type LaunchedProgram, launchBus, launchShield } from '../../support/launch/launch-linked.ts'
import { raisedLimits } from '../../support/launch/raised-limits.ts'
import { createTraffic, type Traffic } from '../../support/launch/traffic.ts'
import type { WireClient } from '../../support/launch/wire-client.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const restarts = 5
const readers = 4
/** Clients that do nothing but be there, so that the drain takes its time. */
const idlers = 60
const maxDrainMs = 30_000
const closesPerSecond = 40

describe.skipIf(skipWithout('nats'))('rolling restarts', () => {
  let nats: NatsServerProcess
  let dataDir: string
  let bus: LaunchedProgram
  let traffic: Traffic
  const shields: LaunchedProgram[] = []
  /** Read by the publishers at each attempt. */
  const urls: string[] = []
  const env = (): Record<string, string> => ({
    NATS_URL: nats.url,
    JWT_SECRET: strongSecret,
    ARQONBUS_STORAGE_BACKEND: 'embedded',
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_DATA_DIR: dataDir,
    ...raisedLimits,
    SHIELD_LIMIT_CLOSES_PER_SECOND: String(closesPerSecond),
  })
  const reading = new Map<string, WireClient>()
  const closes: number[] = []
  let isOver = false

  /** Reads until the end, through whichever Shield is not the one that closed it; resolves when it first reads. */
  async function keepReading(name: string, url: string): Promise<void> {
    const client = await traffic.reader(name, url)
    reading.set(name, client)
    void client.closed.then(async ({ code }) => {
      if (isOver) return
      closes.push(code)
      await keepReading(name, urls.find((one) => one !== url) ?? url)
    })
  }

  beforeAll(async () => {
    nats = await startNatsServer({ config: 'max_payload: 2MB' })
    dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-e2e-rolling-'))
    bus = await launchBus(env())
    shields.push(...(await Promise.all([launchShield(env()), launchShield(env())])))
    urls.push(...shields.map(({ url }) => url))
    const token = await mintToken({ secret: strongSecret, subject: 'tester', tenant: 'acme', ttlSeconds: 600 })
    traffic = createTraffic(token, ['alpha', 'beta'])
    await Promise.all(Array.from({ length: readers }, (_, n) => keepReading(`reader-${n}`, urls[n % 2]!)))
    for (const format of ['json', 'protobuf', 'protobuf'] as const) traffic.publisher(urls, format)
    await traffic.more(100)
  }, 60_000)

  afterAll(async () => {
    isOver = true
    await Promise.allSettled([traffic?.stop()])
    for (const client of reading.values()) await client.terminate()
    for (const program of [...shields, bus]) await program?.kill()
    await nats?.close()
    await rm(dataDir, { recursive: true, force: true })
  })

  test.each(Array.from({ length: restarts }, (_, n) => n + 1))('restart %s', async (round) => {
    const index = round % 2
    const leaving = shields[index]!
    const idle = await openIdle(leaving.url, idlers, strongSecret)
    const startedAt = performance.now()
    const ended = leaving.stop()
    urls.splice(index, 1)
    await expect.poll(() => isReady(leaving.httpUrl), { timeout: 1_000, interval: 5 }).toBe(false)
    expect(performance.now() - startedAt).toBeLessThan(500)
    const goodbyes = await Promise.all(idle.map(({ closed }) => closed))
    expect(await ended).toBe(0)
    const tookMs = performance.now() - startedAt
    expect(tookMs).toBeLessThan(maxDrainMs)

    // Told when to come back, and closed, equally spread: about so many a second and never all at once.
    expect(new Set(goodbyes.map(({ code }) => code))).toEqual(new Set([closeTable.RESTART.code]))
    const spreadMs = (idlers / closesPerSecond) * 1_000
    const hints = goodbyes.map(({ goaway }) => reconnectAfterOf(goaway)).sort((a, b) => a - b)
    expect(hints.at(-1)! - hints[0]!).toBeGreaterThan(spreadMs * 0.8)
    const times = goodbyes.map(({ atMs }) => atMs).sort((a, b) => a - b)
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(spreadMs * 0.8)
    const busiest = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 500).length))
    expect(busiest).toBeLessThan(closesPerSecond * 0.5 * 1.6)
    process.stdout.write(
      `rolling restart ${round}: drained in ${Math.round(tookMs)} ms, busiest half second closed ${busiest} of ${idlers}\n`,
    )

    shields[index] = await launchShield(env())
    urls.splice(index, 0, shields[index].url)
    await traffic.more(200)
  })

  test('of all that nothing acknowledged was lost, stored twice, out of order or unseen', async () => {
    await traffic.stop()
    await traffic.readLog(shields[0]!.url)
    const delivered = (name: string): number =>
      traffic.events.filter((event) => event.op === 'deliver' && event.reader === name).length
    for (let n = 0; n < readers; n++) {
      await expect.poll(() => delivered(`reader-${n}`), { timeout: 20_000, interval: 50 }).toBe(delivered('log'))
    }
    const violations = checkHistory(traffic.events, { isReadToEnd: true })
    const { unknown, refused, duplicates } = traffic.counts
    process.stdout.write(
      `rolling restarts: ${traffic.acks} acknowledged, ${unknown} unknown, ${refused} refused, ${duplicates} duplicates, readers came back ${closes.length} times, ${violations.length} violations\n`,
    )
    expect(violations.slice(0, 5)).toEqual([])
    expect(traffic.gaps).toEqual([])
    expect(closes.length).toBeGreaterThanOrEqual(restarts)
    expect(new Set(closes)).toEqual(new Set([closeTable.RESTART.code]))
    // Everything sent to a Shield that leaves was answered or refused: no publisher had to guess.
    expect(unknown).toBe(0)
  })
})

function reconnectAfterOf(goaway: unknown): number {
  const after = isJsonObject(goaway) ? goaway['reconnect_after_ms'] : undefined
  expect(after).toBeTypeOf('number')
  return after as number
}
