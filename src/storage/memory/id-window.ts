// The ids one tenant has used lately, over all its streams: what makes a repeated append harmless.
// An id is remembered for the whole window; when the window is full, new ids are refused.
import type { DedupWindow } from '../store.ts'
import { SlidingList } from './sliding-list.ts'

export interface Remembered {
  readonly sequence: number
  /** Its bytes as characters. */
  readonly hash: string
  readonly atMs: number
}

// More than one for each id that enters, so that a window left to grow shrinks again; few, so that no append waits.
const forgottenPerLookup = 4

export class IdWindow {
  readonly #bounds: DedupWindow
  readonly #ids = new Map<string, Remembered>()
  readonly #inOrder = new SlidingList<{ readonly name: string; readonly remembered: Remembered }>()

  constructor(bounds: DedupWindow) {
    this.#bounds = bounds
  }

  /** `name` is the id together with its stream. */
  find(name: string, nowMs: number): Remembered | undefined {
    this.#forgetExpired(nowMs, forgottenPerLookup)
    const remembered = this.#ids.get(name)
    if (remembered === undefined || !this.#isExpired(remembered, nowMs)) return remembered
    this.#ids.delete(name)
    return undefined
  }

  /** May one more id be remembered? */
  hasRoom(nowMs: number): boolean {
    if (this.#ids.size >= this.#bounds.maxIds) this.#forgetExpired(nowMs, Number.POSITIVE_INFINITY)
    return this.#ids.size < this.#bounds.maxIds
  }

  remember(name: string, remembered: Remembered): void {
    this.#ids.set(name, remembered)
    this.#inOrder.push({ name, remembered })
  }

  #isExpired(remembered: Remembered, nowMs: number): boolean {
    return nowMs - remembered.atMs >= this.#bounds.maxAgeMs
  }

  #forgetExpired(nowMs: number, atMost: number): void {
    for (let i = 0; i < atMost; i++) {
      const oldest = this.#inOrder.at(0)
      if (oldest === undefined || !this.#isExpired(oldest.remembered, nowMs)) return
      this.#inOrder.shift()
      // The same id may have come again since, as a new entry.
      if (this.#ids.get(oldest.name) === oldest.remembered) this.#ids.delete(oldest.name)
    }
  }
}
