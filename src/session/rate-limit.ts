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
    if (nowMs > this.#atMs) {
      this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) * this.#rate) / 1_000)
      this.#atMs = nowMs
    }
    if (this.#tokens < count) return false
    this.#tokens -= count
    return true
  }

  /** Milliseconds until `count` tokens are there, at least 1. */
  waitMs(count: number): number {
    return Math.max(1, Math.ceil(((count - this.#tokens) * 1_000) / this.#rate))
  }
}
