// Who is a member of what, by channel and by whole room at once: judged against a plain model.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { Rooms } from '../../../src/rooms/rooms.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { createDelivery, createRecipient } from './recording-recipient.ts'
import { testOverflow } from '../../support/test-overflow.ts'

const tenants = ['acme', 'globex'] as const
const roomNames = ['lab', 'hall'] as const
const channels = ['one', 'two', 'three'] as const

function createRooms(
  bounds: { maxMembersPerChannel?: number; maxChannelsPerTenant?: number } = {},
  startsLoaded = true,
) {
  return new Rooms({
    clock: createManualClock(),
    maxMembersPerChannel: 100,
    maxChannelsPerTenant: 100,
    ...bounds,
    epoch: 1,
    startsLoaded,
    overflow: testOverflow,
  })
}

const namesOf = (set: ReadonlySet<string>, who: number): string[] => [...set].filter((one) => one.endsWith(` ${who}`))

const codeOf = (run: () => unknown): string => {
  try {
    run()
    return 'none'
  } catch (error) {
    return isBusError(error) ? `${error.code} ${String(error.details['limit'])}` : String(error)
  }
}

describe('memberships', () => {
  it('by channel and by whole room add up, and end one by one', () => {
    const names = fc.record({ tenant: fc.nat(1), room: fc.nat(1), channel: fc.nat(2), who: fc.nat(3) })
    const action = fc.constantFrom('join', 'joinRoom', 'leave', 'leaveRoom', 'open', 'leaveAll', 'hide')
    fc.assert(
      fc.property(fc.array(fc.tuple(action, names), { maxLength: 60, size: 'max' }), (steps) => {
        const rooms = createRooms()
        const recipients = Array.from({ length: 4 }, (_, who) => createRecipient(`client-${who}`, 'json', who === 3))
        const opened = new Set<string>()
        const byChannel = new Set<string>()
        const byRoom = new Set<string>()
        /** Whole-room members that a hidden stream has lost, until they join again. */
        const lost = new Set<string>()
        for (const [what, { tenant: t, room: r, channel: c, who }] of steps) {
          const [tenant, room, channel] = [tenants[t]!, roomNames[r]!, channels[c]!]
          const recipient = recipients[who]!
          const stream = `${tenant}/${room}/${channel}`
          const key = { tenant, room, channel }
          if (what === 'open') {
            rooms.open(key)
            opened.add(stream)
          } else if (what === 'join') {
            rooms.join(rooms.open(key), recipient, 0)
            opened.add(stream)
            byChannel.add(`${stream} ${who}`)
          } else if (what === 'joinRoom') {
            rooms.joinRoom(tenant, room, recipient)
            byRoom.add(`${tenant}/${room} ${who}`)
            for (const name of channels) lost.delete(`${tenant}/${room}/${name} ${who}`)
          } else if (what === 'leave') {
            const known = rooms.find(key)
            const hasLeft = known !== undefined && rooms.leave(known, recipient)
            expect(hasLeft).toBe(byChannel.delete(`${stream} ${who}`))
          } else if (what === 'leaveRoom') {
            expect(rooms.leaveRoom(tenant, room, recipient)).toBe(byRoom.delete(`${tenant}/${room} ${who}`))
          } else if (what === 'leaveAll') {
            rooms.leaveAll(recipient)
            for (const one of namesOf(byChannel, who)) byChannel.delete(one)
            for (const one of namesOf(byRoom, who)) byRoom.delete(one)
          } else {
            const known = rooms.find(key)
            if (known === undefined) continue
            rooms.hide(known)
            for (let one = 0; one < 4; one++) {
              byChannel.delete(`${stream} ${one}`)
              if (byRoom.has(`${tenant}/${room} ${one}`)) lost.add(`${stream} ${one}`)
            }
          }
        }
        let memberships = 0
        for (const name of opened) {
          const [tenant, room, channel] = name.split('/') as [string, string, string]
          const stream = rooms.find({ tenant, room, channel })!
          const expected = recipients.filter(
            (_, who) =>
              byChannel.has(`${name} ${who}`) ||
              (byRoom.has(`${tenant}/${room} ${who}`) && !lost.has(`${name} ${who}`)),
          )
          memberships += expected.length
          expect(new Set([...stream.allMembers()].map((member) => member.recipient))).toEqual(new Set(expected))
          expect(stream.memberCount).toBe(expected.length)
          expect(stream.remote.size).toBe(expected.filter((one) => one.isRemote).length)
        }
        expect(rooms.counts()).toMatchObject({ streams: opened.size, memberships })
        recipients.forEach((recipient, who) => {
          expect(rooms.joins(recipient)).toBe(namesOf(byChannel, who).length + namesOf(byRoom, who).length)
        })
      }),
      { numRuns: 500 },
    )
  })

  it('of a whole room include channels to come, from their first message', async () => {
    const rooms = createRooms()
    const recipient = createRecipient('a')
    rooms.joinRoom('acme', 'lab', recipient)
    const stream = rooms.open({ tenant: 'acme', room: 'lab', channel: 'new' })
    rooms.open({ tenant: 'globex', room: 'lab', channel: 'new' })
    rooms.fanOut.push(stream, createDelivery(1, 'x'))
    await rooms.fanOut.idle()
    expect(recipient.sequences).toEqual([1])
    expect(rooms.counts().memberships).toBe(1)
  })

  it('keep the cursor when joined again: what was written is not written twice', async () => {
    const rooms = createRooms()
    const recipient = createRecipient('a')
    const stream = rooms.open({ tenant: 'acme', room: 'lab', channel: 'one' })
    rooms.join(stream, recipient, 0)
    rooms.fanOut.push(stream, createDelivery(1, 'x'))
    rooms.joinRoom('acme', 'lab', recipient)
    rooms.join(stream, recipient, 0)
    await rooms.fanOut.idle()
    expect(recipient.sequences).toEqual([1])
  })

  it('that leave everything return the streams they were in', () => {
    const rooms = createRooms()
    const recipient = createRecipient('a')
    const one = rooms.open({ tenant: 'acme', room: 'lab', channel: 'one' })
    const two = rooms.open({ tenant: 'acme', room: 'hall', channel: 'two' })
    rooms.join(one, recipient, 0)
    rooms.joinRoom('acme', 'hall', recipient)
    expect(new Set(rooms.leaveAll(recipient))).toEqual(new Set([one, two]))
    expect(rooms.leaveAll(recipient)).toEqual([])
    expect(rooms.counts().memberships).toBe(0)
  })
})

