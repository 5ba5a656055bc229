// Validating a Struct without building it: the hot path keeps payloads as bytes but lets nothing malformed through.
import { isUtf8 } from 'node:buffer'
import { duplicateField, malformed, type Reader, unexpectedTag } from './reader.ts'
import { type Allowance, forbiddenKey, tags } from './struct.ts'
import { isForbiddenKey } from './limits.ts'

/** Text shorter than this is checked byte by byte; longer text by the platform. */
const shortText = 256

export function checkStruct(reader: Reader, end: number, depth: number, allowance: Allowance): void {
  allowance.enter(depth)
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag !== tags.structField) unexpectedTag(tag, 1)
    checkEntry(reader, reader.lengthEnd(end), depth, allowance)
  }
}

function checkEntry(reader: Reader, end: number, depth: number, allowance: Allowance): void {
  allowance.key()
  let hasKey = false
  let hasValue = false
  while (reader.offset < end) {
    const tag = reader.varint(end)
    if (tag === tags.entryKey) {
      if (hasKey) duplicateField(1)
      hasKey = true
      const fieldEnd = reader.lengthEnd(end)
      const length = fieldEnd - reader.offset
      // Only these lengths can be __proto__, prototype or constructor.
      if (length === 9 || length === 11) {
        if (isForbiddenKey(reader.text(fieldEnd))) forbiddenKey()
      } else checkText(reader, fieldEnd)
    } else if (tag === tags.entryValue) {
      if (hasValue) duplicateField(2)
      hasValue = true
      checkValue(reader, reader.lengthEnd(end), depth, allowance)
    } else unexpectedTag(tag, 2)
  }
  if (!hasValue) throw malformed('PB_VALUE', 'a map entry has no value')
}

function checkValue(reader: Reader, end: number, depth: number, allowance: Allowance): void {
  if (reader.offset >= end) throw malformed('PB_VALUE', 'a Value has no kind')
  const tag = reader.varint(end)
  switch (tag) {
    case tags.text:
      checkText(reader, reader.lengthEnd(end))
      break
    case tags.number:
      checkDouble(reader, end)
      break
    case tags.boolean:
      reader.varint(end)
      break
    case tags.nullValue:
      if (reader.varint(end) !== 0) throw malformed('PB_VALUE', 'null_value is not 0')
      break
    case tags.struct:
      checkStruct(reader, reader.lengthEnd(end), depth + 1, allowance)
      break
    case tags.list:
      checkList(reader, reader.lengthEnd(end), depth + 1, allowance)
      break
    default:
      unexpectedTag(tag, 6)
  }
  if (reader.offset !== end) throw malformed('PB_VALUE', 'a Value has two kinds')
}

function checkList(reader: Reader, end: number, depth: number, allowance: Allowance): void {
  allowance.enter(depth)
  for (let count = 1; reader.offset < end; count++) {
    const tag = reader.varint(end)
    if (tag !== tags.listItem) unexpectedTag(tag, 1)
    checkValue(reader, reader.lengthEnd(end), depth, allowance)
    allowance.items(count)
  }
}

/** NaN and Infinity have all eleven exponent bits set (IEEE 754). */
function checkDouble(reader: Reader, end: number): void {
  const { bytes, offset } = reader
  if (offset + 8 > end) throw malformed('PB_TRUNCATED', 'the frame ends in the middle of a number')
  if ((bytes[offset + 7]! & 0x7f) === 0x7f && (bytes[offset + 6]! & 0xf0) === 0xf0) {
    throw malformed('PB_NUMBER', 'NaN and Infinity are not JSON numbers')
  }
  reader.offset = offset + 8
}

function checkText(reader: Reader, end: number): void {
  const { bytes } = reader
  let at = reader.offset
  if (end - at < shortText) while (at < end && bytes[at]! < 0x80) at++
  if (at < end && !isUtf8(bytes.subarray(at, end))) throw malformed('PB_UTF8', 'a text value is not UTF-8')
  reader.offset = end
}
