// What a table holds, as a count and a digest that does not depend on the order of its rows: computed by Postgres in one
// walk, without sorting.
import type { Row, Statement } from '../../postgres/connection.ts'

export const laneTables = [
  'arqonbus_continuum_projection',
  'arqonbus_continuum_projection_events',
  'arqonbus_continuum_projection_dlq',
  'arqonbus_continuum_projection_dlq_raw',
  'arqonbus_continuum_projection_checkpoint',
] as const
export type LaneTable = (typeof laneTables)[number]

export interface TableDigest {
  readonly rows: number
  /** Sums of the halves of each row's SHA-256: equal for the same rows in any order. */
  readonly digest: string
}

export type Digests = Readonly<Record<LaneTable, TableDigest>>

type Query = (statement: Statement) => Promise<readonly Row[]>

/** A row as text depends on these. */
export const digestSettings = `SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; SET extra_float_digits = 1`

export async function readDigests(query: Query, onTable?: (table: LaneTable) => void): Promise<Digests> {
  const digests: Partial<Record<LaneTable, TableDigest>> = {}
  for (const table of laneTables) {
    onTable?.(table)
    const half = (from: number): string => `coalesce(sum(('x' || substr(h, ${from}, 16))::bit(64)::bigint::numeric), 0)`
    const [row] = await query({
      text: `SELECT count(*) AS rows, ${half(1)}::text AS low, ${half(17)}::text AS high
        FROM (SELECT encode(sha256(convert_to(t::text, 'UTF8')), 'hex') AS h FROM ${table} t) hashed`,
    })
    digests[table] = { rows: Number(row?.['rows']), digest: `${String(row?.['low'])}:${String(row?.['high'])}` }
  }
  return digests as Digests
}

/** The tables that differ. */
export function differing(expected: Digests, found: Digests): readonly LaneTable[] {
  return laneTables.filter(
    (table) => expected[table].rows !== found[table].rows || expected[table].digest !== found[table].digest,
  )
}
