// Broke: a close reason over 123 bytes makes `ws` throw a RangeError; thrown from a timer, it ends the process.
// Seen: reliability 3.2, row 38 (laboratory, one of seven mistakes that each kill a server).
// Guard: all closes go through safeClose, which cuts reasons at 120 bytes between characters.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ListenerProcess, say, startListener } from '../support/listener-process.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
})
afterAll(() => listener.stop())

it('cuts a close reason that is too long between two characters, and goes on', async () => {
  const raw = await listener.open()
  raw.socket.write(say('close-long'))
  const { code, reason } = await raw.ended
  expect(code).toBe(1008)
  expect(reason).toMatch(/^POLICY_VIOLATION €+$/)
  expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(120)
  await listener.expectServing()
})
