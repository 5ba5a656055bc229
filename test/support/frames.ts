// Frames for the tests of the wire, made and read without our own codec: protobuf-es and raw fields. What it reads here
// is the mapping of original-contract 2.6, written down a second time.
import { create, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import fc from 'fast-check'
import { toIsoTime } from '../../src/base/clock.ts'
import { isBusError } from '../../src/base/errors.ts'
import type { JsonObject, JsonValue } from '../../src/base/json.ts'
import { type Envelope, type EnvelopeType, inboundTypes, outboundTypes } from '../../src/envelope/envelope.ts'
import { BusPayloadSchema } from '../../src/wire/generated/arqon/pybus/v1/bus_payload_pb.ts'
import { CommandSchema, EnvelopeSchema, EventSchema } from '../../src/wire/generated/arqon/v1/envelope_pb.ts'

export const sampleId = 'arq_1795417006860163159_1_55420b'
export const sampleTime = '2026-11-23T06:56:47.145Z'

/** A message with all it needs and nothing else; `changes` on top. */
export function messageOf(changes: Partial<Envelope> = {}): Envelope {
  return {
    id: sampleId,
    timestamp: sampleTime,
    type: 'message',
    version: '1.0',
    payload: {},
    args: {},
    metadata: {},
    ...changes,
  }
}

/** Text fields of BusPayload that the original copies into headers: name on the wire -> name in protobuf-es. */
export const copiedFields = {
  channel: 'channel',
  sender: 'sender',
  request_id: 'requestId',
  status: 'status',
  error: 'error',
  error_code: 'errorCode',
  from_client: 'fromClient',
  to_client: 'toClient',
} as const
const copiedNames = Object.keys(copiedFields) as (keyof typeof copiedFields)[]

export interface EsFrameOptions {
  /** With the original's copies of text fields in `headers`. */
  readonly headers?: boolean
  /** Leaves the copied text fields out of BusPayload, so that only the headers have them. */
  readonly bare?: boolean
}

/** An envelope whose payload is an object, as protobuf-es and the original lay it out. */
export function esEncode(envelope: Envelope, { headers = false, bare = false }: EsFrameOptions = {}): Uint8Array {
  const { metadata, args, command } = envelope
  const payload = envelope.payload as JsonObject // callers pass objects only
  const inner = create(BusPayloadSchema, { payload, args, metadata, ...(command !== undefined && { command }) })
  const outer = create(EnvelopeSchema, {
    traceId: envelope.id,
    roomId: envelope.room ?? '',
    timestamp: BigInt(Date.parse(envelope.timestamp)),
    tenantId: textOf(metadata['tenant_id']),
    twistId: textOf(metadata['twist_id']),
  })
  if (!bare) Object.assign(inner, { envelopeId: envelope.id, envelopeType: envelope.type, version: envelope.version })
  if (headers || bare) Object.assign(outer.headers, { envelope_type: envelope.type, version: envelope.version })
  for (const name of copiedNames) {
    const text = envelope[name]
    if (text === undefined) continue
    if (!bare) inner[copiedFields[name]] = text
    if (headers || bare) outer.headers[name] = text
  }
  const data = toBinary(BusPayloadSchema, inner)
  if (envelope.type === 'command') {
    outer.payload = { case: 'cmd', value: create(CommandSchema, { type: command ?? 'command', data }) }
  } else outer.payload = { case: 'event', value: create(EventSchema, { type: envelope.type, data }) }
  return toBinary(EnvelopeSchema, outer)
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : ''
}

/** What protobuf-es finds in a frame, as an envelope by the precedence of contract 2.6; no rule is checked. */
export function esDecode(bytes: Uint8Array): Envelope {
  const outer = fromBinary(EnvelopeSchema, bytes)
  const { payload: kind, headers } = outer
  const typed = kind.case === 'cmd' || kind.case === 'event' ? kind.value : undefined
  const inner = fromBinary(BusPayloadSchema, typed?.data ?? new Uint8Array())
  const type = inner.envelopeType || headers['envelope_type'] || typeOfKind(outer)
  const envelope: Envelope = {
    id: outer.traceId || inner.envelopeId,
    timestamp: toIsoTime(Number(outer.timestamp)),
    type: type as EnvelopeType, // whatever the frame says; no rule is checked
    version: inner.version || headers['version'] || '1.0',
    ...structsOf(outer, inner),
  }
  if (outer.roomId !== '') envelope.room = outer.roomId
  const command = inner.command || (kind.case === 'cmd' && type === 'command' ? kind.value.type : '')
  if (command !== '') envelope.command = command
  for (const name of copiedNames) {
    const text = inner[copiedFields[name]] || headers[name]
    if (text) envelope[name] = text
  }
  return envelope
}

function structsOf(
  outer: MessageShape<typeof EnvelopeSchema>,
  { payload = {}, args = {}, metadata = {} }: MessageShape<typeof BusPayloadSchema>,
): Pick<Envelope, 'payload' | 'args' | 'metadata'> {
  if (outer.tenantId !== '') metadata['tenant_id'] ??= outer.tenantId
  if (outer.twistId !== '') metadata['twist_id'] ??= outer.twistId
  const wrapped = Object.keys(payload).length === 1 ? payload['$value'] : undefined
  return { payload: wrapped === undefined ? payload : wrapped, args, metadata }
}

function typeOfKind({ payload }: MessageShape<typeof EnvelopeSchema>): string {
  if (payload.case === 'cmd') return 'command'
  if (payload.case === 'signal') return 'telemetry'
  return payload.value?.type || 'message'
}

// Raw fields: what no encoder would write.

export const wire = { varint: 0, fixed64: 1, delimited: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const

export function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 0x80)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

export function tag(field: number, wireType: number): Uint8Array {
  return varint(field * 8 + wireType)
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** A length-delimited field of text, bytes or a message's fields. */
export function field(number: number, ...content: readonly (Uint8Array | string)[]): Uint8Array {
  const body = concat(...content.map((part) => (typeof part === 'string' ? new TextEncoder().encode(part) : part)))
  return concat(tag(number, wire.delimited), varint(body.length), body)
}

/** A field of the wire type varint. */
export function numberField(number: number, value: number | bigint): Uint8Array {
  return concat(tag(number, wire.varint), varint(value))
}

export function doubleField(number: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value, true)
  return concat(tag(number, wire.fixed64), bytes)
}

/** Struct.fields: one entry with this Value. */
export function entry(key: string | Uint8Array, ...value: readonly Uint8Array[]): Uint8Array {
  return field(1, field(1, key), field(2, ...value))
}

/** An event of type `message` whose BusPayload consists of these fields; `outer` stands before the event. */
export function eventFrame(payload: readonly Uint8Array[], outer: readonly Uint8Array[] = []): Uint8Array {
  return concat(field(1, sampleId), ...outer, field(21, field(1, 'message'), field(2, ...payload)))
}

/** The top-level fields of a message, each with its tag. */
export function splitFields(bytes: Uint8Array): Uint8Array[] {
  const reader = new BinaryReader(bytes)
  const fields: Uint8Array[] = []
  while (reader.pos < reader.len) {
    const start = reader.pos
    const [number, wireType] = reader.tag()
    reader.skip(wireType, number)
    fields.push(bytes.slice(start, reader.pos))
  }
  return fields
}

/** The same frame with the fields of Envelope, of its Command or Event, and of BusPayload in the order of `rank`. */
export function reorder(bytes: Uint8Array, rank: (count: number) => readonly number[]): Uint8Array {
  const shuffled = (parts: readonly Uint8Array[]): Uint8Array[] => rank(parts.length).map((index) => parts[index]!)
  const inside = (fieldBytes: Uint8Array, change: (body: Uint8Array) => Uint8Array): Uint8Array => {
    const reader = new BinaryReader(fieldBytes)
    const [number] = reader.tag()
    return field(number, change(reader.bytes()))
  }
  const numberOf = (fieldBytes: Uint8Array): number => new BinaryReader(fieldBytes).tag()[0]
  const outer = splitFields(bytes).map((part) =>
    numberOf(part) < 20
      ? part
      : inside(part, (typed) => {
          const parts = splitFields(typed).map((one) =>
            numberOf(one) === 2 ? inside(one, (data) => concat(...shuffled(splitFields(data)))) : one,
          )
          return concat(...shuffled(parts))
        }),
  )
  return concat(...shuffled(outer))
}

/** The reason of the VALIDATION_ERROR that `run` throws; `undefined` when it returns. Anything else is thrown on. */
export function reasonOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    if (!isBusError(error, 'VALIDATION_ERROR')) throw error
    return String(error.details['reason'])
  }
  return undefined
}

