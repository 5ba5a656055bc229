// Payloads against a message type: every rule by example, and the whole against the library's own reader of protobuf's
// JSON: what we let through, it reads without losing anything.
import { create, fromJson, type JsonValue, type Message, toBinary, fromBinary, toJson } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readDescriptorSet } from '../../../src/schemas/descriptor-set.ts'
import { compileShape, type Shape, type ShapeViolation } from '../../../src/schemas/json-shape.ts'
import { setOf, userCreated } from './descriptors.ts'

const user = readDescriptorSet(setOf([userCreated])).message('acme.v1.UserCreated')!
const shape = compileShape(user, ['user_id'])

const check = (value: JsonValue, by: Shape = shape): ShapeViolation | undefined => by.check(value)

test('lets a whole message through, in either spelling of its names', () => {
  const whole = {
    user_id: 'u',
    age: -4,
    tags: ['a', ''],
    kind: 'ADMIN',
    address: { city: 'x' },
    mail: 'm',
    counts: { a: 1, b: '9007199254740993' },
    balance: '-9223372036854775808',
    photo: 'AAEC',
    is_new: false,
    score: 1.5,
    friends: [{ user_id: 'f', friends: [] }],
    flags: [0, 4294967295],
    offset: -1,
    mark: 7,
  }
  expect(check(whole)).toBeUndefined()
  expect(check({ userId: 'u', isNew: true, kind: 1 })).toBeUndefined()
  expect(check({ user_id: 'u', age: null, address: null })).toBeUndefined()
})

describe('refuses, naming the field and the rule', () => {
  const cases: [string, JsonValue, ShapeViolation][] = [
    ['no object', 'text', { rule: 'NOT_AN_OBJECT', path: '' }],
    ['a list', [], { rule: 'NOT_AN_OBJECT', path: '' }],
    ['an unknown key', { user_id: 'u', extra: 1 }, { rule: 'UNKNOWN_FIELD', path: 'extra' }],
    ['a key that is no name', { user_id: 'u', 'a\nb': 1 }, { rule: 'UNKNOWN_FIELD', path: '?' }],
    ['an inner unknown key', { address: { zip: 1 } }, { rule: 'UNKNOWN_FIELD', path: 'address.zip' }],
    ['both spellings', { user_id: 'u', userId: 'u' }, { rule: 'DUPLICATE_FIELD', path: 'user_id' }],
    ['no required field', { age: 1 }, { rule: 'REQUIRED_FIELD', path: 'user_id' }],
    ['a required field that is null', { user_id: null }, { rule: 'REQUIRED_FIELD', path: 'user_id' }],
    ['a number as text', { user_id: 1 }, { rule: 'WRONG_TYPE', path: 'user_id' }],
    ['a fraction', { age: 1.5 }, { rule: 'WRONG_TYPE', path: 'age' }],
    ['a number out of range', { age: 2 ** 31 }, { rule: 'WRONG_TYPE', path: 'age' }],
    ['a number that lost its digits', { balance: 2 ** 60 }, { rule: 'WRONG_TYPE', path: 'balance' }],
    ['a long number out of range', { balance: '9223372036854775808' }, { rule: 'WRONG_TYPE', path: 'balance' }],
    ['padded digits', { balance: '01' }, { rule: 'WRONG_TYPE', path: 'balance' }],
    ['no base64', { photo: 'A' }, { rule: 'WRONG_TYPE', path: 'photo' }],
    ['text as truth', { is_new: 'true' }, { rule: 'WRONG_TYPE', path: 'is_new' }],
    ['one as a list', { tags: 'a' }, { rule: 'NOT_A_LIST', path: 'tags' }],
    ['null in a list', { tags: ['a', null] }, { rule: 'WRONG_TYPE', path: 'tags[1]' }],
    ['a list as a map', { counts: [] }, { rule: 'NOT_AN_OBJECT', path: 'counts' }],
    ['a bad map value', { counts: { secret: 'x' } }, { rule: 'WRONG_TYPE', path: 'counts[*]' }],
    ['an unknown enum name', { kind: 'OWNER' }, { rule: 'UNKNOWN_ENUM_VALUE', path: 'kind' }],
    ['an unknown enum number', { kind: 2 }, { rule: 'UNKNOWN_ENUM_VALUE', path: 'kind' }],
    ['two of a oneof', { mail: 'a', phone: 'b' }, { rule: 'ONEOF_CONFLICT', path: 'phone' }],
    [
      'deep inside',
      { friends: [{}, { address: { city: 1 } }] },
      { rule: 'WRONG_TYPE', path: 'friends[1].address.city' },
    ],
  ]
  test.each(cases)('%s', (_name, value, expected) => {
    expect(check(value)).toEqual(expected)
  })
})

