// Envelope <-> JSON text (original-contract 2.1 to 2.4). Strict: unknown keys, forbidden keys, integers that JavaScript
// cannot hold, and nesting that would break printing are refused. Portable.
import { systemClock } from '../base/clock.ts'
import { invalid } from '../base/errors.ts'
import { createMessageIds } from '../base/ids.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import { type Envelope, type EnvelopeType, optionalTextFields } from '../envelope/envelope.ts'
import { aboutMessage } from './about-message.ts'
import { parseTime, printTime } from './iso-time.ts'
import { isForbiddenKey, type WireLimits } from './limits.ts'
import { checkId, isKnownType } from './raw-envelope.ts'
import { Allowance, forbiddenKey, wrapPayload } from './struct.ts'

const keys: ReadonlySet<string> = new Set([
  'id',
  'timestamp',
  'type',
  'version',
  'payload',
  'args',
  'metadata',
  ...optionalTextFields,
])

/** What a frame gets when it leaves out id or timestamp. */
export interface JsonDefaults {
  readonly nextId: () => string
  readonly nowMs: number
}

/** Throws VALIDATION_ERROR; `details.message_id` is there when the id could be read. */
export function decodeJson(text: string, limits: WireLimits, defaults?: JsonDefaults): Envelope {
  const isUnsafeNumber = hasUnsafeNumber(text, limits.maxDepth + 1) // the envelope itself is a level
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const error = invalid('BAD_JSON', 'the text frame is not JSON')
    error.cause = cause
    throw error
  }
  if (!isJsonObject(value)) throw invalid('NOT_OBJECT', 'the text frame is not a JSON object')
  const id = value['id']
  return aboutMessage(typeof id === 'string' ? id : '', () => {
    if (isUnsafeNumber) throw invalid('UNSAFE_INTEGER', 'a number is beyond ±2^53; send it as text')
    return toEnvelope(value, limits, defaults)
  })
}

function toEnvelope(object: JsonObject, limits: WireLimits, defaults: JsonDefaults | undefined): Envelope {
  const allowance = new Allowance(limits)
  for (const key of Object.keys(object)) {
    if (isForbiddenKey(key)) forbiddenKey()
    if (!keys.has(key))
      throw invalid('UNKNOWN_KEY', `the key ${printable(key)} is not part of an envelope`, { field: printable(key) })
  }
  const type = object['type']
  if (type === undefined) throw invalid('MISSING_FIELD', 'type is missing', { field: 'type' })
  if (typeof type !== 'string' || !isKnownType(type))
    throw invalid('BAD_TYPE', 'type is not one of the protocol', { field: 'type' })
  const version = object['version']
  if (version !== undefined && version !== protocolVersion)
    throw invalid('BAD_VERSION', 'version must be "1.0"', { field: 'version' })
  const { payload = {}, metadata: givenMetadata } = object
  checkValue(wrapPayload(payload), 1, allowance) // as it travels, so that both formats have the same limits
  const envelope: Envelope = {
    id: idOf(object['id'], defaults),
    timestamp: timestampOf(object['timestamp'], defaults),
    type: type as EnvelopeType,
    version: protocolVersion,
    payload,
    args: objectOf('args', object['args'], allowance),
    metadata: objectOf('metadata', givenMetadata, allowance),
  }
  for (const field of optionalTextFields) {
    const text = object[field]
    if (text === undefined || text === null) continue
    if (typeof text !== 'string') throw invalid('BAD_FIELD', `${field} must be text`, { field })
    if (!text.isWellFormed()) throw invalid('BAD_FIELD', `${field} is not well-formed Unicode`, { field })
    envelope[field] = text
  }
  if (envelope.sender === undefined && envelope.from_client !== undefined) envelope.sender = envelope.from_client
  if (envelope.to_client !== undefined && givenMetadata === undefined)
    envelope.metadata['to_client'] = envelope.to_client
  if (type === 'command') adoptLegacyCommand(envelope, object)
  return envelope
}

