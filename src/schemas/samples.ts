// Payloads made from a message's descriptor: some that fit it, and for each of its rules some that do not. A shape that
// takes one of the latter, or refuses one of the former, is not the shape of that message.
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt'
import type { JsonObject, JsonValue } from '../base/json.ts'

export interface Sample {
  /** What is special about it; names of fields, no values. */
  readonly name: string
  readonly value: JsonValue
}

export interface Samples {
  readonly valid: readonly Sample[]
  readonly invalid: readonly Sample[]
}

/** Messages that hold themselves are filled this deep. */
const maxDepth = 4

/** `required` as in a rule of the map. */
export function samplesOf(message: DescMessage, required: readonly string[] = []): Samples {
  const isRequired = (field: DescField): boolean => required.includes(field.name) || mustBeThere(field)
  const minimal = fill(message, 1, isRequired)
  const needed = message.fields.filter(isRequired)
  return {
    valid: [
      { name: 'with every field', value: fill(message, 1, isFirstOfItsOneof(message, needed)) },
      { name: 'with the required fields', value: minimal },
    ],
    invalid: [
      { name: 'no object', value: [] },
      { name: 'an unknown field', value: { ...minimal, [unusedName(message)]: 1 } },
      ...needed.map(({ name }) => ({ name: `without ${name}`, value: without(minimal, name) })),
      ...message.fields.flatMap((field) => wrongValues(field, minimal)),
      ...message.oneofs.flatMap(({ name, fields: [first, second] }) =>
        first === undefined || second === undefined
          ? []
          : [
              {
                name: `two of ${name}`,
                value: { ...minimal, [first.name]: jsonFor(first, 1), [second.name]: jsonFor(second, 1) },
              },
            ],
      ),
    ],
  }
}

const mustBeThere = ({ presence }: DescField): boolean => presence === FeatureSet_FieldPresence.LEGACY_REQUIRED

/** Of the members of a oneof only one may be there: the required one, else the first. */
function isFirstOfItsOneof(message: DescMessage, needed: readonly DescField[]): (field: DescField) => boolean {
  const chosen = new Set(
    message.oneofs.map(({ fields }) => fields.find((field) => needed.includes(field)) ?? fields[0]),
  )
  return (field) => field.oneof === undefined || chosen.has(field)
}

function fill(message: DescMessage, depth: number, isWanted: (field: DescField) => boolean): JsonObject {
  return Object.fromEntries(message.fields.filter(isWanted).map((field) => [field.name, jsonFor(field, depth)]))
}

function jsonFor(field: DescField, depth: number): JsonValue {
  if (field.fieldKind === 'list') return [singleOf(field, depth)]
  if (field.fieldKind === 'map') return { [keyOf(field.mapKey)]: singleOf(field, depth) }
  return singleOf(field, depth)
}

function singleOf(field: DescField, depth: number): JsonValue {
  const { message, enum: values, scalar } = field
  if (values !== undefined) return values.values[0]!.name
  if (message === undefined) return scalarOf(scalar ?? ScalarType.STRING)
  const known = wellKnown[message.typeName]
  if (known !== undefined) return known.good
  const isDeepEnough = depth >= maxDepth
  const wanted = isDeepEnough ? mustBeThere : isFirstOfItsOneof(message, [])
  // One that has to hold itself can never be written down; it is cut here, and refused.
  return depth > 2 * maxDepth ? {} : fill(message, depth + 1, wanted)
}

const wideIntegers: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
])

function scalarOf(type: ScalarType): JsonValue {
  if (type === ScalarType.STRING) return 'a'
  if (type === ScalarType.BYTES) return 'YQ=='
  if (type === ScalarType.BOOL) return true
  if (type === ScalarType.DOUBLE || type === ScalarType.FLOAT) return 1.5
  return wideIntegers.has(type) ? '1' : 1
}

function keyOf(type: ScalarType): string {
  if (type === ScalarType.STRING) return 'a'
  return type === ScalarType.BOOL ? 'true' : '1'
}

/** By full name: a value of each, and one of another type where there is one. */
const wellKnown: Readonly<Record<string, { readonly good: JsonValue; readonly bad?: JsonValue }>> = {
  'google.protobuf.Timestamp': { good: '2026-01-01T00:00:00Z', bad: '2026-13-01T00:00:00Z' },
  'google.protobuf.Duration': { good: '1.5s', bad: '1.5' },
  'google.protobuf.FieldMask': { good: 'a,b', bad: {} },
  'google.protobuf.Struct': { good: { a: 1 }, bad: 'a' },
  'google.protobuf.ListValue': { good: [1], bad: 'a' },
  'google.protobuf.Value': { good: 1 },
  'google.protobuf.DoubleValue': { good: 1.5, bad: {} },
  'google.protobuf.FloatValue': { good: 1.5, bad: {} },
  'google.protobuf.Int64Value': { good: '1', bad: {} },
  'google.protobuf.UInt64Value': { good: '1', bad: '-1' },
  'google.protobuf.Int32Value': { good: 1, bad: {} },
  'google.protobuf.UInt32Value': { good: 1, bad: -1 },
  'google.protobuf.BoolValue': { good: true, bad: {} },
  'google.protobuf.StringValue': { good: 'a', bad: {} },
  'google.protobuf.BytesValue': { good: 'YQ==', bad: {} },
}

function wrongValues(field: DescField, minimal: JsonObject): Sample[] {
  const bad = badOf(field)
  const samples = bad === undefined ? [] : [{ name: `${field.name} of another type`, value: bad }]
  if (field.enum !== undefined) {
    const names = new Set(field.enum.values.map(({ name }) => name))
    const unknown = unused('UNKNOWN', names)
    const value = field.fieldKind === 'list' ? [unknown] : field.fieldKind === 'map' ? { a: unknown } : unknown
    samples.push({ name: `${field.name} with an unknown name`, value })
  }
  return samples.map(({ name, value }) => ({ name, value: { ...minimal, [field.name]: value } }))
}

function badOf(field: DescField): JsonValue | undefined {
  if (field.fieldKind === 'list' || field.fieldKind === 'map') return 'a'
  const { message } = field
  if (message === undefined) return {}
  const known = wellKnown[message.typeName]
  return known === undefined ? 'a' : known.bad
}

function unusedName({ fields }: DescMessage): string {
  return unused('unknown', new Set(fields.flatMap(({ name, jsonName }) => [name, jsonName])))
}

function unused(name: string, used: ReadonlySet<string>): string {
  let candidate = name
  while (used.has(candidate)) candidate += '_'
  return candidate
}

function without(value: JsonObject, name: string): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name))
}
