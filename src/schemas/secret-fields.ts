// Which fields of a payload its schema marks as secret: those with protobuf's own option `debug_redact`. Found by the keys
// of the JSON form, as payloads are.
import type { DescField, DescMessage } from '@bufbuild/protobuf'
import { wellKnownForm } from './well-known.ts'

/** What a schema says of the keys of one object. */
export interface SecretFields {
  field(key: string): SecretField | undefined
}

export interface SecretField {
  readonly isSecret: boolean
  /** Of the object it holds, or of each in its list. */
  readonly inner: SecretFields | undefined
}

/** Undefined where neither the message nor one that it holds marks a field. */
export function secretFieldsOf(message: DescMessage): SecretFields | undefined {
  return hasSecrets(message, new Set()) ? fieldsOf(message, new Map()) : undefined
}

export const isSecretField = ({ proto }: DescField): boolean => proto.options?.debugRedact === true

function hasSecrets(message: DescMessage, seen: Set<string>): boolean {
  if (seen.has(message.typeName)) return false
  seen.add(message.typeName)
  return message.fields.some(
    (field) => isSecretField(field) || (isOwn(field.message) && hasSecrets(field.message, seen)),
  )
}

function fieldsOf(message: DescMessage, known: Map<string, SecretFields>): SecretFields {
  const before = known.get(message.typeName)
  if (before !== undefined) return before
  const fields = new Map<string, SecretField>()
  const own: SecretFields = { field: (key) => fields.get(key) }
  // Entered before its fields: messages nest themselves.
  known.set(message.typeName, own)
  for (const field of message.fields) {
    const one = { isSecret: isSecretField(field), inner: innerOf(field, known) }
    fields.set(field.name, one)
    fields.set(field.jsonName, one)
  }
  return own
}

function innerOf(field: DescField, known: Map<string, SecretFields>): SecretFields | undefined {
  if (!isOwn(field.message)) return undefined
  const inner = fieldsOf(field.message, known)
  if (field.fieldKind !== 'map') return inner
  const each = { isSecret: false, inner }
  return { field: () => each }
}

/** Has it keys of its own in JSON? */
const isOwn = (message: DescMessage | undefined): message is DescMessage =>
  message !== undefined && wellKnownForm(message.typeName) === undefined
