// Sockets that take their time: silent, dripping, half a header, upgraded and then silent. They are gone in time, they
// do not use up what is there for others, and honest clients connect meanwhile (reliability P8).
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { printFigures } from '../../support/print-figures.ts'
import { openRawWebSocket, upgradeRequest } from '../../support/raw-websocket.ts'
import { type SystemProcess, startSystem } from '../../support/system-process.ts'

const slowSockets = 500
const honestConnects = 100
const attacker = '127.0.0.67'
const limits = {
  ARQONBUS_LIMIT_HEADER_TIMEOUT_MS: '1500',
  ARQONBUS_LIMIT_PING_INTERVAL_MS: '1000',
  ARQONBUS_LIMIT_PONG_TIMEOUT_MS: '500',
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '1000',
}
/** Header time-out and the interval of its check, or two pings and the closing time-out; and some for a busy machine. */
const goneWithinMs = 8_000
/** Generous: all of this shares the cores of one machine. */
const maxHonestP99Ms = 1_500

let system: SystemProcess | undefined
const opened: Socket[] = []
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.destroy()
  expect(await system?.stop()).toBe(0)
})

async function openSlow(port: number, count: number): Promise<Socket[]> {
  const sockets = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect({ port, host: '127.0.0.1', localAddress: attacker })
      socket.on('error', () => {}) // being thrown out is what is tested
      socket.resume()
      opened.push(socket)
      await once(socket, 'connect')
      return socket
    }),
  )
  return sockets
}

/** Writes one byte of the request each 200 ms until the socket is gone. */
function drip(socket: Socket, text: string): void {
  let at = 0
  const timer = setInterval(() => socket.write(text[at++ % text.length]!), 200)
  socket.once('close', () => clearInterval(timer))
}

const kinds: readonly (readonly [string, (socket: Socket, request: string) => void])[] = [
  ['silent', () => {}],
  ['dripping', (socket, request) => drip(socket, request)],
  ['half a header', (socket, request) => void socket.write(request.slice(0, request.length / 2))],
  ['upgraded, then silent', (socket, request) => void socket.write(request)],
]

describe('slow sockets', () => {
  it.each(kinds)('are gone in time while honest clients connect: %s', async (name, start) => {
    printFigures('limits set', limits)
    system = await startSystem(limits)
    const { busPort: port } = system
    const sockets = await openSlow(port, slowSockets)
    const startedAt = performance.now()
    const gone = Promise.all(sockets.map((socket) => once(socket, 'close')))
    const request = upgradeRequest({ port })
    for (const socket of sockets) start(socket, request)

    const honest: number[] = []
    for (let i = 0; i < honestConnects; i++) {
      const at = performance.now()
      const raw = await openRawWebSocket({ port })
      await raw.until(/client_id/)
      honest.push(performance.now() - at)
      raw.destroy()
    }
    await gone
    const goneMs = Math.round(performance.now() - startedAt)
    honest.sort((a, b) => a - b)
    const p99 = Math.round(honest[Math.floor(honest.length * 0.99)]!)
    printFigures(name, `${slowSockets} gone after ${goneMs} ms; ${honestConnects} honest connects p99 ${p99} ms`)
    expect(goneMs).toBeLessThan(goneWithinMs)
    expect(p99).toBeLessThan(maxHonestP99Ms)
    await expect.poll(async () => (await system!.stats()).sockets, { timeout: 3_000 }).toBe(0)
  })

  it('of one address cannot use up the sockets of the process', async () => {
    system = await startSystem({ ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_ADDRESS: '50' })
    const { busPort: port } = system
    await openSlow(port, 400)
    await expect.poll(async () => (await system!.stats()).sockets, { timeout: 3_000 }).toBeLessThanOrEqual(100)
    const raw = await openRawWebSocket({ port })
    await raw.until(/client_id/)
    raw.destroy()
  })
})
