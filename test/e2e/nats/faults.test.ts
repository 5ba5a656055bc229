// Bus and Shields as separate processes over a real NATS server, under load, while each of them in turn is killed or
// frozen: nothing acknowledged is lost, nothing is stored or delivered twice, and sockets stay where they can.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import { strongSecret } from '../../support/environments.ts'
import { checkHistory } from '../../support/history-checker.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { isReady, type LaunchedProgram, launchBus, launchShield } from '../../support/launch/launch-linked.ts'
import { raisedLimits } from '../../support/launch/raised-limits.ts'
import { createTraffic, type Traffic } from '../../support/launch/traffic.ts'
import type { WireClient } from '../../support/launch/wire-client.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const kills = 20
const acksBetween = 950
const readyWithin = { timeout: 20_000, interval: 50 }

describe.skipIf(skipWithout('nats'))('separate processes under load', () => {
  let nats: NatsServerProcess
  let dataDir: string
  let busPorts: readonly number[]
  let bus: LaunchedProgram
  let near: LaunchedProgram
  let far: LaunchedProgram
  let traffic: Traffic
  let reader: WireClient
  let mover: WireClient
  let closeOfReader: unknown
  const env = (): Record<string, string> => ({
    NATS_URL: nats.url,
    JWT_SECRET: strongSecret,
    ARQONBUS_STORAGE_BACKEND: 'embedded',
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_DATA_DIR: dataDir,
    ...raisedLimits,
  })

  beforeAll(async () => {
    nats = await startNatsServer({ config: 'max_payload: 2MB' })
    dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-e2e-nats-'))
    busPorts = await findFreePorts(2)
    bus = await launchBus(env(), busPorts)
    ;[near, far] = await Promise.all([launchShield(env()), launchShield(env())])
    const token = await mintToken({ secret: strongSecret, subject: 'tester', tenant: 'acme', ttlSeconds: 600 })
    traffic = createTraffic(token, ['alpha', 'beta', 'gamma'])
    reader = await traffic.reader('reader', near.url)
    void reader.closed.then((close) => {
      closeOfReader = close
    })
    mover = await traffic.reader('mover', far.url)
    traffic.publisher([near.url], 'json')
    traffic.publisher([near.url], 'protobuf')
    traffic.publisher([near.url], 'protobuf')
    traffic.publisher([far.url, near.url], 'json')
    await traffic.more(100)
  }, 60_000)

  afterAll(async () => {
    await Promise.allSettled([traffic?.stop()])
    for (const client of [reader, mover]) await client?.terminate()
    for (const program of [near, far, bus]) await program?.kill()
    await nats?.close()
    await rm(dataDir, { recursive: true, force: true })
  })

  test(`the NATS server is killed ${kills} times, and publishing goes on`, async () => {
    for (let kill = 1; kill <= kills; kill++) {
      await traffic.more(acksBetween)
      await nats.kill()
      await nats.restart()
    }
    await traffic.more(300)
    expect(closeOfReader).toBeUndefined()
  })

  test('the bus is killed and started anew: at once, with all sessions', async () => {
    await bus.kill()
    bus = await launchBus(env(), busPorts)
    await expect.poll(() => isReady(near.httpUrl), readyWithin).toBe(true)
    await traffic.more(300)
    expect(closeOfReader).toBeUndefined()
  })

  test('a Shield is killed: its clients come back through another one and recover', async () => {
    await far.kill()
    await mover.closed
    await traffic.more(200)
    mover = await traffic.reader('mover', near.url)
    await traffic.more(200)
  })

  test('the NATS server is frozen for 5 s: both sides say that they are not ready, and go on afterwards', async () => {
    await nats.freeze()
    const frozenAt = performance.now()
    for (const { httpUrl } of [near, bus]) {
      await expect.poll(() => isReady(httpUrl), { timeout: 4_900, interval: 50 }).toBe(false)
    }
    await pause(5_000 - (performance.now() - frozenAt)) // the fault is that long
    nats.thaw()
    for (const { httpUrl } of [near, bus]) await expect.poll(() => isReady(httpUrl), readyWithin).toBe(true)
    await traffic.more(300)
    expect(closeOfReader).toBeUndefined()
  })

  test('of all that, nothing acknowledged is lost, stored twice, out of order or unseen', async () => {
    await traffic.stop()
    await traffic.readLog(near.url)
    const last = traffic.events.filter(({ op }) => op === 'ack').length
    await expect
      .poll(
        () => traffic.events.filter((event) => event.op === 'deliver' && event.reader === 'reader').length,
        readyWithin,
      )
      .toBe(traffic.events.filter((event) => event.op === 'deliver' && event.reader === 'log').length)
    expect(traffic.gaps).toEqual([])
    const violations = checkHistory(traffic.events, { isReadToEnd: true })
    const { unknown, refused, duplicates } = traffic.counts
    process.stdout.write(
      `nats faults: ${traffic.acks} acknowledged, ${unknown} unknown, ${refused} refused, ${duplicates} duplicates, ${violations.length} violations\n`,
    )
    expect(violations.slice(0, 5)).toEqual([])
    expect(last).toBeGreaterThanOrEqual(20_000)
    expect(unknown + refused).toBeGreaterThan(0)
    for (const program of [near, bus]) expect(await program.stop()).toBe(0)
  })
})
