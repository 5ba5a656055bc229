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

it('refuses postgres and names the backends there are', async () => {
  const opening = openStore({ ...config, backend: 'postgres' }, ports)
  await expect(opening).rejects.toMatchObject({ code: 'FEATURE_DISABLED', details: { backend: 'postgres' } })
  await expect(opening).rejects.toThrow(/embedded, memory or valkey/)
})

it('refuses valkey without an address, and names the variable', async () => {
  const opening = openStore({ ...config, backend: 'valkey' }, ports)
  await expect(opening).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'NO_URL' } })
  await expect(opening).rejects.toThrow(/ARQONBUS_VALKEY_URL/)
})
