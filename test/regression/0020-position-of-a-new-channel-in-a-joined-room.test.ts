// What broke: while somebody was a member of the whole room, a join of a channel without messages was answered with a
// position of epoch 1 instead of the store's. The first message then came in another epoch than announced, and a
// recovery from the announced position was refused with `epoch_changed`: the messages in between were lost.
// How it was seen: kill-nine's checker, "reader was not told that epoch … has begun" (C6).
// What guards it: this, and the epochs in test/e2e/durability.
import { afterEach, expect, it } from 'vitest'
import type { JsonObject } from '../../src/base/json.ts'
import { type BusInProcess, startBusInProcess } from '../support/launch/bus-in-process.ts'
import { dataOf, positionOf, toPosition } from '../support/launch/wire-client.ts'

let bus: BusInProcess
afterEach(() => bus.close())

it('a channel made in a joined room has the epoch of its store from the first answer on', async () => {
  bus = await startBusInProcess()
  const [whole, reader, publisher] = [await bus.client(), await bus.client(), await bus.client()]
  await whole.join('lab', '*')
  const told = toPosition(dataOf(await reader.join('lab', 'new'))['position'])
  await reader.terminate()
  const ack = positionOf(await publisher.publish('lab', 'new', { n: 1 }))
  expect(told).toEqual({ epoch: ack.epoch, sequence: 0 })
  expect((await whole.received(1)).map(positionOf)).toEqual([ack])

  const again = await bus.client()
  const answer = await again.join('lab', 'new', { ...told } as JsonObject)
  expect(dataOf(answer)).toMatchObject({ recovered: true, replayed: 1 })
})

it('members of a room get the first message of a channel that is joined while it is being stored', async () => {
  bus = await startBusInProcess()
  const [whole, publisher, reader] = [await bus.client(), await bus.client(), await bus.client()]
  await whole.join('lab', '*')
  for (let n = 1; n <= 50; n++) {
    const [answer, ack] = await Promise.all([reader.join('lab', `c${n}`), publisher.publish('lab', `c${n}`, { n })])
    const { epoch, sequence } = toPosition(dataOf(answer)['position'])
    expect(epoch).toBe(positionOf(ack).epoch)
    await whole.received(n)
    // Position 1 stands for the message; position 0 promises that it comes.
    await reader.received(1 - sequence, `c${n}`)
  }
  await whole.command('ping')
  expect(whole.messages().map((frame) => (frame.payload as { n: number }).n)).toEqual(
    Array.from({ length: 50 }, (_, index) => index + 1),
  )
})
