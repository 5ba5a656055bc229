// Bad WebSocket input by the thousand against a running system, while two honest clients work (reliability P6).
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { badFrameClasses, type BadFrameClass } from '../../support/bad-frames.ts'
import { type Bystander, figures, startBystander } from '../../support/bystander.ts'
import { printFigures } from '../../support/print-figures.ts'
import { openRawWebSocket, type RawOptions, rawFrame } from '../../support/raw-websocket.ts'
import { type SystemProcess, type SystemStats, startSystem } from '../../support/system-process.ts'

const maxBytes = 16 * 1024
const maxFragments = 64
/** Out of the way: it is frames that are attacked with, and all come from one address. */
const raised = {
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND: '100000',
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '100000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_ADDRESS: '20000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_SUBJECT: '20000',
  SHIELD_LIMIT_HANDSHAKES_PER_SECOND: '100000',
  SHIELD_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '100000',
  SHIELD_LIMIT_MAX_CONNECTIONS_PER_ADDRESS: '20000',
  SHIELD_LIMIT_MAX_CONNECTIONS_PER_SUBJECT: '20000',
}
const limits = {
  ARQONBUS_MAX_MESSAGE_SIZE: String(maxBytes),
  SHIELD_LIMIT_MAX_MESSAGE_BYTES: String(maxBytes),
  ARQONBUS_LIMIT_PING_INTERVAL_MS: '1000',
  ARQONBUS_LIMIT_PONG_TIMEOUT_MS: '500',
  SHIELD_LIMIT_PING_INTERVAL_MS: '1000',
  SHIELD_LIMIT_PONG_TIMEOUT_MS: '500',
}
const perClass = 1_000
const perClassAtShield = 100
const atOnce = 50
const endsWithinMs = 2_000
/** Ping interval, pong time-out, and a second's tick for each. */
const silenceEndsWithinMs = 4_500
/** What the process may keep of the memory it once used (reliability P6). */
const maxGrowthBytes = 64 * 1024 * 1024
/** What is really in use: this is what a leak would show in. */
const maxHeldBytes = 16 * 1024 * 1024

let system: SystemProcess
let bystander: Bystander
let before: SystemStats

beforeAll(async () => {
  printFigures('limits raised and set', { ...raised, ...limits })
  system = await startSystem({ ...raised, ...limits, ARQONBUS_LOG_LEVEL: 'error' })
  bystander = await startBystander(`ws://127.0.0.1:${system.busPort}`)
  // Warm, so that what grows afterwards is not code being compiled and pools being filled for the first time.
  for (const one of classes) if (one.isSilent !== true) await attack({ port: system.busPort }, one, perClass / 4)
  before = await system.stats()
  printFigures('before', figures(await bystander.report()))
})
afterAll(() => system.stop())

const classes = badFrameClasses(maxBytes, maxFragments)

describe('a system under bad frames', () => {
  it('knows at least fifteen classes of them', () => {
    expect(classes.length).toBeGreaterThanOrEqual(15)
  })

  it.each(classes.map((one) => [one.name, one] as const))('the bus answers and goes on: %s', async (_name, one) => {
    await attack({ port: system.busPort }, one, perClass)
  })

  it.each(classes.map((one) => [one.name, one] as const))('Shield answers and goes on: %s', async (_name, one) => {
    const headers = { authorization: `Bearer ${system.token}` }
    await attack({ port: system.shieldPort, path: '/ws', headers }, one, perClassAtShield)
  })

  it('kept its process, its memory and every message of honest clients, and no socket of the others', async () => {
    const honest = await bystander.finish()
    printFigures('under attack', figures(honest))
    expect(honest.closes).toBe(0)
    expect(honest.delivered).toBe(honest.sent)
    expect(honest.count).toBeGreaterThan(100)
    expect(honest.p99).toBeLessThan(1_000)

    await expect.poll(async () => (await system.stats()).clients, { timeout: 5_000 }).toBe(0)
    await expect.poll(async () => (await system.stats()).sockets, { timeout: 5_000 }).toBe(0)
    const after = await system.stats()
    printFigures(
      'memory',
      `${toMiB(before.rss)} MiB before, ${toMiB(after.rss)} MiB after; held ${toMiB(before.held)}, ${toMiB(after.held)}`,
    )
    expect(after.rss - before.rss).toBeLessThan(maxGrowthBytes)
    expect(after.held - before.held).toBeLessThan(maxHeldBytes)
    expect(system.isAlive).toBe(true)
    expect(system.log).toBe('') // nothing was an internal error
  })
})

async function attack(target: RawOptions, one: BadFrameClass, count: number): Promise<void> {
  let next = 0
  // Silent ones take seconds each: they are all opened together.
  const lanes = one.isSilent === true ? count : atOnce
  const lane = async (): Promise<void> => {
    while (next < count) await attackOnce(target, one, next++)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

async function attackOnce(target: RawOptions, one: BadFrameClass, n: number): Promise<void> {
  const raw = await openRawWebSocket(target)
  if (one.isSilent === true) await raw.until(/welcome|client_id/)
  raw.mark()
  raw.socket.write(one.bytes(n))
  if (one.isReset === true) {
    raw.socket.resetAndDestroy()
    await raw.ended
    return
  }
  if (one.error !== undefined) {
    await raw.until(one.error)
    raw.socket.write(rawFrame({ opcode: 8, payload: Buffer.from([0x03, 0xe8]) }))
  }
  const end = await raw.ended
  const within = one.isSilent === true ? silenceEndsWithinMs : endsWithinMs
  expect([one.name, n, end.code]).toEqual([one.name, n, one.close ?? 1000])
  expect(end.afterMs).toBeLessThan(within)
}

const toMiB = (bytes: number): number => Math.round(bytes / 1024 / 1024)
