import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SlidingList } from '../../../src/storage/memory/sliding-list.ts'

it('behaves as an array does under any run of push and shift', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (steps) => {
      const list = new SlidingList<number>()
      const model: number[] = []
      for (const [i, isPush] of steps.entries()) {
        if (isPush) {
          list.push(i)
          model.push(i)
        } else expect(list.shift()).toBe(model.shift())
        expect(Array.from({ length: list.length }, (_, at) => list.at(at))).toEqual(model)
        expect([list.at(-1), list.at(list.length)]).toEqual([undefined, undefined])
      }
    }),
  )
})
