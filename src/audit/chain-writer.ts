// Adds rows to the chain in Postgres: under the lock of its head, so that several processes write one chain, and under
// the ids of the entries, so that an attempt whose outcome is unknown can be repeated.
import type { PostgresAddress } from '../postgres/address.ts'
import { hotLimits, openConnection, type PostgresConnection } from '../postgres/connection.ts'
import { type AuditRow, type ChainHead, link, type toContent } from './chain.ts'

type Content = ReturnType<typeof toContent>

export interface ChainWriter {
  /** All or nothing; resolves with the head after them. Rejects with a BusError. */
  write(contents: readonly Content[]): Promise<ChainHead>
  close(): Promise<void>
}

const columns = [
  ['sequence', 'bigint'],
  ['entry_id', 'text'],
  ['at_ms', 'bigint'],
  ['tenant', 'text'],
  ['subject', 'text'],
  ['client_id', 'text'],
  ['action', 'text'],
  ['outcome', 'text'],
  ['details', 'text'],
  ['previous_hash', 'text'],
  ['hash', 'text'],
] as const

const valuesOf = (row: AuditRow): readonly (string | number)[] => [
  row.sequence,
  row.entryId,
  row.atMs,
  row.tenant,
  row.subject,
  row.clientId,
  row.action,
  row.outcome,
  row.details,
  row.previousHash,
  row.hash,
]

const insert = `INSERT INTO arqonbus_audit (${columns.map(([name]) => name).join(', ')})
  SELECT * FROM unnest(${columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(', ')})`

export function createChainWriter(address: PostgresAddress): ChainWriter {
  let connection: PostgresConnection | undefined

  async function inTransaction<T>(work: (on: PostgresConnection) => Promise<T>): Promise<T> {
    if (connection?.isAlive !== true) connection = await openConnection({ address, limits: hotLimits })
    const on = connection
    try {
      await on.query({ text: 'BEGIN' })
      const result = await work(on)
      await on.query({ text: 'COMMIT' })
      return result
    } catch (error) {
      if (on.isAlive) await on.query({ text: 'ROLLBACK' }).catch(() => undefined)
      throw error
    }
  }

  return {
    async write(contents) {
      return await inTransaction(async (on) => {
        const [head] = await on.query({ text: 'SELECT sequence, hash FROM arqonbus_audit_head FOR UPDATE' })
        if (head === undefined) throw new Error('arqonbus_audit_head has no row')
        const before: ChainHead = { sequence: Number(head['sequence']), hash: String(head['hash']) }
        const there = await on.query({
          text: 'SELECT entry_id FROM arqonbus_audit WHERE entry_id = ANY ($1::text[])',
          values: [contents.map(({ entryId }) => entryId)],
        })
        const known = new Set(there.map((row) => row['entry_id']))
        const rows = link(
          before,
          contents.filter(({ entryId }) => !known.has(entryId)),
        )
        const last = rows.at(-1)
        if (last === undefined) return before
        const values = rows.map(valuesOf)
        await on.query({ text: insert, values: columns.map((_, i) => values.map((row) => row[i])) })
        await on.query({
          text: 'UPDATE arqonbus_audit_head SET sequence = $1, hash = $2',
          values: [last.sequence, last.hash],
        })
        return { sequence: last.sequence, hash: last.hash }
      })
    },
    async close() {
      await connection?.close()
    },
  }
}
