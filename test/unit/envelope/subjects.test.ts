import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  inSubject,
  outProcessPattern,
  outRoomSubject,
  outSessionSubject,
  shadowSubject,
} from '../../../src/envelope/subjects.ts'

const name = fc.string({ unit: 'binary', minLength: 1 })

describe('subjects', () => {
  it('are those of the design', () => {
    expect(inSubject('acme')).toBe('in.t.acme.raw')
    expect(shadowSubject('acme')).toBe('shadow.in.t.acme.raw')
    expect(outRoomSubject('acme', 'science', 'a.b')).toBe('out.t.acme.r.science.a=2Eb')
    expect(outRoomSubject('acme', 'science', '*')).toBe('out.t.acme.r.science.*')
    expect(outSessionSubject('acme', '0123abcd', 'f00d')).toBe('out.t.acme.s.0123abcd.f00d')
    expect(outProcessPattern('0123abcd')).toBe('out.t.*.s.0123abcd.*')
  })

  it('keep tenants, rooms and channels apart, whatever they are called', () => {
    fc.assert(
      fc.property(fc.tuple(name, name, name), fc.tuple(name, name, name), (one, other) => {
        const [a, b] = [outRoomSubject(...one), outRoomSubject(...other)]
        expect(a.split('.')).toHaveLength(6)
        expect(a === b).toBe(one.every((part, i) => part === other[i]))
      }),
    )
  })
})
