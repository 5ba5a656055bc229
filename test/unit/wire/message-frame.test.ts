// The hot path against protobuf-es and against the general codec: whatever way a message takes, it says the same.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { JsonValue } from '../../../src/base/json.ts'
import { type Envelope, inboundTypes } from '../../../src/envelope/envelope.ts'
import { decodeJson, encodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import {
  envelopeOfFrame,
  frameFromEnvelope,
  openFrame,
  payloadHash,
  positionedLength,
  reframe,
  scanFrame,
  withPosition,
  writePositioned,
} from '../../../src/wire/message-frame.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import {
  anyEnvelope,
  anyName,
  anyObject,
  anyValue,
  entry,
  esDecode,
  esEncode,
  eventFrame,
  field,
  hexOf,
  messageOf,
  numberField,
  reasonOf,
  sampleId,
} from '../../support/frames.ts'

const sender = 'arq_client_0123456789abcdef0123456789abcdef'
const server = { sender }
const canonical = (bytes: Uint8Array): Uint8Array => reframe(scanFrame(bytes, limits), server)

/** What becomes of a client's envelope: the server's sender, and no second name for it. */
function asSent(envelope: Envelope): Envelope {
  const sent = { ...envelope, sender }
  delete sent.from_client
  return sent
}

/** Runs of properties; each frame is checked several ways. */
const numRuns = 400
const layouts = fc.record({ headers: fc.boolean(), bare: fc.boolean() })
const inbound = anyEnvelope(inboundTypes, anyObject)

describe('scanFrame', () => {
  it('finds what routing needs, with and without header copies', () => {
    fc.assert(
      fc.property(inbound, layouts, (envelope, layout) => {
        const bytes = esEncode(envelope, layout)
        const scan = scanFrame(bytes, limits)
        expect({
          type: scan.type,
          id: scan.id,
          room: scan.room,
          channel: scan.channel,
          toClient: scan.toClient,
          tenantId: scan.tenantId,
          ack: scan.ack,
        }).toEqual({
          type: envelope.type,
          id: envelope.id,
          room: envelope.room,
          channel: envelope.channel,
          toClient: envelope.to_client,
          tenantId: envelope.metadata['tenant_id'],
          ack: envelope.metadata['ack'],
        })
      }),
      { numRuns },
    )
  })

  it('accepts exactly what the general decoder accepts, for the same reason', () => {
    const deep = (levels: number): JsonValue => (levels === 0 ? 0 : { k: deep(levels - 1) })
    const payloads = [{ deep: deep(31) }, { deep: deep(32) }, { list: Array.from({ length: 10_001 }, () => 0) }]
    for (const payload of payloads) {
      const bytes = encodeProtobuf(messageOf({ payload }))
      expect(reasonOf(() => scanFrame(bytes, limits))).toBe(reasonOf(() => decodeProtobuf(bytes, limits)))
    }
  })

  it('finds the tenant outside or in the metadata, and refuses two', () => {
    const inner = field(22, entry('tenant_id', field(3, 'acme')))
    expect(scanFrame(eventFrame([inner]), limits).tenantId).toBe('acme')
    expect(scanFrame(eventFrame([], [field(2, 'acme')]), limits).tenantId).toBe('acme')
    expect(scanFrame(eventFrame([inner], [field(2, 'acme')]), limits).tenantId).toBe('acme')
    expect(reasonOf(() => scanFrame(eventFrame([inner], [field(2, 'other')]), limits))).toBe('TENANT_CONFLICT')
  })

  it.each([
    ['a type only the server sends', eventFrame([field(2, 'goaway')]), 'BAD_TYPE'],
    ['another type', eventFrame([field(2, 'private')]), 'BAD_TYPE'],
    ['another version', eventFrame([field(3, '2.0')]), 'BAD_VERSION'],
    ['no id', field(21, field(1, 'message')), 'BAD_ID'],
    ['a free id', concatId('arq_msg_123'), 'BAD_ID'],
    ['a wildcard room', eventFrame([], [field(3, '*')]), 'BAD_NAME'],
    ['a channel with a control character', eventFrame([field(5, 'a\r\n')]), 'BAD_NAME'],
    ['a channel of 129 bytes', eventFrame([field(5, 'é'.repeat(64), 'x')]), 'BAD_NAME'],
    ['a time beyond the year 9999', eventFrame([], [numberField(4, 253_402_300_800_000)]), 'BAD_TIMESTAMP'],
    ['a position', eventFrame([field(22, entry('position', numberField(4, 1)))]), 'SERVER_FIELD'],
    ['an unknown ack', eventFrame([field(22, entry('ack', field(3, 'maybe')))]), 'BAD_ACK'],
    ['a sequence of text', eventFrame([field(22, entry('sequence', field(3, '1')))]), 'BAD_SEQUENCE'],
  ])('refuses %s', (_, bytes, reason) => {
    expect(reasonOf(() => scanFrame(bytes, limits))).toBe(reason)
  })
})

