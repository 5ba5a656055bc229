// The second data store at the start (reliability 5.2): where both are required, strict does not start without Postgres
// although another store keeps history. Valkey is seen to by hot state.
import type { Logger } from '../base/logger.ts'
import { openRepeatedly } from '../base/open-repeatedly.ts'
import type { StorageConfig } from '../config/shapes.ts'
import { parsePostgresAddress } from '../postgres/address.ts'
import { hotLimits, openConnection } from '../postgres/connection.ts'

/** Rejects as opening a connection does: STORE_UNAVAILABLE (exit 69), STORE_OPEN_FAILED (77 where it is denied). */
export async function requireSecondStore(storage: StorageConfig, logger: Logger): Promise<void> {
  const { mode, requiresBoth, postgresUrl, backend, enabled } = storage
  const isOpenedAnyway = backend === 'postgres' && enabled
  if (mode !== 'strict' || !requiresBoth || postgresUrl === undefined || isOpenedAnyway) return
  const address = parsePostgresAddress(postgresUrl.reveal())
  const connection = await openRepeatedly(() => openConnection({ address, limits: hotLimits }), 'postgres', logger)
  await connection.close()
}
