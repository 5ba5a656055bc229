// Each hot state of the suite gets an empty database of one real server.
import { afterAll, beforeAll, describe } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { openValkeyHotState } from '../../../src/hot/valkey/valkey-hot-state.ts'
import { openValkey, type ValkeyClient } from '../../../src/valkey/valkey-client.ts'
import { hotStateContract } from '../../support/contracts/hot-state.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerProcess } from '../../support/servers/valkey-server.ts'

let server: ValkeyServerProcess
let admin: ValkeyClient
beforeAll(async () => {
  server = await startValkeyServer({ settings: { appendfsync: 'no' } })
  admin = await openValkey({ url: server.url, name: 'test', logger: silentLogger })
})
afterAll(async () => {
  await admin.close()
  await server.close()
})

describe.skipIf(skipWithout('valkey'))('on a real server', () => {
  hotStateContract('Valkey', async (given) => {
    await admin.send(['FLUSHALL'])
    return await openValkeyHotState({ ...given, url: server.url, logger: silentLogger, mustConnect: true })
  })
})
