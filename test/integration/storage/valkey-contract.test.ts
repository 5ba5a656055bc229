// The contract of a history store against a real server, once for each level it can give. With
// ARQONBUS_TEST_VALKEY_URL the given server is used as it is.
import { afterAll, describe } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { openValkeyStore } from '../../../src/storage/valkey/valkey-store.ts'
import { historyStoreContract } from '../../support/contracts/history-store.ts'
import { neighbourTable, skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'

const given = process.env[neighbourTable.valkey.variable]
const closers: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const close of closers) await close()
})

function contractAt(name: string, settings: Readonly<Record<string, string>>): void {
  let server: Promise<string> | undefined
  async function start(): Promise<string> {
    if (given !== undefined) return given
    const started = await startValkeyServer({ settings })
    closers.push(() => started.close())
    return started.url
  }
  historyStoreContract(name, async (asked) => {
    server ??= start()
    const family = `test-${crypto.randomUUID()}`
    return await openValkeyStore({ ...asked, url: await server, logger: silentLogger, family })
  })
}

describe.skipIf(given === undefined && skipWithout('valkey'))('on Valkey', () => {
  contractAt('a Valkey store that fsyncs each write', { appendfsync: 'always' })
  if (given === undefined) contractAt('a Valkey store that fsyncs each second', { appendfsync: 'everysec' })
})
