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
import { anyName, anyText, reasonOf } from '../../support/frames.ts'

describe('tenants', () => {
  it.each(['a', 'Acme', '0', 'a-b_c', 'x'.repeat(64), 'arqon-preflight'])('are %j', (name) => {
    expect(isTenant(name)).toBe(true)
  })

  it.each(['', '-a', '_a', 'a.b', 'a b', 'a\n', 'é', '*', '>', 'x'.repeat(65), 'a/b', '..'])('are not %j', (name) => {
    expect(isTenant(name)).toBe(false)
  })

  it('are reserved by their prefix', () => {
    expect(['arqon-', 'arqon-x'].every(isReservedTenant)).toBe(true)
    expect(['arqon', 'Arqon-x', 'x-arqon-'].some(isReservedTenant)).toBe(false)
  })
})

describe('room and channel names', () => {
  it.each(['a', 'a b', '..', '**', '*a', '>>', 'é', '🚀', 'x'.repeat(128), 'é'.repeat(64), 'a.b', 'a:b', '__proto__'])(
    'are %j',
    (name) => {
      expect(nameProblem(name)).toBeUndefined()
      expect(parseName('room', name)).toBe(name)
    },
  )

  it.each([
    ['', 'is empty'],
    ['*', 'may not be a wildcard'],
    ['>', 'may not be a wildcard'],
    ['x'.repeat(129), 'is longer than 128 bytes'],
    ['é'.repeat(65), 'is longer than 128 bytes'],
    ['a\ud800', 'is not well-formed Unicode'],
    ['a\nb', 'has a control character'],
    ['a\r', 'has a control character'],
    ['\0', 'has a control character'],
    ['\u007f', 'has a control character'],
    ['\u0085', 'has a control character'],
  ])('are not %j: it %s', (name, problem) => {
    expect(nameProblem(name)).toBe(problem)
    expect(reasonOf(() => parseName('channel', name))).toBe('BAD_NAME')
  })

  it('are text, and are not repeated in the refusal', () => {
    expect(reasonOf(() => parseName('room', 1))).toBe('BAD_NAME')
    expect(() => parseName('room', 'secret\n')).toThrow('room has a control character')
  })

  it('that are good have at most 128 bytes and no control character', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const isGood =
          text !== '' && text !== '*' && text !== '>' && Buffer.byteLength(text) <= 128 && !/\p{Cc}/u.test(text)
        return (nameProblem(text) === undefined) === isGood
      }),
    )
  })
})

describe('escapeToken', () => {
  it.each([
    ['plain-Name_1', 'plain-Name_1'],
    ['a.b', 'a=2Eb'],
    ['*', '=2A'],
    ['=2E', '=3D2E'],
    ['é', '=C3=A9'],
    ['a b\n', 'a=20b=0A'],
    ['', ''],
  ])('writes %j as %j', (name, token) => {
    expect(escapeToken(name)).toBe(token)
  })

  it('makes one token of plain characters, from which the name comes back', () => {
    fc.assert(
      fc.property(anyName, (name) => {
        const token = escapeToken(name)
        return /^[A-Za-z0-9_=-]+$/.test(token) && unescapeToken(token) === name
      }),
    )
  })

  it('gives different names different tokens', () => {
    // Of few characters, so that names that look alike are common.
    const likeness = fc.string({
      unit: fc.constantFrom('=', '2', 'E', '.', 'é', 'C', '3', 'A', '9', '\0'),
      maxLength: 6,
    })
    for (const names of [likeness, anyText]) {
      fc.assert(
        fc.property(names, names, (a, b) => (escapeToken(a) === escapeToken(b)) === (a === b)),
        { numRuns: 20_000 },
      )
    }
  })
})

describe('unescapeToken', () => {
  it.each([
    ['nothing', ''],
    ['a lower-case escape', '=c3=a9'],
    ['an escape of a plain character', '=41'],
    ['half an escape', 'a=2'],
    ['bytes that are not UTF-8', '=C3'],
    ['a surrogate', '=ED=A0=80'],
    ['a dot', 'a.b'],
    ['a wildcard', '*'],
  ])('refuses %s', (_, token) => {
    expect(unescapeToken(token)).toBeUndefined()
  })

  it('gives only names that escape to the token', () => {
    const tokens = fc.string({ unit: fc.constantFrom(...'=0123456789ABCDEFabc-_'.split('')), maxLength: 12 })
    fc.assert(
      fc.property(tokens, (token) => {
        const name = unescapeToken(token)
        return name === undefined || escapeToken(name) === token
      }),
      { numRuns: 2_000 },
    )
  })
})
