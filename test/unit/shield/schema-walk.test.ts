// The walk over bytes, against the library's own codec: every message the library writes passes, and what passes after
// any change is read by the library with nothing unknown in it, and written again passes again.
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readDescriptorSet } from '../../../src/schemas/descriptor-set.ts'
import { loadSchema, schemaRules } from '../../../src/shield/schema.ts'
import { setOf, userCreated } from '../schemas/descriptors.ts'

const set = setOf([userCreated], {
  later: [
    {
      name: 'envelope.proto',
      package: 'arqon.v1',
      syntax: 'proto3',
      dependency: ['acme.proto'],
      messageType: [
        {
          name: 'Envelope',
          field: [
            { name: 'trace_id', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
            {
              name: 'event',
              number: 21,
              type: 'TYPE_MESSAGE',
              typeName: '.acme.v1.UserCreated',
              label: 'LABEL_OPTIONAL',
            },
          ],
        },
      ],
    },
  ],
})
const schema = loadSchema(set, 40)
const envelope = readDescriptorSet(set).message('arqon.v1.Envelope')!

const user = fc.record(
  {
    userId: fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
    age: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    tags: fc.array(fc.string(), { maxLength: 3 }),
    kind: fc.constantFrom(0, 1, -3),
    counts: fc.dictionary(fc.string({ maxLength: 4 }), fc.bigInt(-5n, 2n ** 62n), { maxKeys: 3 }),
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
  .tuple(user, fc.array(user, { maxLength: 2 }))
  .map(([own, friends]) => create(envelope, { traceId: 'id', event: { ...own, friends } } as never))

/** Every message inside, with what its reader did not know. */
function unknownIn(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 0
  const own = (value as Message).$unknown?.length ?? 0
  return own + Object.values(value).reduce((sum: number, one) => sum + unknownIn(one), 0)
}

test('every message that the library writes passes', () => {
  fc.assert(
    fc.property(message, (one) => {
      expect(schema.check(toBinary(envelope, one))).toEqual({ violation: undefined, id: 'id' })
    }),
    { numRuns: 1_000 },
  )
})

test('what was changed anywhere never throws, and passes only where the library knows all of it', () => {
  const changed = fc.tuple(
    message,
    fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'cut', 'insert')), { minLength: 1, maxLength: 3 }),
  )
  let passed = 0
  let refused = 0
  fc.assert(
    fc.property(changed, ([one, changes]) => {
      let bytes = Buffer.from(toBinary(envelope, one))
      for (const [at, value, how] of changes) {
        const place = at % Math.max(bytes.length, 1)
        if (how === 'set') bytes[place] = value
        else if (how === 'cut') bytes = bytes.subarray(0, place)
        else bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from([value]), bytes.subarray(place)])
      }
      const { violation } = schema.check(bytes)
      if (violation !== undefined) {
        expect(schemaRules).toContain(violation.rule)
        refused++
        return
      }
      passed++
      const read = fromBinary(envelope, bytes)
      expect(unknownIn(read)).toBe(0)
      expect(schema.check(toBinary(envelope, read)).violation).toBeUndefined()
    }),
    { numRuns: 5_000 },
  )
  expect(passed).toBeGreaterThan(100)
  expect(refused).toBeGreaterThan(1_000)
})

const frame = (...event: number[]): Uint8Array => Uint8Array.from([0x0a, 2, 105, 100, 0xaa, 1, event.length, ...event])
const ff = (count: number): number[] => Array<number>(count).fill(0xff)

test.each([
  ['a truth of 2', frame(0x58, 2), 'OUT_OF_RANGE', 'event.is_new'],
  ['an int32 of 33 bits', frame(0x10, ...ff(4), 0x1f), 'OUT_OF_RANGE', 'event.age'],
  [
    'a number just below the negative ones',
    frame(0x10, ...ff(4), 0x77 | 0x80, ...ff(4), 1),
    'OUT_OF_RANGE',
    'event.age',
  ],
  ['a uint32 of 33 bits', frame(0x72, 5, ...ff(4), 0x1f), 'OUT_OF_RANGE', 'event.flags'],
  ['a number of 70 bits', frame(0x48, ...ff(9), 0x7f), 'OUT_OF_RANGE', 'event.balance'],
  ['an enum below', frame(0x20, 0xfc, ...ff(8), 1), 'UNKNOWN_ENUM_VALUE', 'event.kind'],
])('refuses %s', (_name, bytes, rule, path) => {
  expect(schema.check(bytes).violation).toEqual({ rule, path })
})

test('takes negative numbers and enum values as they are written', () => {
  expect(schema.check(frame(0x20, 0xfd, ...ff(8), 1)).violation).toBeUndefined()
  expect(schema.check(frame(0x10, ...ff(9), 1)).violation).toBeUndefined()
})

test('asks for what the descriptor requires, inside too', () => {
  const required = loadSchema(
    setOf([{ name: 'Own', fields: [{ name: 'id', number: 1, type: 'TYPE_STRING', label: 'LABEL_REQUIRED' }] }], {
      syntax: 'proto2',
      later: [
        {
          name: 'envelope.proto',
          package: 'arqon.v1',
          syntax: 'proto2',
          dependency: ['acme.proto'],
          messageType: [
            {
              name: 'Envelope',
              field: [
                { name: 'trace_id', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
                { name: 'event', number: 21, type: 'TYPE_MESSAGE', typeName: '.acme.v1.Own', label: 'LABEL_OPTIONAL' },
              ],
            },
          ],
        },
      ],
    }),
    40,
  )
  expect(required.check(frame()).violation).toEqual({ rule: 'REQUIRED_FIELD', path: 'event.id' })
  expect(required.check(frame(0x0a, 1, 120)).violation).toBeUndefined()
})
