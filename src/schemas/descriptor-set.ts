// From the bytes of a FileDescriptorSet to its messages. The set comes from the operator, never from a client, and is
// still read as something hostile: its size, shape and names are bounded before a library links its parts together.
import { createFileRegistry, type DescMessage, fromBinary } from '@bufbuild/protobuf'
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FileDescriptorProto,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt'
import { BusError } from '../base/errors.ts'
import { describeError } from '../base/logger.ts'

/** What a set may be at most. */
export const setLimits = {
  bytes: 4 * 1024 * 1024,
  files: 256,
  messages: 5_000,
  fields: 50_000,
  enumValues: 50_000,
  nesting: 16,
  nameLength: 256,
} as const

export interface DescriptorSet {
  /** The message of that full name. */
  message(name: string): DescMessage | undefined
  /** Full names of the messages of the set's own files, in their order; nested ones are left out. */
  readonly messages: readonly string[]
}

/** Throws START_REFUSED / SCHEMA_UNREADABLE or SCHEMA_HOSTILE, saying which bound or rule is broken. */
export function readDescriptorSet(bytes: Uint8Array): DescriptorSet {
  if (bytes.length > setLimits.bytes) throw hostile(`is larger than ${setLimits.bytes} bytes`)
  let set: FileDescriptorSet
  try {
    set = fromBinary(FileDescriptorSetSchema, bytes)
  } catch (cause) {
    throw unreadable(cause)
  }
  new Inspection().run(set)
  try {
    const registry = createFileRegistry(set)
    return {
      message: (name) => registry.getMessage(name),
      messages: set.file.flatMap((file) => file.messageType.map(({ name }) => fullName(file.package, name))),
    }
  } catch (cause) {
    throw unreadable(cause)
  }
}

function unreadable(cause: unknown): BusError {
  return new BusError(
    'START_REFUSED',
    `The schema is not a FileDescriptorSet: ${String(describeError(cause)['message'])}`,
    { reason: 'SCHEMA_UNREADABLE' },
    cause,
  )
}

function hostile(what: string): BusError {
  return new BusError('START_REFUSED', `The descriptor set ${what}`, { reason: 'SCHEMA_HOSTILE' })
}

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/
const forbiddenNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const maxFieldNumber = 0x1fff_ffff

const fullName = (scope: string, name: string): string => (scope === '' ? name : `${scope}.${name}`)

class Inspection {
  readonly #names = new Set<string>()
  #messages = 0
  #fields = 0
  #enumValues = 0

  run({ file: files }: FileDescriptorSet): void {
    if (files.length > setLimits.files) throw hostile(`has more than ${setLimits.files} files`)
    this.#imports(files)
    for (const file of files) {
      for (const part of file.package === '' ? [] : file.package.split('.')) this.#name(part)
      for (const message of file.messageType) {
        // Protobuf makes these up for a map field, inside the message that has it; elsewhere they are no messages.
        if (message.options?.mapEntry === true) throw hostile(`has a map entry outside a message: ${message.name}`)
        this.#message(message, file.package, 1)
      }
      for (const one of file.enumType) this.#enum(one, file.package)
    }
  }

  /** Every import is in the set, and none leads back to its own file. */
  #imports(files: readonly FileDescriptorProto[]): void {
    const waiting = new Map<string, Set<string>>()
    for (const { name, dependency } of files) {
      if (name === '' || name.length > setLimits.nameLength || waiting.has(name)) {
        throw hostile('has a file without a name of its own')
      }
      waiting.set(name, new Set(dependency))
    }
    for (const dependencies of waiting.values()) {
      for (const name of dependencies) if (!waiting.has(name)) throw hostile('imports a file that it does not hold')
    }
    while (waiting.size > 0) {
      const ready = [...waiting].filter(([, needs]) => needs.size === 0).map(([name]) => name)
      if (ready.length === 0) throw hostile('has files that import each other in a circle')
      for (const name of ready) waiting.delete(name)
      for (const needs of waiting.values()) for (const name of ready) needs.delete(name)
    }
  }

  #message(message: DescriptorProto, scope: string, depth: number): void {
    if (depth > setLimits.nesting) throw hostile(`nests messages deeper than ${setLimits.nesting}`)
    this.#messages = bounded(this.#messages + 1, setLimits.messages, 'messages')
    this.#fields = bounded(this.#fields + message.field.length, setLimits.fields, 'fields')
    const name = this.#define(scope, message.name)
    const numbers = new Set<number>()
    const names = new Set<string>()
    for (const field of message.field) {
      this.#name(field.name)
      if (field.number < 1 || field.number > maxFieldNumber) throw hostile(`has a field number out of range in ${name}`)
      // The JSON name of one field must not be the name of another: a key would mean either.
      const keys = new Set([field.name, field.jsonName === '' ? field.name : field.jsonName])
      for (const key of keys) if (forbiddenNames.has(key)) throw hostile(`has a forbidden field name in ${name}`)
      if (numbers.has(field.number) || [...keys].some((key) => names.has(key))) {
        throw hostile(`has two fields with one name or number in ${name}`)
      }
      numbers.add(field.number)
      for (const key of keys) names.add(key)
    }
    for (const { name: oneof } of message.oneofDecl) this.#name(oneof)
    for (const nested of message.nestedType) this.#message(nested, name, depth + 1)
    for (const one of message.enumType) this.#enum(one, name)
  }

  #enum({ name, value: values }: EnumDescriptorProto, scope: string): void {
    this.#enumValues = bounded(this.#enumValues + values.length, setLimits.enumValues, 'enum values')
    const full = this.#define(scope, name)
    if (values.length === 0) throw hostile(`has no value in ${full}`)
    for (const value of values) this.#name(value.name)
  }

  #define(scope: string, name: string): string {
    this.#name(name)
    const full = fullName(scope, name)
    if (this.#names.has(full)) throw hostile(`defines ${full} twice`)
    this.#names.add(full)
    return full
  }

  #name(name: string): void {
    if (name.length > setLimits.nameLength || !identifier.test(name) || forbiddenNames.has(name)) {
      throw hostile('has a name that is not an identifier')
    }
  }
}

function bounded(count: number, max: number, what: string): number {
  if (count > max) throw hostile(`has more than ${max} ${what}`)
  return count
}
