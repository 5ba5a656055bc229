// Does a JSON value have the shape of a message? The rules are those of protobuf's own JSON form, without its leniencies:
// unknown keys, missing required fields and values of another type are refused, each with the path of its field.
// Payloads travel as google.protobuf.Struct, so this is how a message type judges what clients really send.
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt'
import { BusError } from '../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { isScalar } from './json-scalars.ts'
import { wellKnownForm } from './well-known.ts'

export const shapeRules = [
  'NOT_AN_OBJECT',
  'NOT_A_LIST',
  'WRONG_TYPE',
  'UNKNOWN_FIELD',
  'DUPLICATE_FIELD',
  'ONEOF_CONFLICT',
  'UNKNOWN_ENUM_VALUE',
  'REQUIRED_FIELD',
] as const
export type ShapeRule = (typeof shapeRules)[number]

export interface ShapeViolation {
  readonly rule: ShapeRule
  /** Field names from the payload down; `?` for a key that is no identifier, `[n]` for items, `[*]` for map entries. */
  readonly path: string
}

export interface Shape {
  check(value: JsonValue): ShapeViolation | undefined
}

/** A key that may stand in a path: its sender can find it, and nothing else can be hidden in it. */
const shownKey = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/

/** Stops a check: thrown and caught in this file only. */
class Stop {
  readonly rule: ShapeRule
  path = ''

  constructor(rule: ShapeRule, field = '') {
    this.rule = rule
    this.path = field
  }

  within(part: string): this {
    this.path = this.path === '' || this.path.startsWith('[') ? part + this.path : `${part}.${this.path}`
    return this
  }
}

type Check = (value: JsonValue) => void

interface FieldShape {
  readonly name: string
  readonly oneof: string | undefined
  readonly isRequired: boolean
  /** `null` is a value of google.protobuf.Value; everywhere else it says that the field is absent. */
  readonly takesNull: boolean
  readonly check: Check
}

interface MessageShape {
  /** By both spellings of the field's name. */
  readonly fields: Map<string, FieldShape>
  readonly required: FieldShape[]
}

/**
 * `required` names fields of the message itself that must be there, beside those the descriptor requires. Throws
 * START_REFUSED / SCHEMA_UNSUPPORTED for google.protobuf.Any and for names the message does not have.
 */
export function compileShape(message: DescMessage, required: readonly string[] = []): Shape {
  const shapes = new Map<string, MessageShape>()
  const ownShape = shapeOf(message, shapes)
  const root: MessageShape = { fields: ownShape.fields, required: [...ownShape.required] }
  for (const name of required) {
    const field = root.fields.get(name)
    if (field === undefined) throw unsupported(`${message.typeName} has no field ${name} that could be required`)
    if (!root.required.includes(field)) root.required.push(field)
  }
  return {
    check(value) {
      try {
        checkMessage(root, value)
        return undefined
      } catch (stop) {
        if (!(stop instanceof Stop)) throw stop
        return { rule: stop.rule, path: stop.path }
      }
    },
  }
}

function unsupported(text: string): BusError {
  return new BusError('START_REFUSED', text, { reason: 'SCHEMA_UNSUPPORTED' })
}

function shapeOf(message: DescMessage, shapes: Map<string, MessageShape>): MessageShape {
  const known = shapes.get(message.typeName)
  if (known !== undefined) return known
  const shape: MessageShape = { fields: new Map(), required: [] }
  // Entered before its fields: messages nest themselves.
  shapes.set(message.typeName, shape)
  for (const field of message.fields) {
    const isRequired = field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED
    const own: FieldShape = {
      name: field.name,
      oneof: field.oneof?.name,
      isRequired,
      takesNull: field.fieldKind === 'message' && field.message.typeName === 'google.protobuf.Value',
      check: fieldCheck(field, shapes),
    }
    shape.fields.set(field.name, own)
    if (field.jsonName !== '') shape.fields.set(field.jsonName, own)
    if (isRequired) shape.required.push(own)
  }
  return shape
}

function fieldCheck(field: DescField, shapes: Map<string, MessageShape>): Check {
  const one = valueCheck(field, shapes)
  if (field.fieldKind === 'list') return (value) => checkList(value, one)
  if (field.fieldKind === 'map') {
    const { mapKey } = field
    return (value) => checkMap(value, mapKey, one)
  }
  return one
}

function valueCheck(field: DescField, shapes: Map<string, MessageShape>): Check {
  const { message, enum: values, scalar } = field
  if (message !== undefined) {
    if (message.typeName === 'google.protobuf.Any')
      throw unsupported(`${field.toString()} is an Any, which no schema describes`)
    const form = wellKnownForm(message.typeName)
    if (form !== undefined) return (value) => need(form(value))
    const shape = shapeOf(message, shapes)
    return (value) => checkMessage(shape, value)
  }
  if (values !== undefined) {
    const names = new Set(values.values.map(({ name }) => name))
    const numbers = new Set(values.values.map(({ number }) => number))
    return (value) => {
      if (typeof value !== 'string' && typeof value !== 'number') throw new Stop('WRONG_TYPE')
      if (typeof value === 'string' ? !names.has(value) : !numbers.has(value)) throw new Stop('UNKNOWN_ENUM_VALUE')
    }
  }
  const type = scalar ?? ScalarType.STRING
  return (value) => need(isScalar(type, value))
}

function need(isGood: boolean): void {
  if (!isGood) throw new Stop('WRONG_TYPE')
}

function checkMessage({ fields, required }: MessageShape, value: JsonValue): void {
  if (!isJsonObject(value)) throw new Stop('NOT_AN_OBJECT')
  const seen = new Set<FieldShape | string>()
  for (const key of Object.keys(value)) {
    const field = fields.get(key)
    if (field === undefined) throw new Stop('UNKNOWN_FIELD', shownKey.test(key) ? key : '?')
    if (seen.has(field)) throw new Stop('DUPLICATE_FIELD', field.name)
    seen.add(field)
    const own = value[key]!
    if (own === null && !field.takesNull) continue
    if (field.oneof !== undefined) {
      if (seen.has(field.oneof)) throw new Stop('ONEOF_CONFLICT', field.name)
      seen.add(field.oneof)
    }
    within(field.name, () => field.check(own))
  }
  for (const field of required) {
    if (!isPresent(field, value, fields)) throw new Stop('REQUIRED_FIELD', field.name)
  }
}

function isPresent(field: FieldShape, value: JsonObject, fields: ReadonlyMap<string, FieldShape>): boolean {
  return Object.keys(value).some((key) => fields.get(key) === field && (value[key] !== null || field.takesNull))
}

function checkList(value: JsonValue, check: Check): void {
  if (!Array.isArray(value)) throw new Stop('NOT_A_LIST')
  for (let i = 0; i < value.length; i++) within(`[${i}]`, () => check(value[i]!))
}

function checkMap(value: JsonValue, keyType: ScalarType, check: Check): void {
  if (!isJsonObject(value)) throw new Stop('NOT_AN_OBJECT')
  for (const key of Object.keys(value)) {
    within('[*]', () => {
      need(isMapKey(keyType, key))
      check(value[key]!)
    })
  }
}

function isMapKey(type: ScalarType, key: string): boolean {
  if (type === ScalarType.BOOL) return key === 'true' || key === 'false'
  return isScalar(type, key)
}

function within(part: string, run: () => void): void {
  try {
    run()
  } catch (stop) {
    throw stop instanceof Stop ? stop.within(part) : stop
  }
}
