// Which JSON values stand for a scalar of protobuf: numbers as numbers or, exactly, as decimal text (64-bit ones lose
// digits otherwise), bytes as base64.
import { ScalarType } from '@bufbuild/protobuf'
import type { JsonValue } from '../base/json.ts'

const decimal = /^-?(?:0|[1-9]\d{0,19})$/
const base64 = /^(?:[A-Za-z0-9+/]*={0,2}|[A-Za-z0-9_-]*={0,2})$/
const maxFloat = 3.402_823_466_385_288_6e38

const ranges: ReadonlyMap<ScalarType, readonly [bigint, bigint]> = new Map([
  ...[ScalarType.INT32, ScalarType.SINT32, ScalarType.SFIXED32].map((type) => [type, signed(32n)] as const),
  ...[ScalarType.UINT32, ScalarType.FIXED32].map((type) => [type, unsigned(32n)] as const),
  ...[ScalarType.INT64, ScalarType.SINT64, ScalarType.SFIXED64].map((type) => [type, signed(64n)] as const),
  ...[ScalarType.UINT64, ScalarType.FIXED64].map((type) => [type, unsigned(64n)] as const),
])

function signed(bits: bigint): readonly [bigint, bigint] {
  return [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n]
}

function unsigned(bits: bigint): readonly [bigint, bigint] {
  return [0n, (1n << bits) - 1n]
}

export function isScalar(type: ScalarType, value: JsonValue): boolean {
  const range = ranges.get(type)
  if (range !== undefined) return isInteger(value, range)
  if (type === ScalarType.BOOL) return typeof value === 'boolean'
  if (type === ScalarType.DOUBLE) return isFloat(value, Number.MAX_VALUE)
  if (type === ScalarType.FLOAT) return isFloat(value, maxFloat)
  return typeof value === 'string' && (type !== ScalarType.BYTES || isBase64(value))
}

function isInteger(value: JsonValue, [min, max]: readonly [bigint, bigint]): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= min && value <= max
  if (typeof value !== 'string' || !decimal.test(value) || value === '-0') return false
  const number = BigInt(value)
  return number >= min && number <= max
}

function isFloat(value: JsonValue, max: number): boolean {
  if (typeof value === 'number') return Math.abs(value) <= max
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity'
}

/** Either alphabet; padding whole or absent. */
function isBase64(text: string): boolean {
  if (!base64.test(text)) return false
  return text.includes('=') ? text.length % 4 === 0 : text.length % 4 !== 1
}
