// A token bucket: `rate` a second on average, `burst` at once.

export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  #atMs: number

  /** @param nowMs of a monotonic clock, as in every call */
  constructor(rate: number, burst: number, nowMs: number) {
    this.#rate = rate
    this.#burst = burst
    this.#tokens = burst
    this.#atMs = nowMs
  }

  /** Takes `count` tokens, or none and false when there are too few. */
  take(count: number, nowMs: number): boolean {
    this.#fill(nowMs)
    if (this.#tokens < count) return false
    this.#tokens -= count
    return true
  }

  /** Whole tokens that could be taken now. */
  available(nowMs: number): number {
    this.#fill(nowMs)
    return Math.floor(this.#tokens)
  }

  #fill(nowMs: number): void {
    if (nowMs <= this.#atMs) return
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) * this.#rate) / 1_000)
    this.#atMs = nowMs
  }

  /** Milliseconds until `count` tokens are there, at least 1. */
  waitMs(count: number): number {
    return Math.max(1, Math.ceil(((count - this.#tokens) * 1_000) / this.#rate))
  }
}
