// Looks at how the server stands: its standbys, and what is left of connections and of transaction ids.
import type { CheckPorts, FactsOf } from '../check.ts'
import { flagIn, look, numberIn, textIn } from './look.ts'

export const replicationShape = {
  /** May the user see states and lags? Without pg_monitor they are hidden. */
  maySee: 'boolean',
  /** `state`, `lagBytes`, `lagSeconds` of each standby that is connected. */
  standbys: 'objects',
  /** Names of slots whose log was or is about to be removed. */
  lostSlots: 'strings',
} as const

export async function probeReplication(ports: CheckPorts): Promise<FactsOf<typeof replicationShape>> {
  return await look(ports, async ({ ask, query }) => {
    const row = await ask("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS may")
    const standbys = await query(
      `SELECT coalesce(state, '') AS state,
         coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint AS bytes,
         coalesce(extract(epoch FROM replay_lag), 0)::float8 AS seconds
       FROM pg_stat_replication WHERE application_name NOT LIKE 'pg_basebackup%' ORDER BY pid`,
    )
    const slots = await query(
      "SELECT slot_name FROM pg_replication_slots WHERE wal_status IN ('lost', 'unreserved') ORDER BY 1",
    )
    return {
      maySee: flagIn(row, 'may'),
      standbys: standbys.map((one) => ({
        state: textIn(one, 'state'),
        lagBytes: numberIn(one, 'bytes'),
        lagSeconds: numberIn(one, 'seconds'),
      })),
      lostSlots: slots.map((one) => textIn(one, 'slot_name')),
    }
  })
}

export const headroomShape = {
  /** `of` (server, database, user), `limit`, `used` by others than us. */
  connections: 'objects',
  /** Of the database whose oldest transaction id is the oldest. */
  oldestXidAge: 'number',
  invalidIndexes: 'strings',
} as const

export async function probeHeadroom(ports: CheckPorts): Promise<FactsOf<typeof headroomShape>> {
  return await look(ports, async ({ ask, query }) => {
    // A bus of before goes when the next one comes; its connections, and ours, count as free.
    const row = await ask(
      `WITH ours AS (
         SELECT count(*) AS n, count(*) FILTER (WHERE datname = current_database()) AS here FROM pg_stat_activity
         WHERE usename = current_user AND (application_name = 'arqonbus' OR application_name LIKE 'arqon-preflight/%'))
       SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS server_limit,
         (SELECT sum(numbackends)::int FROM pg_stat_database) - ours.n AS server_used,
         d.datconnlimit AS database_limit, (SELECT numbackends FROM pg_stat_database WHERE datid = d.oid) - ours.here AS database_used,
         CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END AS user_limit,
         (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) - ours.n AS user_used,
         (SELECT max(age(datfrozenxid)) FROM pg_database) AS oldest
       FROM ours, pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user`,
    )
    const connections = ['server', 'database', 'user']
      .map((of) => ({ of, limit: numberIn(row, `${of}_limit`), used: numberIn(row, `${of}_used`) }))
      .filter(({ limit }) => limit >= 0)
    const invalid = await query(
      `SELECT i.relname AS name FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
       WHERE t.relnamespace = current_schema()::regnamespace AND starts_with(t.relname::text, 'arqonbus_')
         AND NOT starts_with(t.relname::text, 'arqonbus_continuum_')
         AND NOT (x.indisvalid AND x.indisready) ORDER BY 1`,
    )
    return {
      connections,
      oldestXidAge: numberIn(row, 'oldest'),
      invalidIndexes: invalid.map((one) => textIn(one, 'name')),
    }
  })
}
