// Members of a busy channel that stop reading and chose to miss messages: ten among a thousand stay connected, cost
// little memory, and nobody else waits for them (reliability P5).
import { once } from 'node:events'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createMessageIds } from '../../../src/base/ids.ts'
import { printFigures } from '../../support/print-figures.ts'
import { openRawWebSocket, type RawWebSocket, rawFrame } from '../../support/raw-websocket.ts'
import { type SystemProcess, startSystem } from '../../support/system-process.ts'

const memberCount = 1_000
const stalledCount = 10
const watchedCount = 10
const messages = 100
const pauseMs = 50
/** Kernels take up to 10 MiB for each socket that is not read; the rest would be above the bound if it were held. */
const filler = { count: 1_200, bytes: 48 * 1_024 }
const maxGrowthBytes = 40 * 1_024 * 1_024
const limits = {
  ARQONBUS_LIMIT_PING_INTERVAL_MS: '600000', // raw sockets do not answer
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND: '10000',
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '10000',
  ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '10000',
  ARQONBUS_LIMIT_MESSAGES_BURST: '10000',
  ARQONBUS_LIMIT_BYTES_PER_SECOND: String(512 * 1_024 * 1_024),
  ARQONBUS_LIMIT_BYTES_BURST: String(512 * 1_024 * 1_024),
}
const nextId = createMessageIds(Date.now())
const envelope = (fields: object): string =>
  JSON.stringify({ id: nextId(), timestamp: new Date().toISOString(), version: '1.0', ...fields })
const join = (channel: string, overflow?: string): string =>
  envelope({ type: 'command', command: 'join_channel', args: { room: 'busy', channel, overflow } })
const publish = (channel: string, payload: object): string =>
  envelope({ type: 'message', room: 'busy', channel, payload, metadata: { ack: 'none' } })

let system: SystemProcess
beforeAll(async () => {
  printFigures('limits set', limits)
  system = await startSystem(limits)
})
afterAll(async () => {
  expect(await system.stop()).toBe(0)
})

it('keeps stalled members for little memory, and others do not wait', { timeout: 60_000 }, async () => {
  const stalled: RawWebSocket[] = []
  for (let i = 0; i < stalledCount; i++) stalled.push(await openMember('work', i % 2 ? 'latest' : 'drop_oldest'))
  for (const one of stalled) one.socket.write(rawFrame({ opcode: 1, payload: join('filler', 'latest') }))
  const crowd: RawWebSocket[] = []
  for (let i = stalledCount + watchedCount; i < memberCount; i++) {
    const member = await openMember('work')
    member.socket.removeAllListeners('data')
    member.socket.resume() // read, and not looked at
    crowd.push(member)
  }
  const watched = await Promise.all(Array.from({ length: watchedCount }, () => openWatched()))
  const publisher = new WebSocket(`ws://127.0.0.1:${system.busPort}`)
  await once(publisher, 'open')

  // Warms up: what the same load costs while everybody reads is no cost of stalled members.
  await fill(publisher)
  await run(publisher, watched, 1)
  const quiet = await run(publisher, watched, 2)
  const before = await system.stats()
  for (const { socket } of stalled) socket.pause()
  await fill(publisher)
  const busy = await run(publisher, watched, 3)
  const after = await system.stats()
  // In use after a collection: how soon the process gives memory back is not the stalled members' doing.
  const growth = after.held - before.held
  printFigures(`${stalledCount} stalled of ${memberCount}`, {
    growthMiB: Math.round(growth / 1_024 / 1_024),
    rssGrowthMiB: Math.round((after.rss - before.rss) / 1_024 / 1_024),
    quietMs: quiet,
    busyMs: busy,
  })
  expect(growth).toBeLessThan(maxGrowthBytes)
  // The machine does other things too: twice as late, and a little, is not their doing.
  expect(busy.p50).toBeLessThan(2 * quiet.p50 + 20)
  expect(busy.p99).toBeLessThan(2 * quiet.p99 + 250)

  for (const [index, one] of stalled.entries()) {
    one.socket.resume()
    await expect.poll(() => workFrames(one).at(-1), { timeout: 10_000 }).toMatchObject({ n: messages, run: 3 })
    // Messages and gaps together are everything published. How many gaps there are is the kernel's doing: whenever it
    // takes a little more, a member that is behind is written the newest.
    let told = 0
    for (const { missed, n, run } of workFrames(one)) {
      if (missed !== undefined) told += missed
      else expect((run! - 1) * messages + n!, `stalled ${index}`).toBe(++told)
    }
    expect(told, `stalled ${index}`).toBe(3 * messages)
    // What is held for `drop_oldest` has room for all of the run.
    if (index % 2 === 0) expect(workFrames(one).filter(({ missed }) => missed !== undefined)).toEqual([])
    expect(one.socket.destroyed, `stalled ${index}`).toBe(false)
    one.destroy()
  }
  for (const one of crowd) one.destroy()
  for (const { ws } of watched) ws.terminate()
  publisher.terminate()
})

