// Delivery by cursor: whatever joins, leaves and arrives between the turns of a sliced fan-out, each member is written
// exactly the messages after its cursor, once and in order, except its own.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Rooms } from '../../../src/rooms/rooms.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { createDelivery, createRecipient, type RecordingRecipient } from './recording-recipient.ts'
import { testOverflow } from '../../support/test-overflow.ts'

const key = { tenant: 'acme', room: 'lab', channel: 'general' }

function createRooms(sliceSize: number): Rooms {
  const bounds = { maxMembersPerChannel: 100, maxChannelsPerTenant: 100 }
  return new Rooms({
    clock: createManualClock(),
    ...bounds,
    epoch: 1,
    startsLoaded: true,
    sliceSize,
    overflow: testOverflow,
  })
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('fan-out', () => {
  it('writes each member exactly the messages after its cursor except its own, once and in order', async () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('push' as const),
          who: fc.nat(9),
          count: fc.integer({ min: 1, max: 4 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('join' as const), who: fc.nat(9), back: fc.nat(3) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), who: fc.nat(9) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(step, { maxLength: 60, size: 'max' }),
        async (sliceSize, steps) => {
          const rooms = createRooms(sliceSize)
          const stream = rooms.open(key)
          const senders: string[] = []
          /** One life of a membership: after `cursor`, up to `end`, which only a leave sets. */
          interface Life {
            readonly recipient: RecordingRecipient
            readonly cursor: number
            end: number | undefined
          }
          const lives: Life[] = []
          const current = new Map<number, Life>()
          for (const one of steps) {
            if (one.do === 'push') {
              for (let i = 0; i < one.count; i++) {
                senders.push(`client-${one.who}`)
                rooms.fanOut.push(stream, createDelivery(stream.head + 1, `client-${one.who}`))
              }
            } else if (one.do === 'join' && !current.has(one.who)) {
              // Below the head only as far as messages still wait for their turn: those before have left for good.
              const cursor = Math.max(stream.head - one.back, stream.flushedHead)
              const recipient = createRecipient(`client-${one.who}`, one.who % 2 === 0 ? 'json' : 'protobuf')
              rooms.join(stream, recipient, cursor)
              const life = { recipient, cursor, end: undefined }
              lives.push(life)
              current.set(one.who, life)
            } else if (one.do === 'leave') {
              const life = current.get(one.who)
              if (life === undefined) continue
              expect(rooms.leave(stream, life.recipient)).toBe(true)
              current.delete(one.who)
              life.end = life.recipient.writes.length
            } else if (one.do === 'turn') await turn()
          }
          await rooms.fanOut.idle()
          for (const { recipient, cursor, end } of lives) {
            const others = senders
              .map((sender, index) => ({ sender, sequence: index + 1 }))
              .filter(({ sender, sequence }) => sequence > cursor && sender !== recipient.id)
              .map(({ sequence }) => sequence)
            // After a leave nothing is written any more; before it, nothing is left out.
            if (end === undefined) expect(recipient.sequences).toEqual(others)
            else {
              expect(recipient.writes.length).toBe(end)
              expect(recipient.sequences).toEqual(others.slice(0, recipient.sequences.length))
            }
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('gathers the messages of one turn into one write that members with one cursor and format share', async () => {
    const rooms = createRooms(500)
    const stream = rooms.open(key)
    const [first, second, binary] = [createRecipient('a'), createRecipient('b'), createRecipient('c', 'protobuf')]
    for (const recipient of [first, second, binary]) rooms.join(stream, recipient, 0)
    for (let n = 1; n <= 3; n++) rooms.fanOut.push(stream, createDelivery(n, 'x'))
    await rooms.fanOut.idle()
    expect(first.writes).toHaveLength(1)
    expect(second.writes[0]).toBe(first.writes[0])
    expect(binary.writes).toHaveLength(1)
    expect(binary.writes[0]).not.toBe(first.writes[0])
    expect(rooms.fanOut.deliveries).toBe(9)
  })

  it('shows positions where there are any, in both formats, and none where there are none', async () => {
    const rooms = createRooms(500)
    const stream = rooms.open(key)
    const recipients = [createRecipient('a'), createRecipient('b', 'protobuf')]
    for (const recipient of recipients) rooms.join(stream, recipient, 0)
    rooms.fanOut.push(stream, createDelivery(1, 'x'))
    rooms.fanOut.push(stream, createDelivery(2, 'x', false))
    await rooms.fanOut.idle()
    for (const { frames } of recipients) {
      expect(frames.map((frame) => frame.metadata['position'])).toEqual([{ epoch: 7, sequence: 1 }, undefined])
      expect(frames.map((frame) => frame.sender)).toEqual(['x', 'x'])
    }
  })

  it('lets other work run between slices, and skips who left meanwhile', async () => {
    const rooms = createRooms(2)
    const stream = rooms.open(key)
    const recipients = Array.from({ length: 10 }, (_, index) => createRecipient(`client-${index}`))
    for (const recipient of recipients) rooms.join(stream, recipient, 0)
    rooms.fanOut.push(stream, createDelivery(1, 'x'))
    await turn()
    const written = (): number => recipients.filter(({ writes }) => writes.length > 0).length
    expect(written()).toBe(2)
    rooms.leave(stream, recipients[9]!)
    const late = createRecipient('late')
    rooms.join(stream, late, stream.head)
    rooms.fanOut.push(stream, createDelivery(2, 'x'))
    await rooms.fanOut.idle()
    for (const { sequences } of recipients.slice(0, 9)) expect(sequences).toEqual([1, 2])
    expect(recipients[9]!.sequences).toEqual([])
    expect(late.sequences).toEqual([2])
  })

  it('hands each batch to the outlet once while members are remote, and never writes to those', async () => {
    const rooms = createRooms(500)
    const stream = rooms.open(key)
    const batches: number[][] = []
    rooms.outlet = { publish: (_stream, deliveries) => void batches.push(deliveries.map((d) => d.sequence)) }
    rooms.fanOut.push(stream, createDelivery(1, 'x'))
    await rooms.fanOut.idle()
    const remote = [createRecipient('r1', 'protobuf', true), createRecipient('r2', 'protobuf', true)]
    for (const recipient of remote) rooms.join(stream, recipient, stream.head)
    for (let n = 2; n <= 4; n++) rooms.fanOut.push(stream, createDelivery(n, 'x'))
    await rooms.fanOut.idle()
    for (const recipient of remote) rooms.leave(stream, recipient)
    rooms.fanOut.push(stream, createDelivery(5, 'x'))
    await rooms.fanOut.idle()
    expect(batches).toEqual([[2, 3, 4]])
  })

  it('resolves idle at once when nothing is under way', async () => {
    await createRooms(1).fanOut.idle()
  })
})