// Random envelopes.

const unsafeKeys = new Set(['__proto__', 'constructor', 'prototype'])

/** Any well-formed text, of all planes. */
export const anyText = fc.string({ unit: 'binary', maxLength: 40 })
const someText = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 })

export const anyKey = fc.string({ unit: 'binary', maxLength: 12 }).filter((key) => !unsafeKeys.has(key))

/** Numbers are finite; -0 is left out, because JSON cannot print it. */
export const anyNumber = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger().map((value) => value + 0),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
)

const values = fc.letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    anyText,
    anyNumber,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.dictionary(anyKey, tie('value'), { maxKeys: 4, noNullPrototype: true }),
}))

export const anyValue: fc.Arbitrary<JsonValue> = values.value
export const anyObject: fc.Arbitrary<JsonObject> = values.object

const hex = '0123456789abcdef'
const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const textFrom = (alphabet: string, length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...alphabet.split('')), minLength: length, maxLength: length })

/** Ids of the four accepted forms. */
export const anyId: fc.Arbitrary<string> = fc.oneof(
  fc
    .tuple(fc.bigInt({ min: 1n, max: 10n ** 19n }), fc.nat(), textFrom(hex, 6))
    .map(([start, counter, tail]) => `arq_${start}_${counter}_${tail}`),
  textFrom(crockford, 26).map((tail) => `arq_${tail}`),
  fc.tuple(textFrom('01234567', 1), textFrom(crockford, 25)).map((parts) => parts.join('')),
  fc.uuid({ version: 7 }),
)

