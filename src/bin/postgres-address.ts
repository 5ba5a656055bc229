// The Postgres that this environment names, for commands that work on its tables.
import { postgresUrlOf } from '../config/load.ts'
import { resolveKeys } from '../config/resolve.ts'
import { type PostgresAddress, parsePostgresAddress } from '../postgres/address.ts'
import { ExitError, exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

const hint =
  'Set ARQONBUS_POSTGRES_URL=postgresql://user:password@host:port/database, or ARQONBUS_POSTGRES_HOST and its companions.'

/** Throws CONFIG_INVALID for a configuration with errors, an ExitError (78) where no Postgres is named. */
export function postgresAddressOf({ env }: Terminal): PostgresAddress {
  const url = postgresUrlOf(resolveKeys(env))
  if (url === undefined) throw new ExitError(exitCodes.config, 'no Postgres is configured', hint)
  return parsePostgresAddress(url.reveal())
}
