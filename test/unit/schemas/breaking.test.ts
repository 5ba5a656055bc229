// What counts as breaking, by one change at a time to one message.
import { expect, test } from 'vitest'
import { breakingChanges } from '../../../src/schemas/breaking.ts'
import { readDescriptorSet } from '../../../src/schemas/descriptor-set.ts'
import { type MessageSpec, setOf, userCreated, userWithSecrets } from './descriptors.ts'

const messageOf = (spec: MessageSpec, syntax = 'proto3') =>
  readDescriptorSet(setOf([spec], { syntax })).message(`acme.v1.${spec.name}`)!

const before = messageOf(userCreated)
const withFields = (change: (fields: MessageSpec['fields']) => MessageSpec['fields']): MessageSpec => ({
  ...userCreated,
  fields: change(userCreated.fields),
})
const swap = (name: string, change: object): MessageSpec =>
  withFields((fields) => fields.map((field) => (field.name === name ? { ...field, ...change } : field)))
const values = (list: readonly [string, number][]): MessageSpec => ({
  ...userCreated,
  enums: [{ name: 'Kind', value: list.map(([name, number]) => ({ name, number })) }],
})

test('nothing new, and what only adds, breaks nothing', () => {
  expect(breakingChanges(before, messageOf(userCreated))).toEqual([])
  const more = withFields((fields) => [...fields, { name: 'more', number: 40, type: 'TYPE_STRING' }])
  expect(breakingChanges(before, messageOf(more))).toEqual([])
  const moreValues = values([
    ['NONE', 0],
    ['ADMIN', 1],
    ['BELOW', -3],
    ['OWNER', 2],
  ])
  expect(breakingChanges(before, messageOf(moreValues))).toEqual([])
})

const cases: [string, MessageSpec, string, string][] = [
  ['removed', withFields((all) => all.filter(({ name }) => name !== 'age')), 'FIELD_REMOVED', 'age'],
  ['renamed', swap('age', { name: 'years' }), 'FIELD_RENAMED', 'age'],
  ['renumbered', swap('age', { number: 30 }), 'FIELD_NUMBER_CHANGED', 'age'],
  ['of another type', swap('age', { type: 'TYPE_INT64' }), 'FIELD_TYPE_CHANGED', 'age'],
  ['a list now', swap('age', { label: 'LABEL_REPEATED' }), 'FIELD_TYPE_CHANGED', 'age'],
  ['one now', swap('tags', { label: 'LABEL_OPTIONAL' }), 'FIELD_TYPE_CHANGED', 'tags'],
  ['another message', swap('address', { type: '.acme.v1.UserCreated' }), 'FIELD_TYPE_CHANGED', 'address'],
  ['out of its oneof', swap('phone', { oneofIndex: undefined }), 'ONEOF_CHANGED', 'phone'],
  [
    'an enum value gone',
    values([
      ['NONE', 0],
      ['BELOW', -3],
    ]),
    'ENUM_VALUE_REMOVED',
    'Kind.ADMIN',
  ],
  [
    'an enum value moved',
    values([
      ['NONE', 0],
      ['ADMIN', 2],
      ['BELOW', -3],
    ]),
    'ENUM_VALUE_NUMBER_CHANGED',
    'Kind.ADMIN',
  ],
]
test.each(cases)('a field or value that is %s', (_name, spec, rule, place) => {
  const found = breakingChanges(before, messageOf(spec))
  expect(found).toContainEqual(expect.objectContaining({ rule, place: `acme.v1.UserCreated.${place}` }))
})

test('what is inside other messages counts, once each', () => {
  const inner = { ...userCreated, nested: (userCreated.nested as object[]).map((one) => ({ ...one })) } as MessageSpec
  const [address] = inner.nested as { field: unknown[] }[]
  address!.field = []
  expect(breakingChanges(before, messageOf(inner))).toEqual([
    { rule: 'FIELD_REMOVED', place: 'acme.v1.UserCreated.Address.city', text: 'field 1 is gone' },
  ])
})

test('required fields: taken away, asked for anew, new altogether', () => {
  const spec = (label: 'LABEL_OPTIONAL' | 'LABEL_REQUIRED'): MessageSpec => ({
    name: 'Old',
    fields: [{ name: 'id', number: 1, type: 'TYPE_STRING', label }],
  })
  const optional = messageOf(spec('LABEL_OPTIONAL'), 'proto2')
  const required = messageOf(spec('LABEL_REQUIRED'), 'proto2')
  const rules = (list: ReturnType<typeof breakingChanges>): string[] => list.map(({ rule }) => rule)
  expect(rules(breakingChanges(optional, required))).toEqual(['FIELD_NOW_REQUIRED'])
  expect(rules(breakingChanges(required, optional))).toEqual(['REQUIRED_REMOVED'])
  const empty = messageOf({ name: 'Old', fields: [] }, 'proto2')
  expect(rules(breakingChanges(empty, required))).toEqual(['FIELD_NOW_REQUIRED'])
  expect(rules(breakingChanges(required, before))).toContain('MESSAGE_CHANGED')
})

test('a field that is no secret any more; one that becomes one breaks nothing', () => {
  const open = messageOf({
    ...userWithSecrets,
    fields: userWithSecrets.fields.map((field) => ({ ...field, isSecret: undefined })),
  })
  const secret = messageOf(userWithSecrets)
  expect(breakingChanges(secret, open).map(({ rule, place }) => [rule, place])).toEqual([
    ['SECRET_REMOVED', 'acme.v1.UserCreated.tax_number'],
    ['SECRET_REMOVED', 'acme.v1.UserCreated.answers'],
    ['SECRET_REMOVED', 'acme.v1.UserCreated.card'],
  ])
  expect(breakingChanges(open, secret)).toEqual([])
})
