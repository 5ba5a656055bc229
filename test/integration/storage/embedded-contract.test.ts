import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { openEmbeddedStore } from '../../../src/storage/embedded/embedded-store.ts'
import { historyStoreContract } from '../../support/contracts/history-store.ts'

const folders: string[] = []
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true })
})

historyStoreContract('the embedded store', async (given) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-store-'))
  folders.push(dataDir)
  return await openEmbeddedStore({ ...given, dataDir, logger: silentLogger })
})
