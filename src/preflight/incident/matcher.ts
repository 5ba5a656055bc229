// Finds many byte strings in one pass, however many there are: the first four bytes at each place are looked up in a
// table, and only where they begin a pattern is anything compared.

export interface Pattern<T> {
  /** At least four bytes. */
  readonly bytes: Buffer
  readonly of: T
}

export interface Match<T> {
  readonly start: number
  readonly end: number
  readonly of: T
}

const filterBits = 20

export class Matcher<T> {
  /** Passes over a text so far. */
  passes = 0
  readonly #byPrefix = new Map<number, Pattern<T>[]>()
  readonly #filter = new Uint8Array(1 << filterBits)

  constructor(patterns: readonly Pattern<T>[]) {
    // Longest first: a form within a longer form must not leave the rest of it behind.
    for (const pattern of [...patterns].sort((a, b) => b.bytes.length - a.bytes.length)) {
      const prefix = pattern.bytes.readInt32BE(0)
      const others = this.#byPrefix.get(prefix)
      if (others === undefined) this.#byPrefix.set(prefix, [pattern])
      else others.push(pattern)
      this.#filter[slot(prefix)] = 1
    }
  }

  /** Leftmost first, the longest at each place, without overlap. */
  find(text: Uint8Array): Match<T>[] {
    this.passes++
    const found: Match<T>[] = []
    const buffer = Buffer.from(text.buffer, text.byteOffset, text.length)
    let prefix = 0
    let free = 0
    for (let at = 0; at < text.length; at++) {
      prefix = (prefix << 8) | text[at]!
      const start = at - 3
      if (start < free || this.#filter[slot(prefix)] === 0) continue
      const match = this.#matchAt(buffer, start, prefix)
      if (match === undefined) continue
      found.push(match)
      free = match.end
    }
    return found
  }

  #matchAt(text: Buffer, start: number, prefix: number): Match<T> | undefined {
    for (const { bytes, of } of this.#byPrefix.get(prefix) ?? []) {
      const end = start + bytes.length
      if (end <= text.length && text.compare(bytes, 0, bytes.length, start, end) === 0) return { start, end, of }
    }
    return undefined
  }
}

const slot = (prefix: number): number => Math.imul(prefix, 0x9e3779b1) >>> (32 - filterBits)
