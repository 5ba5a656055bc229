// The JSON forms of protobuf's well-known types, which are not those of their fields.
import { ScalarType } from '@bufbuild/protobuf'
import { isJsonObject, type JsonValue } from '../base/json.ts'
import { isScalar } from './json-scalars.ts'

const timestamp =
  /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(?:\d{3}|\d{6}|\d{9}))?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/
const duration = /^-?(\d{1,12})(?:\.\d{1,9})?s$/
const maxDurationS = 315_576_000_000
const fieldMask =
  /^(?:[a-zA-Z][a-zA-Z0-9]*(?:\.[a-zA-Z][a-zA-Z0-9]*)*(?:,[a-zA-Z][a-zA-Z0-9]*(?:\.[a-zA-Z][a-zA-Z0-9]*)*)*)?$/

const scalarForms: readonly (readonly [string, ScalarType])[] = [
  ['DoubleValue', ScalarType.DOUBLE],
  ['FloatValue', ScalarType.FLOAT],
  ['Int64Value', ScalarType.INT64],
  ['UInt64Value', ScalarType.UINT64],
  ['Int32Value', ScalarType.INT32],
  ['UInt32Value', ScalarType.UINT32],
  ['BoolValue', ScalarType.BOOL],
  ['StringValue', ScalarType.STRING],
  ['BytesValue', ScalarType.BYTES],
]

const forms: ReadonlyMap<string, (value: JsonValue) => boolean> = new Map<string, (value: JsonValue) => boolean>([
  ...scalarForms.map(
    ([name, type]) => [`google.protobuf.${name}`, (value: JsonValue) => isScalar(type, value)] as const,
  ),
  ['google.protobuf.Struct', isJsonObject],
  ['google.protobuf.Value', () => true],
  ['google.protobuf.ListValue', Array.isArray],
  ['google.protobuf.Timestamp', isTimestamp],
  ['google.protobuf.Duration', isDuration],
  ['google.protobuf.FieldMask', (value) => typeof value === 'string' && fieldMask.test(value)],
])

/** How the named message is written in JSON; undefined where that is an object of its fields. */
export function wellKnownForm(typeName: string): ((value: JsonValue) => boolean) | undefined {
  return forms.get(typeName)
}

/** RFC 3339, years 1 to 9999, of a day there is. */
function isTimestamp(value: JsonValue): boolean {
  const [, year, month, day, hour, minute, second] = (typeof value === 'string' && timestamp.exec(value)) || []
  if (year === undefined) return false
  const date = new Date(0)
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  if (Number(year) === 0 || date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) return false
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return false
  const ms = Date.parse(value as string)
  return ms >= Date.parse('0001-01-01T00:00:00Z') && ms <= Date.parse('9999-12-31T23:59:59.999Z')
}

function isDuration(value: JsonValue): boolean {
  const [, seconds] = (typeof value === 'string' && duration.exec(value)) || []
  return seconds !== undefined && Number(seconds) <= maxDurationS
}
