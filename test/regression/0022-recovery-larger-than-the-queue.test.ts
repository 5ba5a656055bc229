// What broke: by default one recovery may bring 4 MiB, and a client may have 1 MiB queued. A recovery between the two
// was written at once behind its own answer, and closed the client as a slow consumer; it came back, recovered, and
// was closed again, for ever.
// How it was seen: kill-nine read a whole log of 1 MiB through `recover` and was closed with 4008.
// What guards it: this.
import { afterEach, expect, it } from 'vitest'
import type { JsonObject } from '../../src/base/json.ts'
import { type BusInProcess, startBusInProcess } from '../support/launch/bus-in-process.ts'
import { dataOf, positionOf } from '../support/launch/wire-client.ts'

let bus: BusInProcess
afterEach(() => bus.close())

const defaultQueue = {
  ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_CLIENT: '1048576',
  ARQONBUS_LIMIT_MAX_RECOVER_BYTES: '4194304',
}

it.each(['one', '*'])(
  'what a client may not have queued is refused as too far behind, and it stays (%s)',
  async (channel) => {
    bus = await startBusInProcess({ env: defaultQueue })
    const [publisher, reader] = [await bus.client(), await bus.client()]
    let start: JsonObject = {}
    for (let n = 0; n < 32; n++) {
      for (const name of ['one', 'two']) {
        const { epoch } = positionOf(await publisher.publish('lab', name, { n, pad: 'x'.repeat(64_000) }))
        start = { epoch, sequence: 0 }
      }
    }
    const recover = channel === '*' ? { one: start, two: start } : start
    expect(dataOf(await reader.join('lab', channel, recover))).toMatchObject({ recovered: false })
    await publisher.publish('lab', 'one', { last: true })
    await reader.until((frame) => (frame.payload as JsonObject)['last'] === true, 'live message')
  },
)

it.each(['json', 'protobuf'] as const)('what a client may have queued is recovered (%s)', async (format) => {
  bus = await startBusInProcess({ env: defaultQueue })
  const [publisher, reader] = [await bus.client(), await bus.client({ format })]
  let epoch = 0
  for (let n = 0; n < 250; n++)
    epoch = positionOf(await publisher.publish('lab', 'one', { n, pad: 'x'.repeat(1_500) })).epoch
  const answer = await reader.join('lab', 'one', { epoch, sequence: 0 })
  expect(dataOf(answer)).toMatchObject({ recovered: true, replayed: 250 })
  await reader.received(250)
})
