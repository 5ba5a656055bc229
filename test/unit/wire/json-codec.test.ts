// JSON frames: what is let in and as what, and the reason of every refusal (original-contract 2.1 to 2.4).
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { isMessageId } from '../../../src/base/ids.ts'
import type { JsonObject, JsonValue } from '../../../src/base/json.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { checkInbound } from '../../../src/wire/envelope-rules.ts'
import { decodeJson, encodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { anyEnvelope, messageOf, reasonOf, sampleId, sampleTime } from '../../support/frames.ts'

const defaults = { nextId: () => 'arq_1_1_aaaaaa', nowMs: Date.parse('2026-01-31T12:00:00.000Z') }
const decodeText = (text: string): Envelope => decodeJson(text, limits, defaults)
const decode = (frame: unknown): Envelope => decodeText(JSON.stringify(frame))

/** As a server lets it in. */
function admit(text: string): Envelope {
  const envelope = decodeText(text)
  checkInbound(envelope)
  return envelope
}

const minimal = { id: sampleId, timestamp: sampleTime, type: 'message', version: '1.0' }

describe('what may be left out', () => {
  it('is filled with defaults', () => {
    expect(decode({ type: 'message' })).toEqual({
      id: 'arq_1_1_aaaaaa',
      timestamp: '2026-01-31T12:00:00.000Z',
      type: 'message',
      version: '1.0',
      payload: {},
      args: {},
      metadata: {},
    })
  })

  it('is filled with the present and a new id where no defaults are given', () => {
    const before = Date.now()
    const envelope = decodeJson('{"type":"message"}', limits)
    expect(isMessageId(envelope.id)).toBe(true)
    expect(Date.parse(envelope.timestamp)).toBeGreaterThanOrEqual(before)
  })

  it.each(['args', 'metadata'])('%s may be null, which is the same as empty', (field) => {
    expect(decode({ ...minimal, [field]: null })).toMatchObject({ [field]: {} })
  })

  it('optional text may be null, which is the same as absent', () => {
    expect(decode({ ...minimal, room: null, channel: null, sender: null })).toEqual(messageOf())
  })
})

describe('legacy forms', () => {
  it('takes from_client for the sender where there is none', () => {
    expect(decode({ ...minimal, from_client: 'a' })).toMatchObject({ sender: 'a', from_client: 'a' })
    expect(decode({ ...minimal, from_client: 'a', sender: 'b' })).toMatchObject({ sender: 'b', from_client: 'a' })
  })

  it('copies to_client into metadata only where the frame has no metadata', () => {
    expect(decode({ ...minimal, to_client: 'a' }).metadata).toEqual({ to_client: 'a' })
    expect(decode({ ...minimal, to_client: 'a', metadata: {} }).metadata).toEqual({})
  })

  it('takes command and args from the payload where the frame has neither', () => {
    const payload = { command: 'status', parameters: { limit: 1 }, args: { ignored: true } }
    expect(decode({ type: 'command', payload })).toMatchObject({ command: 'status', args: { limit: 1 }, payload })
    expect(decode({ type: 'command', payload, command: 'help' })).toMatchObject({ command: 'help', args: {} })
    expect(decode({ type: 'command', payload, args: { own: 1 } })).toMatchObject({
      command: 'status',
      args: { own: 1 },
    })
    expect(decode({ type: 'message', payload }).command).toBeUndefined()
  })
})

describe('payloads', () => {
  it.each([['text'], [''], [1.5], [true], [false], [[1, 'a', {}]], [{}]] as [JsonValue][])('may be %j', (payload) => {
    expect(admit(JSON.stringify({ ...minimal, payload })).payload).toEqual(payload)
  })
})

describe('refusals', () => {
  it.each([
    ['no JSON', '{"type":', 'BAD_JSON'],
    ['nothing', '', 'BAD_JSON'],
    ['two values', '{} {}', 'BAD_JSON'],
    ['a list', '[]', 'NOT_OBJECT'],
    ['null', 'null', 'NOT_OBJECT'],
    ['text', '"message"', 'NOT_OBJECT'],
    ['no type', '{}', 'MISSING_FIELD'],
    ['NaN', '{"type":"message","payload":{"n":NaN}}', 'BAD_JSON'],
  ])('%s', (_, text, reason) => {
    expect(reasonOf(() => admit(text))).toBe(reason)
  })

  const cases: readonly [string, JsonObject, string][] = [
    ['an unknown key', { data: {} }, 'UNKNOWN_KEY'],
    ['the documents’ key from', { from: 'a' }, 'UNKNOWN_KEY'],
    ['the documents’ key target', { target: 'a' }, 'UNKNOWN_KEY'],
    ['an empty id', { id: '' }, 'BAD_ID'],
    ['a free id', { id: 'arq_msg_123' }, 'BAD_ID'],
    ['a null id', { id: null }, 'BAD_ID'],
    ['an id of a number', { id: 1 }, 'BAD_ID'],
    ['a time of a number', { timestamp: 1 }, 'BAD_TIMESTAMP'],
    ['a time that is none', { timestamp: 'yesterday' }, 'BAD_TIMESTAMP'],
    ['30 February', { timestamp: '2026-02-30T00:00:00.000Z' }, 'BAD_TIMESTAMP'],
    ['a type of the server', { type: 'goaway' }, 'BAD_TYPE'],
    ['the documents’ type private', { type: 'private' }, 'BAD_TYPE'],
    ['a type of a number', { type: 1 }, 'BAD_TYPE'],
    ['another version', { version: '1.1' }, 'BAD_VERSION'],
    ['a version of a number', { version: 1 }, 'BAD_VERSION'],
    ['args that are a list', { args: [] }, 'BAD_FIELD'],
    ['metadata that is text', { metadata: 'x' }, 'BAD_FIELD'],
    ['a room that is no text', { room: 1 }, 'BAD_FIELD'],
    ['an error that is an object', { type: 'error', error: { code: 'X' } }, 'BAD_FIELD'],
    ['a lone surrogate in a name', { room: 'a\ud800' }, 'BAD_FIELD'],
    ['a lone surrogate in the payload', { payload: { a: ['\udc00'] } }, 'BAD_TEXT'],
    ['a lone surrogate in a key', { payload: { '\ud800': 1 } }, 'BAD_TEXT'],
    ['an empty room', { room: '' }, 'BAD_NAME'],
    ['a wildcard channel', { channel: '*' }, 'BAD_NAME'],
    ['a room with a line feed', { room: 'a\nb' }, 'BAD_NAME'],
    ['a channel of 129 bytes', { channel: 'x'.repeat(129) }, 'BAD_NAME'],
    ['a message without content', { payload: null }, 'MISSING_FIELD'],
    ['a command without name', { type: 'command' }, 'MISSING_FIELD'],
    ['a command with an empty name', { type: 'command', command: '' }, 'MISSING_FIELD'],
    ['a response without request_id', { type: 'response', status: 'success' }, 'MISSING_FIELD'],
    ['a response without status', { type: 'response', request_id: 'x' }, 'MISSING_FIELD'],
    ['an error without text', { type: 'error' }, 'MISSING_FIELD'],
    ['operator.join without content', { type: 'operator.join', payload: null }, 'MISSING_FIELD'],
    ['a position', { metadata: { position: { epoch: 1, sequence: 1 } } }, 'SERVER_FIELD'],
    ['an unknown ack', { metadata: { ack: 'maybe' } }, 'BAD_ACK'],
    ['an ack that is no text', { metadata: { ack: true } }, 'BAD_ACK'],
    ['sequence 0', { metadata: { sequence: 0 } }, 'BAD_SEQUENCE'],
    ['sequence 1.5', { metadata: { sequence: 1.5 } }, 'BAD_SEQUENCE'],
    ['a sequence of text', { metadata: { sequence: '1' } }, 'BAD_SEQUENCE'],
    ['a vector clock that is a list', { metadata: { vector_clock: [] } }, 'BAD_VECTOR_CLOCK'],
    ['a vector clock with an empty name', { metadata: { vector_clock: { '': 1 } } }, 'BAD_VECTOR_CLOCK'],
    ['a vector clock below 0', { metadata: { vector_clock: { a: -1 } } }, 'BAD_VECTOR_CLOCK'],
    ['a causal parent that is no id', { metadata: { causal_parent_id: 'x' } }, 'BAD_CAUSAL_PARENT'],
  ]

  it.each(cases)('%s', (_, changes, reason) => {
    expect(reasonOf(() => admit(JSON.stringify({ ...minimal, ...changes })))).toBe(reason)
  })

  it('name the key that is unknown, unless it cannot be printed', () => {
    const fieldOf = (key: string): unknown => detailsOf(JSON.stringify({ ...minimal, [key]: 1 }))['field']
    expect(fieldOf('target')).toBe('target')
    expect(fieldOf('a\r\nb')).toBe('(unprintable)')
    expect(fieldOf('x'.repeat(41))).toBe('(unprintable)')
  })

  it('name the message whose id could be read', () => {
    expect(detailsOf(JSON.stringify({ ...minimal, surprise: 1 }))).toMatchObject({ message_id: sampleId })
    expect(detailsOf(JSON.stringify({ ...minimal, id: 'mine', surprise: 1 }))).not.toHaveProperty('message_id')
  })

  function detailsOf(text: string): Readonly<Record<string, unknown>> {
    try {
      admit(text)
    } catch (error) {
      if (isBusError(error)) return error.details
      throw error
    }
    return expect.unreachable()
  }
})

describe('metadata the rules let in', () => {
  it.each([
    [{ sequence: 1 }],
    [{ vector_clock: { a: 0, b: 12 } }],
    [{ vector_clock: {} }],
    [{ causal_parent_id: sampleId }],
    [{ ack: 'none' }],
    [{ ack: 'accepted' }],
    [{ ack: 'stored' }],
    [{ anything: [1, { else: null }] }],
  ])('%j', (metadata) => {
    expect(admit(JSON.stringify({ ...minimal, metadata })).metadata).toEqual(metadata)
  })
})

describe('numbers', () => {
  const withNumber = (token: string): string => `{"type":"message","payload":{"n":${token}}}`

  it.each(['9007199254740992', '-9007199254740992', '12345678901234567890', '1e400', '-1e999'])(
    'refuses %s',
    (token) => {
      expect(reasonOf(() => decodeText(withNumber(token)))).toBe('UNSAFE_INTEGER')
    },
  )

  it.each(['9007199254740991', '-9007199254740991', '0', '1.5e300', '0.12345678901234567', '-0.5'])(
    'lets in %s',
    (token) => {
      expect(decodeText(withNumber(token)).payload).toEqual({ n: Number(token) })
    },
  )

  it('does not look for numbers inside text', () => {
    const payload = { text: '12345678901234567890 "9007199254740993" \\' }
    expect(decode({ ...minimal, payload }).payload).toEqual(payload)
  })
})

describe('limits', () => {
  const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
  const frame = (payload: string): string => `{"type":"message","payload":${payload}}`
  const wide = (keys: number): string =>
    JSON.stringify(Object.fromEntries(Array.from({ length: keys }, (_, i) => [i, 0])))
  const list = (items: number): string => `{"list":[${Array.from({ length: items }, () => 0).join()}]}`

  it.each([
    ['32 levels', frame(nested(32)), undefined],
    ['33 levels', frame(nested(33)), 'TOO_DEEP'],
    ['a list of 31 levels', frame(`${'['.repeat(31)}${']'.repeat(31)}`), undefined],
    ['a list of 32 levels, which needs one more to travel', frame(`${'['.repeat(32)}${']'.repeat(32)}`), 'TOO_DEEP'],
    ['brackets that are text', frame(JSON.stringify({ a: '['.repeat(100) })), undefined],
    ['1,000 keys', frame(wide(1_000)), undefined],
    ['1,001 keys', frame(wide(1_001)), 'TOO_MANY_KEYS'],
    ['10,000 items', frame(list(10_000)), undefined],
    ['10,001 items', frame(list(10_001)), 'TOO_MANY_ITEMS'],
  ])('%s', (_, text, reason) => {
    expect(reasonOf(() => decodeText(text))).toBe(reason)
  })

  it('are the same in both formats', () => {
    for (const text of [nested(32), `[${nested(31)}]`, `[${nested(30)}]`, wide(1_000), wide(1_001), list(10_001)]) {
      const payload = JSON.parse(text) as JsonValue
      const binary = encodeProtobuf(messageOf({ payload }))
      expect(reasonOf(() => decodeText(frame(text)))).toBe(reasonOf(() => decodeProtobuf(binary, limits)))
    }
  })
})

describe('both formats', () => {
  const table: readonly Envelope[] = [
    messageOf(),
    messageOf({
      room: 'science',
      channel: 'general',
      payload: { content: 'héllo 🚀', n: -1.5e-7, list: [1, null, true] },
    }),
    messageOf({ metadata: { ack: 'stored', sequence: 7, vector_clock: { a: 1 }, tenant_id: 'acme', twist_id: 'tw' } }),
    messageOf({ payload: ['list'], to_client: 'arq_client_x', from_client: 'me', sender: 'me' }),
    messageOf({ type: 'command', command: 'join_channel', args: { room: 'science', channel: '*' } }),
    messageOf({ type: 'response', request_id: sampleId, status: 'error', error: 'no', error_code: 'NOT_FOUND' }),
    messageOf({ type: 'error', error: 'failed' }),
    messageOf({ type: 'telemetry', payload: { cpu: 0.5 } }),
    messageOf({ type: 'operator.join', payload: { group: 'ops' } }),
    messageOf({
      type: 'message_response',
      sender: 'arqonbus',
      status: 'success',
      metadata: { position: { epoch: 1, sequence: 2 } },
    }),
    messageOf({ type: 'command_response', command: 'status', payload: { result: 'ok' } }),
    messageOf({ type: 'gap', room: 'r', channel: 'c', payload: { from: 1, to: 2 } }),
    messageOf({ type: 'goaway', payload: { reconnect_in_ms: 5 } }),
  ]

  it.each(table.map((envelope) => [envelope.type, envelope] as const))('carry the same %s', (_, envelope) => {
    expect(decodeText(encodeJson(envelope))).toEqual(envelope)
    expect(decodeProtobuf(encodeProtobuf(envelope), limits)).toEqual(envelope)
  })

  it('carry any envelope without numbers beyond 2^53', () => {
    fc.assert(
      fc.property(anyEnvelope(), (envelope) => {
        const text = encodeJson(envelope)
        const reason = reasonOf(() => decodeText(text))
        fc.pre(reason !== 'UNSAFE_INTEGER')
        // The one thing JSON adds: the older name of the sender stands in for it.
        const { from_client: old } = envelope
        expect(decodeText(text)).toEqual(old === undefined ? envelope : { sender: old, ...envelope })
      }),
      { numRuns: 300 },
    )
  })
})
