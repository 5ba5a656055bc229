// Descriptor sets for tests, built from a JSON form instead of by a compiler.
import { fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'

export interface FieldSpec {
  readonly name: string
  readonly number: number
  /** `TYPE_STRING`, or the full name of a message with its leading dot. */
  readonly type: string
  readonly label?: 'LABEL_OPTIONAL' | 'LABEL_REPEATED' | 'LABEL_REQUIRED'
  readonly oneofIndex?: number
  readonly isEnum?: true
  /** `debug_redact`. */
  readonly isSecret?: true | undefined
}

export interface MessageSpec {
  readonly name: string
  readonly fields: readonly FieldSpec[]
  readonly oneofs?: readonly string[]
  readonly enums?: JsonValue
  readonly nested?: JsonValue
}

/** One file `acme.proto` of the package `acme.v1`, between other files. */
export function setOf(
  messages: readonly MessageSpec[],
  { syntax = 'proto3', files = [] as JsonValue[], later = [] as JsonValue[], dependency = [] as string[] } = {},
): Uint8Array {
  const messageType = messages.map(({ name, fields, oneofs = [], enums = [], nested = [] }) => ({
    name,
    field: fields.map((field) => ({
      name: field.name,
      number: field.number,
      // As compilers write it.
      jsonName: field.name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      label: field.label ?? 'LABEL_OPTIONAL',
      ...(field.type.startsWith('.')
        ? { type: field.isEnum ? 'TYPE_ENUM' : 'TYPE_MESSAGE', typeName: field.type }
        : { type: field.type }),
      ...(field.oneofIndex !== undefined && { oneofIndex: field.oneofIndex }),
      ...(field.isSecret && { options: { debugRedact: true } }),
    })),
    oneofDecl: oneofs.map((oneof) => ({ name: oneof })),
    enumType: enums,
    nestedType: nested,
  }))
  const own = { name: 'acme.proto', package: 'acme.v1', syntax, messageType, dependency }
  return toBinary(
    FileDescriptorSetSchema,
    fromJson(FileDescriptorSetSchema, { file: [...files, own, ...later] } as JsonValue),
  )
}

export const userCreated: MessageSpec = {
  name: 'UserCreated',
  fields: [
    { name: 'user_id', number: 1, type: 'TYPE_STRING' },
    { name: 'age', number: 2, type: 'TYPE_INT32' },
    { name: 'tags', number: 3, type: 'TYPE_STRING', label: 'LABEL_REPEATED' },
    { name: 'kind', number: 4, type: '.acme.v1.UserCreated.Kind', isEnum: true },
    { name: 'address', number: 5, type: '.acme.v1.UserCreated.Address' },
    { name: 'mail', number: 6, type: 'TYPE_STRING', oneofIndex: 0 },
    { name: 'phone', number: 7, type: 'TYPE_STRING', oneofIndex: 0 },
    { name: 'counts', number: 8, type: '.acme.v1.UserCreated.CountsEntry', label: 'LABEL_REPEATED' },
    { name: 'balance', number: 9, type: 'TYPE_INT64' },
    { name: 'photo', number: 10, type: 'TYPE_BYTES' },
    { name: 'is_new', number: 11, type: 'TYPE_BOOL' },
    { name: 'score', number: 12, type: 'TYPE_DOUBLE' },
    { name: 'friends', number: 13, type: '.acme.v1.UserCreated', label: 'LABEL_REPEATED' },
    { name: 'flags', number: 14, type: 'TYPE_UINT32', label: 'LABEL_REPEATED' },
    { name: 'offset', number: 15, type: 'TYPE_SINT64' },
    { name: 'mark', number: 16, type: 'TYPE_FIXED32' },
  ],
  oneofs: ['contact'],
  enums: [
    {
      name: 'Kind',
      value: [
        { name: 'NONE', number: 0 },
        { name: 'ADMIN', number: 1 },
        { name: 'BELOW', number: -3 },
      ],
    },
  ],
  nested: [
    {
      name: 'Address',
      field: [{ name: 'city', jsonName: 'city', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' }],
    },
    {
      name: 'CountsEntry',
      options: { mapEntry: true },
      field: [
        { name: 'key', jsonName: 'key', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
        { name: 'value', jsonName: 'value', number: 2, type: 'TYPE_INT64', label: 'LABEL_OPTIONAL' },
      ],
    },
  ],
}

/** As `userCreated`, with secrets in it: alone, in a message inside, in lists and in maps. */
export const userWithSecrets: MessageSpec = {
  ...userCreated,
  fields: [
    ...userCreated.fields,
    { name: 'tax_number', number: 20, type: 'TYPE_STRING', isSecret: true },
    { name: 'answers', number: 21, type: 'TYPE_STRING', label: 'LABEL_REPEATED', isSecret: true },
    { name: 'card', number: 22, type: '.acme.v1.UserCreated.Address', isSecret: true },
    { name: 'by_name', number: 23, type: '.acme.v1.UserCreated.ByNameEntry', label: 'LABEL_REPEATED' },
  ],
  nested: [
    ...(userCreated.nested as object[]),
    {
      name: 'ByNameEntry',
      options: { mapEntry: true },
      field: [
        { name: 'key', jsonName: 'key', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
        {
          name: 'value',
          jsonName: 'value',
          number: 2,
          type: 'TYPE_MESSAGE',
          typeName: '.acme.v1.UserCreated',
          label: 'LABEL_OPTIONAL',
        },
      ],
    },
  ] as JsonValue,
}
