// Broke: closing with a code that must not be sent (1005, 1006, 999) makes `ws` throw; echoing a peer's code does it too.
// Seen: reliability 3.2, row 39.
// Guard: codes come from one table by name, and every one of them is put on the wire here.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { closeTable } from '../../src/base/close-codes.ts'
import { type ListenerProcess, say, startListener } from '../support/listener-process.ts'
import { rawFrame } from '../support/raw-websocket.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
})
afterAll(() => listener.stop())

/** RFC 6455 7.4: the others are reserved, or must never be in a frame. */
const isLegal = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999)

it.each(Object.entries(closeTable))('sends the code of %s as the table has it', async (name, { code }) => {
  const raw = await listener.open()
  raw.socket.write(say(`close ${name}`))
  expect(await raw.ended).toMatchObject({ code, reason: name })
  expect(isLegal(code)).toBe(true)
  await listener.expectServing()
})

it.each([999, 1004, 1005, 1006, 1015, 65_535])('answers a peer that closes with %i by 1002', async (code) => {
  const raw = await listener.open()
  raw.socket.write(rawFrame({ opcode: 8, payload: Buffer.from([code >> 8, code & 255]) }))
  expect((await raw.ended).code).toBe(1002)
  await listener.expectServing()
})
