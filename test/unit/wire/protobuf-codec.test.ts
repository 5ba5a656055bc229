// Our codec against protobuf-es, field by field and at random.
import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { BusPayloadSchema } from '../../../src/wire/generated/arqon/pybus/v1/bus_payload_pb.ts'
import { EnvelopeSchema, SignalType } from '../../../src/wire/generated/arqon/v1/envelope_pb.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import {
  anyEnvelope,
  anyObject,
  copiedFields,
  esDecode,
  esEncode,
  eventFrame,
  field,
  messageOf,
  numberField,
  reasonOf,
  reorder,
  sampleId,
  sampleTime,
} from '../../support/frames.ts'

const decode = (bytes: Uint8Array): Envelope => decodeProtobuf(bytes, limits)

describe('the documented command (original-contract 2.6)', () => {
  const golden: Envelope = {
    id: 'arq_01HZZZZZZZZZZZZZZZZZZZZZZZ',
    timestamp: '2026-02-20T00:00:00.000Z',
    type: 'command',
    version: '1.0',
    payload: { content: 'fixture' },
    args: { tenant_id: 'tenant-fixture', limit: 10 },
    metadata: { tenant_id: 'tenant-fixture', twist_id: 'tw-fixture' },
    room: 'ops',
    channel: 'control',
    sender: 'svc-contract',
    command: 'op.continuum.projector.status',
  }
  const bytes = esEncode(golden, { headers: true })

  it('has the size of the original encoder’s frame', () => {
    expect(bytes.length).toBe(435)
  })

  it('decodes to every field of it', () => {
    expect(decode(bytes)).toEqual(golden)
  })

  it('is encoded without header copies, and protobuf-es reads the same', () => {
    const ours = encodeProtobuf(golden)
    expect(ours.length).toBeLessThan(bytes.length - 80)
    expect(esDecode(ours)).toEqual(golden)
  })
})

describe('against protobuf-es', () => {
  it('encodes what protobuf-es decodes to the same envelope', () => {
    fc.assert(
      fc.property(anyEnvelope(), (envelope) => {
        expect(esDecode(encodeProtobuf(envelope))).toEqual(envelope)
      }),
      { numRuns: 500 },
    )
  })

  it('decodes what protobuf-es encodes, in any order of fields, with and without header copies', () => {
    const order = fc.infiniteStream(fc.nat())
    const options = fc.record({ headers: fc.boolean(), bare: fc.boolean() })
    fc.assert(
      fc.property(anyEnvelope(undefined, anyObject), options, order, (envelope, layout, numbers) => {
        const rank = (count: number): number[] =>
          Array.from({ length: count }, (_, index) => ({ index, by: numbers.next().value }))
            .sort((a, b) => a.by - b.by)
            .map(({ index }) => index)
        const bytes = reorder(esEncode(envelope, layout), rank)
        expect(decode(bytes)).toEqual(esDecode(bytes))
        expect(decode(bytes)).toMatchObject({ id: envelope.id, type: envelope.type, args: envelope.args })
      }),
      { numRuns: 500 },
    )
  })

  it('decodes its own frames to the same envelope', () => {
    fc.assert(
      fc.property(anyEnvelope(), (envelope) => {
        expect(decode(encodeProtobuf(envelope))).toEqual(envelope)
      }),
      { numRuns: 500 },
    )
  })

  it('reads a frame that is part of a larger buffer', () => {
    const envelope = messageOf({ payload: { n: 1.5 } })
    const bytes = encodeProtobuf(envelope)
    const around = new Uint8Array(bytes.length + 14).fill(0xff)
    around.set(bytes, 7)
    expect(decode(around.subarray(7, 7 + bytes.length))).toEqual(envelope)
  })
})

describe('precedence (original-contract 2.6)', () => {
  const frame = (outer: object, inner: object, kind: 'cmd' | 'event' = 'event', type = 'message'): Uint8Array => {
    const data = toBinary(BusPayloadSchema, create(BusPayloadSchema, inner))
    return toBinary(
      EnvelopeSchema,
      create(EnvelopeSchema, { ...outer, payload: { case: kind, value: { type, data } } }),
    )
  }
  const id = sampleId
  const other = 'arq_01HZZZZZZZZZZZZZZZZZZZZZZZ'

  it('takes trace_id before envelope_id, and envelope_id where trace_id is empty', () => {
    expect(decode(frame({ traceId: id }, { envelopeId: other })).id).toBe(id)
    expect(decode(frame({}, { envelopeId: other })).id).toBe(other)
  })

  it('takes the type from BusPayload, then from the header, then from the kind of frame', () => {
    const headers = { envelope_type: 'telemetry' }
    expect(decode(frame({ traceId: id, headers }, { envelopeType: 'error' })).type).toBe('error')
    expect(decode(frame({ traceId: id, headers }, {})).type).toBe('telemetry')
    expect(decode(frame({ traceId: id }, {}, 'cmd', 'x')).type).toBe('command')
    expect(decode(frame({ traceId: id }, {}, 'event', 'response')).type).toBe('response')
    expect(decode(frame({ traceId: id }, {}, 'event', '')).type).toBe('message')
  })

  it('reads a signal as telemetry and a frame without content as a message', () => {
    const value = { type: SignalType.BAN, reason: 'spam' }
    const signal = create(EnvelopeSchema, { traceId: id, payload: { case: 'signal', value } })
    expect(decode(toBinary(EnvelopeSchema, signal))).toMatchObject({ type: 'telemetry', payload: {} })
    expect(decode(field(1, id))).toMatchObject({ id, type: 'message', payload: {}, args: {}, metadata: {} })
  })

  it('takes a text field from BusPayload before its header, and the header where BusPayload has none', () => {
    for (const [name, key] of Object.entries(copiedFields)) {
      const headers = { [name]: 'header' }
      expect(decode(frame({ traceId: id, headers }, { [key]: 'inner' }))).toMatchObject({ [name]: 'inner' })
      expect(decode(frame({ traceId: id, headers }, {}))).toMatchObject({ [name]: 'header' })
    }
  })

  it('takes the later of two headers of one name, as a map does, even when it is empty', () => {
    const header = (value: string): Uint8Array => field(6, field(1, 'channel'), field(2, value))
    expect(decode(eventFrame([], [header('first'), header('second')])).channel).toBe('second')
    expect(decode(eventFrame([], [header('first'), header('')])).channel).toBeUndefined()
  })

  it('takes the command from BusPayload before the type of the Command', () => {
    expect(decode(frame({ traceId: id }, { command: 'inner' }, 'cmd', 'outer')).command).toBe('inner')
    expect(decode(frame({ traceId: id }, {}, 'cmd', 'outer')).command).toBe('outer')
    expect(decode(frame({ traceId: id }, {}, 'event', 'message')).command).toBeUndefined()
  })

  it('fills tenant and twist into the metadata where it lacks them', () => {
    const outer = { traceId: id, tenantId: 'acme', twistId: 'tw' }
    expect(decode(frame(outer, {})).metadata).toEqual({ tenant_id: 'acme', twist_id: 'tw' })
    expect(decode(frame(outer, { metadata: { tenant_id: 'inner', twist_id: 'own' } })).metadata).toEqual({
      tenant_id: 'inner',
      twist_id: 'own',
    })
  })

  it('gives a frame without a time the present', () => {
    const before = Date.now()
    const ms = Date.parse(decode(field(1, id)).timestamp)
    expect(ms).toBeGreaterThanOrEqual(before)
    expect(ms).toBeLessThanOrEqual(Date.now())
  })
})

