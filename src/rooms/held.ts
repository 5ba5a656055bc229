// The newest messages of one stream, held while members are behind: shared by all of them, each with its own cursor.
// Copies in the protobuf form; the oldest go first. What is held follows without holes up to `last`.
import type { Batch } from './batch.ts'
import type { Member } from './member.ts'

/** What one batch costs beside its frames: its object, arrays and buffer. */
const batchOverheadBytes = 512

export class Held {
  /** Members that have not been written all of the stream. */
  readonly behind = new Set<Member>()
  /** The last sequence that any member was passed over with; held itself unless there was no room for it. */
  last: number
  #bytes = 0
  readonly #batches: Batch[] = []

  constructor(last: number) {
    this.last = last
  }

  /** The first sequence that is held; one above `last` when nothing is. */
  get first(): number {
    return this.#batches[0]?.first ?? this.last + 1
  }

  get bytes(): number {
    return this.#bytes
  }

  get batches(): readonly Batch[] {
    return this.#batches
  }

  /** Takes the newest messages of the stream's next batch, at least the last one, and lets go of the oldest. */
  add(batch: Batch, maxBytes: number): void {
    if (batch.last <= this.last) return
    const newest = batch.newest(maxBytes - batchOverheadBytes)
    if (newest.first !== batch.first) while (this.dropOldest());
    this.#batches.push(newest)
    this.#bytes += costOf(newest)
    this.last = batch.last
    while (this.#bytes > maxBytes && this.#batches.length > 1) this.dropOldest()
  }

  /** False when nothing is held. */
  dropOldest(): boolean {
    const oldest = this.#batches.shift()
    if (oldest === undefined) return false
    this.#bytes -= costOf(oldest)
    return true
  }
}

function costOf(batch: Batch): number {
  return batch.byteLength + batchOverheadBytes
}
