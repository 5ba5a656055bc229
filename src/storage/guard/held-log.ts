// Reading what is held, as the end of the log it will be. Only windows behind everything that may have reached the store
// can be answered: what was given to it and failed may stand in it already, or not.
import type { AppendRequest, HeldLog, ReadByTime } from '../store.ts'
import { compareEntries, mergeByTime, type TimeCursor, type TimeEntry } from '../time-merge.ts'
import type { HeldAppends } from './held-appends.ts'

export interface GuardedHeldLog extends HeldLog {
  /** These go to the store: the window that memory can answer for begins after them. */
  gave(requests: readonly AppendRequest[]): void
}

interface HeldEntry extends TimeEntry {
  readonly request: AppendRequest
}

/** `openedAtMs`: what an earlier process stored is from before. */
export function createHeldLog(held: HeldAppends, openedAtMs: number): GuardedHeldLog {
  let givenUpToMs = openedAtMs

  return {
    gave(requests) {
      for (const { atMs } of requests) if (atMs > givenUpToMs) givenUpToMs = atMs
    },
    ofStream: (key) => held.read(key)?.flat(),
    byTime(query, isWholeLog) {
      if (!isWholeLog && (query.sinceMs === undefined || query.sinceMs <= givenUpToMs)) return undefined
      const streams = held.read(query)
      if (streams === undefined) return undefined
      return mergeByTime(
        streams.map((requests) => cursorOf(requests, query)),
        query,
      ).map(({ request }) => request)
    },
  }
}

function cursorOf(requests: readonly AppendRequest[], query: ReadByTime): TimeCursor<HeldEntry> {
  const { sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY, order } = query
  const entries = requests
    .map((request, i) => ({
      request,
      key: request.key,
      sequence: i,
      atMs: request.atMs,
      bytes: request.frame.length,
    }))
    .filter(({ atMs }) => atMs >= sinceMs && atMs <= untilMs)
    .sort(compareEntries) // in order already, unless the clock was set back
  if (order === 'newest') entries.reverse()
  let next = 0
  return () => entries[next++]
}