describe('payloads that are not objects', () => {
  it.each([
    ['text', 'text'],
    ['a number', 4.25],
    ['true', true],
    ['null', null],
    ['a list', [1, 'two', { three: 3 }, []]],
    ['an object that looks like a wrapping', { $value: 5 }],
    ['such an object around another', { $value: { $value: [] } }],
    ['an object with more than the wrapping key', { $value: 1, other: 2 }],
  ])('keeps %s', (_, payload) => {
    expect(decode(encodeProtobuf(messageOf({ payload }))).payload).toEqual(payload)
  })

  it('travel in a Struct under $value', () => {
    const bytes = encodeProtobuf(messageOf({ payload: [1] }))
    expect(Buffer.from(bytes).includes('$value')).toBe(true)
    expect(esDecode(bytes).payload).toEqual([1])
  })
})

describe('what cannot be carried', () => {
  it.each([
    ['NaN', { n: Number.NaN }, 'PB_NUMBER'],
    ['Infinity', { n: [Number.POSITIVE_INFINITY] }, 'PB_NUMBER'],
    ['a lone surrogate', { text: 'a\ud800' }, 'BAD_TEXT'],
    ['a lone surrogate in a key', { 'a\udc00': 1 }, 'BAD_TEXT'],
  ])('refuses to encode %s', (_, payload, reason) => {
    expect(reasonOf(() => encodeProtobuf(messageOf({ payload })))).toBe(reason)
  })
})

describe('timestamps', () => {
  it.each([
    ['now', Date.parse(sampleTime), sampleTime],
    ['the epoch', 0, '1970-01-01T00:00:00.000Z'],
    ['before the epoch', -1, '1969-12-31T23:59:59.999Z'],
    ['the first', Date.parse('0000-01-01T00:00:00.000Z'), '0000-01-01T00:00:00.000Z'],
    ['the last', Date.parse('9999-12-31T23:59:59.999Z'), '9999-12-31T23:59:59.999Z'],
  ])('reads %s', (_, ms, text) => {
    expect(decode(eventFrame([], [numberField(4, BigInt(ms))])).timestamp).toBe(text)
    const bytes = encodeProtobuf(messageOf({ timestamp: text }))
    expect(decode(bytes).timestamp).toBe(text)
    expect(esDecode(bytes).timestamp).toBe(text)
  })

  it.each([
    ['a millisecond after the last', 253_402_300_800_000n, 'BAD_TIMESTAMP'],
    ['a millisecond before the first', -62_167_219_200_001n, 'BAD_TIMESTAMP'],
    ['what Date cannot hold', 8_640_000_000_000_001n, 'BAD_TIMESTAMP'],
    ['beyond 2^53', 2n ** 53n, 'PB_NUMBER'],
    ['beyond -2^53', -(2n ** 53n), 'PB_NUMBER'],
    ['the least of 64 bits', -(2n ** 63n), 'PB_NUMBER'],
  ])('refuses %s', (_, ms, reason) => {
    expect(reasonOf(() => decode(eventFrame([], [numberField(4, ms)])))).toBe(reason)
  })
})

describe('refusals', () => {
  it('name the message once its id was read, also when the outer message is what is wrong', () => {
    const broken = eventFrame([field(13, 'x')])
    try {
      decode(broken)
      expect.unreachable()
    } catch (error) {
      expect(isBusError(error, 'VALIDATION_ERROR') && error.details).toMatchObject({
        reason: 'PB_UNKNOWN_FIELD',
        field: 13,
        message_id: sampleId,
      })
    }
  })

  it('name no message when the id is not one', () => {
    try {
      decode(field(1, 'not an id'))
      expect.unreachable()
    } catch (error) {
      expect(isBusError(error) && error.details).toEqual({ reason: 'BAD_ID', field: 'id' })
    }
  })
})
