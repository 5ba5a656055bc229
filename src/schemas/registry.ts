// Which schema a message has to fit: a map of rules over descriptor sets, read as a whole and replaced as a whole. The
// first rule that matches decides.
import { createHash } from 'node:crypto'
import { BusError } from '../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { matches, parsePattern } from '../base/subject-pattern.ts'
import { type DescriptorSet, readDescriptorSet } from './descriptor-set.ts'
import { compileShape, type Shape } from './json-shape.ts'
import { type SecretFields, secretFieldsOf } from './secret-fields.ts'

/** What a source holds: the map, and each schema's FileDescriptorSet by id (not compressed any more). */
export interface SchemaFiles {
  /** Absent where nothing was pushed yet. */
  readonly map: Uint8Array | undefined
  readonly sets: ReadonlyMap<string, Uint8Array>
}

export interface SchemaEntry {
  /** Full name of the message in its set. */
  readonly message: string
  readonly version: number
}

export interface SchemaRule {
  /** A pattern of the subject a message goes to, or of the one its frame travels on (docs/schemas.md). */
  readonly subject?: string
  /** The text that `event_type` of the payload has to be. */
  readonly event_type?: string
  /** The command whose `args` are judged; a rule without it judges the payloads of all but commands. */
  readonly command?: string
  readonly schema: string
  /** Fields that must be there beside those the descriptor requires. */
  readonly required?: readonly string[]
}

export interface SchemaMap {
  /** What becomes of messages that no rule matches. */
  readonly unmatched: 'allow' | 'refuse'
  readonly schemas: Readonly<Record<string, SchemaEntry>>
  readonly rules: readonly SchemaRule[]
}

export const emptyMap: SchemaMap = { unmatched: 'allow', schemas: {}, rules: [] }

export const mapLimits = { bytes: 256 * 1024, schemas: 256, rules: 1_000, setBytesInAll: 32 * 1024 * 1024 } as const

/** What of a message decides which rule matches. */
export interface MessageFacts {
  /** The tokens of the subject it goes to, where it goes to a room; and of the one it travels on. */
  readonly subjects: readonly (readonly string[])[]
  /** Given for commands. */
  readonly command: string | undefined
  readonly eventType: string | undefined
}

export interface PayloadSchema {
  readonly id: string
  readonly message: string
  readonly version: number
  readonly shape: Shape
  /** Absent where it marks none. */
  readonly secrets: SecretFields | undefined
}

export interface SchemaRegistry {
  /** Names what was loaded: equal contents, equal digest. */
  readonly digest: string
  readonly map: SchemaMap
  /** `refuse` where no rule matches and the map says so; undefined where nothing is asked of the message. */
  find(facts: MessageFacts): PayloadSchema | 'refuse' | undefined
}

const idForm = /^[A-Za-z0-9-][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*$/

/** Ids are keys of a bucket and names of files; those that begin with `_` are our own. */
export function isSchemaId(id: string): boolean {
  return id.length <= 128 && idForm.test(id)
}

/** Throws START_REFUSED: SCHEMA_MAP_INVALID, SCHEMA_MISSING, or as reading a set and compiling a shape do. */
export function loadRegistry({ map: mapBytes, sets }: SchemaFiles): SchemaRegistry {
  if (mapBytes === undefined) throw invalidMap('is missing: no schema was pushed yet')
  const map = parseMap(mapBytes)
  const opened = openSets(map, sets)
  const rules = map.rules.map((rule) => compileRule(rule, map, opened))
  const hash = createHash('sha256').update(mapBytes)
  for (const id of Object.keys(map.schemas).sort()) hash.update(id).update('\0').update(sets.get(id)!)
  return {
    digest: hash.digest('hex').slice(0, 16),
    map,
    find(facts) {
      for (const rule of rules) if (rule.covers(facts)) return rule.schema
      return map.unmatched === 'refuse' && facts.command === undefined ? 'refuse' : undefined
    },
  }
}

function openSets(map: SchemaMap, sets: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, DescriptorSet> {
  const opened = new Map<string, DescriptorSet>()
  let bytes = 0
  for (const [id, { message }] of Object.entries(map.schemas)) {
    const set = sets.get(id)
    if (set === undefined) throw refused('SCHEMA_MISSING', `The map names the schema ${id}, which is not there`)
    bytes += set.length
    if (bytes > mapLimits.setBytesInAll) {
      throw refused('SCHEMA_HOSTILE', `The schemas are larger than ${mapLimits.setBytesInAll} bytes in all`)
    }
    const descriptors = describing(id, () => readDescriptorSet(set))
    if (descriptors.message(message) === undefined) {
      throw refused('SCHEMA_MISSING', `The set of the schema ${id} has no message ${message}`)
    }
    opened.set(id, descriptors)
    // Also where no rule asks for it yet: what cannot be used must not be pushed.
    describing(id, () => compileShape(descriptors.message(message)!))
  }
  return opened
}

/** Says which schema of the map it is about. */
function describing<T>(id: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof BusError)) throw error
    throw new BusError(error.code, `${error.message} (schema ${id})`, { ...error.details, schema: id }, error.cause)
  }
}

interface CompiledRule {
  covers(facts: MessageFacts): boolean
  readonly schema: PayloadSchema
}

