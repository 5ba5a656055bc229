// The blocks of the history file as its one writer sees them: those stored, and those that the open transaction will add.
import type { DatabaseSync } from 'node:sqlite'
import { BlockItems, encodeBlock, type IdBlock, startOf } from './block.ts'
import { hashBytes, type PackedAppends } from './packed-appends.ts'
import type { StreamState } from './stream-table.ts'

// A block ends before its frames are more than this, so that a page of history reads little that it does not give.
const maxFrameBytes = 64 * 1024
const maxRecords = 512

/** A stored block without its bytes. */
export interface BlockHead {
  readonly row: number
  readonly stream: number
  readonly first: number
  readonly last: number
  /** Time of its last record, which is its latest. */
  readonly toMs: number
  readonly takenMs: number
  /** Of all frames together. */
  readonly bytes: number
}

export interface BlockTable {
  /** Puts item `place` of the group at the end of a stream; returns the row of the block it will be in. */
  add(state: StreamState, batch: PackedAppends, place: number, nowMs: number): number
  /** Writes what `add` has gathered. */
  write(batch: PackedAppends): void
  /** What `add` has gathered since the last `committed` or `drop`. */
  readonly pending: ReadonlyMap<number, PendingBlock>
  committed(): void
  /** Forgets what was not committed. */
  drop(): void
  /** The block of this row, stored or pending. */
  idBlock(row: number): IdBlock | undefined
  items(row: number): BlockItems | undefined
  /** The oldest blocks of a stream that hold a record from `first` on. */
  oldest(stream: number, first: number, limit: number): BlockHead[]
  /** The oldest blocks above this row, with their tenants and whether no record of theirs is kept any more. */
  after(row: number, limit: number): (BlockHead & { readonly tenant: string; readonly isTrimmed: boolean })[]
  removeFrames(row: number): void
  remove(row: number): void
}

/** A block that the open transaction is to write. */
export class PendingBlock implements IdBlock {
  readonly row: number
  readonly stream: number
  readonly first: number
  readonly run: number
  readonly tenant: string
  readonly takenMs: number
  readonly places: number[] = []
  bytes = 0
  readonly #batch: PackedAppends

  constructor(row: number, state: StreamState, batch: PackedAppends, nowMs: number) {
    this.row = row
    this.stream = state.row
    this.first = state.last + 1
    this.run = state.run
    this.tenant = state.key.tenant
    this.takenMs = nowMs
    this.#batch = batch
  }

  get count(): number {
    return this.places.length
  }

  get idBytes(): Uint8Array {
    return this.#batch.ids
  }

