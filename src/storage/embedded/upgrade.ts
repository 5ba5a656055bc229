// From schema 1, a row for each record and one for each remembered id, to schema 2, blocks of records. In place and in
// one transaction: a process that ends half-way leaves the old file as it was.
import type { DatabaseSync } from 'node:sqlite'
import { createBlockTable } from './block-table.ts'
import { packAppends } from './packed-appends.ts'
import { createStreamTable, type StreamState } from './stream-table.ts'

interface OldRow {
  readonly sequence: number
  readonly id: string
  readonly sender: string
  readonly at_ms: number
  readonly frame: Uint8Array
  /** Both null where the id is past its window. */
  readonly hash: Uint8Array | null
  readonly taken_ms: number | null
}

const rowsPerPage = 256
const noHash = new Uint8Array(16)

export function upgradeToBlocks(db: DatabaseSync, blockTables: string): void {
  db.exec(`BEGIN IMMEDIATE;
    ALTER TABLE store ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE streams ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE streams ADD COLUMN last_ms INTEGER NOT NULL DEFAULT 0;
    ${blockTables}`)
  try {
    copyRecords(db)
    db.exec('DROP TABLE records; DROP TABLE remembered; UPDATE store SET schema_version = 2; COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

function copyRecords(db: DatabaseSync): void {
  db.exec('CREATE INDEX remembered_by_sequence ON remembered (stream, sequence)')
  const selectBoundary = db.prepare('SELECT min(sequence) AS sequence FROM remembered WHERE stream = ?')
  const selectRecords = db.prepare(
    `SELECT r.sequence, r.id, r.sender, r.at_ms, r.frame, m.hash, m.at_ms AS taken_ms
     FROM records AS r LEFT JOIN remembered AS m ON m.stream = r.stream AND m.sequence = r.sequence
     WHERE r.stream = ? AND r.sequence >= ? AND r.sequence < ? ORDER BY r.sequence LIMIT ${rowsPerPage}`,
  )
  const selectTrimmed = db.prepare(
    `SELECT sequence, id, '' AS sender, at_ms, x'' AS frame, hash, at_ms AS taken_ms FROM remembered
     WHERE stream = ? AND sequence >= ? AND sequence < ? ORDER BY sequence LIMIT ${rowsPerPage}`,
  )
  const saveForgotten = db.prepare('UPDATE store SET forgotten = (SELECT coalesce(max(row), 0) FROM blocks)')
  const removeTrimmedFrames = db.prepare(
    'DELETE FROM frames WHERE row IN (SELECT b.row FROM blocks AS b JOIN streams AS s ON s.row = b.stream WHERE b.last < s.first)',
  )
  const streams = createStreamTable(db)
  const blocks = createBlockTable(db, 0)

  /** Writes consecutive records that were taken at one moment. */
  function write(state: StreamState, rows: readonly OldRow[]): void {
    const batch = packAppends(
      rows.map(({ id, hash, sender, frame, at_ms }) => ({
        key: state.key,
        id,
        hash: hash ?? noHash,
        sender,
        frame,
        atMs: at_ms,
      })),
    )
    state.last = rows[0]!.sequence - 1
    for (const i of rows.keys()) blocks.add(state, batch, i, rows[0]!.taken_ms ?? 0)
    blocks.write(batch)
    blocks.committed()
  }

  function copy(state: StreamState, select: typeof selectRecords, from: number, below: number): void {
    let next = from
    for (let isLast = false; !isLast; ) {
      const page = select.all(state.row, next, below) as unknown as OldRow[] // the columns selected; STRICT tables
      isLast = page.length < rowsPerPage
      for (let start = 0, end = 1; start < page.length; start = end++) {
        const { taken_ms, sequence } = page[start]!
        while (page[end]?.taken_ms === taken_ms && page[end]?.sequence === sequence + end - start) end++
        write(state, page.slice(start, end))
      }
      next = (page.at(-1)?.sequence ?? next) + 1
    }
  }

  const all = (visit: (state: StreamState, boundary: number) => void) => {
    for (const { row } of db.prepare('SELECT row FROM streams ORDER BY row').all()) {
      const state = streams.byRow(Number(row))
      const boundary = Number(selectBoundary.get(Number(row))?.['sequence'] ?? Number.MAX_SAFE_INTEGER)
      if (state === undefined) continue
      const { last, bytes } = state
      visit(state, boundary)
      streams.save(Object.assign(state, { last, bytes }))
    }
  }
  // Blocks are forgotten in their order: first those of all streams whose ids already are.
  all((state, boundary) => copy(state, selectRecords, state.first, boundary))
  saveForgotten.run()
  all((state, boundary) => {
    copy(state, selectTrimmed, 0, state.first)
    copy(state, selectRecords, Math.max(state.first, boundary), Number.MAX_SAFE_INTEGER)
  })
  removeTrimmedFrames.run()
}
