// Reads the audit log back: walks the chain to its first broken row, and lists the newest entries.
import type { PostgresAddress } from '../postgres/address.ts'
import { hotLimits, openConnection, type PostgresConnection, type Row } from '../postgres/connection.ts'
import { toOpenError } from '../postgres/failure.ts'
import { type AuditRow, type ChainHead, firstHash, hashOf } from './chain.ts'

export interface Verification {
  /** Rows that are as they were written, from the first on. */
  readonly intact: number
  readonly head: ChainHead
  /** Absent when the chain holds. */
  readonly broken?: { readonly sequence: number; readonly reason: BreakReason }
}

/**
 * `CHANGED`: a field of the row is not what was hashed; `MISSING`: no row has that sequence; `NOT_LINKED`: its hash is
 * right in itself and does not follow the row before; `BEYOND_HEAD`: rows behind the head; `HEAD_DIFFERS`: the head has
 * another hash than its row; `NOT_EXPECTED`: the row has not the hash that was noted elsewhere.
 */
export type BreakReason = 'CHANGED' | 'MISSING' | 'NOT_LINKED' | 'BEYOND_HEAD' | 'HEAD_DIFFERS' | 'NOT_EXPECTED'

const pageRows = 1_000

function toRow(row: Row): AuditRow {
  const text = (name: string): string => String(row[name])
  return {
    sequence: Number(row['sequence']),
    entryId: text('entry_id'),
    atMs: Number(row['at_ms']),
    tenant: text('tenant'),
    subject: text('subject'),
    clientId: text('client_id'),
    action: text('action'),
    outcome: text('outcome'),
    details: text('details'),
    previousHash: text('previous_hash'),
    hash: text('hash'),
  }
}

/** Rejects with STORE_OPEN_FAILED or STORE_UNAVAILABLE. `expected`: a head that was noted outside of the database. */
export async function verifyAudit(address: PostgresAddress, expected?: ChainHead): Promise<Verification> {
  return await withConnection(address, async (connection) => {
    // One snapshot: rows are being added meanwhile.
    await connection.query({ text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' })
    const [row] = await connection.query({ text: 'SELECT sequence, hash FROM arqonbus_audit_head' })
    const hash = row?.['hash']
    const head = { sequence: Number(row?.['sequence'] ?? 0), hash: typeof hash === 'string' ? hash : firstHash }
    const walk = createWalk(head, expected)
    for (let page = [] as AuditRow[], after = 0; ; after = page.at(-1)!.sequence) {
      page = (
        await connection.query({
          text: `SELECT * FROM arqonbus_audit WHERE sequence > $1 ORDER BY sequence LIMIT ${pageRows}`,
          values: [after],
        })
      ).map(toRow)
      for (const next of page) {
        const broken = walk.next(next)
        if (broken !== undefined) return broken
      }
      if (page.length < pageRows) return walk.end()
    }
  })
}

/** The chain from its first row on; pure. */
function createWalk(head: ChainHead, expected: ChainHead | undefined) {
  let sequence = 0
  let hash = firstHash
  const broken = (at: number, reason: BreakReason): Verification => ({
    intact: sequence,
    head,
    broken: { sequence: at, reason },
  })
  return {
    next(row: AuditRow): Verification | undefined {
      const at = sequence + 1
      if (row.sequence !== at) return broken(at, at > head.sequence ? 'BEYOND_HEAD' : 'MISSING')
      if (hashOf(row.previousHash, row) !== row.hash) return broken(at, 'CHANGED')
      if (row.previousHash !== hash) return broken(at, 'NOT_LINKED')
      if (at > head.sequence) return broken(at, 'BEYOND_HEAD')
      if (at === expected?.sequence && row.hash !== expected.hash) return broken(at, 'NOT_EXPECTED')
      sequence = at
      hash = row.hash
      return undefined
    },
    end(): Verification {
      if (sequence < Math.max(head.sequence, expected?.sequence ?? 0)) return broken(sequence + 1, 'MISSING')
      if (hash !== head.hash) return broken(sequence, 'HEAD_DIFFERS')
      return { intact: sequence, head }
    },
  }
}

/** The newest `limit` entries, oldest of them first. Rejects as `verifyAudit` does. */
export async function listAudit(address: PostgresAddress, limit: number): Promise<readonly AuditRow[]> {
  return await withConnection(address, async (connection) => {
    const rows = await connection.query({
      text: 'SELECT * FROM arqonbus_audit ORDER BY sequence DESC LIMIT $1',
      values: [limit],
    })
    return rows.map(toRow).reverse()
  })
}

async function withConnection<T>(
  address: PostgresAddress,
  work: (connection: PostgresConnection) => Promise<T>,
): Promise<T> {
  const connection = await openConnection({ address, limits: hotLimits })
  try {
    return await work(connection)
  } catch (error) {
    throw toOpenError(error, address.shown)
  } finally {
    await connection.close()
  }
}
