import { describe, expect, it } from 'vitest'
import { tokenFromHeader, tokenFromQuery } from '../../../src/auth/bearer.ts'

describe('the token of an Authorization header', () => {
  it.each([
    [undefined, undefined, undefined],
    ['', undefined, undefined],
    ['Bearer abc', 'abc', 'abc'],
    ['bearer abc', 'abc', undefined],
    ['BEARER   abc  ', 'abc', undefined],
    ['  Bearer abc', 'abc', undefined],
    ['Bearer  abc', 'abc', ' abc'],
    ['Bearer abc ', 'abc', 'abc '],
    ['Bearer a b', 'a b', 'a b'],
    ['Bearer', undefined, undefined],
    ['Bearer ', undefined, undefined],
    ['Bearerabc', undefined, undefined],
    ['Basic abc', undefined, undefined],
  ])('of %j is %j for the bus and %j for Shield', (header, forBus, forShield) => {
    expect(tokenFromHeader(header, { strict: false })).toBe(forBus)
    expect(tokenFromHeader(header, { strict: true })).toBe(forShield)
  })

  it('is found in linear time', () => {
    const header = `Bearer ${' '.repeat(8_000)}x${' '.repeat(8_000)}y`
    const begun = performance.now()
    for (let i = 0; i < 100; i++) tokenFromHeader(header, { strict: false })
    expect(performance.now() - begun).toBeLessThan(500)
  })
})

describe('the token of a query', () => {
  it.each([
    ['/', undefined],
    ['/?', undefined],
    ['/?other=1', undefined],
    ['/any/path?token=abc', 'abc'],
    ['/?auth_token=c&access_token=b&token=a', 'a'],
    ['/?auth_token=c&access_token=b', 'b'],
    ['/?auth_token=c', 'c'],
    ['/?token=&access_token=b', 'b'],
    ['/?token=first&token=second', 'first'],
    ['/?token=%zz', '%zz'],
    ['/?Token=abc', undefined],
    ['?token=a?b', 'a?b'],
  ])('of %j is %j', (target, token) => {
    expect(tokenFromQuery(target)).toBe(token)
  })
})
