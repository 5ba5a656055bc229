// The message ids a stream has seen lately, where nothing is stored: 64 bits of each id's hash and 32 of its payload's,
// in typed arrays, so that remembering costs no object. Hashes are seeded per process: nobody can aim for a collision.

/** Seeds of the hashes; random, so that they cannot be foreseen. */
const seeds = crypto.getRandomValues(new Uint32Array(3))
const smallestTable = 64

/** The two halves of the last id's hash, from one walk over its bytes. */
let idLow = 0
let idHigh = 0

/**
 * 32-bit hashes of `bytes[start, end)` with MurmurHash3's mixing steps (public domain by Austin Appleby): one for a
 * payload, and two under different seeds for an id.
 */
function hash32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed
  let at = start
  for (; at + 4 <= end; at += 4) hash = mix(hash, wordAt(bytes, at))
  return finish(mix(hash, restAt(bytes, at, end)), end - start)
}

function hashId(bytes: Uint8Array, start: number, end: number): void {
  let low = seeds[0]!
  let high = seeds[1]!
  let at = start
  for (; at + 4 <= end; at += 4) {
    const word = wordAt(bytes, at)
    low = mix(low, word)
    high = mix(high, word)
  }
  const rest = restAt(bytes, at, end)
  idLow = finish(mix(low, rest), end - start)
  idHigh = finish(mix(high, rest), end - start) || 1 // 0 marks a free place
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

function restAt(bytes: Uint8Array, at: number, end: number): number {
  let rest = 0
  for (let i = at, shift = 0; i < end; i++, shift += 8) rest |= bytes[i]! << shift
  return rest
}

function finish(mixed: number, length: number): number {
  let hash = mixed ^ length
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

/** What a place holds, side by side so that a look costs one line of the processor's cache: high, low, payload. */
const placeWords = 3

class Table {
  size = 0
  #mask: number
  #words: Uint32Array

  constructor(capacity = smallestTable) {
    this.#mask = capacity - 1
    this.#words = new Uint32Array(capacity * placeWords)
  }

  get capacity(): number {
    return this.#mask + 1
  }

  /** The payload's hash of a known id; -1 for an unknown one. */
  find(low: number, high: number): number {
    const words = this.#words
    for (let place = low & this.#mask; ; place = (place + 1) & this.#mask) {
      const at = place * placeWords
      const found = words[at]!
      if (found === 0) return -1
      if (found === high && words[at + 1] === low) return words[at + 2]!
    }
  }

  add(low: number, high: number, payload: number): void {
    if (this.size * 2 >= this.capacity) this.#grow()
    this.#put(low, high, payload)
    this.size++
  }

  #put(low: number, high: number, payload: number): void {
    const words = this.#words
    let place = low & this.#mask
    while (words[place * placeWords] !== 0) place = (place + 1) & this.#mask
    const at = place * placeWords
    words[at] = high
    words[at + 1] = low
    words[at + 2] = payload
  }

  #grow(): void {
    const old = this.#words
    this.#mask = this.capacity * 2 - 1
    this.#words = new Uint32Array(old.length * 2)
    for (let at = 0; at < old.length; at += placeWords) {
      if (old[at] !== 0) this.#put(old[at + 1]!, old[at]!, old[at + 2]!)
    }
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
    hashId(bytes, start, end)
    let known = this.#current.find(idLow, idHigh)
    if (known < 0) known = this.#previous.find(idLow, idHigh)
    if (known >= 0) return known === payload ? 'duplicate' : 'conflict'
    if (this.#current.size >= this.#limit) {
      this.#previous = this.#current
      // A stream that filled one table is about to fill another as large.
      this.#current = new Table(this.#previous.capacity)
    }
    this.#current.add(idLow, idHigh, payload)
    return 'new'
  }
}
