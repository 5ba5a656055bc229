// Fields of objects that came from elsewhere, with something harmless where they are missing or of another type.
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'

export const textIn = (value: JsonObject, name: string): string => (typeof value[name] === 'string' ? value[name] : '')
export const numberIn = (value: JsonObject, name: string): number => (typeof value[name] === 'number' ? value[name] : 0)
export const listIn = (value: JsonObject, name: string): readonly JsonValue[] =>
  Array.isArray(value[name]) ? value[name] : []
export const objectIn = (value: JsonObject, name: string): JsonObject => {
  const inner = value[name]
  return isJsonObject(inner) ? inner : {}
}
