import { afterAll, beforeAll, describe } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { openPostgresStore } from '../../../src/storage/postgres/postgres-store.ts'
import { historyStoreContract } from '../../support/contracts/history-store.ts'
import { type HistoryDatabases, openHistoryDatabases } from '../../support/servers/history-databases.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

describe.skipIf(skipWithout('postgres'))('on a real Postgres server', () => {
  let databases: HistoryDatabases
  beforeAll(async () => {
    databases = await openHistoryDatabases()
  })
  afterAll(() => databases.close())

  historyStoreContract('the Postgres store', async (given) =>
    openPostgresStore({ ...given, url: await databases.create(), logger: silentLogger }),
  )
})
