// A list that grows at its end and shrinks from its start, both in constant time: a ring that doubles when full.
export class SlidingList<T> {
  #slots: (T | undefined)[] = Array.from({ length: 8 })
  #start = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(item: T): void {
    if (this.#length === this.#slots.length) {
      this.#slots = [...this.#slots.slice(this.#start), ...this.#slots.slice(0, this.#start)]
      this.#slots.length *= 2
      this.#start = 0
    }
    this.#slots[(this.#start + this.#length++) & (this.#slots.length - 1)] = item
  }

  /** The item `index` places from the start, or undefined outside the list. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#length) return undefined
    return this.#slots[(this.#start + index) & (this.#slots.length - 1)]
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const item = this.#slots[this.#start]
    this.#slots[this.#start] = undefined
    this.#start = (this.#start + 1) & (this.#slots.length - 1)
    this.#length--
    return item
  }
}
