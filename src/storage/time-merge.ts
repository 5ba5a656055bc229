// Reading many streams by time as one: merges per-stream cursors into the order the port promises,
// (atMs, room, channel, sequence) or its exact reverse, within a limit of records and bytes.
import type { StreamKey } from '../envelope/envelope.ts'
import type { ReadByTime } from './store.ts'

/** Where a record stands in time, and what it costs to hand out. */
export interface TimeEntry {
  readonly key: StreamKey
  readonly sequence: number
  readonly atMs: number
  readonly bytes: number
}

/** Gives the entries of one stream in the order of the read; undefined at its end. */
export type TimeCursor<E extends TimeEntry> = () => E | undefined

/** Code-unit order, as the port sorts names. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

export function compareKeys(a: StreamKey, b: StreamKey): number {
  return compareText(a.room, b.room) || compareText(a.channel, b.channel)
}

export function compareEntries(a: TimeEntry, b: TimeEntry): number {
  return a.atMs - b.atMs || compareKeys(a.key, b.key) || a.sequence - b.sequence
}

/** The first entries of all cursors together: at most `limit`, at most `maxBytes` unless the first alone is larger. */
export function mergeByTime<E extends TimeEntry>(
  cursors: readonly TimeCursor<E>[],
  query: Pick<ReadByTime, 'order' | 'limit' | 'maxBytes'>,
): E[] {
  const sign = query.order === 'oldest' ? 1 : -1
  const heap: { entry: E; next: TimeCursor<E> }[] = []
  const isBefore = (a: number, b: number) => sign * compareEntries(heap[a]!.entry, heap[b]!.entry) < 0

  function swap(a: number, b: number): void {
    const kept = heap[a]!
    heap[a] = heap[b]!
    heap[b] = kept
  }
  function sink(from: number): void {
    for (let parent = from; ; ) {
      const left = 2 * parent + 1
      if (left >= heap.length) return
      const child = left + 1 < heap.length && isBefore(left + 1, left) ? left + 1 : left
      if (!isBefore(child, parent)) return
      swap(child, parent)
      parent = child
    }
  }

  for (const next of cursors) {
    const entry = next()
    if (entry !== undefined) heap.push({ entry, next })
  }
  for (let i = heap.length >> 1; i >= 0; i--) sink(i)

  const taken: E[] = []
  let bytes = 0
  while (heap.length > 0 && taken.length < query.limit) {
    const top = heap[0]!
    bytes += top.entry.bytes
    if (taken.length > 0 && bytes > query.maxBytes) break
    taken.push(top.entry)
    const entry = top.next()
    if (entry !== undefined) top.entry = entry
    else {
      const end = heap.pop()!
      if (heap.length > 0) heap[0] = end
    }
    sink(0)
  }
  return taken
}
