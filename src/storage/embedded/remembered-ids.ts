// The dedup window: which ids were used lately, per stream, counted per tenant. The ids themselves are in the blocks of
// the history file; in memory is only where to look, read anew when the file is opened.
import type { DatabaseSync } from 'node:sqlite'
import type { DedupWindow } from '../store.ts'
import type { IdBlock } from './block.ts'
import type { BlockTable } from './block-table.ts'
import { IdHash } from './id-hash.ts'
import { IdTable } from './id-table.ts'
import type { StreamState } from './stream-table.ts'

export interface Remembered {
  readonly sequence: number
  readonly hash: Uint8Array
}

export interface RememberedIds {
  /** Ids held for a tenant, those expired but not yet removed included. */
  count(tenant: string): number
  /** What was stored under the id that is `bytes[start, end)`. */
  find(stream: StreamState, bytes: Uint8Array, start: number, end: number, nowMs: number): Remembered | undefined
  /** Remembers the id looked for last, as one of the block of this row. */
  add(stream: StreamState, row: number): void
  /** Removes the ids of some expired blocks, oldest first; true when there may be more. */
  forgetExpired(nowMs: number): boolean
  /** The ids of blocks up to this row are past their window. */
  readonly forgottenRow: number
  /** Takes back what was done since the last `committed`: the transaction is rolled back. Before `BlockTable.drop`. */
  rolledBack(): void
  committed(): void
}

/** Blocks looked at in one step: about a millisecond of work when they are full. */
const blocksPerStep = 16
const blocksPerLoad = 256

export function createRememberedIds(db: DatabaseSync, blocks: BlockTable, dedup: DedupWindow): RememberedIds {
  const saveForgotten = db.prepare('UPDATE store SET forgotten = ?')
  const selectForgotten = db.prepare('SELECT forgotten FROM store')
  const hash = new IdHash()
  const table = new IdTable()
  const counts = new Map<string, number>()
  let forgottenRow = 0
  let hasForgotten = false
  /** No block is expired before this. */
  let nextExpiryMs = Number.NEGATIVE_INFINITY
  load()

  function load(): void {
    table.clear()
    counts.clear()
    nextExpiryMs = Number.NEGATIVE_INFINITY
    forgottenRow = Number(selectForgotten.get()?.['forgotten'])
    for (let row = forgottenRow; ; ) {
      const heads = blocks.after(row, blocksPerLoad)
      for (const head of heads) {
        forEachId(head.row, (low, high) => table.add(low, high, head.row))
        count(head.tenant, head.last - head.first + 1)
      }
      if (heads.length < blocksPerLoad) return
      row = heads.at(-1)!.row
    }
  }

  function count(tenant: string, change: number): void {
    counts.set(tenant, (counts.get(tenant) ?? 0) + change)
  }

  function forEachId(row: number, visit: (low: number, high: number) => void): void {
    const block = blocks.idBlock(row)
    if (block === undefined) return
    for (let i = 0; i < block.count; i++) {
      hash.hash(block.stream, block.idBytes, block.idStart(i), block.idEnd(i))
      visit(hash.low, hash.high)
    }
  }

  function removeIds({ row, tenant }: { readonly row: number; readonly tenant: string }): void {
    let removed = 0
    forEachId(row, (low, high) => {
      if (table.remove(low, high, row)) removed++
    })
    count(tenant, -removed)
  }

  return {
    get forgottenRow() {
      return forgottenRow
    },
    count: (tenant) => counts.get(tenant) ?? 0,
    find(stream, bytes, start, end, nowMs) {
      hash.hash(stream.row, bytes, start, end)
      const { low, high } = hash
      for (let place = table.find(low, high); place >= 0; place = table.find(low, high, place + 1)) {
        const block = blocks.idBlock(table.rowAt(place))
        if (block === undefined || block.stream !== stream.row || nowMs - block.takenMs >= dedup.maxAgeMs) continue
        const i = indexOfId(block, bytes, start, end)
        if (i >= 0) return { sequence: block.first + i, hash: block.hash(i) }
      }
      return undefined
    },
    add(stream, row) {
      table.add(hash.low, hash.high, row)
      count(stream.key.tenant, 1)
    },
    forgetExpired(nowMs) {
      if (nowMs < nextExpiryMs) return false
      const heads = blocks.after(forgottenRow, blocksPerStep)
      const kept = heads.findIndex((head) => nowMs - head.takenMs < dedup.maxAgeMs)
      const expired = kept < 0 ? heads : heads.slice(0, kept)
      for (const head of expired) {
        removeIds(head)
        forgottenRow = head.row
        // Otherwise it leaves with its records.
        if (head.isTrimmed) blocks.remove(head.row)
      }
      if (expired.length > 0) {
        hasForgotten = true
        saveForgotten.run(forgottenRow)
      }
      nextExpiryMs = kept < 0 ? Number.NEGATIVE_INFINITY : heads[kept]!.takenMs + dedup.maxAgeMs
      return expired.length === blocksPerStep
    },
    rolledBack() {
      if (hasForgotten) load()
      else for (const block of blocks.pending.values()) removeIds(block)
      hasForgotten = false
    },
    committed() {
      hasForgotten = false
    },
  }
}

function indexOfId(block: IdBlock, bytes: Uint8Array, start: number, end: number): number {
  const { count, idBytes } = block
  for (let i = 0; i < count; i++) {
    const at = block.idStart(i)
    if (block.idEnd(i) - at !== end - start) continue
    let length = 0
    while (length < end - start && idBytes[at + length] === bytes[start + length]) length++
    if (length === end - start) return i
  }
  return -1
}