async function openMember(channel: string, overflow?: string): Promise<RawWebSocket> {
  const raw = await openRawWebSocket({ port: system.busPort })
  raw.socket.write(rawFrame({ opcode: 1, payload: join(channel, overflow) }))
  await raw.until(/"status":"success"/)
  return raw
}

/** A message has `n` and `run`, a gap `missed`. */
interface WorkFrame {
  readonly n?: number
  readonly run?: number
  readonly missed?: number
}

/** What a member was told of the channel `work`, in order. */
function workFrames({ frames }: RawWebSocket): WorkFrame[] {
  return frames
    .map(({ payload }) => payload.toString())
    .filter((text) => text.includes('"channel":"work"') && text.length < 8_192)
    .map((text) => JSON.parse(text) as { readonly type: string; readonly payload: WorkFrame })
    .filter(({ type }) => type === 'message' || type === 'gap')
    .map(({ payload }) => payload)
}

interface Watched {
  readonly ws: WebSocket
  /** Milliseconds from publish to receipt of each message of a run. */
  latencies(run: number): Promise<number[]>
}

async function openWatched(): Promise<Watched> {
  const ws = new WebSocket(`ws://127.0.0.1:${system.busPort}`)
  await once(ws, 'open')
  const byRun = new Map<number, number[]>()
  const waiting = new Map<number, () => void>()
  ws.on('message', (data: Buffer) => {
    const { type, payload } = JSON.parse(data.toString()) as {
      type: string
      payload: { n?: number; run: number; atMs: number }
    }
    if (type !== 'message' || payload.n === undefined) return
    const list = byRun.get(payload.run) ?? []
    byRun.set(payload.run, list)
    expect(payload.n).toBe(list.length + 1)
    list.push(performance.now() - payload.atMs)
    if (list.length === messages) waiting.get(payload.run)?.()
  })
  const joined = new Promise<void>((resolve) => {
    ws.on('message', (data: Buffer) => data.includes('"status":"success"') && resolve())
  })
  ws.send(join('work'))
  await joined
  return {
    ws,
    async latencies(run) {
      if (byRun.get(run)?.length !== messages) await new Promise<void>((resolve) => waiting.set(run, resolve))
      return byRun.get(run)!
    },
  }
}

/** As much as kernels take for sockets that are not read, and more; only those joined it that will stall. */
async function fill(publisher: WebSocket): Promise<void> {
  const text = 'f'.repeat(filler.bytes)
  for (let n = 0; n < filler.count; n++) publisher.send(publish('filler', { n, text }))
  const answered = once(publisher, 'message') // none of what was published before is answered
  publisher.send(envelope({ type: 'command', command: 'ping', args: {} }))
  await answered
}

/** Publishes a run; returns how late those watched got it, ms. */
async function run(
  publisher: WebSocket,
  watched: readonly Watched[],
  number: number,
): Promise<{ p50: number; p99: number }> {
  const all = Promise.all(watched.map((one) => one.latencies(number)))
  for (let n = 1; n <= messages; n++) {
    publisher.send(publish('work', { n, run: number, atMs: performance.now(), text: 'x'.repeat(1_000) }))
    await new Promise((resolve) => setTimeout(resolve, pauseMs)) // the rate of the load
  }
  const sorted = (await all).flat().toSorted((a, b) => a - b)
  const at = (share: number): number => Math.round(sorted[Math.floor(sorted.length * share)]!)
  return { p50: at(0.5), p99: at(0.99) }
}
