// How many ids of one tenant are remembered, over all its streams: counted here, for a script sees one stream only.
// What other buses remember is not counted: with two of them up to twice as many are. Read anew from the server whenever
// an outcome is unknown.
import { SlidingList } from '../memory/sliding-list.ts'

export class IdCounts {
  readonly #entries = new SlidingList<{ readonly atMs: number; readonly count: number }>()
  #total = 0

  constructor(remembered: readonly { readonly atMs: number; readonly count: number }[] = []) {
    for (const { atMs, count } of remembered.toSorted((a, b) => a.atMs - b.atMs)) this.add(atMs, count)
  }

  add(atMs: number, count: number): void {
    if (count === 0) return
    this.#entries.push({ atMs, count })
    this.#total += count
  }

  /** After forgetting those as old as the window or older. */
  count(nowMs: number, windowMs: number): number {
    for (let oldest = this.#entries.at(0); oldest !== undefined; oldest = this.#entries.at(0)) {
      if (nowMs - oldest.atMs < windowMs) break
      this.#entries.shift()
      this.#total -= oldest.count
    }
    return this.#total
  }
}
