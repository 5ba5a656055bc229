// Members of a busy channel that stop reading: each is closed with 4008 once its queue is full, memory stays bounded,
// and members that read get everything in order (reliability P5).
import { once } from 'node:events'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createMessageIds } from '../../../src/base/ids.ts'
import { printFigures } from '../../support/print-figures.ts'
import { openRawWebSocket, type RawWebSocket, rawFrame } from '../../support/raw-websocket.ts'
import { type SystemProcess, startSystem } from '../../support/system-process.ts'

const stalledCount = 20
const healthyCount = 5
const messageBytes = 16 * 1024
/** Kernels hold megabytes for each stalled connection before a byte waits in the process. */
const messages = 1_000
const maxQueued = 256 * 1024
/** Queues of all, twice: what waits, and what is being written. */
const maxGrowthBytes = 2 * stalledCount * maxQueued + 96 * 1024 * 1024
const limits = {
  ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_CLIENT: String(maxQueued),
  // So long that the close frame behind a full queue can still be read by who starts to read again.
  ARQONBUS_LIMIT_CLOSE_TIMEOUT_MS: '30000',
  ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '10000',
  ARQONBUS_LIMIT_MESSAGES_BURST: '10000',
  ARQONBUS_LIMIT_BYTES_PER_SECOND: String(512 * 1024 * 1024),
  ARQONBUS_LIMIT_BYTES_BURST: String(512 * 1024 * 1024),
}
const place = { room: 'busy', channel: 'work' }
const nextId = createMessageIds(Date.now())
const envelope = (fields: object): string =>
  JSON.stringify({ id: nextId(), timestamp: new Date().toISOString(), version: '1.0', ...fields })
const join = (): string => envelope({ type: 'command', command: 'join_channel', args: place })

let system: SystemProcess
beforeAll(async () => {
  printFigures('limits set', limits)
  system = await startSystem(limits)
})
afterAll(async () => {
  expect(await system.stop()).toBe(0)
})

it('closes members that do not read, and nobody else', async () => {
  const url = `ws://127.0.0.1:${system.busPort}`
  const stalled = await Promise.all(Array.from({ length: stalledCount }, () => openStalled()))
  const healthy = await Promise.all(Array.from({ length: healthyCount }, () => openHealthy(url)))
  const before = await system.stats()
  const publisher = new WebSocket(url)
  await once(publisher, 'open')

  const text = 'x'.repeat(messageBytes)
  let peak = 0
  for (let n = 1; n <= messages; n++) {
    publisher.send(envelope({ type: 'message', ...place, payload: { n, text } }))
    // A member that reads is never far behind: the test is about those that do not.
    if (n % 20 === 0) await Promise.all(healthy.map((one) => one.received(n)))
    if (n % 200 === 0) peak = Math.max(peak, (await system.stats()).rss)
  }
  await Promise.all(healthy.map((one) => one.received(messages)))
  printFigures('slow readers', {
    before: Math.round(before.rss / 1024 / 1024),
    peak: Math.round(peak / 1024 / 1024),
    bound: Math.round((before.rss + maxGrowthBytes) / 1024 / 1024),
  })
  expect(peak - before.rss).toBeLessThan(maxGrowthBytes)

  for (const raw of stalled) raw.socket.resume()
  const ends = await Promise.all(stalled.map(({ ended }) => ended))
  for (const end of ends) {
    expect(end.code).toBe(4008)
    expect(end.reason).toMatch(/^SLOW_CONSUMER queued=\d+/)
  }
  for (const one of healthy) {
    expect(one.isInOrder()).toBe(true)
    one.ws.terminate()
  }
  publisher.terminate()
  await expect.poll(async () => (await system.stats()).sockets, { timeout: 5_000 }).toBe(0)
})

/** Joins, then reads nothing. */
async function openStalled(): Promise<RawWebSocket> {
  const raw = await openRawWebSocket({ port: system.busPort })
  raw.socket.write(rawFrame({ opcode: 1, payload: join() }))
  await raw.until(/"status":"success"/)
  raw.socket.pause()
  return raw
}

interface Healthy {
  readonly ws: WebSocket
  /** Resolves when message `n` is there. */
  received(n: number): Promise<void>
  isInOrder(): boolean
}

async function openHealthy(url: string): Promise<Healthy> {
  const ws = new WebSocket(url)
  let last = 0
  let isInOrder = true
  let waiting: { n: number; resolve: () => void } | undefined
  const joined = new Promise<void>((resolve) => {
    ws.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as { type: string; payload?: { n?: number } }
      if (frame.type === 'response') resolve()
      const n = frame.payload?.n
      if (n === undefined) return
      if (n !== last + 1) isInOrder = false
      last = n
      if (waiting !== undefined && last >= waiting.n) waiting.resolve()
    })
  })
  await once(ws, 'open')
  ws.send(join())
  await joined
  return {
    ws,
    received: (n) =>
      new Promise((resolve) => {
        if (last >= n) resolve()
        else waiting = { n, resolve }
      }),
    isInOrder: () => isInOrder,
  }
}