test('knows the JSON forms of well-known types', () => {
  const wkt = readDescriptorSet(
    setOf(
      [
        {
          name: 'Times',
          fields: [
            { name: 'at', number: 1, type: '.google.protobuf.Timestamp' },
            { name: 'any', number: 2, type: '.google.protobuf.Value' },
          ],
        },
      ],
      {
        dependency: ['t.proto'],
        files: [
          {
            name: 't.proto',
            package: 'google.protobuf',
            syntax: 'proto3',
            messageType: [
              {
                name: 'Timestamp',
                field: [
                  { name: 'seconds', number: 1, type: 'TYPE_INT64', label: 'LABEL_OPTIONAL' },
                  { name: 'nanos', number: 2, type: 'TYPE_INT32', label: 'LABEL_OPTIONAL' },
                ],
              },
              { name: 'Value', field: [] },
            ],
          },
        ],
      },
    ),
  ).message('acme.v1.Times')!
  const times = compileShape(wkt, ['any'])
  expect(check({ at: '2026-02-28T23:59:59.123Z', any: null }, times)).toBeUndefined()
  for (const at of ['2026-02-30T00:00:00Z', '2026-02-28', '0000-01-01T00:00:00Z', 1, '2026-02-28T25:00:00Z']) {
    expect(check({ at, any: 1 }, times), String(at)).toEqual({ rule: 'WRONG_TYPE', path: 'at' })
  }
})

/** Messages as the library would make them from any values. */
const scalar = fc.record(
  {
    userId: fc.string({ unit: 'grapheme' }).filter((text) => text.isWellFormed()),
    age: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    tags: fc.array(fc.string(), { maxLength: 3 }),
    kind: fc.constantFrom(0, 1, -3),
    counts: fc.dictionary(
      fc.string({ maxLength: 4 }).filter((key) => key !== '__proto__'),
      fc.bigInt(-5n, 2n ** 62n),
      { maxKeys: 3 },
    ),
    balance: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    photo: fc.uint8Array({ maxLength: 9 }),
    isNew: fc.boolean(),
    score: fc.double(),
    flags: fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { maxLength: 3 }),
    offset: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    mark: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    contact: fc.oneof(
      fc.record({ case: fc.constant('mail'), value: fc.string() }),
      fc.record({ case: fc.constant('phone'), value: fc.string() }),
    ),
  },
  { requiredKeys: [] },
)
const message = fc
  .tuple(scalar, fc.array(scalar, { maxLength: 2 }), fc.option(fc.string(), { nil: undefined }))
  .map(
    ([own, friends, city]) =>
      create(user, { ...own, friends, ...(city !== undefined && { address: { city } }) } as never) as Message,
  )

const free = compileShape(user)

test('every message passes in its JSON form, and comes back as it was', () => {
  fc.assert(
    fc.property(message, (one) => {
      const json = toJson(user, one)
      expect(check(json, free)).toBeUndefined()
      expect(toBinary(user, fromJson(user, json))).toEqual(toBinary(user, one))
      expect(toBinary(user, fromBinary(user, toBinary(user, one)))).toEqual(toBinary(user, one))
    }),
    { numRuns: 500 },
  )
})

/** One value somewhere inside is replaced, one key added or renamed. */
function mutate(value: JsonValue, at: number, other: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    if (value.length === 0 || at % 3 === 0) return other
    const i = at % value.length
    return value.map((item, j) => (i === j ? mutate(item, Math.floor(at / 3), other) : item))
  }
  if (value === null || typeof value !== 'object') return other
  const keys = Object.keys(value)
  if (keys.length === 0 || at % 7 === 0) return { ...value, [at % 2 === 0 ? 'user_id' : 'extra']: other }
  const key = keys[at % keys.length]!
  return { ...value, [key]: mutate(value[key]!, Math.floor(at / 7), other) }
}

test('what was changed anywhere never throws, and passes only where the library reads it too', () => {
  const other = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonValue>
  let passed = 0
  let refused = 0
  fc.assert(
    fc.property(message, fc.nat(), other, (one, at, value) => {
      const changed = JSON.parse(JSON.stringify(mutate(toJson(user, one), at, value))) as JsonValue
      if (check(changed, free) === undefined) {
        passed++
        expect(() => fromJson(user, changed)).not.toThrow()
      } else refused++
    }),
    { numRuns: 3_000 },
  )
  expect(passed).toBeGreaterThan(50)
  expect(refused).toBeGreaterThan(500)
})
