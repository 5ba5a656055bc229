// The message ids a stream has seen lately, where nothing is stored: 64 bits of each id's hash and 32 of its payload's,
// in typed arrays, so that remembering costs no object. Hashes are seeded per process: nobody can aim for a collision.

/** Seeds of the hashes; random, so that they cannot be foreseen. */
const seeds = crypto.getRandomValues(new Uint32Array(3))
const smallestTable = 64

/** A 32-bit hash (MurmurHash3's mixing steps, public domain by Austin Appleby) of `bytes[start, end)`. */
function hash32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed
  let at = start
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    hash = mix(hash, word)
  }
  let rest = 0
  for (let shift = 0; at < end; at++, shift += 8) rest |= bytes[at]! << shift
  hash = mix(hash, rest) ^ (end - start)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function mix(hash: number, word: number): number {
  const k = Math.imul(word, 0xcc9e2d51)
  const mixed = hash ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

/** One piece of memory: part of the bytes of an array. */
export interface Piece {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

class Table {
  size = 0
  #low = new Uint32Array(smallestTable)
  #high = new Uint32Array(smallestTable)
  #payload = new Uint32Array(smallestTable)

  /** The payload's hash of a known id; -1 for an unknown one. */
  find(low: number, high: number): number {
    const mask = this.#low.length - 1
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const found = this.#high[slot]!
      if (found === 0) return -1
      if (found === high && this.#low[slot] === low) return this.#payload[slot]!
    }
  }

  add(low: number, high: number, payload: number): void {
    if (this.size * 2 >= this.#low.length) this.#grow()
    this.#put(low, high, payload)
    this.size++
  }

  #put(low: number, high: number, payload: number): void {
    const mask = this.#low.length - 1
    let slot = low & mask
    while (this.#high[slot] !== 0) slot = (slot + 1) & mask
    this.#low[slot] = low
    this.#high[slot] = high
    this.#payload[slot] = payload
  }

  #grow(): void {
    const [low, high, payload] = [this.#low, this.#high, this.#payload]
    const capacity = low.length * 2
    this.#low = new Uint32Array(capacity)
    this.#high = new Uint32Array(capacity)
    this.#payload = new Uint32Array(capacity)
    for (let i = 0; i < high.length; i++) if (high[i] !== 0) this.#put(low[i]!, high[i]!, payload[i]!)
  }
}

/** Remembers at least the last `limit` ids, and at most twice as many. */
export class RecentIds {
  readonly #limit: number
  #current = new Table()
  #previous = new Table()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Notes the id. `duplicate`: seen with this payload; `conflict`: seen with another one. */
  note(id: Piece, payload: Piece): 'new' | 'duplicate' | 'conflict' {
    return this.#note(id.bytes, id.start, id.end, hash32(payload.bytes, payload.start, payload.end, seeds[2]!))
  }

  /** The same for the hot path, where id and payload are parts of one array. */
  noteParts(
    bytes: Uint8Array,
    idStart: number,
    idEnd: number,
    start: number,
    end: number,
  ): 'new' | 'duplicate' | 'conflict' {
    return this.#note(bytes, idStart, idEnd, hash32(bytes, start, end, seeds[2]!))
  }

  #note(bytes: Uint8Array, start: number, end: number, payload: number): 'new' | 'duplicate' | 'conflict' {
    const low = hash32(bytes, start, end, seeds[0]!)
    const high = hash32(bytes, start, end, seeds[1]!) || 1 // 0 marks a free slot
    let known = this.#current.find(low, high)
    if (known < 0) known = this.#previous.find(low, high)
    if (known >= 0) return known === payload ? 'duplicate' : 'conflict'
    if (this.#current.size >= this.#limit) {
      this.#previous = this.#current
      this.#current = new Table()
    }
    this.#current.add(low, high, payload)
    return 'new'
  }
}
