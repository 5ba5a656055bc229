// Reads by time over many channels, against the memory store on the same records.
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { createMemoryStore } from '../../../src/storage/memory/memory-store.ts'
import type { StoredRecord } from '../../../src/storage/store.ts'
import { labRequest, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

describe.skipIf(skipWithout('postgres'))('reads of the Postgres store', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterAll(() => lab.close())

  it('by time give what the memory store gives, whatever the channels, bounds, limits and equal times', async () => {
    const database = await lab.newDatabase()
    const store = await database.open()
    const memory = createMemoryStore({
      clock: systemClock,
      retention: { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 },
      dedup: { maxAgeMs: 600_000, maxIds: 1_000_000 },
    })
    const startMs = Date.now() - 1_000
    const names = ['a', 'B', '\u{1f600}', '\uffff', 'é', 'c1', 'c2', 'c3']
    const anyRecord = fc.record({
      room: fc.constantFrom('r1', 'r2', '\uffff', '\u{1f600}'),
      channel: fc.constantFrom(...names),
      later: fc.integer({ min: 0, max: 60 }),
      size: fc.integer({ min: 0, max: 40 }),
    })
    const [records = []] = fc.sample(fc.array(anyRecord, { minLength: 600, maxLength: 600 }), { numRuns: 1, seed: 11 })
    const requests = records.map(({ room, channel, later, size }, i) =>
      labRequest(`id-${i}`, {
        key: { tenant: 'acme', room, channel },
        atMs: startMs + later,
        frame: new Uint8Array(size),
      }),
    )
    for (const target of [store, memory]) await target.append(requests)

    const anyQuery = fc.record(
      {
        room: fc.constantFrom('r1', 'r2', 'none', '\uffff'),
        channel: fc.constantFrom('c1', 'é', '\u{1f600}'),
        sinceMs: fc.integer({ min: startMs - 1, max: startMs + 61 }),
        untilMs: fc.integer({ min: startMs - 1, max: startMs + 61 }),
        order: fc.constantFrom('newest' as const, 'oldest' as const),
        limit: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constant(1_000)),
        maxBytes: fc.oneof(fc.integer({ min: 1, max: 500 }), fc.constant(1_000_000)),
      },
      { requiredKeys: ['order', 'limit', 'maxBytes'] },
    )
    const shown = (all: readonly StoredRecord[]) => all.map(({ id, key, position }) => [id, key, position.sequence])
    await fc.assert(
      fc.asyncProperty(anyQuery, async (query) => {
        const [found, expected] = await Promise.all(
          [store, memory].map((target) => target.readByTime({ tenant: 'acme', ...query })),
        )
        expect(shown(found!)).toEqual(shown(expected!))
      }),
      { numRuns: 300 },
    )
  })
})
