// Broke: sending on a WebSocket that is not open throws or writes behind the close frame, which breaks RFC 6455; late
// answers of a slow store do it every time a client leaves.
// Seen: reliability 3.2, row 43.
// Guard: a connection swallows writes, closes and ticks once it is not open.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ListenerProcess, say, startListener } from '../support/listener-process.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
})
afterAll(() => listener.stop())

it('puts nothing on the wire behind its close frame', async () => {
  const raw = await listener.open()
  await raw.until(/^welcome$/)
  raw.socket.write(say('close-then-write'))
  expect(await raw.ended).toMatchObject({ code: 1000 })
  expect(raw.frames.map(({ opcode }) => opcode)).toEqual([1, 8]) // the welcome and one close
})

it('swallows everything an owner tries after its client has gone', async () => {
  const raw = await listener.open()
  await raw.until(/^welcome$/)
  raw.socket.resetAndDestroy()
  await listener.untilTold({ closed: 1006 })
  await listener.expectServing()
})
