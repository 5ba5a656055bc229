import { expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { openStore } from '../../../src/storage/open-store.ts'
import { createStandingClock } from '../../support/contracts/history-store.ts'

const config = {
  dataDir: '/nowhere',
  retention: { maxRecords: 1, maxBytes: 1, maxAgeMs: 1 },
  dedup: { maxAgeMs: 1, maxIds: 1 },
}
const ports = { clock: createStandingClock(), logger: silentLogger }

it('opens the memory store by name', async () => {
  const store = await openStore({ ...config, backend: 'memory' }, ports)
  expect(store.capabilities).toMatchObject({ backend: 'memory', level: 'memory' })
})

it('refuses valkey without an address, and names the variable', async () => {
  const opening = openStore({ ...config, backend: 'valkey' }, ports)
  await expect(opening).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { reason: 'NO_ADDRESS' } })
  await expect(opening).rejects.toThrow(/ARQONBUS_VALKEY_URL/)
})

it('refuses postgres without an address, and an address that is none without repeating it', async () => {
  const bare = openStore({ ...config, backend: 'postgres' }, ports)
  await expect(bare).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { reason: 'NO_ADDRESS' } })
  const odd = openStore({ ...config, backend: 'postgres', postgresUrl: 'postgres://me:hush@[::1/db' }, ports)
  await expect(odd).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { reason: 'BAD_ADDRESS' } })
  await expect(odd).rejects.not.toThrow(/hush/)
})
