// One stream held in memory: its records in order, trimmed from the old end.
import type { StreamKey } from '../../envelope/envelope.ts'
import type { AppendRequest, ReadBySequence, ReadByTime, Retention, StoredRecord } from '../store.ts'
import type { TimeCursor, TimeEntry } from '../time-merge.ts'
import { SlidingList } from './sliding-list.ts'

export interface TimedRecord extends TimeEntry {
  readonly record: StoredRecord
}

const maxSlabBytes = 64 * 1024

export class MemoryStream {
  readonly key: StreamKey
  last = 0
  bytes = 0
  readonly #records = new SlidingList<TimedRecord>()
  /** The newest sequence whose time is below that of one before it (the wall clock stepped back); 0 if none. */
  #lastOutOfOrder = 0
  #newestMs = Number.NEGATIVE_INFINITY
  #slab = new Uint8Array(512)
  #used = 0

  constructor(key: StreamKey) {
    this.key = { tenant: key.tenant, room: key.room, channel: key.channel }
  }

  get first(): number {
    return this.last - this.#records.length + 1
  }

  get length(): number {
    return this.#records.length
  }

  append(request: AppendRequest, epoch: number): StoredRecord {
    const { id, sender, atMs } = request
    const frame = this.#copy(request.frame)
    const sequence = ++this.last
    const record: StoredRecord = { key: this.key, position: { epoch, sequence }, id, sender, atMs, frame }
    this.#records.push({ key: this.key, sequence, atMs, bytes: frame.length, record })
    this.bytes += frame.length
    if (atMs < this.#newestMs) this.#lastOutOfOrder = sequence
    else this.#newestMs = atMs
    return record
  }

  /**
   * The caller's bytes may be a window on a larger buffer that is used again. The copies of one stream share slabs:
   * an allocation for each frame costs more than all the rest of an append.
   */
  #copy(frame: Uint8Array): Uint8Array {
    if (this.#used + frame.length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(frame.length, Math.min(maxSlabBytes, 2 * this.#slab.length)))
      this.#used = 0
    }
    const start = this.#used
    this.#used += frame.length
    this.#slab.set(frame, start)
    return this.#slab.subarray(start, this.#used)
  }

  trim(retention: Retention, nowMs: number): void {
    for (let oldest = this.#records.at(0); oldest !== undefined; oldest = this.#records.at(0)) {
      const isTooMuch = this.length > retention.maxRecords || this.bytes > retention.maxBytes
      const isTooOld = nowMs - oldest.atMs > retention.maxAgeMs
      if (!isTooOld && !(isTooMuch && this.length > 1)) return
      this.#records.shift()
      this.bytes -= oldest.bytes
    }
  }

  readBySequence({ after, limit, maxBytes }: ReadBySequence): StoredRecord[] {
    const found: StoredRecord[] = []
    let bytes = 0
    for (let i = Math.max(0, after + 1 - this.first); found.length < limit; i++) {
      const entry = this.#records.at(i)
      if (entry === undefined) break
      bytes += entry.bytes
      if (found.length > 0 && bytes > maxBytes) break
      found.push(entry.record)
    }
    return found
  }

  /** The records between the bounds of the query, in its order. */
  cursorByTime(query: ReadByTime): TimeCursor<TimedRecord> {
    const { sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY } = query
    if (this.first <= this.#lastOutOfOrder) return this.#cursorOfSorted(sinceMs, untilMs, query.order)
    const start = this.#indexAtOrAfter(sinceMs, false)
    const end = this.#indexAtOrAfter(untilMs, true)
    let i = query.order === 'oldest' ? start : end - 1
    return () => {
      if (i < start || i >= end) return undefined
      return this.#records.at(query.order === 'oldest' ? i++ : i--)
    }
  }

  /** The index of the first record at or after a time (`isAfter`: after it), in a stream whose times only rise. */
  #indexAtOrAfter(ms: number, isAfter: boolean): number {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >> 1
      const atMs = this.#records.at(middle)!.atMs
      if (atMs < ms || (isAfter && atMs === ms)) low = middle + 1
      else high = middle
    }
    return low
  }

  #cursorOfSorted(sinceMs: number, untilMs: number, order: ReadByTime['order']): TimeCursor<TimedRecord> {
    const found: TimedRecord[] = []
    for (let i = 0; i < this.length; i++) {
      const entry = this.#records.at(i)!
      if (entry.atMs >= sinceMs && entry.atMs <= untilMs) found.push(entry)
    }
    found.sort((a, b) => a.atMs - b.atMs || a.sequence - b.sequence)
    if (order === 'newest') found.reverse()
    let i = 0
    return () => found[i++]
  }
}
