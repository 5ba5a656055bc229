// A map of bounded size: what was used longest ago makes room.
export class RecentMap<Value> {
  readonly #values = new Map<string, Value>()
  readonly #max: number
  /** Asked first, as frames of one tenant come in runs. */
  #lastKey: string | undefined
  #last: Value | undefined

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#values.size
  }

  values(): IterableIterator<Value> {
    return this.#values.values()
  }

  get(key: string): Value | undefined {
    if (key === this.#lastKey) return this.#last
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    this.#values.delete(key)
    this.#put(key, value)
    return value
  }

  set(key: string, value: Value): void {
    this.#values.delete(key)
    if (this.#values.size >= this.#max) {
      const [oldest] = this.#values.keys()
      if (oldest !== undefined) this.#values.delete(oldest)
    }
    this.#put(key, value)
  }

  delete(key: string): void {
    this.#values.delete(key)
    if (key === this.#lastKey) this.#lastKey = this.#last = undefined
  }

  #put(key: string, value: Value): void {
    this.#values.set(key, value)
    this.#lastKey = key
    this.#last = value
  }
}
