// Broke: one frame that breaks RFC 6455 is an 'error' event of its WebSocket; without a listener it ends the process.
// Seen: reliability 3.2, row 40.
// Guard: frames are read by a parser of our own, which names what is wrong instead of throwing or emitting it.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ListenerProcess, startListener } from '../support/listener-process.ts'
import { rawFrame, upgradeRequest } from '../support/raw-websocket.ts'
import { exchange } from '../support/raw-http.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
})
afterAll(() => listener.stop())

const unmasked = rawFrame({ opcode: 1, payload: 'x', isMasked: false })

it('answers a bad frame with 1002 and goes on', async () => {
  const raw = await listener.open()
  raw.socket.write(unmasked)
  expect((await raw.ended).code).toBe(1002)
  await listener.untilTold({ closed: 1002 })
  await listener.expectServing()
})

it('goes on when the bad frame comes in one piece with the upgrade request', async () => {
  const request = Buffer.concat([Buffer.from(upgradeRequest({ port: listener.port })), unmasked])
  expect(await exchange(listener.port, request)).toMatch(/^HTTP\/1\.1 101 /)
  await listener.expectServing()
})
