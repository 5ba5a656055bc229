// One session's frames on their way to the bus: numbered from 1, counted until they are answered, refused by LINK_GAP
// when one before them was lost, given up with LINK_TIMEOUT when no answer comes. Nothing is ever sent twice.
import { BusError } from '../base/errors.ts'
import type { JsonValue } from '../base/json.ts'
import type { InflightShare } from './inflight.ts'

/** A frame under way. */
export interface Unanswered<Intent> {
  readonly frame: number
  readonly requestId: string
  readonly sentMs: number
  /** What a JSON client's acknowledgement repeats to it (original-contract 3.4). */
  readonly echo: JsonValue | undefined
  /** Its answer may be several messages. */
  readonly isCommand: boolean
  /** The membership it changes, when it does. */
  readonly intent: Intent | undefined
  /** To be told when the bus has answered it; with the code where it was refused or given up. */
  readonly settled?: ((error: string | undefined) => void) | undefined
  /** The client has had the answer; only the receipt is still to come. */
  isAnswered: boolean
}

export class FrameLane<Intent> {
  /** The number of the next frame. */
  next = 1
  readonly unanswered = new Map<number, Unanswered<Intent>>()
  readonly #maxInflight: number
  readonly #share: InflightShare | undefined
  /** From here on frames may not have reached the bus; undefined while all are known to arrive. */
  #doubtFrom: number | undefined
  /** The last frame sent with a reset. */
  #lastReset = 0

  /** `share`: in what its tenant and the process may have unanswered. */
  constructor(maxInflight: number, share?: InflightShare) {
    this.#maxInflight = maxInflight
    this.#share = share
  }

  /**
   * Takes the next number for a frame; `isReset` tells the bus that every frame before it has been answered to the
   * client. Throws INFLIGHT_EXCEEDED.
   */
  begin(frame: Omit<Unanswered<Intent>, 'frame' | 'isAnswered'>): { entry: Unanswered<Intent>; isReset: boolean } {
    if (this.unanswered.size >= this.#maxInflight) {
      throw new BusError('INFLIGHT_EXCEEDED', `${this.#maxInflight} frames are unanswered; wait for answers`, {
        max: this.#maxInflight,
      })
    }
    this.#share?.begin()
    const { requestId, sentMs, echo, isCommand, intent, settled } = frame
    const number = this.next++
    const entry = { frame: number, requestId, sentMs, echo, isCommand, intent, settled, isAnswered: false }
    const isReset = this.#mayReset()
    if (isReset) {
      this.#doubtFrom = undefined
      this.#lastReset = entry.frame
    }
    this.unanswered.set(entry.frame, entry)
    return { entry, isReset }
  }

  /** The frame could not be sent at all: its number stays unused at the bus. */
  cancel(frame: number): void {
    this.#remove(frame)
    this.#doubt(frame)
  }

  /** All of the answer to the frame has come. */
  settle(frame: number): Unanswered<Intent> | undefined {
    const entry = this.unanswered.get(frame)
    this.#remove(frame)
    return entry
  }

  /** The frames from `first` on and before `end` have been answered in full. */
  settleRange(first: number, end: number): void {
    for (const [frame, { settled }] of this.unanswered) {
      if (frame >= end) return // in the order of sending
      if (frame < first) continue
      this.#remove(frame)
      settled?.(undefined)
    }
  }

  /** The bus waits for `expected` and stored neither that nor what followed. Returns what the client is to be told. */
  gap(frame: number, expected: number): readonly Unanswered<Intent>[] {
    // Frames from a later reset on are not behind this hole any more.
    const end = this.#lastReset > frame ? this.#lastReset : this.next
    const missing = [...this.unanswered.values()].filter((entry) => entry.frame >= expected && entry.frame < end)
    for (const entry of missing) this.#remove(entry.frame)
    if (this.#lastReset <= frame) this.#doubt(expected)
    return missing
  }

  /** Frames sent before then and not answered: their outcome is unknown. */
  expire(beforeMs: number): readonly Unanswered<Intent>[] {
    const late: Unanswered<Intent>[] = []
    for (const entry of this.unanswered.values()) {
      if (entry.sentMs >= beforeMs) break // in the order of sending
      late.push(entry)
      this.#remove(entry.frame)
      this.#doubt(entry.frame)
    }
    return late
  }

  /** The session was opened anew at a bus that waits for `next`: what was under way will not be answered. */
  restart(): readonly Unanswered<Intent>[] {
    const left = [...this.unanswered.values()]
    this.unanswered.clear()
    this.#share?.end(left.length)
    this.#doubtFrom = undefined
    return left
  }

  #remove(frame: number): void {
    if (this.unanswered.delete(frame)) this.#share?.end(1)
  }

  #doubt(frame: number): void {
    this.#doubtFrom = Math.min(frame, this.#doubtFrom ?? frame)
  }

  #mayReset(): boolean {
    const from = this.#doubtFrom
    return from !== undefined && [...this.unanswered.keys()].every((frame) => frame < from)
  }
}