function concatId(id: string): Uint8Array {
  return new Uint8Array(Buffer.concat([field(1, id), field(21, field(1, 'message'))]))
}

describe('reframe', () => {
  it('keeps all but the sender, as protobuf-es and as our decoder read it', () => {
    fc.assert(
      fc.property(inbound, layouts, (envelope, layout) => {
        const bytes = esEncode(envelope, layout)
        const frame = canonical(bytes)
        const expected = asSent(esDecode(bytes))
        expect(esDecode(frame)).toEqual(expected)
        expect(envelopeOfFrame(frame)).toEqual(expected)
      }),
      { numRuns },
    )
  })

  it('drops header copies', () => {
    const envelope = messageOf({ room: 'ops', channel: 'control', sender: 'somebody', payload: { a: 1 } })
    expect(hexOf(canonical(esEncode(envelope, { headers: true })))).toBe(hexOf(canonical(encodeProtobuf(envelope))))
  })

  it('keeps the command of a Command that names it only outside', () => {
    const envelope = messageOf({ type: 'command', command: 'op.status' })
    expect(esDecode(canonical(encodeProtobuf(envelope))).command).toBe('op.status')
  })

  it('gives a frame without a time the server’s, else the present', () => {
    const bytes = eventFrame([field(5, 'general')])
    const timestampMs = Date.parse('2026-01-31T12:00:00.000Z')
    const given = reframe(scanFrame(bytes, limits), { sender, timestampMs })
    expect(esDecode(given).timestamp).toBe('2026-01-31T12:00:00.000Z')
    const before = Date.now()
    expect(Date.parse(esDecode(canonical(bytes)).timestamp)).toBeGreaterThanOrEqual(before)
    const own = eventFrame([], [numberField(4, 1)])
    expect(esDecode(reframe(scanFrame(own, limits), { sender, timestampMs })).timestamp).toBe(
      '1970-01-01T00:00:00.001Z',
    )
  })

  it('does not depend on the received bytes staying as they are', () => {
    const bytes = encodeProtobuf(messageOf({ payload: { text: 'x'.repeat(300) }, channel: 'general' }))
    const frame = canonical(bytes)
    const copy = hexOf(frame)
    bytes.fill(0xff)
    encodeProtobuf(messageOf({ payload: { text: 'y'.repeat(300) } }))
    canonical(encodeProtobuf(messageOf({ payload: { text: 'z'.repeat(300) } })))
    expect(hexOf(frame)).toBe(copy)
  })

  it('makes a frame that is its own canonical form', () => {
    fc.assert(
      fc.property(anyEnvelope(['message'], anyObject), (envelope) => {
        const frame = canonical(esEncode(envelope))
        expect(hexOf(canonical(frame))).toBe(hexOf(frame))
      }),
      { numRuns: 100 },
    )
  })
})

describe('frameFromEnvelope', () => {
  it('says the same as the frame of the same envelope that came as protobuf', () => {
    fc.assert(
      fc.property(anyEnvelope(inboundTypes), (envelope) => {
        const frame = frameFromEnvelope(envelope, server)
        expect(esDecode(frame)).toEqual(asSent(envelope))
        expect(envelopeOfFrame(frame)).toEqual(esDecode(canonical(encodeProtobuf(envelope))))
      }),
      { numRuns },
    )
  })
})