describe('bounds', () => {
  it('of channels count per tenant, and those of members per channel', () => {
    const rooms = createRooms({ maxChannelsPerTenant: 2, maxMembersPerChannel: 1 })
    const stream = rooms.open({ tenant: 'acme', room: 'lab', channel: 'one' })
    rooms.open({ tenant: 'acme', room: 'hall', channel: 'one' })
    expect(codeOf(() => rooms.open({ tenant: 'acme', room: 'lab', channel: 'two' }))).toBe('LIMIT_EXCEEDED channels')
    expect(codeOf(() => rooms.open({ tenant: 'acme', room: 'lab', channel: 'one' }))).toBe('none')
    expect(codeOf(() => rooms.open({ tenant: 'globex', room: 'lab', channel: 'two' }))).toBe('none')
    const member = createRecipient('a')
    rooms.join(stream, member, 0)
    expect(codeOf(() => rooms.join(stream, member, 0))).toBe('none')
    expect(codeOf(() => rooms.join(stream, createRecipient('b'), 0))).toBe('LIMIT_EXCEEDED members')
  })
})

describe('streams', () => {
  it('start unloaded where a store knows better, also those that are born into a joined room', () => {
    const rooms = createRooms({}, false)
    expect(rooms.open({ tenant: 'acme', room: 'lab', channel: 'one' }).isLoaded).toBe(false)
    rooms.joinRoom('acme', 'hall', createRecipient('a'))
    expect(rooms.open({ tenant: 'acme', room: 'hall', channel: 'one' }).isLoaded).toBe(false)
  })

  it('are hidden until they are used again, and keep their head', () => {
    const rooms = createRooms()
    const key = { tenant: 'acme', room: 'lab', channel: 'one' }
    const stream = rooms.open(key)
    rooms.fanOut.push(stream, createDelivery(1, 'x'))
    rooms.hide(stream)
    expect(rooms.find(key)).toBe(stream)
    expect(stream.isHidden).toBe(true)
    expect(rooms.open(key).isHidden).toBe(false)
    expect(stream.head).toBe(1)
  })

  it('of one tenant never show another’s', () => {
    const rooms = createRooms()
    for (const tenant of tenants) rooms.open({ tenant, room: 'lab', channel: tenant })
    expect([...rooms.streams('acme')].map((stream) => stream.key.channel)).toEqual(['acme'])
    expect([...rooms.streams('acme', 'hall')]).toEqual([])
    expect([...rooms.allStreams()]).toHaveLength(2)
    expect(rooms.find({ tenant: 'acme', room: 'lab', channel: 'globex' })).toBeUndefined()
  })
})