function compileRule(rule: SchemaRule, { schemas }: SchemaMap, sets: ReadonlyMap<string, DescriptorSet>): CompiledRule {
  const { schema: id, command, event_type: eventType, required } = rule
  const pattern = rule.subject === undefined ? undefined : parsePattern(rule.subject)
  const { message, version } = schemas[id]!
  const descriptor = sets.get(id)!.message(message)!
  const shape = describing(id, () => compileShape(descriptor, required))
  return {
    schema: { id, message, version, shape, secrets: secretFieldsOf(descriptor) },
    covers: (facts) =>
      facts.command === command &&
      (eventType === undefined || facts.eventType === eventType) &&
      (pattern === undefined || facts.subjects.some((subject) => matches(pattern, subject))),
  }
}

/** Reads the map's JSON strictly. Throws START_REFUSED / SCHEMA_MAP_INVALID, naming the place. */
export function parseMap(bytes: Uint8Array): SchemaMap {
  if (bytes.length > mapLimits.bytes) throw invalidMap(`is larger than ${mapLimits.bytes} bytes`)
  let value: JsonValue
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as JsonValue
  } catch (cause) {
    throw invalidMap('is not JSON', cause)
  }
  const object = objectAt(value, 'it', ['unmatched', 'schemas', 'rules'])
  const unmatched = object['unmatched'] ?? 'allow'
  if (unmatched !== 'allow' && unmatched !== 'refuse') throw invalidMap('unmatched is neither "allow" nor "refuse"')
  const schemas: Record<string, SchemaEntry> = Object.create(null) as Record<string, SchemaEntry>
  const entries = Object.entries(objectAt(object['schemas'] ?? {}, 'schemas'))
  if (entries.length > mapLimits.schemas) throw invalidMap(`has more than ${mapLimits.schemas} schemas`)
  for (const [id, entry] of entries) schemas[id] = parseEntry(id, entry)
  const rules = object['rules'] ?? []
  if (!Array.isArray(rules)) throw invalidMap('rules is not a list')
  if (rules.length > mapLimits.rules) throw invalidMap(`has more than ${mapLimits.rules} rules`)
  return { unmatched, schemas, rules: rules.map((rule, i) => parseRule(rule, `rules[${i}]`, schemas)) }
}

function parseEntry(id: string, value: JsonValue): SchemaEntry {
  if (!isSchemaId(id)) throw invalidMap('has a schema id that is not words of A-Z a-z 0-9 - _ joined by dots')
  const entry = objectAt(value, `schemas.${id}`, ['message', 'version'])
  const version = entry['version'] ?? 1
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1) {
    throw invalidMap(`schemas.${id}.version is not a whole number from 1`)
  }
  return { message: textAt(entry, 'message', `schemas.${id}`), version }
}

function parseRule(value: JsonValue, place: string, schemas: Readonly<Record<string, SchemaEntry>>): SchemaRule {
  const rule = objectAt(value, place, ['subject', 'event_type', 'command', 'schema', 'required'])
  const schema = textAt(rule, 'schema', place)
  if (schemas[schema] === undefined) throw invalidMap(`${place}.schema is not one of the map's schemas`)
  const subject = optionalTextAt(rule, 'subject', place)
  if (subject !== undefined) {
    try {
      parsePattern(subject)
    } catch (cause) {
      throw invalidMap(`${place}.subject is not a subject pattern`, cause)
    }
  }
  const eventType = optionalTextAt(rule, 'event_type', place)
  const command = optionalTextAt(rule, 'command', place)
  if (subject === undefined && eventType === undefined && command === undefined) {
    throw invalidMap(`${place} has neither subject, event_type nor command`)
  }
  if (command !== undefined && eventType !== undefined) throw invalidMap(`${place} has a command and an event_type`)
  const required = rule['required'] ?? []
  if (!Array.isArray(required) || !required.every((name) => typeof name === 'string')) {
    throw invalidMap(`${place}.required is not a list of names`)
  }
  return {
    ...(subject !== undefined && { subject }),
    ...(eventType !== undefined && { event_type: eventType }),
    ...(command !== undefined && { command }),
    schema,
    ...(required.length > 0 && { required: required as readonly string[] }),
  }
}

function objectAt(value: JsonValue, place: string, keys?: readonly string[]): JsonObject {
  if (!isJsonObject(value)) throw invalidMap(`${place} is not an object`)
  const unknown = keys === undefined ? undefined : Object.keys(value).find((key) => !keys.includes(key))
  if (unknown !== undefined) throw invalidMap(`${place} has a key that is none of ${keys!.join(', ')}`)
  return value
}

function textAt(object: JsonObject, name: string, place: string): string {
  return optionalTextAt(object, name, place) ?? missing(`${place}.${name}`)
}

function missing(place: string): never {
  throw invalidMap(`${place} is missing`)
}

function optionalTextAt(object: JsonObject, name: string, place: string): string | undefined {
  const value = object[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '') throw invalidMap(`${place}.${name} is not a text`)
  return value
}

function invalidMap(what: string, cause?: unknown): BusError {
  return refused('SCHEMA_MAP_INVALID', `The map of schemas: ${what}`, cause)
}

function refused(reason: string, text: string, cause?: unknown): BusError {
  return new BusError('START_REFUSED', text, { reason }, cause)
}
