import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hasDuplicateKeys } from '../../../src/auth/json-keys.ts'

describe('duplicate keys', () => {
  it.each([
    ['{}', false],
    ['null', false],
    ['"{\\"a\\":1,\\"a\\":2}"', false],
    ['{"a":1,"b":1}', false],
    ['{"a":1,"a":1}', true],
    ['{"a":1,"\\u0061":1}', true],
    ['{"a":"a","b":"a"}', false],
    ['{"a":{"a":1},"b":{"a":1}}', false],
    ['{"a":[{"a":1},{"a":1}]}', false],
    ['{"a":[1,"a","a"],"b":["b","b"]}', false],
    ['{"x":[{"a":1,"a":2}]}', true],
    ['{"a":{},"b":[],"a":1}', true],
    ['{"a":"}","a":1}', true],
    ['{"a":"\\"","b":"\\\\","c":",\\"a\\":"}', false],
    ['{"__proto__":1,"__proto__":2}', true],
    ['{"":1,"":2}', true],
    [' { "a" : 1 , "a" : 2 } ', true],
  ])('in %s: %s', (text, expected) => {
    JSON.parse(text) // the function is promised JSON
    expect(hasDuplicateKeys(text)).toBe(expected)
  })

  it('are never found in what JSON.stringify wrote, and always once a key is repeated', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), (object) => {
        const text = JSON.stringify(object)
        expect(hasDuplicateKeys(text)).toBe(false)
        const first = JSON.stringify(Object.keys(object)[0])
        expect(hasDuplicateKeys(`${text.slice(0, -1)},${first}:1}`)).toBe(true)
      }),
    )
  })

  it('are looked for at any depth without recursion', () => {
    expect(hasDuplicateKeys(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).toBe(false)
  })
})
