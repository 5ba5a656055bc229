// A block: consecutive records of one stream, written and removed as one. `items` holds all but the frames, so that ids
// are found, and times compared, without reading those.
//
// Layout of `items`, little-endian, for n records and m senders: n u32, m u32; columns of n: time f64, end of frame u32,
// end of id u32, number of sender u32, hash 16 bytes; the ids; for each sender its length u32; the senders. Text is UTF-8.
import { hashBytes, type PackedAppends } from './packed-appends.ts'

const headBytes = 8
const itemBytes = 8 + 3 * 4 + hashBytes

/** What is asked of a block when an id is looked up, be it stored or about to be. */
export interface IdBlock {
  readonly row: number
  readonly stream: number
  /** Sequence of the first record. */
  readonly first: number
  /** When its ids were taken; they are remembered for a window from then. */
  readonly takenMs: number
  readonly count: number
  /** Where the ids lie. */
  readonly idBytes: Uint8Array
  idStart(i: number): number
  idEnd(i: number): number
  hash(i: number): Uint8Array
}

export interface BlockBytes {
  readonly items: Uint8Array
  readonly frames: Uint8Array
}

/** The items of a stored block. */
export class BlockItems {
  readonly count: number
  readonly bytes: Buffer
  readonly #view: DataView
  readonly #idsAt: number
  #senders: readonly string[] | undefined

  constructor(items: Uint8Array) {
    this.bytes = Buffer.from(items.buffer, items.byteOffset, items.length)
    this.#view = new DataView(items.buffer, items.byteOffset, items.length)
    this.count = this.#view.getUint32(0, true)
    this.#idsAt = headBytes + this.count * itemBytes
  }

  atMs(i: number): number {
    return this.#view.getFloat64(headBytes + i * 8, true)
  }

  frameStart(i: number): number {
    return i === 0 ? 0 : this.frameEnd(i - 1)
  }

  frameEnd(i: number): number {
    return this.#view.getUint32(headBytes + this.count * 8 + i * 4, true)
  }

  idStart(i: number): number {
    return i === 0 ? this.#idsAt : this.idEnd(i - 1)
  }

  idEnd(i: number): number {
    return this.#idsAt + this.#view.getUint32(headBytes + this.count * 12 + i * 4, true)
  }

  id(i: number): string {
    return this.bytes.toString('utf8', this.idStart(i), this.idEnd(i))
  }

  hash(i: number): Uint8Array {
    const at = headBytes + this.count * 20 + i * hashBytes
    return this.bytes.subarray(at, at + hashBytes)
  }

  sender(i: number): string {
    this.#senders ??= this.#readSenders()
    return this.#senders[this.#view.getUint32(headBytes + this.count * 16 + i * 4, true)]!
  }

  #readSenders(): string[] {
    const number = this.#view.getUint32(4, true)
    const lengthsAt = this.idStart(this.count)
    let end = lengthsAt + number * 4
    return Array.from({ length: number }, (_, i) => {
      const start = end
      end += this.#view.getUint32(lengthsAt + i * 4, true)
      return this.bytes.toString('utf8', start, end)
    })
  }
}

/** The items of a group at these places, in this order, as a block. */
export function encodeBlock(batch: PackedAppends, places: readonly number[]): BlockBytes {
  const count = places.length
  const senders: string[] = []
  const senderNumbers = new Map<number, number>()
  let idsLength = 0
  let framesLength = 0
  for (const place of places) {
    idsLength += batch.idEnds[place]! - startOf(batch.idEnds, place)
    framesLength += batch.frameEnds[place]! - startOf(batch.frameEnds, place)
    const sender = batch.senderOf[place]!
    if (senderNumbers.has(sender)) continue
    senderNumbers.set(sender, senders.push(batch.senders[sender]!) - 1)
  }
  const names = senders.map((sender) => Buffer.from(sender))
  const namesLength = names.reduce((sum, name) => sum + 4 + name.length, 0)
  const idsAt = headBytes + count * itemBytes
  const items = Buffer.allocUnsafe(idsAt + idsLength + namesLength)
  const view = new DataView(items.buffer, items.byteOffset, items.length)
  view.setUint32(0, count, true)
  view.setUint32(4, senders.length, true)
  let idEnd = 0
  let frameEnd = 0
  for (let i = 0; i < count; i++) {
    const place = places[i]!
    idEnd += batch.idEnds[place]! - startOf(batch.idEnds, place)
    frameEnd += batch.frameEnds[place]! - startOf(batch.frameEnds, place)
    view.setFloat64(headBytes + i * 8, batch.atMs[place]!, true)
    view.setUint32(headBytes + count * 8 + i * 4, frameEnd, true)
    view.setUint32(headBytes + count * 12 + i * 4, idEnd, true)
    view.setUint32(headBytes + count * 16 + i * 4, senderNumbers.get(batch.senderOf[place]!)!, true)
  }
  const hashesAt = headBytes + count * 20
  const frames = new Uint8Array(framesLength)
  let hashAt = hashesAt
  let idAt = idsAt
  let frameAt = 0
  // What lies side by side in the group is copied as one.
  for (let i = 0; i < count; ) {
    const from = places[i]!
    let to = from
    while (++i < count && places[i] === to + 1) to++
    const hashes = batch.hashes.subarray(from * hashBytes, (to + 1) * hashBytes)
    const ids = batch.ids.subarray(startOf(batch.idEnds, from), batch.idEnds[to])
    const framesHere = batch.frames.subarray(startOf(batch.frameEnds, from), batch.frameEnds[to])
    items.set(hashes, hashAt)
    items.set(ids, idAt)
    frames.set(framesHere, frameAt)
    hashAt += hashes.length
    idAt += ids.length
    frameAt += framesHere.length
  }
  let nameAt = idAt + 4 * names.length
  for (const [i, name] of names.entries()) {
    view.setUint32(idAt + i * 4, name.length, true)
    items.set(name, nameAt)
    nameAt += name.length
  }
  return { items, frames }
}

export function startOf(ends: Uint32Array, i: number): number {
  return i === 0 ? 0 : ends[i - 1]!
}
