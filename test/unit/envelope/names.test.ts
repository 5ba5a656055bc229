import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  escapeToken,
  isReservedTenant,
  isTenant,
  nameProblem,
  parseName,
  unescapeToken,
} from '../../../src/envelope/names.ts'

/** Any text that has a UTF-8 form. */
const text = fc.string({ unit: 'binary' })

describe('rooms and channels', () => {
  it.each([
    'general',
    'a',
    'a b',
    'a.b',
    'a>b',
    '**',
    '..',
    'café',
    '房间',
    '🚀',
    'x'.repeat(128),
    'é'.repeat(64),
    '房'.repeat(42),
  ])('may be named %s', (name) => {
    expect(nameProblem(name)).toBeUndefined()
    expect(parseName('room', name)).toBe(name)
  })

  it.each([
    ['nothing', ''],
    ['one wildcard', '*'],
    ['the other wildcard', '>'],
    ['129 bytes', 'x'.repeat(129)],
    ['129 bytes in fewer letters', '房'.repeat(43)],
    ['a line feed', 'a\nb'],
    ['a carriage return', 'a\rb'],
    ['NUL', 'a\0b'],
    ['DEL', 'a\u007fb'],
    ['a control character beyond ASCII', 'a\u0085b'],
    ['half a surrogate pair', 'a\ud800b'],
  ])('may not be named with %s, and the refusal does not repeat the name', (_, name) => {
    expect(nameProblem(name)).toEqual(expect.any(String))
    const refusal = { code: 'VALIDATION_ERROR', details: { reason: 'BAD_NAME', field: 'channel' } }
    expect(() => parseName('channel', name)).toThrow(expect.objectContaining(refusal))
    expect(() => parseName('channel', name)).toThrow(/^channel [a-z0-9A-Z -]+$/)
  })

  it.each([undefined, null, 7, ['general'], { room: 'general' }])('may not be %s', (name) => {
    expect(() => parseName('room', name)).toThrow('room is not text')
  })

  it('may be named with up to 128 bytes, however many letters these are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 140 }), (name) => {
        const isLong = nameProblem(name) === 'is longer than 128 bytes'
        expect(isLong).toBe(Buffer.byteLength(name) > 128)
      }),
    )
  })
})

describe('tenants', () => {
  it.each(['default', 'a', 'Acme-1_x', '0', 'x'.repeat(64)])('may be %s', (name) => {
    expect(isTenant(name)).toBe(true)
  })

  it.each(['', '*', '-a', '_a', 'a.b', 'a b', 'a\n', 'é', 'x'.repeat(65)])('may not be %j', (name) => {
    expect(isTenant(name)).toBe(false)
  })

  it('of the system are reserved', () => {
    expect(isReservedTenant('arqon-canary')).toBe(true)
    expect(isReservedTenant('arqonbus')).toBe(false)
  })
})

describe('escaping', () => {
  it.each([
    ['general', 'general'],
    ['a.b', 'a=2Eb'],
    ['=', '=3D'],
    ['*', '=2A'],
    ['>', '=3E'],
    ['é', '=C3=A9'],
    ['\ufeffa', '=EF=BB=BFa'],
  ])('writes %j as %s', (name, token) => {
    expect(escapeToken(name)).toBe(token)
    expect(unescapeToken(token)).toBe(name)
  })

  it('gives one subject token, from which the name comes back', () => {
    fc.assert(
      fc.property(
        text.filter((name) => name !== ''),
        (name) => {
          const token = escapeToken(name)
          expect(token).toMatch(/^[A-Za-z0-9_=-]+$/)
          expect(unescapeToken(token)).toBe(name)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('never gives two names the same token', () => {
    fc.assert(
      fc.property(text, text, (one, other) => {
        expect(escapeToken(one) === escapeToken(other)).toBe(one === other)
      }),
      { numRuns: 2_000 },
    )
  })

  it('takes back only what it could have made', () => {
    const tokenLike = fc.string({ unit: fc.constantFrom(...'aZ09-_=FfCE3AB.*'.split('')), maxLength: 12 })
    fc.assert(
      fc.property(tokenLike, (token) => {
        const name = unescapeToken(token)
        if (name !== undefined) expect(escapeToken(name)).toBe(token)
      }),
      { numRuns: 5_000 },
    )
    for (const token of ['', '=', '=4', '=4x', '=41', '=c3=a9', '=FF', '=C3', 'a.b', '=ED=A0=80', 'é']) {
      expect(unescapeToken(token)).toBeUndefined()
    }
  })
})
