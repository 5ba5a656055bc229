import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { parseHeads } from '../../../src/envelope/edge-protocol.ts'
import { createMemoryHub } from '../../../src/link/memory-link.ts'
import { createEdgeOutlet } from '../../../src/relay/outlet.ts'
import { Delivery } from '../../../src/rooms/delivery.ts'
import { Rooms } from '../../../src/rooms/rooms.ts'
import { frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import { collect } from '../../support/contracts/link.ts'
import { testOverflow } from '../../support/test-overflow.ts'

const key = { tenant: 'acme', room: 'ops', channel: 'a' }
const remote = { id: 'r', format: 'json', isRemote: true, write: () => undefined } as const

const frame = frameFromEnvelope(
  {
    id: 'arq_1795417006860163159_1_55420b',
    timestamp: '2026-11-23T12:00:00.000Z',
    type: 'message',
    version: '1.0',
    room: 'ops',
    channel: 'a',
    payload: {},
    args: {},
    metadata: {},
  },
  { sender: 's' },
)

function setUp() {
  const hub = createMemoryHub({ maxPayload: 100_000 })
  const link = hub.connect('bus')
  const rooms = new Rooms({
    clock: systemClock,
    maxMembersPerChannel: 10,
    maxChannelsPerTenant: 10,
    epoch: 1,
    startsLoaded: true,
    overflow: testOverflow,
  })
  const outlet = createEdgeOutlet({ link, rooms, isPositioned: false, epochOf: () => 77, logger: silentLogger })
  rooms.outlet = outlet
  return { hub, link, rooms, outlet, stream: rooms.open(key) }
}

test('a head never tells of a message that has not left yet: a gateway would give it up for lost', async () => {
  const { hub, rooms, outlet, stream } = setUp()
  const edge = hub.connect('edge')
  const heads = collect(edge, 'ctl.edge.heads')
  const live = collect(edge, 'out.t.acme.r.ops.*')
  await edge.flush()
  rooms.join(stream, remote, 0)
  rooms.fanOut.push(stream, new Delivery(1, 's', frame, undefined))
  outlet.announceHeads()
  await rooms.fanOut.idle()
  outlet.announceHeads()
  await Promise.all([heads.next(2), live.next(1)])
  expect(heads.messages.map(({ data }) => parseHeads(data))).toEqual([
    [{ ...key, epoch: 77, last: 0, isPositioned: false }],
    [{ ...key, epoch: 77, last: 1, isPositioned: false }],
  ])
  expect(live.messages[0]!.headers).toMatchObject({
    'x-arqon-seq': '1',
    'x-arqon-epoch': '77',
    'x-arqon-live': JSON.stringify([['s', frame.length]]),
  })
})

test('says nothing of streams without remote members, and counts what a lost link kept back', async () => {
  const { hub, rooms, outlet, stream } = setUp()
  const edge = hub.connect('edge')
  const all = collect(edge, '>')
  await edge.flush()
  rooms.fanOut.push(stream, new Delivery(1, 's', frame, undefined))
  outlet.announceHeads()
  await rooms.fanOut.idle()
  rooms.join(stream, remote, 1)
  hub.disconnect('bus')
  rooms.fanOut.push(stream, new Delivery(2, 's', frame, undefined))
  outlet.announceHeads()
  await rooms.fanOut.idle()
  await edge.flush()
  expect(all.messages).toEqual([])
  expect(outlet.lost).toBe(1)
})

test('tells gateways of a stream whose members were all removed', async () => {
  const { hub, rooms, outlet, stream } = setUp()
  const edge = hub.connect('edge')
  const removed = collect(edge, 'ctl.edge.removed')
  await edge.flush()
  rooms.join(stream, remote, 0)
  outlet.announceHeads()
  rooms.hide(stream)
  outlet.announceHeads()
  outlet.announceHeads()
  await removed.next(1)
  await edge.flush()
  expect(removed.texts().map((text) => JSON.parse(text) as unknown)).toEqual([key])
})