/** Room and channel names: what design 4 lets in. */
export const anyName = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 32 })
  .filter((name) => !/[\p{Cc}]/u.test(name) && name !== '*' && name !== '>')

const metadata: fc.Arbitrary<JsonObject> = fc
  .tuple(
    fc.dictionary(
      anyKey.map((key) => `x${key}`),
      values.value,
      { maxKeys: 3, noNullPrototype: true },
    ),
    fc.record(
      {
        ack: fc.constantFrom('none', 'accepted', 'stored'),
        sequence: fc.integer({ min: 1 }),
        vector_clock: fc.dictionary(
          anyKey.filter((key) => key !== ''),
          fc.nat(),
          { maxKeys: 3, noNullPrototype: true },
        ),
        causal_parent_id: anyId,
        tenant_id: fc.stringMatching(/^[a-z][a-z0-9_-]{0,20}$/),
        twist_id: anyText,
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  )
  .map(([free, known]) => ({ ...free, ...known }))

/** Times of the years 0 to 9999, in milliseconds; not 0, which proto3 does not send. */
export const anyTimeMs = fc
  .oneof(
    fc.integer({ min: Date.parse('0000-01-01T00:00:00Z'), max: Date.parse('9999-12-31T23:59:59.999Z') }),
    fc.integer({ min: Date.parse('2020-01-01T00:00:00Z'), max: Date.parse('2040-01-01T00:00:00Z') }),
  )
  .filter((ms) => ms !== 0)

/** Envelopes that are valid in both formats; those of inbound types are let in. */
export function anyEnvelope(
  types: readonly EnvelopeType[] = [...inboundTypes, ...outboundTypes],
  payload: fc.Arbitrary<JsonValue> = anyValue,
): fc.Arbitrary<Envelope> {
  return fc
    .record(
      {
        id: anyId,
        timestamp: anyTimeMs.map(toIsoTime),
        type: fc.constantFrom(...types),
        version: fc.constant('1.0'),
        payload,
        args: anyObject,
        metadata,
        room: anyName,
        channel: anyName,
        sender: someText,
        from_client: someText,
        to_client: someText,
        command: someText,
        request_id: someText,
        status: someText,
        error: someText,
        error_code: someText,
      },
      {
        requiredKeys: ['id', 'timestamp', 'type', 'version', 'payload', 'args', 'metadata'],
        noNullPrototype: true,
      },
    )
    .map(withRequired)
}

/** Adds what the envelope's type cannot do without (original-contract 2.3). */
function withRequired(envelope: Envelope): Envelope {
  const { type } = envelope
  if (type === 'command') return { command: 'a.command', ...envelope }
  if (type === 'response') return { request_id: sampleId, status: 'success', ...envelope }
  if (type === 'error') return { error: 'it failed', ...envelope }
  const needsPayload = type === 'message' || type === 'operator.join'
  return needsPayload && envelope.payload === null ? { ...envelope, payload: {} } : envelope
}

/** For comparing bytes whatever the class of their array. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** mulberry32: small, seeded, good enough to choose damage. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
