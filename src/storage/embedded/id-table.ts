// Which block may hold an id, by the id's hash: open addressing in typed arrays, so that an id costs no object and a
// hundred thousand of them a few megabytes. A match says "look there"; the block knows for certain.

const smallest = 1_024

export class IdTable {
  size = 0
  #low = new Uint32Array(smallest)
  /** 0 where a place is free. */
  #high = new Uint32Array(smallest)
  #rows = new Float64Array(smallest)

  /** The first place at which a row for this hash may stand, from `from` on; -1 when there is none. */
  find(low: number, high: number, from = low): number {
    const mask = this.#high.length - 1
    for (let place = from & mask; ; place = (place + 1) & mask) {
      const found = this.#high[place]!
      if (found === 0) return -1
      if (found === high && this.#low[place] === low) return place
    }
  }

  rowAt(place: number): number {
    return this.#rows[place]!
  }

  add(low: number, high: number, row: number): void {
    if (this.size * 2 >= this.#high.length) this.#resize(this.#high.length * 2)
    this.#put(low, high, row)
    this.size++
  }

  remove(low: number, high: number, row: number): boolean {
    let place = this.find(low, high)
    while (place >= 0 && this.#rows[place] !== row) place = this.find(low, high, place + 1)
    if (place < 0) return false
    this.#free(place)
    this.size--
    if (this.#high.length > smallest && this.size * 16 < this.#high.length) this.#resize(this.#high.length / 4)
    return true
  }

  clear(): void {
    this.size = 0
    this.#allocate(smallest)
  }

  /** Moves up what stands behind the freed place and may not be cut off from where its hash points. */
  #free(place: number): void {
    const mask = this.#high.length - 1
    let hole = place
    for (let next = (hole + 1) & mask; this.#high[next] !== 0; next = (next + 1) & mask) {
      const home = this.#low[next]! & mask
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      this.#low[hole] = this.#low[next]!
      this.#high[hole] = this.#high[next]!
      this.#rows[hole] = this.#rows[next]!
      hole = next
    }
    this.#high[hole] = 0
  }

  #put(low: number, high: number, row: number): void {
    const mask = this.#high.length - 1
    let place = low & mask
    while (this.#high[place] !== 0) place = (place + 1) & mask
    this.#low[place] = low
    this.#high[place] = high
    this.#rows[place] = row
  }

  #allocate(capacity: number): void {
    this.#low = new Uint32Array(capacity)
    this.#high = new Uint32Array(capacity)
    this.#rows = new Float64Array(capacity)
  }

  #resize(capacity: number): void {
    const [low, high, rows] = [this.#low, this.#high, this.#rows]
    this.#allocate(capacity)
    for (let i = 0; i < high.length; i++) if (high[i] !== 0) this.#put(low[i]!, high[i]!, rows[i]!)
  }
}
