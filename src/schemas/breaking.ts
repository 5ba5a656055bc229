// What in a new version of a message breaks those who send or read the one before. Payloads are JSON, so names count as
// much as numbers.
import type { DescEnum, DescField, DescMessage } from '@bufbuild/protobuf'
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt'
import { isSecretField } from './secret-fields.ts'

export const breakingRules = [
  'MESSAGE_CHANGED',
  'FIELD_REMOVED',
  'FIELD_RENAMED',
  'FIELD_NUMBER_CHANGED',
  'FIELD_TYPE_CHANGED',
  'FIELD_NOW_REQUIRED',
  'REQUIRED_REMOVED',
  'ONEOF_CHANGED',
  'SECRET_REMOVED',
  'ENUM_VALUE_REMOVED',
  'ENUM_VALUE_NUMBER_CHANGED',
] as const
export type BreakingRule = (typeof breakingRules)[number]

export interface BreakingChange {
  readonly rule: BreakingRule
  /** Full name of the message or enum, then the field or value. */
  readonly place: string
  readonly text: string
}

/** Every breaking change from `before` to `after`, through all messages they hold; empty when there is none. */
export function breakingChanges(before: DescMessage, after: DescMessage): readonly BreakingChange[] {
  const found: BreakingChange[] = []
  if (before.typeName !== after.typeName) {
    found.push({ rule: 'MESSAGE_CHANGED', place: before.typeName, text: `is now ${after.typeName}` })
  }
  compareMessages(before, after, found, new Set())
  return found
}

function compareMessages(before: DescMessage, after: DescMessage, found: BreakingChange[], seen: Set<string>): void {
  const pair = `${before.typeName} ${after.typeName}`
  if (seen.has(pair)) return
  seen.add(pair)
  const byNumber = new Map(after.fields.map((field) => [field.number, field]))
  const byName = new Map(after.fields.map((field) => [field.name, field]))
  for (const old of before.fields) {
    const place = `${before.typeName}.${old.name}`
    const report = (rule: BreakingRule, text: string): void => void found.push({ rule, place, text })
    const next = byNumber.get(old.number)
    const renumbered = byName.get(old.name)
    if (renumbered !== undefined && renumbered.number !== old.number) {
      report('FIELD_NUMBER_CHANGED', `was ${old.number}, is ${renumbered.number}`)
      continue
    }
    if (next === undefined) {
      report('FIELD_REMOVED', `field ${old.number} is gone`)
      continue
    }
    if (next.name !== old.name || next.jsonName !== old.jsonName) report('FIELD_RENAMED', `is now ${next.name}`)
    compareFields(old, next, report)
    const inner = [innerOf(old), innerOf(next)] as const
    if (inner[0]?.kind === 'message' && inner[1]?.kind === 'message') compareMessages(inner[0], inner[1], found, seen)
    if (inner[0]?.kind === 'enum' && inner[1]?.kind === 'enum') compareEnums(inner[0], inner[1], found, seen)
  }
  const known = new Set(before.fields.map(({ number }) => number))
  for (const field of after.fields) {
    if (known.has(field.number) || !isRequired(field) || before.fields.some(({ name }) => name === field.name)) continue
    found.push({ rule: 'FIELD_NOW_REQUIRED', place: `${after.typeName}.${field.name}`, text: 'is new and required' })
  }
}

function compareFields(old: DescField, next: DescField, report: (rule: BreakingRule, text: string) => void): void {
  const types = [typeOf(old), typeOf(next)] as const
  if (types[0] !== types[1]) report('FIELD_TYPE_CHANGED', `was ${types[0]}, is ${types[1]}`)
  if (!isRequired(old) && isRequired(next)) report('FIELD_NOW_REQUIRED', 'was optional')
  if (isRequired(old) && !isRequired(next)) report('REQUIRED_REMOVED', 'was required: readers count on it')
  if (old.oneof?.name !== next.oneof?.name) {
    report('ONEOF_CHANGED', `was in ${old.oneof?.name ?? 'no oneof'}, is in ${next.oneof?.name ?? 'none'}`)
  }
  if (isSecretField(old) && !isSecretField(next)) report('SECRET_REMOVED', 'had debug_redact: copies would show it')
}

function compareEnums(before: DescEnum, after: DescEnum, found: BreakingChange[], seen: Set<string>): void {
  const pair = `${before.typeName} ${after.typeName}`
  if (seen.has(pair)) return
  seen.add(pair)
  const numbers = new Map(after.values.map(({ name, number }) => [name, number]))
  for (const { name, number } of before.values) {
    const place = `${before.typeName}.${name}`
    const next = numbers.get(name)
    if (next === undefined) found.push({ rule: 'ENUM_VALUE_REMOVED', place, text: `value ${number} is gone` })
    else if (next !== number) {
      found.push({ rule: 'ENUM_VALUE_NUMBER_CHANGED', place, text: `was ${number}, is ${next}` })
    }
  }
}

const isRequired = (field: DescField): boolean => field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED

/** What a field holds, if that has fields or values of its own. */
function innerOf(field: DescField): DescMessage | DescEnum | undefined {
  return field.message ?? field.enum
}

function typeOf(field: DescField): string {
  const one = field.message?.typeName ?? field.enum?.typeName ?? scalarName(field)
  if (field.fieldKind === 'list') return `repeated ${one}`
  if (field.fieldKind === 'map') return `map<${scalarNames[field.mapKey] ?? '?'}, ${one}>`
  return one
}

const scalarName = ({ scalar }: DescField): string => scalarNames[scalar ?? 0] ?? '?'

/** By the numbers of ScalarType. */
const scalarNames: Readonly<Record<number, string>> = {
  1: 'double',
  2: 'float',
  3: 'int64',
  4: 'uint64',
  5: 'int32',
  6: 'fixed64',
  7: 'fixed32',
  8: 'bool',
  9: 'string',
  12: 'bytes',
  13: 'uint32',
  15: 'sfixed32',
  16: 'sfixed64',
  17: 'sint32',
  18: 'sint64',
}
