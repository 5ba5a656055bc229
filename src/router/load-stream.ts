// Where a stream of this process stands in the log: learned before anybody is told a position.
import type { Position } from '../envelope/envelope.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { HistoryStore } from '../storage/store.ts'

/** Rejects as the store does; in degraded mode a stream without its store goes on without positions instead. */
export async function loadStream(rooms: Rooms, store: HistoryStore | undefined, stream: Stream): Promise<void> {
  if (stream.isLoaded || store === undefined) return
  if (store.isHolding) {
    store.noteUnplaced?.(stream.key)
    beginUnplaced(rooms, stream)
    return
  }
  const head = await store.head(stream.key)
  // An append may have been confirmed meanwhile; then its position is the newer knowledge.
  if (stream.isLoaded) return
  stream.epoch = head.epoch
  // Whoever joined the whole room had every stream of the store loaded then: what this one holds came later, and has
  // not been written to them.
  stream.head = stream.memberCount === 0 ? head.last : head.first - 1
  stream.isLoaded = true
}

/** From here on messages are delivered in their order and without positions, until the store is back. */
export function beginUnplaced(rooms: Rooms, stream: Stream): void {
  if (stream.unplaced !== undefined) return
  rooms.fanOut.flush(stream) // what is positioned leaves as such
  stream.unplaced = { last: 0, from: heldFrom(stream) }
  stream.isLoaded = true
}

/** The position behind which everything of the stream is held for a store that is away; undefined where that is not certain. */
export function heldFrom({ unplaced, isLoaded, isBehind, epoch, head }: Stream): Position | undefined {
  if (unplaced !== undefined) return unplaced.from
  return isLoaded && !isBehind ? { epoch, sequence: head } : undefined
}
