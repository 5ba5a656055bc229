// What each type cannot do without is the same for both formats (original-contract 2.3).
import { describe, expect, it } from 'vitest'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { checkInbound } from '../../../src/wire/envelope-rules.ts'
import { decodeJson, encodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { scanFrame } from '../../../src/wire/message-frame.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { messageOf, sampleId } from '../../support/frames.ts'

const readers: readonly [string, (envelope: Envelope) => unknown][] = [
  ['JSON', (envelope) => checkInbound(decodeJson(encodeJson(envelope), limits))],
  ['protobuf', (envelope) => scanFrame(encodeProtobuf(envelope), limits).type],
]

describe.each(readers)('in %s', (_, read) => {
  it.each<[Envelope['type'], string, Partial<Envelope>]>([
    ['message', 'payload', { payload: null }],
    ['operator.join', 'payload', { payload: null }],
    ['command', 'command', {}],
    ['response', 'request_id', { status: 'success' }],
    ['response', 'status', { request_id: sampleId }],
    ['error', 'error', {}],
  ])('%s is refused without %s', (type, field, rest) => {
    const refusal = { code: 'VALIDATION_ERROR', details: { reason: 'MISSING_FIELD', field } }
    expect(() => read(messageOf({ type, ...rest }))).toThrow(
      expect.objectContaining({ ...refusal, details: expect.objectContaining(refusal.details) }),
    )
  })

  it.each<[Envelope['type'], Partial<Envelope>]>([
    ['message', { payload: {} }],
    ['message', { payload: '' }],
    ['message', { payload: false }],
    ['message', { payload: { $value: null } }],
    ['operator.join', { payload: {} }],
    ['command', { command: 'ping' }],
    ['command', { command: 'ping', payload: null }],
    ['response', { request_id: sampleId, status: 'success' }],
    ['error', { error: 'no' }],
    ['telemetry', { payload: null }],
  ])('%s with %j is taken', (type, rest) => {
    expect(read(messageOf({ type, ...rest }))).toBe(type)
  })
})
