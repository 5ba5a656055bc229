// What other processes append to streams that have members here. A publish here shows it, for it leaves a hole before
// its own place; where nothing is published here nobody tells of it, so the log is looked at.
import { describeError, type Logger } from '../base/logger.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { HistoryStore } from '../storage/store.ts'
import { loadStream } from './load-stream.ts'

export interface OtherWriters {
  /** One look at a time: a call during another does nothing. Never rejects. */
  look(): Promise<void>
}

export interface OtherWritersPorts {
  readonly rooms: Rooms
  readonly store: HistoryStore
  /** Reads the log above the stream's head, and delivers what is there. */
  readonly catchUp: (stream: Stream) => void
  readonly logger: Logger
}

/** Bounds what a look costs the store; the others' turn comes with the next looks. */
const streamsPerLook = 2_000
const streamsAtOnce = 100

export function createOtherWriters({ rooms, store, catchUp, logger }: OtherWritersPorts): OtherWriters {
  /** Where streams with members stood at the last look: those that have moved since need none. */
  let heads = new Map<Stream, number>()
  let looked = 0
  let isLooking = false

  function standingStill(): Stream[] {
    const before = heads
    heads = new Map()
    for (const stream of rooms.allStreams()) {
      if (stream.memberCount > 0 && stream.isLoaded && stream.unplaced === undefined) heads.set(stream, stream.head)
    }
    const still = [...heads].filter(([stream, head]) => before.get(stream) === head).map(([stream]) => stream)
    const start = still.length > streamsPerLook ? looked % still.length : 0
    looked += streamsPerLook
    return [...still.slice(start), ...still.slice(0, start)].slice(0, streamsPerLook)
  }

  async function lookAt(stream: Stream): Promise<void> {
    const { epoch, last } = await store.head(stream.key)
    if (stream.unplaced === undefined && (epoch !== stream.epoch || last > stream.head)) catchUp(stream)
  }

  /** Channels that began elsewhere, in rooms that somebody here has joined as a whole: all of them is new to those. */
  async function lookForChannels(): Promise<void> {
    for (const { tenant, room } of rooms.wholeRooms()) {
      for (const key of await store.streams(tenant, room)) {
        const stream = rooms.find(key) ?? rooms.open(key)
        if (stream.isLoaded) continue
        await loadStream(rooms, store, stream)
        catchUp(stream)
      }
    }
  }

  return {
    async look() {
      if (isLooking || store.isHolding) return
      isLooking = true
      try {
        const still = standingStill()
        for (let i = 0; i < still.length; i += streamsAtOnce) {
          await Promise.all(still.slice(i, i + streamsAtOnce).map(lookAt))
        }
        await lookForChannels()
      } catch (error) {
        logger.debug('stream.look_failed', describeError(error)) // what is wrong with the store, the store says
      } finally {
        isLooking = false
      }
    },
  }
}
