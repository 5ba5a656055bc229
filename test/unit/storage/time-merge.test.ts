import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compareEntries, mergeByTime, type TimeEntry } from '../../../src/storage/time-merge.ts'

it('takes from any cursors what sorting everything and cutting would', () => {
  const anyStream = fc.array(fc.record({ atMs: fc.integer({ min: 0, max: 9 }), bytes: fc.integer({ min: 0, max: 9 }) }))
  const anyOrder = fc.constantFrom('oldest' as const, 'newest' as const)
  fc.assert(
    fc.property(
      fc.array(anyStream, { maxLength: 8 }),
      anyOrder,
      fc.nat(30),
      fc.nat(60),
      (given, order, limit, maxBytes) => {
        const sign = order === 'oldest' ? 1 : -1
        const streams = given.map((entries, i) => {
          const key = { tenant: 't', room: `r${i % 3}`, channel: `c${i}` }
          return entries
            .map((entry, n): TimeEntry => ({ key, sequence: n + 1, ...entry }))
            .sort((a, b) => sign * compareEntries(a, b))
        })
        const cursors = streams.map((entries) => {
          const left = [...entries]
          return () => left.shift()
        })
        const expected: TimeEntry[] = []
        let bytes = 0
        for (const entry of streams.flat().sort((a, b) => sign * compareEntries(a, b))) {
          bytes += entry.bytes
          if (expected.length === limit || (expected.length > 0 && bytes > maxBytes)) break
          expected.push(entry)
        }
        expect(mergeByTime(cursors, { order, limit, maxBytes })).toEqual(expected)
      },
    ),
  )
})
