// Samples made from descriptors: those that fit are taken, those that do not are refused, by the rule they were made for.
import { describe, expect, it } from 'vitest'
import { readDescriptorSet } from '../../../src/schemas/descriptor-set.ts'
import { compileShape } from '../../../src/schemas/json-shape.ts'
import { samplesOf } from '../../../src/schemas/samples.ts'
import { type FieldSpec, type MessageSpec, setOf, userCreated } from './descriptors.ts'

const scalars = [
  'DOUBLE',
  'FLOAT',
  'INT64',
  'UINT64',
  'INT32',
  'FIXED64',
  'FIXED32',
  'BOOL',
  'STRING',
  'BYTES',
  'UINT32',
  'SFIXED32',
  'SFIXED64',
  'SINT32',
  'SINT64',
]
const everyScalar: MessageSpec = {
  name: 'Scalars',
  fields: scalars.flatMap((type, i): FieldSpec[] => [
    { name: `one_${type.toLowerCase()}`, number: i + 1, type: `TYPE_${type}` },
    { name: `many_${type.toLowerCase()}`, number: i + 101, type: `TYPE_${type}`, label: 'LABEL_REPEATED' },
  ]),
}
const chain: MessageSpec = {
  name: 'Chain',
  fields: [
    { name: 'unknown', number: 1, type: 'TYPE_STRING', label: 'LABEL_REQUIRED' },
    { name: 'next', number: 2, type: '.acme.v1.Chain' },
  ],
}
const endless: MessageSpec = {
  name: 'Endless',
  fields: [{ name: 'next', number: 1, type: '.acme.v1.Endless', label: 'LABEL_REQUIRED' }],
}

function judged(spec: MessageSpec, required?: readonly string[], syntax?: string) {
  const set = readDescriptorSet(setOf([spec], syntax === undefined ? {} : { syntax }))
  const message = set.message(`acme.v1.${spec.name}`)!
  const shape = compileShape(message, required)
  const { valid, invalid } = samplesOf(message, required)
  const rule = (sample: { value: Parameters<typeof shape.check>[0] }) => shape.check(sample.value)?.rule
  return {
    valid: Object.fromEntries(valid.map((sample) => [sample.name, rule(sample)])),
    invalid: Object.fromEntries(invalid.map((sample) => [sample.name, rule(sample)])),
  }
}
const taken = { 'with every field': undefined, 'with the required fields': undefined }

describe('samples', () => {
  it('of a message with fields of most kinds are judged by the rule each was made for', () => {
    expect(judged(userCreated, ['user_id'])).toEqual({
      valid: taken,
      invalid: {
        'no object': 'NOT_AN_OBJECT',
        'an unknown field': 'UNKNOWN_FIELD',
        'without user_id': 'REQUIRED_FIELD',
        'user_id of another type': 'WRONG_TYPE',
        'age of another type': 'WRONG_TYPE',
        'tags of another type': 'NOT_A_LIST',
        'kind of another type': 'WRONG_TYPE',
        'kind with an unknown name': 'UNKNOWN_ENUM_VALUE',
        'address of another type': 'NOT_AN_OBJECT',
        'mail of another type': 'WRONG_TYPE',
        'phone of another type': 'WRONG_TYPE',
        'counts of another type': 'NOT_AN_OBJECT',
        'balance of another type': 'WRONG_TYPE',
        'photo of another type': 'WRONG_TYPE',
        'is_new of another type': 'WRONG_TYPE',
        'score of another type': 'WRONG_TYPE',
        'friends of another type': 'NOT_A_LIST',
        'flags of another type': 'NOT_A_LIST',
        'offset of another type': 'WRONG_TYPE',
        'mark of another type': 'WRONG_TYPE',
        'two of contact': 'ONEOF_CONFLICT',
      },
    })
  })

  it('of every scalar fit', () => {
    const { valid, invalid } = judged(everyScalar)
    expect(valid).toEqual(taken)
    expect(Object.keys(invalid)).toHaveLength(2 + 2 * scalars.length)
    expect(Object.values(invalid)).not.toContain(undefined)
  })

  it('of a message that may hold itself end, and know which names are taken', () => {
    const { valid, invalid } = judged(chain, [], 'proto2')
    expect(valid).toEqual(taken)
    expect(invalid).toMatchObject({ 'an unknown field': 'UNKNOWN_FIELD', 'without unknown': 'REQUIRED_FIELD' })
  })

  it('of a message that has to hold itself never fit: nobody can send one', () => {
    expect(judged(endless, [], 'proto2').valid).toEqual({
      'with every field': 'REQUIRED_FIELD',
      'with the required fields': 'REQUIRED_FIELD',
    })
  })

  it('keep to one member of a oneof where another is required', () => {
    expect(judged(userCreated, ['phone']).valid).toEqual(taken)
  })
})
