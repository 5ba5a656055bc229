// What the Postgres server says of itself on a connection: how durable a commit is, whether it can be written, whose
// data it has, and whether positions given out before still hold.
import { BusError } from '../../base/errors.ts'
import type { AckLevel } from '../../envelope/envelope.ts'
import type { PostgresConnection, Row } from '../../postgres/connection.ts'
import { sqlstateOf } from '../../postgres/failure.ts'
import type { StoreFault, StoreReport } from '../store.ts'
import { textArray } from './binary-arrays.ts'

type Query = Pick<PostgresConnection, 'query'>

const settingNames = [
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'synchronous_standby_names',
  'default_transaction_read_only',
] as const
type Settings = Readonly<Record<(typeof settingNames)[number], string>> & { readonly isInRecovery: boolean }

/** Raises this session's `synchronous_commit` when it is off, then reads what holds. */
export async function readReport(connection: Query): Promise<StoreReport> {
  // Off loses acknowledged commits when the server is killed. It is each session's own choice, so it is ours.
  await connection.query({
    text: "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
  })
  const columns = settingNames.map((name) => `current_setting('${name}') AS ${name}`)
  const [row] = await connection.query({
    text: `SELECT ${columns.join(', ')}, pg_is_in_recovery() AS is_in_recovery, identity FROM arqonbus_history`,
  })
  if (row === undefined) throw missingSchema()
  const settings = toSettings(row)
  return { level: levelOf(settings), identity: `postgres:${String(row['identity'])}`, faults: faultsOf(settings) }
}

function toSettings(row: Row): Settings {
  const text = (name: (typeof settingNames)[number]): string => String(row[name])
  return {
    fsync: text('fsync'),
    full_page_writes: text('full_page_writes'),
    synchronous_commit: text('synchronous_commit'),
    synchronous_standby_names: text('synchronous_standby_names'),
    default_transaction_read_only: text('default_transaction_read_only'),
    isInRecovery: row['is_in_recovery'] === true,
  }
}

export function levelOf(settings: Settings): AckLevel {
  if (settings.fsync !== 'on' || settings.full_page_writes !== 'on') return 'process'
  if (settings.synchronous_standby_names === '' || settings.synchronous_commit === 'local') return 'disk'
  return 'replica'
}

export function faultsOf(settings: Settings): StoreFault[] {
  const faults: StoreFault[] = []
  for (const name of ['fsync', 'full_page_writes'] as const) {
    if (settings[name] === 'on') continue
    const fix = `set ${name} = on in postgresql.conf and restart; without it a loss of power loses or damages history`
    faults.push({ code: 'NOT_PERSISTED', found: `${name} ${settings[name]}`, fix })
  }
  if (settings.isInRecovery) {
    const fix = 'name the primary in the address; this server is a standby'
    faults.push({ code: 'READ_ONLY', found: 'pg_is_in_recovery() true', fix })
  } else if (settings.default_transaction_read_only === 'on') {
    const fix = 'set default_transaction_read_only = off for this user and database'
    faults.push({ code: 'READ_ONLY', found: 'default_transaction_read_only on', fix })
  }
  return faults
}

/** What this version reads, writes and calls; one that is absent means that a migration is. */
const neededTables = ['history', 'tenants', 'streams', 'records', 'remembered', 'probe'].map(
  (name) => `arqonbus_${name}`,
)
const neededFunctions = ['append', 'forget_some', 'read', 'trim'].map((name) => `arqonbus_${name}`)

/** Rejects with STORE_OPEN_FAILED: SCHEMA_MISSING, or DENIED where this user may not write what is there. */
export async function requireSchema(connection: Query): Promise<void> {
  const [row] = await connection.query({
    text: `SELECT (SELECT count(*) FROM unnest($1::text[]) t WHERE to_regclass(t) IS NULL)
             + (SELECT count(*) FROM unnest($2::text[]) f WHERE to_regproc(f) IS NULL) AS absent,
           (SELECT string_agg(DISTINCT t, ', ') FROM unnest($1::text[]) t, unnest($3::text[]) p
            WHERE to_regclass(t) IS NOT NULL AND NOT has_table_privilege(to_regclass(t), p)) AS denied`,
    values: [textArray(neededTables), textArray(neededFunctions), textArray(['SELECT', 'INSERT', 'UPDATE', 'DELETE'])],
  })
  if (row?.['absent'] !== 0) throw missingSchema()
  const denied = row['denied']
  if (typeof denied !== 'string') return
  const message = `This user of Postgres may not read and write ${denied}; grant it SELECT, INSERT, UPDATE and DELETE there`
  throw new BusError('STORE_OPEN_FAILED', message, { reason: 'DENIED' })
}

function missingSchema(): BusError {
  const message = 'The database does not have the tables of history; run `arqonbus migrate up`'
  return new BusError('STORE_OPEN_FAILED', message, { reason: 'SCHEMA_MISSING' })
}

/**
 * Compares the server's life with the one this data was last used in, and raises every epoch when what was acknowledged
 * then may be gone: other data files (a restored dump), another timeline (a restored backup, a standby that took over
 * without being waited for), and below level `disk` any restart.
 */
export async function settleLife(connection: Query, level: AckLevel, newEpoch: number): Promise<void> {
  const { before, now } = await readLife(connection)
  if (before === now) return
  const isLossPossible = before !== '' && comparedPart(before, level) !== comparedPart(now, level)
  // Another bus that found the same has changed `life` already.
  await connection.query({
    text: isLossPossible
      ? `UPDATE arqonbus_history SET life = $1, min_epoch = greatest(min_epoch + 1, $3::bigint,
           (SELECT max(epoch) + 1 FROM arqonbus_streams)) WHERE life = $2`
      : 'UPDATE arqonbus_history SET life = $1 WHERE life = $2',
    values: isLossPossible ? [now, before, newEpoch] : [now, before],
  })
}

const startMs = '(extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint'

async function readLife(connection: Query): Promise<{ before: string; now: string }> {
  const select = (files: string) =>
    connection.query({ text: `SELECT life, ${files} AS files, ${startMs} AS start FROM arqonbus_history` })
  let rows: readonly Row[]
  try {
    rows = await select(`(SELECT system_identifier FROM pg_control_system()) || ' ' ||
      (SELECT timeline_id FROM pg_control_checkpoint())`)
  } catch (error) {
    if (sqlstateOf(error) !== '42501') throw error
    rows = await select("'? ?'") // hosted servers may keep these to themselves
  }
  const [row] = rows
  const life = row?.['life']
  return { before: typeof life === 'string' ? life : '', now: `${String(row?.['files'])} ${String(row?.['start'])}` }
}

/** The part of `system timeline start` whose change means that acknowledged records may be gone. */
function comparedPart(life: string, level: AckLevel): string {
  const [system = '', timeline = ''] = life.split(' ')
  if (level === 'replica') return system
  return level === 'disk' ? `${system} ${timeline}` : life
}
