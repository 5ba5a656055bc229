// What broke: a bus that stopped with nothing under way destroyed its sockets in the turn in which it had written
// goaway and the close frame: clients saw 1006 instead of 1012 and did not know when to come back.
// How it was seen: integration/bus "spreads the time at which its clients come back" got no goaway at all.
// What guards it: this, for an idle bus; integration/bus/sessions for a busy one.
import { expect, it } from 'vitest'
import { startBusInProcess } from '../support/launch/bus-in-process.ts'

it('clients of an idle bus that stops are told to come back, and how', async () => {
  const bus = await startBusInProcess({ history: 'none' })
  const clients = await Promise.all(Array.from({ length: 5 }, () => bus.client()))
  await bus.close()
  for (const client of clients) {
    expect((await client.closed).code).toBe(1012)
    expect(client.frames.at(-1)!.type).toBe('goaway')
  }
})

it('a client that never answers the close does not hold up the stop for longer than the closing time-out', async () => {
  const bus = await startBusInProcess({ history: 'none', env: { ARQONBUS_LIMIT_CLOSE_TIMEOUT_MS: '300' } })
  const silent = await bus.client()
  silent.ws.pause()
  const begun = performance.now()
  await bus.close()
  expect(performance.now() - begun).toBeLessThan(5_000)
})
