// Recovery is complete and in order, or it is refused with its reason, and the join stands all the same.
import { afterEach, describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope, Position, WireFormat } from '../../../src/envelope/envelope.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { createTempDir, removeTempDir } from '../../support/launch/launch-up.ts'
import { chooseSeed, createSeeded } from '../../support/launch/seeded.ts'
import { dataOf, positionOf, toPosition, type WireClient } from '../../support/launch/wire-client.ts'

let bus: BusInProcess
let dataDir: string | undefined
afterEach(async () => {
  await bus.close()
  if (dataDir !== undefined) await removeTempDir(dataDir)
  dataDir = undefined
})

async function publish(client: WireClient, channel: string, count: number): Promise<Position[]> {
  const acks = Array.from({ length: count }, (_, n) => client.publish('lab', channel, { n, pad: 'x'.repeat(200) }))
  return (await Promise.all(acks)).map(positionOf)
}

const sequences = (frames: readonly Envelope[]): number[] => frames.map((frame) => positionOf(frame).sequence)
const upTo = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('a recovery is refused with', () => {
  const rows: readonly {
    reason: string
    env?: Record<string, string>
    from: (last: Position) => Position
    spoil?: (running: BusInProcess) => Promise<void>
  }[] = [
    { reason: 'epoch_changed', from: ({ epoch }) => ({ epoch: epoch - 1, sequence: 0 }) },
    { reason: 'ahead_of_server', from: ({ epoch }) => ({ epoch, sequence: 21 }) },
    {
      reason: 'retention_expired',
      env: { ARQONBUS_MAX_HISTORY_SIZE: '5' },
      from: ({ epoch }) => ({ epoch, sequence: 3 }),
    },
    {
      reason: 'too_far_behind',
      env: { ARQONBUS_LIMIT_MAX_RECOVER_MESSAGES: '10' },
      from: ({ epoch }) => ({ epoch, sequence: 9 }),
    },
    {
      reason: 'too_far_behind',
      env: { ARQONBUS_LIMIT_MAX_RECOVER_BYTES: '4096' },
      from: ({ epoch }) => ({ epoch, sequence: 0 }),
    },
    {
      reason: 'backend_unavailable',
      from: ({ epoch }) => ({ epoch, sequence: 1 }),
      spoil: async ({ store }) => store!.close(),
    },
  ]
  it.each(rows)('$reason', async ({ reason, env = {}, from, spoil }) => {
    bus = await startBusInProcess({ env })
    const [publisher, reader, whole] = [await bus.client(), await bus.client(), await bus.client()]
    const last = (await publish(publisher, 'one', 20)).at(-1)!
    await whole.join('lab', '*')
    await spoil?.(bus)
    const answer = await reader.join('lab', 'one', { ...from(last) })
    expect(answer.status).toBe('success')
    expect(dataOf(answer)).toMatchObject({ recovered: false, reason, replayed: 0, position: { ...last } })
    if (spoil !== undefined) return
    const room = dataOf(await whole.join('lab', '*', { one: { ...from(last) } }))
    expect(room).toMatchObject({ recovered: false, recoveries: { one: { recovered: false, reason } } })
    // Live goes on after the position that was told, and nothing of before it comes.
    await publish(publisher, 'one', 2)
    expect(sequences(await reader.received(2))).toEqual([21, 22])
    expect(sequences(await whole.received(2))).toEqual([21, 22])
  })

  it('backend_unavailable where nothing is stored', async () => {
    bus = await startBusInProcess({ history: 'none' })
    const answer = await (await bus.client()).join('lab', 'one', { epoch: 1, sequence: 0 })
    expect(dataOf(answer)).toMatchObject({ recovered: false, reason: 'backend_unavailable' })
    expect(dataOf(answer)['position']).toBeUndefined()
  })
})