describe('position', () => {
  const positions = fc.record({
    epoch: fc.oneof(fc.integer({ min: 1, max: 10 }), fc.maxSafeInteger().map(Math.abs), fc.constant(220_000_000_000)),
    sequence: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.maxSafeInteger().map(Math.abs)),
  })

  function check(frame: Uint8Array, position: { epoch: number; sequence: number }): void {
    const plain = esDecode(frame)
    const expected = { ...plain, metadata: { ...plain.metadata, position } }
    const bytes = withPosition(frame, position)
    expect(bytes.length).toBe(positionedLength(frame))
    expect(esDecode(bytes)).toEqual(expected)
    expect(envelopeOfFrame(bytes)).toEqual(expected)
    expect(envelopeOfFrame(frame, position)).toEqual(expected)
    const target = new Uint8Array(positionedLength(frame) + 10).fill(0x55)
    expect(writePositioned(target, 5, frame, position)).toBe(5 + bytes.length)
    expect(hexOf(target.subarray(5, 5 + bytes.length))).toBe(hexOf(bytes))
    expect([...target.subarray(0, 5), ...target.subarray(5 + bytes.length)]).toEqual(Array(10).fill(0x55))
  }

  it('is one more entry of the metadata, whatever the envelope', () => {
    fc.assert(
      fc.property(anyEnvelope(inboundTypes), positions, (envelope, position) => {
        check(frameFromEnvelope(envelope, server), position)
        check(canonical(encodeProtobuf(envelope)), position)
      }),
      { numRuns: 200 },
    )
  })

  const position = { epoch: 220_000_000_000, sequence: 9_007_199_254_740_991 }
  const widths = [126, 127, 128, 16_383, 16_384, 65_535, 65_536, 1_048_576]

  it.each(widths)('fits around a payload of %i bytes', (size) => {
    const text = (length: number): Envelope =>
      messageOf({ room: 'science', channel: 'general', payload: { text: 'x'.repeat(length) } })
    const payloadOf = (length: number): number => scanFrame(encodeProtobuf(text(length)), limits).payload.length
    let length = size - 12
    while (payloadOf(length) > size) length--
    expect(size - payloadOf(length)).toBeLessThanOrEqual(1)
    for (const around of [-2, -1, 0, 1, 2]) check(frameFromEnvelope(text(length + around), server), position)
  })

  it.each(widths.filter((size) => size < 100_000))('fits after metadata of about %i bytes', (size) => {
    for (let length = size - 30; length <= size; length += 2) {
      check(frameFromEnvelope(messageOf({ metadata: { note: 'n'.repeat(length) } }), server), position)
    }
  })

  it('leaves the frame without position as it was', () => {
    const frame = frameFromEnvelope(messageOf({ metadata: { trace: 'x' } }), server)
    const copy = hexOf(frame)
    withPosition(frame, position)
    expect(hexOf(frame)).toBe(copy)
  })
})

describe('openFrame', () => {
  it('tells what a canonical frame is about', () => {
    fc.assert(
      fc.property(anyEnvelope(inboundTypes), (envelope) => {
        const expected = {
          id: envelope.id,
          type: envelope.type,
          sender,
          room: envelope.room,
          channel: envelope.channel,
          toClient: envelope.to_client,
        }
        const frame = frameFromEnvelope(envelope, server)
        expect(openFrame(frame)).toEqual(expected)
        expect(openFrame(withPosition(frame, { epoch: 1, sequence: 1 }))).toEqual(expected)
      }),
      { numRuns: 200 },
    )
  })
})

describe('payloadHash', () => {
  const hashOf = (frame: Uint8Array): string => hexOf(payloadHash(frame))

  it('is 16 bytes, whatever surrounds the payload', () => {
    fc.assert(
      fc.property(anyEnvelope(['message']), anyEnvelope(['message', 'telemetry']), anyName, (one, other, name) => {
        const first = hashOf(frameFromEnvelope(one, server))
        const second = hashOf(frameFromEnvelope({ ...other, payload: one.payload }, { sender: name }))
        expect(first).toMatch(/^[0-9a-f]{32}$/)
        expect(second).toBe(first)
      }),
      { numRuns: 200 },
    )
  })

  it('is equal exactly where the payload’s bytes are', () => {
    const somePayload = anyValue.filter((value) => value !== null)
    const frames = (payload: JsonValue): Uint8Array => encodeProtobuf(messageOf({ payload }))
    fc.assert(
      fc.property(somePayload, somePayload, (left, right) => {
        const [a, b] = [scanFrame(frames(left), limits), scanFrame(frames(right), limits)]
        const isSame = Buffer.from(a.payload).equals(b.payload)
        expect(hashOf(reframe(a, server)) === hashOf(reframe(b, server))).toBe(isSame)
      }),
      { numRuns },
    )
  })

  it('is the same for publishers in JSON and in protobuf', () => {
    fc.assert(
      fc.property(anyEnvelope(['message']), (envelope) => {
        const fromJson = frameFromEnvelope(decodeJson(encodeJson(envelope), unlimitedIntegers(envelope)), server)
        expect(hashOf(fromJson)).toBe(hashOf(canonical(encodeProtobuf(envelope))))
      }),
      { numRuns },
    )
  })

  it('is the same for an absent payload and an empty one', () => {
    expect(hashOf(canonical(eventFrame([])))).toBe(hashOf(canonical(eventFrame([field(20)]))))
  })
})

/** JSON refuses whole numbers beyond 2^53, which protobuf carries as doubles: such envelopes are not compared. */
function unlimitedIntegers(envelope: Envelope): typeof limits {
  fc.pre(
    !/(?<![\w".-])-?\d{16,}(?![\d.eE])/.test(
      JSON.stringify({ p: envelope.payload, a: envelope.args, m: envelope.metadata }),
    ),
  )
  return limits
}

it('keeps the id of a sample frame readable', () => {
  expect(openFrame(canonical(eventFrame([]))).id).toBe(sampleId)
})
