// google.protobuf.Struct <-> JSON values, with limits. Portable.
import { invalid } from '../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { isForbiddenKey, type WireLimits } from './limits.ts'
import { duplicateField, malformed, type Reader, unexpectedTag } from './reader.ts'
import type { Writer } from './writer.ts'

/** Tags of Struct.fields, its map entries, Value's kinds and ListValue.values. */
export const tags = {
  structField: 0x0a,
  entryKey: 0x0a,
  entryValue: 0x12,
  nullValue: 0x08,
  number: 0x11,
  text: 0x1a,
  boolean: 0x20,
  struct: 0x2a,
  list: 0x32,
  listItem: 0x0a,
} as const

/** The single key under which a payload that is not an object travels in a Struct. */
export const scalarKey = '$value'

/** What is left of a frame's allowance while it is read. */
export class Allowance {
  readonly limits: WireLimits
  keys = 0

  constructor(limits: WireLimits) {
    this.limits = limits
  }

  enter(depth: number): void {
    if (depth > this.limits.maxDepth) {
      throw invalid('TOO_DEEP', `nested deeper than ${this.limits.maxDepth} levels`, { max: this.limits.maxDepth })
    }
  }

  key(): void {
    if (++this.keys > this.limits.maxKeys) {
      throw invalid('TOO_MANY_KEYS', `more than ${this.limits.maxKeys} keys`, { max: this.limits.maxKeys })
    }
  }

  items(count: number): void {
    if (count > this.limits.maxArrayItems) {
      throw invalid('TOO_MANY_ITEMS', `an array has more than ${this.limits.maxArrayItems} items`, {
        max: this.limits.maxArrayItems,
      })
    }
  }
}

export function forbiddenKey(): never {
  throw invalid('FORBIDDEN_KEY', 'keys named __proto__, constructor or prototype are refused')
}

/** The Struct from the reader's offset to `end`. */
export function readStruct(reader: Reader, end: number, depth: number, allowance: Allowance): JsonObject {
  allowance.enter(depth)
  const object: JsonObject = {}
  while (reader.offset < end) {
    const field = reader.varint(end)
    if (field !== tags.structField) unexpectedTag(field, 1)
    const entryEnd = reader.lengthEnd(end)
    allowance.key()
    let key: string | undefined
    let value: JsonValue | undefined
    while (reader.offset < entryEnd) {
      const tag = reader.varint(entryEnd)
      if (tag === tags.entryKey) {
        if (key !== undefined) duplicateField(1)
        key = reader.text(reader.lengthEnd(entryEnd))
        if (isForbiddenKey(key)) forbiddenKey()
      } else if (tag === tags.entryValue) {
        if (value !== undefined) duplicateField(2)
        value = readValue(reader, reader.lengthEnd(entryEnd), depth, allowance)
      } else unexpectedTag(tag, 2)
    }
    if (value === undefined) throw malformed('PB_VALUE', 'a map entry has no value')
    object[key ?? ''] = value
  }
  return object
}

function readValue(reader: Reader, end: number, depth: number, allowance: Allowance): JsonValue {
  if (reader.offset >= end) throw malformed('PB_VALUE', 'a Value has no kind')
  let value: JsonValue
  const tag = reader.varint(end)
  switch (tag) {
    case tags.nullValue:
      if (reader.varint(end) !== 0) throw malformed('PB_VALUE', 'null_value is not 0')
      value = null
      break
    case tags.number:
      value = readDouble(reader, end)
      break
    case tags.text:
      value = reader.text(reader.lengthEnd(end))
      break
    case tags.boolean:
      value = reader.varint(end) !== 0
      break
    case tags.struct:
      value = readStruct(reader, reader.lengthEnd(end), depth + 1, allowance)
      break
    case tags.list:
      value = readList(reader, reader.lengthEnd(end), depth + 1, allowance)
      break
    default:
      unexpectedTag(tag, 6)
  }
  if (reader.offset !== end) throw malformed('PB_VALUE', 'a Value has two kinds')
  return value
}

function readList(reader: Reader, end: number, depth: number, allowance: Allowance): JsonValue[] {
  allowance.enter(depth)
  const list: JsonValue[] = []
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== tags.listItem) unexpectedTag(tag, 1)
    list.push(readValue(reader, reader.lengthEnd(end), depth, allowance))
    allowance.items(list.length)
  }
  return list
}

function readDouble(reader: Reader, end: number): number {
  if (reader.offset + 8 > end) throw malformed('PB_TRUNCATED', 'the frame ends in the middle of a number')
  const { bytes } = reader
  const value = new DataView(bytes.buffer, bytes.byteOffset + reader.offset, 8).getFloat64(0, true)
  reader.offset += 8
  if (!Number.isFinite(value)) throw malformed('PB_NUMBER', 'NaN and Infinity are not JSON numbers')
  return value
}

/** The object a payload travels as: itself, or wrapped when it is no object or could be taken for a wrapping. */
export function wrapPayload(payload: JsonValue): JsonObject {
  return isJsonObject(payload) && !isWrapping(payload) ? payload : { [scalarKey]: payload }
}

export function unwrapPayload(payload: JsonObject): JsonValue {
  return isWrapping(payload) ? payload[scalarKey]! : payload
}

function isWrapping(object: JsonObject): boolean {
  return object[scalarKey] !== undefined && Object.keys(object).length === 1
}

/** Writes backwards: the last field first, so that lengths are known when they are written. */
export function writeStruct(writer: Writer, object: JsonObject): void {
  const keys = Object.keys(object)
  for (let i = keys.length - 1; i >= 0; i--) {
    const key = keys[i]!
    const value = object[key]
    if (value === undefined) continue // left out, as JSON does
    const entryEnd = writer.written
    writeValue(writer, value)
    writer.length(entryEnd)
    writer.byte(tags.entryValue)
    writer.text(key)
    writer.byte(tags.entryKey)
    writer.length(entryEnd)
    writer.byte(tags.structField)
  }
}

function writeValue(writer: Writer, value: JsonValue): void {
  if (typeof value === 'string') {
    writer.text(value)
    writer.byte(tags.text)
  } else if (typeof value === 'number') {
    writer.double(value)
    writer.byte(tags.number)
  } else if (typeof value === 'boolean') {
    writer.byte(value ? 1 : 0)
    writer.byte(tags.boolean)
  } else if (value === null || value === undefined) {
    writer.byte(0)
    writer.byte(tags.nullValue)
  } else if (Array.isArray(value)) {
    const end = writer.written
    for (let i = value.length - 1; i >= 0; i--) {
      const itemEnd = writer.written
      writeValue(writer, value[i]!)
      writer.length(itemEnd)
      writer.byte(tags.listItem)
    }
    writer.length(end)
    writer.byte(tags.list)
  } else {
    const end = writer.written
    writeStruct(writer, value)
    writer.length(end)
    writer.byte(tags.struct)
  }
}