describe('a recovery at its bounds', () => {
  it('brings exactly as many messages as are allowed, from the oldest that is kept', async () => {
    bus = await startBusInProcess({
      env: { ARQONBUS_LIMIT_MAX_RECOVER_MESSAGES: '10', ARQONBUS_MAX_HISTORY_SIZE: '10' },
    })
    const publisher = await bus.client()
    const { epoch } = (await publish(publisher, 'one', 20)).at(-1)!
    const reader = await bus.client()
    const answer = await reader.join('lab', 'one', { epoch, sequence: 10 })
    expect(dataOf(answer)).toMatchObject({ recovered: true, replayed: 10 })
    expect(sequences(await reader.received(10))).toEqual(upTo(11, 20))
  })

  it('brings nothing to who is up to date, and its own messages to who asks for the log', async () => {
    bus = await startBusInProcess()
    const client = await bus.client()
    const last = (await publish(client, 'one', 3)).at(-1)!
    expect(dataOf(await client.join('lab', 'one', { ...last }))).toMatchObject({ recovered: true, replayed: 0 })
    await client.join('lab', 'one', { ...last, sequence: 0 })
    expect(sequences(await client.received(3))).toEqual([1, 2, 3])
  })

  it('gives each channel of a whole room its own outcome', async () => {
    bus = await startBusInProcess()
    const [publisher, reader] = [await bus.client(), await bus.client()]
    const one = (await publish(publisher, 'one', 3)).at(-1)!
    await publish(publisher, 'two', 2)
    const data = dataOf(
      await reader.join('lab', '*', { one: { ...one, sequence: 1 }, two: { epoch: 1, sequence: 0 } } as JsonObject),
    )
    expect(data).toMatchObject({
      recovered: false,
      replayed: 2,
      recoveries: { one: { recovered: true }, two: { recovered: false, reason: 'epoch_changed' } },
      positions: { one: { sequence: 3 }, two: { sequence: 2 } },
    })
    expect(sequences(await reader.received(2, 'one'))).toEqual([2, 3])
  })
})

describe.each(['json', 'protobuf'] as const)('while others publish (%s)', (format: WireFormat) => {
  it('every join and re-join gets what follows the position it named, once and in order', async () => {
    const seed = chooseSeed()
    const random = createSeeded(seed)
    // On disk the log is ahead of what this process has heard of it: records are read before they are confirmed.
    dataDir = await createTempDir()
    bus = await startBusInProcess({ env: { ARQONBUS_STORAGE_BACKEND: 'embedded', ARQONBUS_DATA_DIR: dataDir } })
    const channels = ['one', 'two', 'three']
    const publishers = await Promise.all(channels.map(() => bus.client({ format })))
    let isOn = true
    const counts = new Map(channels.map((channel) => [channel, 0]))
    const epoch = (await Promise.all(channels.map((channel, i) => publish(publishers[i]!, channel, 1))))[0]![0]!.epoch
    const publishing = Promise.all(
      channels.map(async (channel, i) => {
        for (let n = 1; isOn; n += 5) {
          const acks = Array.from({ length: 5 }, () => publishers[i]!.publish('lab', channel, { n }))
          for (const ack of await Promise.all(acks)) counts.set(channel, positionOf(ack).sequence)
        }
      }),
    )
    const readers: { client: WireClient; from: Map<string, number> }[] = []
    for (let round = 0; round < 30; round++) {
      const client = await bus.client({ format })
      const from = new Map(channels.map((channel) => [channel, random.int(0, counts.get(channel)!)]))
      readers.push({ client, from })
      if (round % 2 === 0) {
        const map = Object.fromEntries([...from].map(([channel, sequence]) => [channel, { epoch, sequence }]))
        expect(dataOf(await client.join('lab', '*', map))).toMatchObject({ recovered: true })
      } else {
        for (const [channel, sequence] of from) {
          const answer = await client.join('lab', channel, { epoch, sequence })
          expect(dataOf(answer)).toMatchObject({ recovered: true })
          expect(toPosition(dataOf(answer)['position']).sequence).toBeGreaterThanOrEqual(sequence)
        }
      }
    }
    isOn = false
    await publishing
    await bus.core.publisher.idle()
    for (const { client, from } of readers) {
      for (const [channel, sequence] of from) {
        const last = counts.get(channel)!
        const got = sequences(await client.received(last - sequence, channel))
        await client.command('ping')
        expect(got, `seed ${seed}`).toEqual(upTo(sequence + 1, last))
        expect(client.messages(channel)).toHaveLength(last - sequence)
      }
    }
  })
})
