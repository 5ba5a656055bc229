// Facts against the shape their check declares. What does not fit is no answer, whatever a judge would make of it.
import { isJsonObject, type JsonObject } from '../base/json.ts'
import type { Shape } from './check.ts'

const forms: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  boolean: (value) => typeof value === 'boolean',
  strings: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string'),
  objects: (value) => Array.isArray(value) && value.every(isJsonObject),
  object: isJsonObject,
}

/** Why these are not the facts of that shape; undefined when they are. */
export function misfit(facts: unknown, shape: Shape): string | undefined {
  if (!isJsonObject(facts)) return 'not an object'
  for (const [name, form] of Object.entries(shape)) {
    const isOptional = form.endsWith('?')
    const value = (facts as JsonObject)[name]
    if (value === undefined && isOptional) continue
    if (!forms[isOptional ? form.slice(0, -1) : form]!(value)) return `${name} is no ${form}`
  }
  const unknown = Object.keys(facts).filter((name) => !Object.hasOwn(shape, name))
  return unknown.length === 0 ? undefined : `unknown: ${unknown.join(', ')}`
}
