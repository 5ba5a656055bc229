// Broke: after 'upgrade' the HTTP server no longer listens for errors of the socket; a reset while a token is being
// checked was an unhandled 'error' event and ended the process.
// Seen: reliability 3.2, row 41 (one RST is enough).
// Guard: the listener for errors is there before the first await, and a socket that is gone is not upgraded.
import { connect } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, it } from 'vitest'
import { type ListenerProcess, startListener } from '../support/listener-process.ts'
import { upgradeRequest } from '../support/raw-websocket.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
})
afterAll(() => listener.stop())

it.each(['slow', 'fail', 'refuse'])('survives a reset while authentication is %s', async (wish) => {
  for (let i = 0; i < 20; i++) {
    const socket = connect(listener.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(upgradeRequest({ port: listener.port, headers: { 'x-test': wish } }))
    if (wish === 'slow' && i === 0) await listener.untilTold({ authenticating: true })
    socket.resetAndDestroy()
  }
  await listener.expectServing()
})
