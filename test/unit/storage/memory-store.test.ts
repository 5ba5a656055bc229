import { expect, it } from 'vitest'
import { createMemoryStore } from '../../../src/storage/memory/memory-store.ts'
import { createStandingClock, historyStoreContract } from '../../support/contracts/history-store.ts'

historyStoreContract('the memory store', async (given) => createMemoryStore(given))

it('begins a higher epoch whenever a memory store is made later than another', async () => {
  const clock = createStandingClock()
  const bounds = { retention: { maxRecords: 1, maxBytes: 1, maxAgeMs: 1 }, dedup: { maxAgeMs: 1, maxIds: 1 } }
  const key = { tenant: 't', room: 'r', channel: 'c' }
  const before = await createMemoryStore({ clock, ...bounds }).head(key)
  clock.advance(1)
  const after = await createMemoryStore({ clock, ...bounds }).head(key)
  expect(after.epoch).toBeGreaterThan(before.epoch)
  expect(Number.isSafeInteger(after.epoch)).toBe(true)
})
