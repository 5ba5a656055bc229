// Broke: code that runs when something has gone wrong threw itself (here: the log, on a full disk), and what was one
// bad connection became the end of the process.
// Seen: reliability 3.2, row 44.
// Guard: the listener for bad frames does nothing that can fail, and the listener's reports never throw.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ListenerProcess, say, startListener } from '../support/listener-process.ts'
import { exchange } from '../support/raw-http.ts'
import { rawFrame, upgradeRequest } from '../support/raw-websocket.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
  const raw = await listener.open()
  raw.socket.write(say('break-log'))
  await raw.until(/^log is broken$/)
  raw.destroy()
})
afterAll(() => listener.stop())

it('survives a bad frame while the log fails', async () => {
  const raw = await listener.open()
  raw.socket.write(rawFrame({ opcode: 3 }))
  expect((await raw.ended).code).toBe(1002)
  await listener.expectServing()
})

it.each(['throw', 'reject'])('survives an owner that fails (%s) while the log fails', async (command) => {
  const raw = await listener.open()
  raw.socket.write(say(command))
  expect((await raw.ended).code).toBe(1011)
  await listener.expectServing()
})

it('answers 500 to requests that fail while the log fails', async () => {
  const headers = { 'x-test': 'fail' }
  const upgrade = upgradeRequest({ port: listener.port, headers })
  expect(await exchange(listener.port, upgrade)).toMatch(/^HTTP\/1\.1 500 /)
  const plain = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Test: fail\r\n\r\n'
  expect(await exchange(listener.port, plain)).toMatch(/^HTTP\/1\.1 500 /)
  await listener.expectServing()
})
