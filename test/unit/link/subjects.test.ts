import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inSubject, outRoomSubject, outSessionSubject, shadowSubject } from '../../../src/envelope/subjects.ts'
import { matches, parsePattern, parseSubject } from '../../../src/base/subject-pattern.ts'
import { SubjectTree } from '../../../src/link/subjects.ts'

const part = fc.constantFrom('a', 'b', 'c')
const subject = fc.array(part, { minLength: 1, maxLength: 5 })
const pattern = fc
  .tuple(fc.array(fc.oneof(part, fc.constant('*')), { maxLength: 4 }), fc.constantFrom('', 'a', '*', '>'))
  .map(([head, last]) => (last === '' ? head : [...head, last]))
  .filter((tokens) => tokens.length > 0)

test('the tree finds exactly the patterns that match', () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 20 }), fc.array(subject, { maxLength: 10 }), (patterns, subjects) => {
      const tree = new SubjectTree<number>()
      for (const [index, tokens] of patterns.entries()) tree.add(tokens, index)
      const removed = new Set([...patterns.keys()].filter((index) => index % 3 === 0))
      for (const index of removed) tree.remove(patterns[index]!, index)
      for (const tokens of subjects) {
        const expected = [...patterns.keys()].filter((i) => !removed.has(i) && matches(patterns[i]!, tokens))
        expect(tree.find(tokens).toSorted((x, y) => x - y)).toEqual(expected)
      }
    }),
  )
})

test('matching agrees with the rule spelled as a regular expression', () => {
  fc.assert(
    fc.property(pattern, subject, (tokens, words) => {
      const source = tokens.map((token) => (token === '*' ? '[^.]+' : token === '>' ? '.+' : token)).join('\\.')
      expect(matches(tokens, words)).toBe(new RegExp(`^${source}$`).test(words.join('.')))
    }),
  )
})

test('every name makes a good subject, and different names make different ones', () => {
  const name = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }).filter((text) => text.isWellFormed())
  fc.assert(
    fc.property(name, name, name, name, (room, channel, otherRoom, otherChannel) => {
      const one = outRoomSubject('acme', room, channel)
      expect(parsePattern(one).length).toBe(6)
      const other = outRoomSubject('acme', otherRoom, otherChannel)
      const isWildcard = channel === '*' || otherChannel === '*'
      if (!isWildcard) expect(one === other).toBe(room === otherRoom && channel === otherChannel)
    }),
  )
})

test('builds the subjects of the design', () => {
  expect(inSubject('acme')).toBe('in.t.acme.raw')
  expect(shadowSubject('acme')).toBe('shadow.in.t.acme.raw')
  expect(outRoomSubject('acme', 'ops room', 'a.b>')).toBe('out.t.acme.r.ops=20room.a=2Eb=3E')
  expect(outRoomSubject('acme', 'ops', '*')).toBe('out.t.acme.r.ops.*')
  expect(outSessionSubject('acme', '0123abcd', 'f'.repeat(24))).toBe(`out.t.acme.s.0123abcd.${'f'.repeat(24)}`)
  expect(() => parseSubject(outRoomSubject('acme', 'ops', '*'))).toThrow()
})
