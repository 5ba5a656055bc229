// Broke: what a frame handler throws, or rejects with later, goes up through the socket's events and ends the process.
// Seen: reliability 3.2, row 42.
// Guard: the connection catches it, logs one line, closes that connection with 1011; routers and the gateway turn
// what goes wrong with one frame into an INTERNAL_ERROR answer before it comes to that.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startEdgeLab } from '../support/edge-lab.ts'
import { type ListenerProcess, say, startListener } from '../support/listener-process.ts'

let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener()
})
afterAll(() => listener.stop())

it.each([
  ['throw', 'a careless owner'],
  ['reject', 'a careless owner, later'],
])('closes one connection with 1011 when its owner does this: %s', async (command, message) => {
  const bystander = await listener.open()
  const raw = await listener.open()
  raw.socket.write(say(command))
  expect(await raw.ended).toMatchObject({ code: 1011, reason: 'INTERNAL' })
  await listener.untilTold({ event: 'transport.internal_error', where: 'frame', message })
  bystander.socket.write(say('echo still here'))
  await bystander.until(/^echo still here$/)
  bystander.destroy()
  await listener.expectServing()
})

it.each([
  [
    'at once',
    () => {
      throw new Error('a policy that fails')
    },
  ],
  ['later', () => Promise.reject(new Error('a policy that fails'))],
])('answers INTERNAL_ERROR at the edge when a policy throws %s', async (_when, decide) => {
  const lab = await startEdgeLab({ shield: { policy: { name: 'fails', decide } } })
  try {
    const client = await lab.client('acme.alice')
    expect(await client.publish('room', 'channel', {})).toMatchObject({ type: 'error', error_code: 'INTERNAL_ERROR' })
    expect(client.closeCode).toBeUndefined()
  } finally {
    await lab.close()
  }
})
