import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  inSubject,
  outProcessPattern,
  outRoomSubject,
  outSessionSubject,
  shadowSubject,
} from '../../../src/envelope/subjects.ts'
import { anyName } from '../../support/frames.ts'

describe('subjects (design 7)', () => {
  it('are those of the table', () => {
    expect(inSubject('acme')).toBe('in.t.acme.raw')
    expect(shadowSubject('acme')).toBe('shadow.in.t.acme.raw')
    expect(outRoomSubject('acme', 'science', 'general')).toBe('out.t.acme.r.science.general')
    expect(outSessionSubject('acme', '0123abcd', 'ff00')).toBe('out.t.acme.s.0123abcd.ff00')
    expect(outProcessPattern('0123abcd')).toBe('out.t.*.s.0123abcd.*')
  })

  it('listen to a whole room by a wildcard, and only by that one', () => {
    expect(outRoomSubject('acme', 'science', '*')).toBe('out.t.acme.r.science.*')
    expect(outRoomSubject('acme', '*', '>')).toBe('out.t.acme.r.=2A.=3E')
    expect(outRoomSubject('acme', 'a.b', 'c d')).toBe('out.t.acme.r.a=2Eb.c=20d')
  })

  it('have one token for each name, whatever is in it, and tell names apart', () => {
    const places = fc.tuple(anyName, anyName, anyName)
    fc.assert(
      fc.property(places, places, (a, b) => {
        const [one, other] = [outRoomSubject(...a), outRoomSubject(...b)]
        expect(one).toMatch(/^out\.t\.[\w=-]+\.r\.[\w=-]+\.[\w=-]+$/)
        expect(one === other).toBe(a.join('\n') === b.join('\n'))
        expect(inSubject(a[0]).split('.')).toHaveLength(4)
      }),
    )
  })
})
