import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type CloseName, closeTable } from '../../../src/base/close-codes.ts'
import { safeClose } from '../../../src/transport/safe-socket.ts'

let server: WebSocketServer
beforeAll(
  () =>
    new Promise<void>((resolve) => {
      server = new WebSocketServer({ host: '127.0.0.1', port: 0 }, resolve)
    }),
)
afterAll(() => new Promise<void>((resolve) => server.close(() => resolve())))

/** Both ends of a new connection. */
async function pair(): Promise<{ near: WebSocket; far: WebSocket }> {
  const accepted = new Promise<WebSocket>((resolve) => server.once('connection', resolve))
  const far = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const near = await accepted
  await new Promise((resolve) => (far.readyState === far.OPEN ? resolve(undefined) : far.once('open', resolve)))
  return { near, far }
}

const closeOf = (ws: WebSocket): Promise<{ code: number; reason: string }> =>
  new Promise((resolve) => ws.once('close', (code, reason) => resolve({ code, reason: reason.toString() })))

describe('safeClose', () => {
  it.each(Object.keys(closeTable) as CloseName[])('reaches the peer with %s, however long the detail', async (name) => {
    const { near, far } = await pair()
    const closed = closeOf(far)
    safeClose(near, name, '💥'.repeat(200))
    const { code, reason } = await closed
    expect(code).toBe(closeTable[name].code)
    expect(reason.startsWith(`${name} 💥`)).toBe(true)
    expect(reason.endsWith('💥')).toBe(true)
  })

  it('is harmless while closing, when closed, and before the connection is open', async () => {
    const { near, far } = await pair()
    const closed = closeOf(near)
    safeClose(near, 'NORMAL')
    safeClose(near, 'FLOOD')
    expect(await closed).toMatchObject({ code: 1000 })
    safeClose(near, 'FLOOD')
    safeClose(far, 'FLOOD')
    const opening = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
    opening.on('error', () => {}) // that it never opened
    const ended = closeOf(opening)
    safeClose(opening, 'NORMAL')
    expect(await ended).toMatchObject({ code: 1006 })
  })
})