/** The shape of the original's documents: command and parameters inside the payload (original-contract 2.3). */
function adoptLegacyCommand(envelope: Envelope, object: JsonObject): void {
  if (envelope.command !== undefined || !isJsonObject(envelope.payload)) return
  const { command, parameters } = envelope.payload
  if (typeof command !== 'string') return
  envelope.command = command
  if (object['args'] === undefined && isJsonObject(parameters)) envelope.args = parameters
}

function idOf(id: JsonValue | undefined, defaults: JsonDefaults | undefined): string {
  if (id === undefined) return (defaults?.nextId ?? createMessageIds(systemClock.now()))()
  if (typeof id !== 'string') throw invalid('BAD_ID', 'id must be text', { field: 'id' })
  checkId(id)
  return id
}

function timestampOf(text: JsonValue | undefined, defaults: JsonDefaults | undefined): string {
  if (text === undefined) return printTime(defaults?.nowMs ?? systemClock.now())
  const ms = typeof text === 'string' ? parseTime(text) : undefined
  if (ms === undefined) {
    throw invalid('BAD_TIMESTAMP', 'timestamp must be an ISO 8601 time such as 2026-01-31T12:00:00Z', {
      field: 'timestamp',
    })
  }
  return printTime(ms)
}

function objectOf(field: 'args' | 'metadata', value: JsonValue | undefined, allowance: Allowance): JsonObject {
  if (value === undefined || value === null) return {}
  if (!isJsonObject(value)) throw invalid('BAD_FIELD', `${field} must be an object`, { field })
  checkValue(value, 1, allowance)
  return value
}

/** Depth was bounded on the text already, so this recursion is too. */
function checkValue(value: JsonValue, depth: number, allowance: Allowance): void {
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw invalid('BAD_TEXT', 'a text value is not well-formed Unicode (a lone surrogate)')
    return
  }
  if (typeof value !== 'object' || value === null) return
  allowance.enter(depth)
  if (Array.isArray(value)) {
    allowance.items(value.length)
    for (const item of value) checkValue(item, depth + 1, allowance)
    return
  }
  for (const key of Object.keys(value)) {
    allowance.key()
    if (isForbiddenKey(key)) forbiddenKey()
    if (!key.isWellFormed()) throw invalid('BAD_TEXT', 'a key is not well-formed Unicode (a lone surrogate)')
    checkValue(value[key]!, depth + 1, allowance)
  }
}

/**
 * What JSON.parse would do in silence, found in one pass over the text outside of strings. Throws TOO_DEEP, because it
 * would take 30,000 levels, and printing breaks at 5,000. True when an integer beyond 2^53 would change, or a number
 * would overflow to Infinity.
 */
function hasUnsafeNumber(text: string, maxDepth: number): boolean {
  let isFound = false
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x22) i = stringEnd(text, i + 1)
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > maxDepth)
        throw invalid('TOO_DEEP', `nested deeper than ${maxDepth - 1} levels`, { max: maxDepth - 1 })
    } else if (code === 0x7d || code === 0x5d) depth--
    else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      const start = i
      while (i + 1 < text.length && isNumberPart(text.charCodeAt(i + 1))) i++
      // Four characters (9e99) are too few for either.
      if (i - start > 3) isFound ||= isUnsafe(text.slice(start, i + 1))
    }
  }
  return isFound
}

/** The index of the quote that ends the string whose text begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x22) return i
    if (code === 0x5c) i++
  }
  return text.length
}

/** Digits, and the `. e E + -` that a number may go on with. */
function isNumberPart(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2e || (code | 0x20) === 0x65 || code === 0x2b || code === 0x2d
}

function isUnsafe(number: string): boolean {
  const value = Number(number)
  return /[.eE]/.test(number) ? Math.abs(value) === Number.POSITIVE_INFINITY : !Number.isSafeInteger(value)
}

function printable(key: string): string {
  return /^[\w.-]{1,40}$/.test(key) ? key : '(unprintable)'
}

export function encodeJson(envelope: Envelope): string {
  return JSON.stringify(envelope)
}
