import fc from 'fast-check'
import { expect, it } from 'vitest'
import { IdHash } from '../../../src/storage/embedded/id-hash.ts'
import { IdTable } from '../../../src/storage/embedded/id-table.ts'

/** Every row that may stand under this hash. */
function rowsOf(table: IdTable, low: number, high: number): number[] {
  const rows: number[] = []
  for (let place = table.find(low, high); place >= 0; place = table.find(low, high, place + 1)) {
    rows.push(table.rowAt(place))
  }
  return rows.sort((a, b) => a - b)
}

it('answers any run of additions and removals as a list would, also where hashes meet and the table is resized', () => {
  // Few low bits, and those at the edge of the table too: long chains, chains that wrap around.
  const low = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0xffff_fff0, max: 0xffff_ffff }))
  const step = fc.record({ low, high: fc.integer({ min: 1, max: 2 }), row: fc.integer({ min: 1, max: 4 }) })
  const steps = fc.array(fc.record({ entry: step, isRemoval: fc.boolean() }), { maxLength: 200 })
  fc.assert(
    fc.property(steps, fc.constantFrom(0, 5_000), (run, ballast) => {
      const table = new IdTable()
      for (let i = 0; i < ballast; i++) table.add(0x1000 + i, 9, i)
      const model: { low: number; high: number; row: number }[] = []
      for (const { entry, isRemoval } of run) {
        const known = model.findIndex((one) => JSON.stringify(one) === JSON.stringify(entry))
        if (isRemoval) {
          expect(table.remove(entry.low, entry.high, entry.row)).toBe(known >= 0)
          if (known >= 0) model.splice(known, 1)
        } else {
          table.add(entry.low, entry.high, entry.row)
          model.push(entry)
        }
      }
      for (let i = 0; i < ballast; i++) expect(table.remove(0x1000 + i, 9, i)).toBe(true)
      expect(table.size).toBe(model.length)
      for (const { low, high } of model) {
        const rows = model.filter((one) => one.low === low && one.high === high).map(({ row }) => row)
        expect(rowsOf(table, low, high)).toEqual(rows.sort((a, b) => a - b))
      }
    }),
    { numRuns: 60 },
  )
})

it('hashes alike what is alike, wherever it lies, and tells apart ids, lengths and streams', () => {
  const hash = new IdHash()
  const of = (stream: number, text: string, before = '') => {
    const bytes = Buffer.from(before + text)
    hash.hash(stream, bytes, Buffer.byteLength(before), bytes.length)
    return `${hash.low} ${hash.high}`
  }
  const seen = new Set<string>()
  for (const stream of [1, 2]) {
    for (let length = 0; length < 40; length++) {
      const text = 'x'.repeat(length)
      expect(of(stream, text, 'elsewhere')).toBe(of(stream, text))
      seen.add(of(stream, text)).add(of(stream, `${text}y`))
    }
  }
  expect(seen.size).toBe(2 * 80)
  expect(new IdHash()).not.toEqual(hash)
})
