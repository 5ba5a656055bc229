// Descriptor sets that nobody should load: each is refused for its own reason, and nothing about them throws anything else.
import { type JsonValue, fromJson, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { readDescriptorSet, setLimits } from '../../../src/schemas/descriptor-set.ts'
import { compileShape } from '../../../src/schemas/json-shape.ts'
import { setOf, userCreated } from './descriptors.ts'

const good = setOf([userCreated])

function raw(file: JsonValue): Uint8Array {
  return toBinary(FileDescriptorSetSchema, fromJson(FileDescriptorSetSchema, { file } as JsonValue))
}

const nested = (levels: number): JsonValue =>
  levels === 0 ? { name: 'M' } : { name: 'M', nestedType: [nested(levels - 1)] }

test('a good set has its messages by name', () => {
  const set = readDescriptorSet(good)
  expect(set.messages).toEqual(['acme.v1.UserCreated'])
  expect(set.message('acme.v1.UserCreated')).toBeDefined()
  expect(set.message('acme.v1.Other')).toBeUndefined()
})

const field = (name: string, number = 1): JsonValue => ({ name, number, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' })
const hostile: [string, Uint8Array][] = [
  ['too many files', raw(Array.from({ length: setLimits.files + 1 }, (_, i) => ({ name: `${i}.proto` })))],
  ['two files of one name', raw([{ name: 'a' }, { name: 'a' }])],
  ['an import that is not there', raw([{ name: 'a', dependency: ['b'] }])],
  [
    'imports in a circle',
    raw([
      { name: 'a', dependency: ['b'] },
      { name: 'b', dependency: ['a'] },
    ]),
  ],
  ['a file that imports itself', raw([{ name: 'a', dependency: ['a'] }])],
  ['deep nesting', raw([{ name: 'a', messageType: [nested(setLimits.nesting + 1)] }])],
  ['a message twice', raw([{ name: 'a', messageType: [{ name: 'M' }, { name: 'M' }] }])],
  ['a name that is none', raw([{ name: 'a', messageType: [{ name: 'M N' }] }])],
  ['a package that is none', raw([{ name: 'a', package: 'x..y' }])],
  ['a long name', raw([{ name: 'a', messageType: [{ name: 'M'.repeat(300) }] }])],
  ['the prototype as a field', raw([{ name: 'a', messageType: [{ name: 'M', field: [field('__proto__')] }] }])],
  [
    'the prototype as a JSON name',
    raw([{ name: 'a', messageType: [{ name: 'M', field: [{ ...(field('p') as object), jsonName: '__proto__' }] }] }]),
  ],
  ['a field number of 0', raw([{ name: 'a', messageType: [{ name: 'M', field: [field('x', 0)] }] }])],
  ['a number twice', raw([{ name: 'a', messageType: [{ name: 'M', field: [field('x'), field('y')] }] }])],
  [
    'one JSON name for two fields',
    raw([
      {
        name: 'a',
        messageType: [{ name: 'M', field: [field('x'), { ...(field('y', 2) as object), jsonName: 'x' }] }],
      },
    ]),
  ],
  [
    'a map entry outside a message, which a registry does not know as one',
    raw([{ name: 'a', syntax: 'proto3', messageType: [{ name: 'M', options: { mapEntry: true } }] }]),
  ],
  ['an enum without values', raw([{ name: 'a', enumType: [{ name: 'E' }] }])],
  [
    'too many fields',
    raw(
      Array.from({ length: 6 }, (_, i) => ({
        name: `${i}`,
        package: `p${i}`,
        syntax: 'proto3',
        messageType: [{ name: 'M', field: Array.from({ length: 10_000 }, (_, n) => field(`f${n}`, n + 1)) }],
      })),
    ),
  ],
  ['too many bytes', new Uint8Array(setLimits.bytes + 1)],
]

test.each(hostile)('refuses %s', (_name, bytes) => {
  expect(() => readDescriptorSet(bytes)).toThrow(
    expect.objectContaining({ code: 'START_REFUSED', details: { reason: 'SCHEMA_HOSTILE' } }),
  )
})

test('refuses a type that is nowhere, and bytes that are no set', () => {
  const unresolved = raw([
    {
      name: 'a',
      syntax: 'proto3',
      messageType: [{ name: 'M', field: [{ name: 'x', number: 1, type: 'TYPE_MESSAGE', typeName: '.no.Where' }] }],
    },
  ])
  for (const bytes of [unresolved, new TextEncoder().encode('no set')]) {
    expect(() => readDescriptorSet(bytes)).toThrow(
      expect.objectContaining({ details: { reason: 'SCHEMA_UNREADABLE' } }),
    )
  }
})

test('messages that hold themselves are read and judged without end in sight', () => {
  const set = readDescriptorSet(setOf([{ name: 'Loop', fields: [{ name: 'loop', number: 1, type: '.acme.v1.Loop' }] }]))
  const shape = compileShape(set.message('acme.v1.Loop')!)
  expect(shape.check({ loop: { loop: { loop: {} } } })).toBeUndefined()
  expect(shape.check({ loop: { loop: { x: 1 } } })).toEqual({ rule: 'UNKNOWN_FIELD', path: 'loop.loop.x' })
})

test('whatever bytes come, the answer is a set or START_REFUSED', () => {
  const changed = fc
    .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    .map((changes) => {
      const copy = good.slice()
      for (const [at, value] of changes) copy[at] = value
      return copy
    })
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 100 })), (bytes) => {
      try {
        const set = readDescriptorSet(bytes)
        for (const name of set.messages) compileShape(set.message(name)!)
      } catch (error) {
        expect(isBusError(error, 'START_REFUSED')).toBe(true)
      }
    }),
    { numRuns: 3_000 },
  )
})
