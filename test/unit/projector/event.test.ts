import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { eventLimits, forbiddenFields, isRefusal, judgeEvent } from '../../../src/projector/event.ts'
import { fromMicros, parseSourceTime } from '../../../src/projector/source-time.ts'
import { makeEvent, toBytes } from '../../support/projector-model.ts'

const nowMs = Date.parse('2026-02-20T11:00:00Z')
const good = makeEvent(1)
const { payload } = good
const judge = (event: unknown, tenant?: string) => judgeEvent(toBytes(event), { nowMs, tenant })
const codeOf = (event: unknown, tenant?: string): string => {
  const judged = judge(event, tenant)
  return isRefusal(judged) ? judged.code : 'fine'
}
const without = (object: object, key: string) => Object.fromEntries(Object.entries(object).filter(([k]) => k !== key))

describe('an event', () => {
  it('is taken with what the contract asks for, and with keys of its own', () => {
    expect(judge({ ...good, extra: { a: 1 } })).toMatchObject({
      tenant: 'acme',
      agent: 'agent-1',
      episode: 'episode-1',
      id: 'event-1',
      type: 'episode.updated',
      sourceTime: { text: '2026-02-20T10:00:00.000001Z' },
    })
    expect(codeOf({ ...good, schema_version: '1' })).toBe('fine')
    expect(codeOf({ ...good, payload: { ...payload, summary: null, embedding_ref: null } })).toBe('fine')
    expect(codeOf({ ...good, payload: { ...payload, embedding_ref: 'ram://x/1' } })).toBe('fine')
  })

  it.each(Object.keys(good))('needs %s', (key) => {
    expect(judge(without(good, key))).toMatchObject({ code: 'MISSING_KEY', message: `missing: ${key}` })
  })

  it.each(['content_ref', 'tags', 'metadata'])('needs %s in its payload', (key) => {
    expect(judge({ ...good, payload: without(payload, key) })).toMatchObject({
      code: 'MISSING_KEY',
      message: `missing in payload: ${key}`,
    })
  })

  const long = 'é'.repeat(129)
  it.each<[string, object, string]>([
    ['another type', { event_type: 'episode.merged' }, 'BAD_EVENT_TYPE'],
    ['version 2', { schema_version: 2 }, 'BAD_SCHEMA_VERSION'],
    ['version 1.5', { schema_version: '1.5' }, 'BAD_SCHEMA_VERSION'],
    ['a number as time', { source_ts: 1_700_000_000 }, 'BAD_TIME'],
    ['a time without offset', { source_ts: '2026-02-20T10:00:00' }, 'BAD_TIME'],
    ['1999', { source_ts: '1999-12-31T23:59:59.999999Z' }, 'TIME_TOO_OLD'],
    ['more than 5 minutes ahead', { source_ts: '2026-02-20T11:05:00.000001Z' }, 'TIME_IN_FUTURE'],
    ['a list as payload', { payload: [] }, 'BAD_PAYLOAD'],
    ['text as tags', { payload: { ...payload, tags: 'abc' } }, 'BAD_TAGS'],
    ['a number among tags', { payload: { ...payload, tags: ['a', 1] } }, 'BAD_TAGS'],
    ['257 tags', { payload: { ...payload, tags: Array(257).fill('a') } }, 'BAD_TAGS'],
    ['a list as metadata', { payload: { ...payload, metadata: [] } }, 'BAD_METADATA'],
    ['no reference', { payload: { ...payload, content_ref: null } }, 'BAD_REFERENCE'],
    ['content as reference', { payload: { ...payload, content_ref: 'It was a dark night' } }, 'BAD_REFERENCE'],
    ['a data address', { payload: { ...payload, content_ref: 'data:text/plain,abc' } }, 'BAD_REFERENCE'],
    ['a long reference', { payload: { ...payload, content_ref: `ram://${'x'.repeat(2_048)}` } }, 'BAD_REFERENCE'],
    ['a bad embedding', { payload: { ...payload, embedding_ref: [1, 2] } }, 'BAD_REFERENCE'],
    ['a number as summary', { payload: { ...payload, summary: 1 } }, 'BAD_SUMMARY'],
    ['an empty id', { event_id: '' }, 'BAD_ID'],
    ['an id of 258 bytes', { agent_id: long }, 'BAD_ID'],
    ['an id with a line end', { episode_id: 'a\nb' }, 'BAD_ID'],
    ['a number as id', { tenant_id: 7 }, 'BAD_ID'],
    ...forbiddenFields.map((field): [string, object, string] => [field, { [field]: 'x' }, 'FORBIDDEN_FIELD']),
    ['a dump deep in metadata', { payload: { ...payload, metadata: { a: [{ raw_content: 1 }] } } }, 'FORBIDDEN_FIELD'],
  ])('is refused with %s', (_what, change, code) => {
    expect(codeOf({ ...good, ...change })).toBe(code)
  })

  it('is taken up to each bound', () => {
    expect(codeOf({ ...good, source_ts: '2026-02-20T11:05:00Z' })).toBe('fine')
    expect(codeOf({ ...good, source_ts: '2000-01-01T00:00:00Z' })).toBe('fine')
    expect(codeOf({ ...good, agent_id: 'é'.repeat(128) })).toBe('fine')
    expect(codeOf({ ...good, payload: { ...payload, tags: Array(256).fill('é'.repeat(128)) } })).toBe('fine')
  })

  it('is bounded in bytes before it is parsed', () => {
    expect(judgeEvent(new Uint8Array(eventLimits.maxBytes + 1), { nowMs })).toMatchObject({ code: 'TOO_LARGE' })
  })

  it('speaks for its own tenant only, where it came from one', () => {
    expect(codeOf(good, 'acme')).toBe('fine')
    expect(codeOf(good, 'other')).toBe('TENANT_MISMATCH')
  })

  it('shows no value in a refusal', () => {
    for (const change of [{ event_type: 'hush' }, { source_ts: 'hush' }, { event_id: 'hush\n' }]) {
      expect(JSON.stringify({ ...(judge({ ...good, ...change }) as object), text: '' })).not.toContain('hush')
    }
  })

  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(toText)), (bytes) => {
        expect(isRefusal(judgeEvent(bytes, { nowMs }))).toBe(true)
      }),
    )
  })
})