  idStart(i: number): number {
    return startOf(this.#batch.idEnds, this.places[i]!)
  }

  idEnd(i: number): number {
    return this.#batch.idEnds[this.places[i]!]!
  }

  hash(i: number): Uint8Array {
    const at = this.places[i]! * hashBytes
    return this.#batch.hashes.subarray(at, at + hashBytes)
  }
}

/** `lowestRow`: rows up to this were used before, even if nothing is left of them. */
export function createBlockTable(db: DatabaseSync, lowestRow: number): BlockTable {
  const insertBlock = db.prepare(
    `INSERT INTO blocks (row, stream, first, last, run, to_ms, taken_ms, bytes, items)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const insertFrames = db.prepare('INSERT INTO frames (row, frames) VALUES (?, ?)')
  const selectItems = db.prepare('SELECT items FROM blocks WHERE row = ?')
  const selectIds = db.prepare('SELECT stream, first, taken_ms, items FROM blocks WHERE row = ?')
  const head = 'b.row, b.stream, b.first, b.last, b.to_ms, b.taken_ms, b.bytes'
  const selectOldest = db.prepare(
    `SELECT ${head} FROM blocks AS b WHERE stream = ? AND last >= ? ORDER BY last LIMIT ?`,
  )
  const selectAfter = db.prepare(
    `SELECT ${head}, s.tenant, b.last < s.first AS is_trimmed FROM blocks AS b JOIN streams AS s ON s.row = b.stream
     WHERE b.row > ? ORDER BY b.row LIMIT ?`,
  )
  const deleteFrames = db.prepare('DELETE FROM frames WHERE row = ?')
  const deleteBlock = db.prepare('DELETE FROM blocks WHERE row = ?')
  const storedLast = Number(db.prepare('SELECT coalesce(max(row), 0) AS row FROM blocks').get()?.['row'])

  let writtenRow = Math.max(lowestRow, storedLast)
  let lastRow = writtenRow
  const pending = new Map<number, PendingBlock>()
  /** The pending block each stream grows in. */
  const growing = new Map<number, PendingBlock>()
  /** Repeats come in the order they were sent in, so one block is asked for again and again. */
  let lookedUp: IdBlock | undefined

  function begin(state: StreamState, batch: PackedAppends, nowMs: number): PendingBlock {
    const block = new PendingBlock(++lastRow, state, batch, nowMs)
    pending.set(block.row, block)
    growing.set(state.row, block)
    return block
  }

  function toHead(row: Record<string, unknown>): BlockHead {
    return {
      row: Number(row['row']),
      stream: Number(row['stream']),
      first: Number(row['first']),
      last: Number(row['last']),
      toMs: Number(row['to_ms']),
      takenMs: Number(row['taken_ms']),
      bytes: Number(row['bytes']),
    }
  }

  function readIdBlock(row: number): IdBlock | undefined {
    const found = selectIds.get(row)
    if (found === undefined) return undefined
    const items = new BlockItems(found['items'] as Uint8Array) // BLOB NOT NULL in the schema
    return {
      row,
      stream: Number(found['stream']),
      first: Number(found['first']),
      takenMs: Number(found['taken_ms']),
      count: items.count,
      idBytes: items.bytes,
      idStart: (i) => items.idStart(i),
      idEnd: (i) => items.idEnd(i),
      hash: (i) => items.hash(i),
    }
  }

  return {
    pending,
    add(state, batch, place, nowMs) {
      const atMs = batch.atMs[place]!
      const bytes = batch.frameEnds[place]! - startOf(batch.frameEnds, place)
      let block = growing.get(state.row)
      if (atMs < state.lastMs) {
        state.run++ // so that within a run, and within a block, records are in the order of time
        block = undefined
      }
      if (block === undefined || block.count >= maxRecords || block.bytes + bytes > maxFrameBytes)
        block = begin(state, batch, nowMs)
      block.places.push(place)
      block.bytes += bytes
      state.lastMs = atMs
      state.last++
      state.bytes += bytes
      return block.row
    },
    write(batch) {
      for (const { row, stream, first, count, run, takenMs, places, bytes } of pending.values()) {
        const { items, frames } = encodeBlock(batch, places)
        const toMs = batch.atMs[places.at(-1)!]!
        insertBlock.run(row, stream, first, first + count - 1, run, toMs, takenMs, bytes, items)
        insertFrames.run(row, frames)
      }
    },
    committed() {
      if (pending.size === 0) return
      writtenRow = lastRow
      pending.clear()
      growing.clear()
    },
    drop() {
      lastRow = writtenRow
      pending.clear()
      growing.clear()
      lookedUp = undefined
    },
    idBlock(row) {
      const waiting = pending.get(row)
      if (waiting !== undefined) return waiting
      if (lookedUp?.row !== row) lookedUp = readIdBlock(row)
      return lookedUp
    },
    items(row) {
      const found = selectItems.get(row)
      return found === undefined ? undefined : new BlockItems(found['items'] as Uint8Array) // as above
    },
    oldest: (stream, first, limit) => selectOldest.all(stream, first, limit).map(toHead),
    after: (row, limit) =>
      selectAfter
        .all(row, limit)
        .map((found) => ({ ...toHead(found), tenant: String(found['tenant']), isTrimmed: found['is_trimmed'] === 1 })),
    removeFrames: (row) => void deleteFrames.run(row),
    remove(row) {
      deleteBlock.run(row)
      if (lookedUp?.row === row) lookedUp = undefined
    },
  }
}
