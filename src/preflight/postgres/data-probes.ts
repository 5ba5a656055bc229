// Looks at what is in the database: migrations and schema, rights, and whether what was written is read.
import type { CheckPorts, FactsOf } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { flagIn, look, type Looking, numberIn, textIn } from './look.ts'
import { objectsOf, partsInUse } from './needs.ts'

export const migrationsShape = {
  /** `name` and `state` of each, known or applied: applied, pending, edited, unknown. */
  migrations: 'objects',
  isLocked: 'boolean',
  /** Lines of scripts/migrations/schema.txt that the database lacks. */
  missing: 'strings',
} as const

export async function probeMigrations(ports: CheckPorts): Promise<FactsOf<typeof migrationsShape>> {
  const { compare, lockKey } = await import('../../postgres/migrations.ts')
  const { expectedCatalogue, readCatalogue } = await import('../../postgres/catalogue.ts')
  return await look(ports, async ({ connection, ask }) => {
    await requireSchema(ask)
    const status = await compare(connection)
    const lock = await ask(
      `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND (classid::bigint << 32 | objid::bigint) = ${lockKey}) AS held`,
    )
    const found = new Set(await readCatalogue(connection))
    return {
      migrations: status.map(({ name, state }) => ({ name, state })),
      isLocked: flagIn(lock, 'held'),
      missing: expectedCatalogue().filter((line) => !found.has(line)),
    }
  })
}

/** Schemas of the search path that the user may not use are left out of it, without a word. */
async function requireSchema(ask: Looking['ask']): Promise<void> {
  const row = await ask('SELECT current_schema() AS name')
  if (row['name'] !== null) return
  throw new ProbeStop('NO_PERMISSION', 'the user may use no schema of its search_path', 'schema')
}

export const privilegesShape = {
  /** `name` and `right` of what is not granted. */
  denied: 'objects',
  /** Names of what is not there at all. */
  absent: 'strings',
  /** How many rights were looked at. */
  asked: 'number',
} as const

const oidOf = { table: 'to_regclass', sequence: 'to_regclass', function: 'to_regproc' } as const

export async function probePrivileges(ports: CheckPorts): Promise<FactsOf<typeof privilegesShape>> {
  const objects = objectsOf(partsInUse(ports.ctx))
  return await look(ports, async ({ query }) => {
    const denied: { name: string; right: string }[] = []
    const absent = new Set<string>()
    let asked = 0
    for (const kind of ['table', 'sequence', 'function'] as const) {
      const pairs = objects
        .filter((one) => one.kind === kind)
        .flatMap(({ name, rights }) => rights.map((right) => [name, right]))
      const rows = await query(
        `SELECT name, "right", ${oidOf[kind]}(name) IS NULL AS absent,
           has_${kind}_privilege(${oidOf[kind]}(name)::oid, "right") AS granted
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY p(name, "right", place) ORDER BY place`,
        [pairs.map(([name]) => name), pairs.map(([, right]) => right)],
      )
      asked += rows.length
      for (const row of rows) {
        if (flagIn(row, 'absent')) absent.add(textIn(row, 'name'))
        else if (!flagIn(row, 'granted')) denied.push({ name: textIn(row, 'name'), right: textIn(row, 'right') })
      }
    }
    return { denied, absent: [...absent], asked }
  })
}

export const roundtripShape = {
  /** `committed`: in arqonbus_probe, by two connections; `rolled back`: in a table of one transaction. */
  mode: 'string',
  isSame: 'boolean',
  deleted: 'number',
} as const

/** Rows of runs that came to no end are swept by their names, after a day. */
const prefix = 'preflight-'

export async function probeRoundtrip(ports: CheckPorts): Promise<FactsOf<typeof roundtripShape>> {
  const name = `${prefix}${ports.runId}-${ports.nonce()}`
  return await look(ports, async (looking) => {
    const row = await looking.ask(
      `SELECT coalesce(has_table_privilege(to_regclass('arqonbus_probe')::oid, 'INSERT') AND
         has_table_privilege(to_regclass('arqonbus_probe')::oid, 'SELECT') AND
         has_table_privilege(to_regclass('arqonbus_probe')::oid, 'DELETE'), false) AS usable`,
    )
    return flagIn(row, 'usable') ? await committed(ports, looking, name) : await rolledBack(looking, name)
  })
}

async function committed(ports: CheckPorts, { ask, query }: Looking, name: string) {
  await query(
    `DELETE FROM arqonbus_probe WHERE starts_with(name, $1)
       AND at_ms < (extract(epoch FROM clock_timestamp() - interval '1 day') * 1000)::bigint`,
    [prefix],
  )
  try {
    // No ON CONFLICT: it can take nobody's place.
    const written = await ask(
      `INSERT INTO arqonbus_probe (name, at_ms)
         VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) RETURNING at_ms`,
      [name],
    )
    const read = await look(ports, ({ ask: askOther }) =>
      askOther('SELECT at_ms FROM arqonbus_probe WHERE name = $1', [name]),
    )
    const gone = await query('DELETE FROM arqonbus_probe WHERE name = $1 RETURNING name', [name])
    return { mode: 'committed', isSame: numberIn(read, 'at_ms') === numberIn(written, 'at_ms'), deleted: gone.length }
  } finally {
    await query('DELETE FROM arqonbus_probe WHERE name = $1', [name]).catch(() => undefined)
  }
}

async function rolledBack({ ask, query }: Looking, name: string) {
  await query('BEGIN')
  try {
    await query('CREATE TEMPORARY TABLE arqonbus_preflight_probe (name text PRIMARY KEY) ON COMMIT DROP')
    await query('INSERT INTO arqonbus_preflight_probe VALUES ($1)', [name])
    const read = await ask('SELECT name FROM arqonbus_preflight_probe')
    const gone = await query('DELETE FROM arqonbus_preflight_probe WHERE name = $1 RETURNING name', [name])
    return { mode: 'rolled back', isSame: textIn(read, 'name') === name, deleted: gone.length }
  } finally {
    await query('ROLLBACK').catch(() => undefined)
  }
}
