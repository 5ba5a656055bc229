// The SDK when it reads too slowly: with an overflow policy it stays connected, is told of gaps between the messages,
// and after a lost connection goes on behind them.
import { afterEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Client, connect, type Gap, type WebSocketConstructor } from '../../../src/client/client.ts'
import { startTestBus, type TestBus } from './bus.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

/** More than kernels take for a socket that is not read: 9 MB. */
const count = 180
const text = 'x'.repeat(50_000)
const env = {
  ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '5000',
  ARQONBUS_LIMIT_MESSAGES_BURST: '10000',
  ARQONBUS_LIMIT_BYTES_PER_SECOND: '500000000',
  ARQONBUS_LIMIT_BYTES_BURST: '500000000',
}

/** `ws`, which can be told not to read. */
const sockets: WebSocket[] = []
class Pausable extends WebSocket {
  constructor(url: string) {
    super(url)
    sockets.push(this)
  }
}

async function connectTo(bus: TestBus, WebSocketClass?: typeof Pausable): Promise<Client> {
  const client = await connect({
    url: bus.url,
    // Structurally what the SDK needs; the types of `ws` name more events.
    ...(WebSocketClass !== undefined && { WebSocket: WebSocketClass as unknown as WebSocketConstructor }),
  })
  open.push(client)
  return client
}

it.each(['drop_oldest', 'latest'] as const)('is told of gaps under %s, in their place', async (overflow) => {
  const bus = await startTestBus({ env })
  open.push({ close: () => bus.kill() })
  const reader = await connectTo(bus, Pausable)
  const socket = sockets.at(-1)!
  const publisher = await connectTo(bus)
  const seen: (number | Gap)[] = []
  const options = {
    overflow,
    onMessage: ({ payload }: { payload: unknown }) => void seen.push((payload as { n: number }).n),
    onGap: (gap: Gap) => void seen.push(gap),
  }
  await reader.join('ops', 'a', options)
  socket.pause()
  for (let n = 1; n <= count; n++) await publisher.publish('ops', 'a', { n, text })
  socket.resume()
  await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(count)

  let last = 0
  let gaps = 0
  for (const one of seen) {
    if (typeof one === 'number') expect(one).toBe(++last)
    else {
      gaps++
      expect(one).toMatchObject({ room: 'ops', channel: 'a', reason: 'overflow' })
      expect(one.from?.sequence).toBe(last + 1)
      last += one.missed!
      expect(one.to?.sequence).toBe(last)
    }
  }
  expect(gaps).toBe(1)

  // What was told as missed is not asked for again.
  const before = sockets.length
  socket.terminate()
  await expect.poll(() => sockets.length).toBeGreaterThan(before) // it connects again, and may have done so already
  await publisher.publish('ops', 'a', { n: count + 1 })
  await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(count + 1)
  expect(seen.filter((one) => typeof one === 'number').length).toBe(new Set(seen).size - gaps)
})
