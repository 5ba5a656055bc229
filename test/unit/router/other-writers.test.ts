// Looking for what other processes append: where nothing moves here, and in rooms joined as a whole.
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { BusError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { Rooms } from '../../../src/rooms/rooms.ts'
import { loadStream } from '../../../src/router/load-stream.ts'
import { createOtherWriters } from '../../../src/router/other-writers.ts'
import { createMemoryStore } from '../../../src/storage/memory/memory-store.ts'
import type { HistoryStore } from '../../../src/storage/store.ts'
import { testOverflow } from '../../support/test-overflow.ts'
import { createClient } from '../../support/store-outage-lab.ts'

const key = { tenant: 'acme', room: 'lab', channel: 'one' }

function setUp() {
  const retention = { maxRecords: 1_000, maxBytes: 1e9, maxAgeMs: 1e9 }
  const store = createMemoryStore({ clock: systemClock, retention, dedup: { maxAgeMs: 1e6, maxIds: 1_000 } })
  const line = { isAway: false, heads: 0 }
  const counted: HistoryStore = {
    ...store,
    head: (asked) => {
      line.heads++
      return line.isAway ? Promise.reject(new BusError('STORE_UNAVAILABLE')) : store.head(asked)
    },
  }
  const bounds = { maxMembersPerChannel: 10, maxChannelsPerTenant: 10 }
  const rooms = new Rooms({ clock: systemClock, ...bounds, epoch: 1, startsLoaded: false, overflow: testOverflow })
  const found: string[] = []
  const catchUp = ({ key: { channel }, head }: { key: { channel: string }; head: number }): void =>
    void found.push(`${channel} above ${head}`)
  const others = createOtherWriters({ rooms, store: counted, catchUp, logger: silentLogger })
  let appended = 0
  async function append(channel: string): Promise<void> {
    const id = `id-${appended++}`
    const record = {
      id,
      hash: new Uint8Array(16),
      sender: 'another',
      frame: new Uint8Array(1),
      atMs: systemClock.now(),
    }
    await store.append([{ key: { ...key, channel }, ...record }])
  }
  async function join(channel: string) {
    const stream = rooms.open({ ...key, channel })
    await loadStream(rooms, store, stream)
    rooms.join(stream, createClient('member'), stream.head)
    return stream
  }
  return { rooms, line, others, found, append, join }
}

describe('looking for what others append', () => {
  it('finds it in a channel that stands still here, and asks nothing of one that moves', async () => {
    const { others, found, append, join, line } = setUp()
    await append('one')
    const stream = await join('one')
    await others.look()
    await others.look()
    expect([found, line.heads]).toEqual([[], 1])
    await append('one')
    await others.look()
    expect(found).toEqual(['one above 1'])
    stream.head = 2
    await others.look()
    expect([found.length, line.heads]).toEqual([1, 2])
  })

  it('asks nothing of channels without members', async () => {
    const { rooms, others, line } = setUp()
    rooms.open(key)
    for (let n = 0; n < 3; n++) await others.look()
    expect(line.heads).toBe(0)
  })

  it('opens channels that began elsewhere in a room joined as a whole, with all that is in them', async () => {
    const { rooms, others, found, append } = setUp()
    rooms.joinRoom(key.tenant, key.room, createClient('member'))
    await append('new')
    await append('new')
    await others.look()
    expect(found).toEqual(['new above 0'])
    expect(rooms.find({ ...key, channel: 'new' })?.memberCount).toBe(1)
  })

  it('survives a store that is away', async () => {
    const { line, others, append, join, found } = setUp()
    await join('one')
    await others.look()
    await append('one')
    line.isAway = true
    await others.look()
    line.isAway = false
    await others.look()
    expect(found).toEqual(['one above 0'])
  })
})
