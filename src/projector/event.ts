// An episode event as its bytes came, judged by the contract (8.1, 8.2) and by the bounds that keep it out of harm's way
// in Postgres. What is refused names a code and the key, never the value: it goes into logs and metrics.
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { parseSourceTime, type SourceTime } from './source-time.ts'

export const eventTypes = ['episode.created', 'episode.updated', 'episode.deleted', 'episode.summarized'] as const
export type EventType = (typeof eventTypes)[number]

export interface EpisodeEvent {
  readonly tenant: string
  readonly agent: string
  readonly episode: string
  readonly id: string
  readonly type: EventType
  readonly sourceTime: SourceTime
  /** The JSON as it came: Postgres reads the rest from it, with its numbers as they were written. */
  readonly text: string
}

export type RefusalCode =
  | 'TOO_LARGE'
  | 'NOT_UTF8'
  | 'NOT_JSON'
  | 'NOT_AN_OBJECT'
  | 'MISSING_KEY'
  | 'BAD_EVENT_TYPE'
  | 'BAD_SCHEMA_VERSION'
  | 'BAD_TIME'
  | 'TIME_TOO_OLD'
  | 'TIME_IN_FUTURE'
  | 'BAD_PAYLOAD'
  | 'BAD_TAGS'
  | 'BAD_METADATA'
  | 'BAD_ID'
  | 'BAD_REFERENCE'
  | 'BAD_SUMMARY'
  | 'FORBIDDEN_FIELD'
  | 'BAD_TEXT'
  | 'BAD_NUMBER'
  | 'TOO_DEEP'
  | 'TENANT_MISMATCH'
  /** Postgres itself refused the values; the SQLSTATE is in the reason. */
  | 'BAD_DATA'

export interface Refusal {
  readonly code: RefusalCode
  readonly message: string
  /** The JSON text where it is JSON that Postgres can hold; for whoever looks at the dead letter. */
  readonly text?: string
  /** Whose it says it is, where that can be read. */
  readonly tenant?: string
}

export const eventLimits = {
  maxBytes: 256 * 1_024,
  maxIdBytes: 256,
  maxReferenceBytes: 2_048,
  maxSummaryBytes: 16 * 1_024,
  maxTags: 256,
  maxTagBytes: 256,
  maxDepth: 32,
  /** A time before the year 2000 is a clock that was never set. */
  oldestMicros: 946_684_800_000_000,
  /** A time beyond this freezes an episode: nothing later would be newer. */
  futureMs: 5 * 60_000,
} as const

const envelopeKeys = [
  'event_id',
  'event_type',
  'tenant_id',
  'agent_id',
  'episode_id',
  'source_ts',
  'schema_version',
  'payload',
] as const
const payloadKeys = ['content_ref', 'tags', 'metadata'] as const
/** A pointer says where the content is; these would be the content. */
export const forbiddenFields: readonly string[] = ['raw_content', 'episode_body', 'embedding_vector', 'full_state_dump']

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
// Controls other than these never belong in an id; NUL never anywhere.
const control = /\p{Cc}/u
const pointer = /^[a-z][a-z0-9+.-]{0,31}:\/\/[^\s\p{Cc}]+$/u
/** Exponents that only Postgres can judge: what it refuses must not be written as JSON beside its own refusal. */
const hugeExponent = /[eE][+-]?0*\d{4}/

const bytesOf = (text: string): number => Buffer.byteLength(text)

export interface JudgeOptions {
  readonly nowMs: number
  /** The only tenant it may name; absent where the source may speak for all. */
  readonly tenant?: string | undefined
}

/** The event, or why it is none. */
export function judgeEvent(bytes: Uint8Array, options: JudgeOptions): EpisodeEvent | Refusal {
  if (bytes.length > eventLimits.maxBytes) {
    return { code: 'TOO_LARGE', message: `an event takes at most ${eventLimits.maxBytes} bytes` }
  }
  let text: string
  try {
    text = strictUtf8.decode(bytes)
  } catch {
    return { code: 'NOT_UTF8', message: 'the event is not UTF-8' }
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { code: 'NOT_JSON', message: 'the event is not JSON' }
  }
  if (!isJsonObject(value)) return { code: 'NOT_AN_OBJECT', message: 'the event is not a JSON object' }
  const named = value['tenant_id']
  const tenant = isId(named) ? { tenant: named } : {}
  const unfit = unfitForPostgres(value)
  if (unfit !== undefined) return { ...unfit, ...tenant }
  const shown = hugeExponent.test(text) ? tenant : { ...tenant, text }
  const judged = judgeObject(value, text, options)
  return 'code' in judged ? { ...judged, ...shown } : judged
}

export const isRefusal = (judged: EpisodeEvent | Refusal): judged is Refusal => 'code' in judged

