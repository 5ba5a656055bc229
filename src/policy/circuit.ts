// Stops asking a policy that keeps failing for a tenant: its frames are refused at once, one is tried after a while,
// and the first that comes to a decision closes the circuit. States: closed -> open <-> trying -> closed.

const windowMs = 10_000
const opensAfter = 5
/** Below this share of failures the others are worth their price. */
const failingShare = 0.1
const firstWaitMs = 1_000
const maxWaitMs = 30_000

export class Circuit {
  readonly #isOff: boolean
  #failures = 0
  /** Counted from the first failure of the window. */
  #calls = 0
  #windowStartMs = 0
  #waitMs = firstWaitMs
  #openUntilMs: number | undefined
  #isTrying = false

  /** `isOff`: counts nothing and never opens. */
  constructor(isOff = false) {
    this.#isOff = isOff
  }

  get isOpen(): boolean {
    return this.#openUntilMs !== undefined
  }

  /** May this frame be put to the policy? While open, one at a time once the wait is over. */
  admits(nowMs: () => number): boolean {
    if (this.#openUntilMs === undefined) return true
    if (this.#isTrying || nowMs() < this.#openUntilMs) return false
    this.#isTrying = true
    return true
  }

  succeeded(): void {
    if (this.#openUntilMs !== undefined) {
      this.#openUntilMs = undefined
      this.#isTrying = false
      this.#failures = 0
      this.#waitMs = firstWaitMs
    } else if (this.#failures > 0) this.#calls++
  }

  /** True when this failure opened it. */
  failed(nowMs: number): boolean {
    if (this.#isOff) return false
    if (this.#openUntilMs !== undefined) {
      this.#isTrying = false
      this.#waitMs = Math.min(this.#waitMs * 2, maxWaitMs)
      this.#openUntilMs = nowMs + this.#waitMs
      return false
    }
    if (this.#failures === 0 || nowMs - this.#windowStartMs > windowMs) {
      this.#windowStartMs = nowMs
      this.#failures = 0
      this.#calls = 0
    }
    this.#failures++
    this.#calls++
    if (this.#failures < opensAfter || this.#failures < this.#calls * failingShare) return false
    this.#openUntilMs = nowMs + this.#waitMs
    return true
  }
}