const toText = (json: string): Uint8Array => new TextEncoder().encode(json)

describe('source_ts', () => {
  it.each([
    ['2026-02-20T10:00:00Z', '2026-02-20T10:00:00.000000Z'],
    ['2026-02-20t10:00:00z', '2026-02-20T10:00:00.000000Z'],
    ['2026-02-20T10:00:00.1+02:00', '2026-02-20T08:00:00.100000Z'],
    ['2026-01-01T00:00:00.1234567-01:30', '2026-01-01T01:30:00.123456Z'],
    ['2024-02-29T23:59:59.999999999Z', '2024-02-29T23:59:59.999999Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000000Z'],
  ])('%s is %s', (text, utc) => {
    expect(parseSourceTime(text)?.text).toBe(utc)
  })

  it.each([
    '2026-02-30T10:00:00Z',
    '2023-02-29T10:00:00Z',
    '2100-02-29T10:00:00Z',
    '2026-13-01T10:00:00Z',
    '2026-00-01T10:00:00Z',
    '2026-01-00T10:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T10:60:00Z',
    '2026-12-31T23:59:60Z',
    '2026-01-01T10:00:00',
    '2026-01-01 10:00:00Z',
    '2026-01-01T10:00Z',
    '2026-01-01T10:00:00.Z',
    '2026-01-01T10:00:00+24:00',
    '2026-01-01T10:00:00+0200',
    ' 2026-01-01T10:00:00Z',
    '20260101T100000Z',
    'infinity',
    'tomorrow',
    '',
  ])('%s is none', (text) => {
    expect(parseSourceTime(text)).toBeUndefined()
  })

  it('is kept to the microsecond', () => {
    const micros = fc.integer({ min: eventLimits.oldestMicros, max: 4_102_444_800_000_000 })
    fc.assert(
      fc.property(micros, (value) => {
        expect(parseSourceTime(fromMicros(value).text)?.micros).toBe(value)
      }),
    )
  })
})
