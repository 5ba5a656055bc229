// The schema walk against the shipped descriptor, against a narrower one of an operator, and against every way a frame
// can be wrong.
import { create, toBinary, createFileRegistry, fromBinary, toJson, fromJson } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loadSchema, type SchemaViolation, schemaRules } from '../../../src/shield/schema.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { scanFrame } from '../../../src/wire/message-frame.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'

const shipped = readFileSync(new URL('../../../src/wire/generated/envelope.desc', import.meta.url))
const schema = loadSchema(shipped, 104)
const id = 'arq_1795417006860163159_1_55420b'

const good: Envelope = {
  id,
  timestamp: '2026-11-23T12:00:00.000Z',
  type: 'message',
  version: '1.0',
  room: 'ops',
  channel: 'a',
  payload: { text: 'ünï', list: [1, 'two', null, true, { deep: {} }] },
  args: {},
  metadata: { ack: 'stored' },
}

const text = (value: string): number[] => [...Buffer.from(value)]
const field = (number: number, wireType: number, body: readonly number[]): number[] => [
  ...varint(number * 8 + wireType),
  ...body,
]
const bytes = (number: number, body: readonly number[]): number[] => field(number, 2, [...varint(body.length), ...body])
function varint(value: number): number[] {
  const out: number[] = []
  let rest = value
  while (rest > 127) {
    out.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  return [...out, rest]
}
/** An envelope around BusPayload fields given as bytes. */
function envelopeWith(payload: readonly number[], outer: readonly number[] = []): Uint8Array {
  return Uint8Array.from([
    ...bytes(1, text(id)),
    ...outer,
    ...bytes(21, [...bytes(1, text('message')), ...bytes(2, payload)]),
  ])
}

function violation(frame: Uint8Array, by = schema): SchemaViolation | undefined {
  return by.check(frame).violation
}

test('passes what the codec makes, of every type a client sends', () => {
  const frames: Envelope[] = [
    good,
    { ...good, type: 'command', command: 'join_channel', args: { room: 'ops', channel: 'a' } },
    { ...good, type: 'response', request_id: id, status: 'success' },
    { ...good, type: 'error', error: 'text', error_code: 'CODE' },
    { ...good, type: 'telemetry', to_client: 'x', from_client: 'y' },
    { ...good, metadata: { tenant_id: 'acme', twist_id: 'tw', sequence: 3, vector_clock: { a: 1 } } },
  ]
  for (const envelope of frames) expect(violation(encodeProtobuf(envelope))).toBeUndefined()
})

test("passes the original's fixture, with its header copies", () => {
  const headers = ['channel', 'sender', 'version', 'envelope_type'].flatMap((name) =>
    bytes(6, [...bytes(1, text(name)), ...bytes(2, text('value'))]),
  )
  const frame = envelopeWith(
    [...bytes(1, text(id)), ...bytes(2, text('message'))],
    [...bytes(2, text('acme')), ...field(4, 0, varint(1_771_545_600_000)), ...headers],
  )
  expect(violation(frame)).toBeUndefined()
})

describe('refuses, naming the field and the rule', () => {
  const twice = bytes(5, [...text('a')])
  const deep = (levels: number): number[] => {
    let body: number[] = []
    for (let i = 0; i < levels; i++) body = bytes(1, [...bytes(1, text('k')), ...bytes(2, bytes(5, body))])
    return bytes(20, body)
  }
  const cases: [string, Uint8Array, SchemaViolation][] = [
    ['an empty frame', new Uint8Array(), { rule: 'EMPTY', path: '' }],
    ['an unknown field', envelopeWith([], bytes(99, [])), { rule: 'UNKNOWN_FIELD', path: '99' }],
    ['an unknown inner field', envelopeWith(bytes(77, [])), { rule: 'UNKNOWN_FIELD', path: 'event.data.77' }],
    ['text as a number', envelopeWith([], field(3, 0, [1])), { rule: 'WIRE_TYPE', path: 'room_id' }],
    ['a number as text', envelopeWith([], bytes(4, [1])), { rule: 'WIRE_TYPE', path: 'timestamp' }],
    [
      'a fixed number',
      envelopeWith([], field(4, 1, [1, 2, 3, 4, 5, 6, 7, 8])),
      { rule: 'WIRE_TYPE', path: 'timestamp' },
    ],
    ['a group', envelopeWith([], field(3, 3, [])), { rule: 'WIRE_TYPE', path: 'room_id' }],
    ['field number 0', envelopeWith([], [0x02, 0x00]), { rule: 'BAD_TAG', path: '' }],
    [
      'a field twice',
      envelopeWith([], [...bytes(3, text('a')), ...bytes(3, text('b'))]),
      { rule: 'DUPLICATE_FIELD', path: 'room_id' },
    ],
    [
      'an inner field twice',
      envelopeWith([...twice, ...twice]),
      { rule: 'DUPLICATE_FIELD', path: 'event.data.channel' },
    ],
    ['two bodies', envelopeWith([], bytes(20, [])), { rule: 'ONEOF_CONFLICT', path: 'event' }],
    ['bad UTF-8', envelopeWith([], bytes(3, [0xc0, 0x80])), { rule: 'BAD_UTF8', path: 'room_id' }],
    ['bad UTF-8 in a header', envelopeWith([], bytes(6, bytes(1, [0xff]))), { rule: 'BAD_UTF8', path: 'headers.key' }],
    ['no body', Uint8Array.from(bytes(1, text(id))), { rule: 'REQUIRED_FIELD', path: 'payload' }],
    [
      'a signal',
      Uint8Array.from([...bytes(1, text(id)), ...bytes(22, [])]),
      { rule: 'REQUIRED_FIELD', path: 'payload' },
    ],
    [
      'an unknown signal',
      Uint8Array.from(bytes(22, field(1, 0, [9]))),
      { rule: 'UNKNOWN_ENUM_VALUE', path: 'signal.type' },
    ],
    ['no id', Uint8Array.from(bytes(21, [])), { rule: 'REQUIRED_FIELD', path: 'trace_id' }],
    [
      'nesting',
      envelopeWith(deep(60)),
      { rule: 'TOO_DEEP', path: expect.stringMatching(/^event\.data\.payload\.fields/) },
    ],
    ['a cut length', Uint8Array.from([0x0a, 0x7f, 1]), { rule: 'TRUNCATED', path: 'trace_id' }],
    [
      'an endless varint',
      Uint8Array.from([0x20, ...Array<number>(11).fill(0xff)]),
      { rule: 'TRUNCATED', path: 'timestamp' },
    ],
  ]
  test.each(cases)('%s', (_name, frame, expected) => {
    expect(violation(frame)).toEqual(expected)
  })

  test('with the id, wherever it could be read', () => {
    expect(schema.check(envelopeWith([], bytes(99, [])))).toMatchObject({ id })
    const inner = Uint8Array.from(bytes(21, bytes(2, [...bytes(1, text(id)), ...bytes(77, [])])))
    expect(schema.check(inner)).toMatchObject({ id, violation: { rule: 'UNKNOWN_FIELD' } })
  })
})

test('a frame cut anywhere is refused, unless what is left is a whole frame', () => {
  const frame = encodeProtobuf(good)
  for (let end = 0; end < frame.length; end++) {
    expect(violation(frame.subarray(0, end)), `cut at ${end}`).toBeDefined()
  }
})

test('never throws, never hangs, and lets nothing through that the wire refuses as protobuf', () => {
  const frame = encodeProtobuf(good)
  const mutated = fc
    .array(fc.tuple(fc.nat(frame.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    .map((changes) => {
      const copy = frame.slice()
      for (const [at, value] of changes) copy[at] = value
      return copy
    })
  const wild = fc.uint8Array({ maxLength: 200 })
  fc.assert(
    fc.property(fc.oneof(mutated, wild), (data) => {
      const found = violation(data)
      if (found !== undefined) {
        expect(schemaRules).toContain(found.rule)
        return
      }
      try {
        scanFrame(data, defaultWireLimits)
      } catch (error) {
        const reason = (error as { details: { reason?: string } }).details.reason
        expect(['PB_TRUNCATED', 'PB_WIRE_TYPE', 'PB_UNKNOWN_FIELD', 'PB_EMPTY']).not.toContain(reason)
      }
    }),
    { numRuns: 3_000 },
  )
})

describe("an operator's descriptor", () => {
  /** The shipped set without the named fields. */
  function without(fields: Readonly<Record<string, readonly string[]>>): Uint8Array {
    const set = fromBinary(FileDescriptorSetSchema, shipped)
    for (const file of set.file) {
      for (const message of file.messageType) {
        const gone = fields[`${file.package}.${message.name}`] ?? []
        message.field = message.field.filter(({ name }) => !gone.includes(name))
      }
    }
    return toBinary(FileDescriptorSetSchema, set)
  }

  test('that is narrower refuses what the bus itself would take', () => {
    const frame = encodeProtobuf({ ...good, to_client: 'arq_client_x' })
    expect(() => scanFrame(frame, defaultWireLimits)).not.toThrow()
    expect(violation(frame)).toBeUndefined()
    const narrow = loadSchema(without({ 'arqon.pybus.v1.BusPayload': ['to_client'] }), 104)
    expect(violation(frame, narrow)).toEqual({ rule: 'UNKNOWN_FIELD', path: 'event.data.12' })
    expect(violation(encodeProtobuf(good), narrow)).toBeUndefined()
    const noEvents = loadSchema(without({ 'arqon.v1.Envelope': ['event'] }), 104)
    expect(violation(encodeProtobuf(good), noEvents)).toEqual({ rule: 'UNKNOWN_FIELD', path: '21' })
  })

  test('that has no envelope, or is no descriptor, refuses the start', () => {
    const empty = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema))
    expect(() => loadSchema(empty, 104)).toThrow(expect.objectContaining({ code: 'START_REFUSED' }))
    for (const junk of [new Uint8Array(), Buffer.from('not a descriptor'), shipped.subarray(0, shipped.length - 7)]) {
      expect(() => loadSchema(junk, 104)).toThrow(expect.objectContaining({ code: 'START_REFUSED' }))
    }
  })

  test('notices each field that comes twice, in a message of any size', () => {
    const set = fromBinary(FileDescriptorSetSchema, shipped)
    const envelope = set.file.flatMap(({ messageType }) => messageType).find(({ name }) => name === 'Envelope')!
    const numbers = Array.from({ length: 60 }, (_, i) => 100 + i)
    for (const number of numbers) {
      const { STRING: type } = FieldDescriptorProto_Type
      const { OPTIONAL: label } = FieldDescriptorProto_Label
      envelope.field.push(create(FieldDescriptorProtoSchema, { name: `more_${number}`, number, type, label }))
    }
    const large = loadSchema(toBinary(FileDescriptorSetSchema, set), 104)
    const each = numbers.flatMap((number) => bytes(number, text('x')))
    expect(violation(envelopeWith([], each), large)).toBeUndefined()
    for (const number of numbers) {
      expect(violation(envelopeWith([], [...each, ...bytes(number, text('x'))]), large)).toEqual({
        rule: 'DUPLICATE_FIELD',
        path: `more_${number}`,
      })
    }
    expect(violation(envelopeWith([], [...each, ...bytes(20, [])]), large)).toMatchObject({ rule: 'ONEOF_CONFLICT' })
  })

  test('knows every kind of field: packed numbers, fixed numbers, enums, maps', () => {
    const set = fromJson(FileDescriptorSetSchema, {
      file: [
        {
          name: 'own.proto',
          package: 'arqon.v1',
          syntax: 'proto3',
          enumType: [
            {
              name: 'Kind',
              value: [
                { name: 'NONE', number: 0 },
                { name: 'ONE', number: 1 },
              ],
            },
          ],
          messageType: [
            {
              name: 'Envelope',
              field: [
                { name: 'trace_id', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
                { name: 'event', number: 21, type: 'TYPE_MESSAGE', typeName: '.arqon.v1.Own', label: 'LABEL_OPTIONAL' },
              ],
            },
            {
              name: 'Own',
              field: [
                { name: 'packed', number: 1, type: 'TYPE_INT32', label: 'LABEL_REPEATED' },
                { name: 'four', number: 2, type: 'TYPE_FIXED32', label: 'LABEL_OPTIONAL' },
                { name: 'eight', number: 3, type: 'TYPE_DOUBLE', label: 'LABEL_REPEATED' },
                { name: 'kinds', number: 4, type: 'TYPE_ENUM', typeName: '.arqon.v1.Kind', label: 'LABEL_REPEATED' },
                { name: 'texts', number: 5, type: 'TYPE_STRING', label: 'LABEL_REPEATED' },
              ],
            },
          ],
        },
      ],
    } as Parameters<typeof fromJson>[1])
    const own = loadSchema(toBinary(FileDescriptorSetSchema, set), 104)
    expect(createFileRegistry(set).getMessage('arqon.v1.Own')).toBeDefined()
    expect(toJson(FileDescriptorSetSchema, set)).toBeDefined()
    const frame = (body: readonly number[]): Uint8Array => Uint8Array.from([...bytes(1, text(id)), ...bytes(21, body)])
    const eight = [0, 0, 0, 0, 0, 0, 0, 0]
    expect(violation(frame([...bytes(1, [1, 2, 3]), ...field(1, 0, [4]), ...bytes(1, [])]), own)).toBeUndefined()
    expect(violation(frame(bytes(1, [1, 0x80])), own)).toEqual({ rule: 'TRUNCATED', path: 'event.packed' })
    expect(violation(frame(field(2, 5, [1, 2, 3, 4])), own)).toBeUndefined()
    expect(violation(frame(field(2, 5, [1, 2, 3])), own)).toEqual({ rule: 'TRUNCATED', path: 'event.four' })
    expect(violation(frame(bytes(2, [1, 2, 3, 4])), own)).toEqual({ rule: 'WIRE_TYPE', path: 'event.four' })
    expect(violation(frame([...bytes(3, [...eight, ...eight]), ...field(3, 1, eight)]), own)).toBeUndefined()
    expect(violation(frame(bytes(3, [...eight, 1])), own)).toEqual({ rule: 'TRUNCATED', path: 'event.eight' })
    expect(violation(frame(bytes(4, [0, 1])), own)).toBeUndefined()
    expect(violation(frame(bytes(4, [0, 2])), own)).toEqual({ rule: 'UNKNOWN_ENUM_VALUE', path: 'event.kinds' })
    expect(violation(frame([...bytes(5, text('a')), ...bytes(5, text('b'))]), own)).toBeUndefined()
  })
})
