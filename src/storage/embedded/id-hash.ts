// A keyed hash of an id in its stream, to look it up by: HalfSipHash-1-3 (Aumasson, Bernstein) with 64 bits of result.
// The key is made anew in each process: nobody can choose ids that meet in the table.

/** Holds the last result in `low` and `high`: two numbers without an object for each id. */
export class IdHash {
  low = 0
  /** Never 0, which marks a free place in the table. */
  high = 0
  readonly #key = crypto.getRandomValues(new Int32Array(2))

  /** Hashes the number of the stream, then `bytes[start, end)`. */
  hash(stream: number, bytes: Uint8Array, start: number, end: number): void {
    const k0 = this.#key[0]!
    const k1 = this.#key[1]!
    let v0 = k0
    let v1 = k1 ^ 0xee
    let v2 = 0x6c796765 ^ k0
    let v3 = 0x74656462 ^ k1
    const whole = (end - start) >> 2
    let at = start
    // One word for the stream, the whole words, one for the rest and the length; then six rounds without input.
    for (let n = 0; n < whole + 8; n++) {
      let word = 0
      if (n === 0) word = stream | 0
      else if (n <= whole) {
        word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
        at += 4
      } else if (n === whole + 1) {
        word = (end - start) << 24
        for (let shift = 0; at < end; at++, shift += 8) word |= bytes[at]! << shift
      }
      v3 ^= word
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= word
      if (n === whole + 1) v2 ^= 0xee
      else if (n === whole + 4) {
        this.low = (v1 ^ v3) >>> 0
        v1 ^= 0xdd
      }
    }
    this.high = (v1 ^ v3) >>> 0 || 1
  }
}
