// The schema as the database's own catalogue tells it: one sorted line for each column, constraint, index, function and
// trigger of our tables. Compared with the lines in the repository, it shows what drifted, on any version of Postgres.
import { readFileSync } from 'node:fs'
import type { PostgresAddress } from './address.ts'
import { hotLimits, openConnection, type PostgresConnection } from './connection.ts'

/** Of our names; the table of the original is not ours to judge. */
const isOurs = (name: string): string => `${name} ~ '^(arqonbus|continuum)_' AND ${name} !~ '^arqonbus_message_history'`

const here = `relnamespace = current_schema()::regnamespace AND ${isOurs('c.relname')}`

const query = `
  SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
      || CASE WHEN a.attcollation = 'pg_catalog."C"'::regcollation THEN ' collate C' ELSE '' END
      || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
      || CASE WHEN a.attidentity <> '' THEN ' identity' ELSE '' END
      || CASE WHEN a.attstorage = 'e' AND a.atttypid = 'bytea'::regtype THEN ' external' ELSE '' END
      || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') AS line
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'v') AND ${here}
  UNION ALL
  SELECT 'constraint ' || c.relname || ' ' || pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype <> 'n' AND ${here}
  UNION ALL
  SELECT 'index ' || replace(pg_get_indexdef(i.indexrelid), current_schema() || '.', '')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE ${here}
  UNION ALL
  SELECT 'trigger ' || replace(pg_get_triggerdef(t.oid), current_schema() || '.', '')
      || CASE t.tgenabled WHEN 'D' THEN ' disabled' WHEN 'A' THEN ' always' ELSE '' END
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND ${here}
  UNION ALL
  SELECT 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') '
      || encode(sha256(convert_to(p.prosrc || coalesce(array_to_string(p.proconfig, ','), ''), 'UTF8')), 'hex')
    FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND ${isOurs('p.proname')}`

export async function readCatalogue(connection: Pick<PostgresConnection, 'query'>): Promise<readonly string[]> {
  const rows = await connection.query({ text: query })
  return rows.map((row) => String(row['line'])).sort()
}

const file = new URL('../../scripts/migrations/schema.txt', import.meta.url)

/** The lines that this version's migrations lead to. */
export function expectedCatalogue(from: URL = file): readonly string[] {
  return readFileSync(from, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
}

export interface Drift {
  /** Lines that the database should have and does not. */
  readonly missing: readonly string[]
  /** Lines that it has and should not. */
  readonly extra: readonly string[]
}

/** Rejects with STORE_OPEN_FAILED or STORE_UNAVAILABLE. */
export async function findDrift(
  address: PostgresAddress,
  expected: readonly string[] = expectedCatalogue(),
): Promise<Drift> {
  const connection = await openConnection({ address, limits: hotLimits })
  try {
    const found = await readCatalogue(connection)
    return {
      missing: expected.filter((line) => !found.includes(line)),
      extra: found.filter((line) => !expected.includes(line)),
    }
  } finally {
    await connection.close()
  }
}