/** In the order of the contract, then ours. */
function judgeObject(event: JsonObject, text: string, { nowMs, tenant }: JudgeOptions): EpisodeEvent | Refusal {
  const missing = envelopeKeys.filter((key) => !Object.hasOwn(event, key))
  if (missing.length > 0) return refuse('MISSING_KEY', `missing: ${missing.join(', ')}`)
  const type = eventTypes.find((one) => one === event['event_type'])
  if (type === undefined) return refuse('BAD_EVENT_TYPE', `event_type must be one of ${eventTypes.join(', ')}`)
  if (!isVersionOne(event['schema_version'])) return refuse('BAD_SCHEMA_VERSION', 'schema_version must be 1')
  const time = judgeTime(event['source_ts'], nowMs)
  if ('code' in time) return time
  const payload = judgePayload(event['payload'])
  if (payload !== undefined) return payload
  const ids: string[] = []
  for (const key of ['event_id', 'tenant_id', 'agent_id', 'episode_id'] as const) {
    const value = event[key]
    if (!isId(value)) return refuse('BAD_ID', idRule(key))
    ids.push(value)
  }
  const forbidden = findForbidden(event)
  if (forbidden !== undefined) {
    return refuse('FORBIDDEN_FIELD', `${forbidden} does not belong in an event: content_ref says where content is`)
  }
  const [id, named, agent, episode] = ids as [string, string, string, string]
  if (tenant !== undefined && named !== tenant) {
    return refuse('TENANT_MISMATCH', 'tenant_id is not the tenant that it came from')
  }
  return { tenant: named, agent, episode, id, type, sourceTime: time, text }
}

const refuse = (code: RefusalCode, message: string): Refusal => ({ code, message })

/** As the original: whatever its language turns into the integer 1. */
function isVersionOne(value: JsonValue | undefined): boolean {
  return value === 1 || value === true || (typeof value === 'string' && /^\s*\+?0*1\s*$/.test(value))
}

function judgeTime(value: JsonValue | undefined, nowMs: number): SourceTime | Refusal {
  const time = typeof value === 'string' ? parseSourceTime(value) : undefined
  if (time === undefined) {
    return refuse('BAD_TIME', 'source_ts must be an RFC 3339 time with an offset, such as 2026-02-20T10:00:00.123456Z')
  }
  if (time.micros < eventLimits.oldestMicros) return refuse('TIME_TOO_OLD', 'source_ts is before the year 2000')
  if (time.micros > (nowMs + eventLimits.futureMs) * 1_000) {
    return refuse('TIME_IN_FUTURE', 'source_ts is more than 5 minutes ahead of the clock here')
  }
  return time
}

function judgePayload(payload: JsonValue | undefined): Refusal | undefined {
  if (!isJsonObject(payload)) return refuse('BAD_PAYLOAD', 'payload must be an object')
  const missing = payloadKeys.filter((key) => !Object.hasOwn(payload, key))
  if (missing.length > 0) return refuse('MISSING_KEY', `missing in payload: ${missing.join(', ')}`)
  const { tags, metadata, content_ref: content, embedding_ref: embedding = null, summary = null } = payload
  const { maxTags, maxTagBytes, maxSummaryBytes } = eventLimits
  const isTag = (tag: JsonValue): boolean => typeof tag === 'string' && bytesOf(tag) <= maxTagBytes
  if (!Array.isArray(tags) || tags.length > maxTags || !tags.every(isTag)) {
    return refuse('BAD_TAGS', `tags must be a list of at most ${maxTags} texts of at most ${maxTagBytes} bytes`)
  }
  if (!isJsonObject(metadata)) return refuse('BAD_METADATA', 'metadata must be an object')
  if (!isPointer(content)) return refuse('BAD_REFERENCE', pointerRule('content_ref'))
  if (embedding !== null && !isPointer(embedding)) return refuse('BAD_REFERENCE', pointerRule('embedding_ref'))
  if (summary !== null && (typeof summary !== 'string' || bytesOf(summary) > maxSummaryBytes)) {
    return refuse('BAD_SUMMARY', `summary must be text of at most ${maxSummaryBytes} bytes`)
  }
  return undefined
}

const pointerRule = (key: string): string =>
  `${key} must be a pointer such as sqlite://store/episode-1, of at most ${eventLimits.maxReferenceBytes} bytes`

function isPointer(value: JsonValue | undefined): boolean {
  return typeof value === 'string' && bytesOf(value) <= eventLimits.maxReferenceBytes && pointer.test(value)
}

const idRule = (key: string): string => `${key} must be text of 1 to ${eventLimits.maxIdBytes} bytes without controls`

function isId(value: JsonValue | undefined): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    bytesOf(value) <= eventLimits.maxIdBytes &&
    !control.test(value) &&
    value.isWellFormed()
  )
}

function findForbidden(value: JsonValue): string | undefined {
  if (Array.isArray(value)) return firstOf(value, findForbidden)
  if (!isJsonObject(value)) return undefined
  const own = Object.keys(value).find((key) => forbiddenFields.includes(key))
  return own ?? firstOf(Object.values(value), findForbidden)
}

/** Text and numbers that jsonb does not take, and nesting that is nobody's data. */
function unfitForPostgres(value: JsonValue, depth = 1): Refusal | undefined {
  if (typeof value === 'string') return isStorable(value) ? undefined : refuse('BAD_TEXT', unstorable)
  if (typeof value === 'number') {
    return Number.isFinite(value) ? undefined : refuse('BAD_NUMBER', 'a number is too large')
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth > eventLimits.maxDepth) return refuse('TOO_DEEP', `nesting deeper than ${eventLimits.maxDepth}`)
  if (Array.isArray(value)) return firstOf(value, (item) => unfitForPostgres(item, depth + 1))
  if (!Object.keys(value).every(isStorable)) return refuse('BAD_TEXT', unstorable)
  return firstOf(Object.values(value), (item) => unfitForPostgres(item, depth + 1))
}

const unstorable = 'a text holds NUL or half of a surrogate pair'
const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

function firstOf<Item, Found>(items: readonly Item[], find: (item: Item) => Found | undefined): Found | undefined {
  for (const item of items) {
    const found = find(item)
    if (found !== undefined) return found
  }
  return undefined
}
