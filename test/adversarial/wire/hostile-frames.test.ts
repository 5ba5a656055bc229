// Frames made to hurt: each is refused with its exact reason, by the scan of the hot path and by the general decoder.
import { describe, expect, it } from 'vitest'
import { decodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { scanFrame } from '../../../src/wire/message-frame.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import {
  concat,
  doubleField,
  entry,
  esDecode,
  eventFrame,
  field,
  numberField,
  reasonOf,
  sampleId,
  tag,
  varint,
  wire,
} from '../../support/frames.ts'

const text = (value: string | Uint8Array): Uint8Array => field(3, value)
const isTrue = numberField(4, 1)
const badUtf8 = Uint8Array.from([0x61, 0xc3, 0x28])
const surrogate = Uint8Array.from([0xed, 0xa0, 0x80]) // U+D800 in the way of UTF-8
const overlong = Uint8Array.from([0xc0, 0xaf])
const bytesOf = (...values: number[]): Uint8Array => Uint8Array.from(values)

/** An event whose payload is a Struct of these bytes. */
const withPayload = (...struct: Uint8Array[]): Uint8Array => eventFrame([field(20, ...struct)])
/** One of the Structs, by field number. */
const withStruct = (number: number, ...struct: Uint8Array[]): Uint8Array => eventFrame([field(number, ...struct)])

function nestedStruct(levels: number): Uint8Array {
  let struct = concat()
  for (let i = 1; i < levels; i++) struct = entry('a', field(5, struct))
  return struct
}

function nestedList(levels: number): Uint8Array {
  let value = isTrue
  for (let i = 0; i < levels; i++) value = field(6, field(1, value))
  return entry('a', value)
}

function check(bytes: Uint8Array, reason: string | undefined): void {
  expect(reasonOf(() => scanFrame(bytes, limits))).toBe(reason)
  expect(reasonOf(() => decodeProtobuf(bytes, limits))).toBe(reason)
}

type Case = readonly [name: string, bytes: Uint8Array, reason: string]

const group = (number: number): Uint8Array => concat(tag(number, wire.startGroup), tag(number, wire.endGroup))

describe('the shape of fields', () => {
  const cases: Case[] = [
    ['an empty frame', concat(), 'PB_EMPTY'],
    ['field 0', concat(bytesOf(0x02, 0x00), eventFrame([])), 'PB_UNKNOWN_FIELD'],
    ['field 0 in BusPayload', eventFrame([bytesOf(0x02, 0x00)]), 'PB_UNKNOWN_FIELD'],
    ['field 0 in a Struct', withPayload(bytesOf(0x00, 0x00)), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of Envelope', eventFrame([], [field(7, 'x')]), 'PB_UNKNOWN_FIELD'],
    ['an unknown number of Envelope', eventFrame([], [numberField(100, 1)]), 'PB_UNKNOWN_FIELD'],
    ['the highest field number', eventFrame([], [field(536_870_911, 'x')]), 'PB_UNKNOWN_FIELD'],
    [
      'a field number beyond the highest',
      eventFrame([], [concat(varint(2 ** 33 + 10), varint(0))]),
      'PB_UNKNOWN_FIELD',
    ],
    ['an unknown field of BusPayload', eventFrame([field(13, 'x')]), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of Event', concat(field(1, sampleId), field(21, field(3, 'x'))), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of SystemSignal', concat(field(1, sampleId), field(22, field(3, 'x'))), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of a header', eventFrame([], [field(6, field(3, 'x'))]), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of a Struct', withPayload(field(2, 'x')), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of an entry', withPayload(field(1, field(3, 'x'))), 'PB_UNKNOWN_FIELD'],
    ['an unknown kind of Value', withPayload(entry('a', field(7, 'x'))), 'PB_UNKNOWN_FIELD'],
    ['an unknown field of a list', withPayload(entry('a', field(6, field(2, 'x')))), 'PB_UNKNOWN_FIELD'],
    ['text as a number', concat(numberField(1, 5), eventFrame([])), 'PB_WIRE_TYPE'],
    ['text as a double', concat(doubleField(1, 1), eventFrame([])), 'PB_WIRE_TYPE'],
    ['text of BusPayload as a number', eventFrame([numberField(5, 1)]), 'PB_WIRE_TYPE'],
    ['text of BusPayload as a fixed32', eventFrame([concat(tag(5, wire.fixed32), new Uint8Array(4))]), 'PB_WIRE_TYPE'],
    ['the time as text', eventFrame([], [field(4, '2026')]), 'PB_WIRE_TYPE'],
    ['the time as a fixed64', eventFrame([], [doubleField(4, 1)]), 'PB_WIRE_TYPE'],
    ['an event that is a number', concat(field(1, sampleId), numberField(21, 1)), 'PB_WIRE_TYPE'],
    ['a payload that is a number', eventFrame([numberField(20, 1)]), 'PB_WIRE_TYPE'],
    ['a signal’s reason as a number', concat(field(1, sampleId), field(22, numberField(2, 1))), 'PB_WIRE_TYPE'],
    ['a header’s name as a number', eventFrame([], [field(6, numberField(1, 1))]), 'PB_WIRE_TYPE'],
    ['a Struct’s entry as a number', withPayload(numberField(1, 1)), 'PB_WIRE_TYPE'],
    ['a key as a number', withPayload(field(1, numberField(1, 1), field(2, isTrue))), 'PB_WIRE_TYPE'],
    ['a Value as a number', withPayload(field(1, field(1, 'a'), numberField(2, 1))), 'PB_WIRE_TYPE'],
    ['a text Value as a number', withPayload(entry('a', numberField(3, 1))), 'PB_WIRE_TYPE'],
    ['a double as a varint', withPayload(entry('a', numberField(2, 1))), 'PB_WIRE_TYPE'],
    ['a list item as a number', withPayload(entry('a', field(6, numberField(1, 1)))), 'PB_WIRE_TYPE'],
    ['a group of a known field', concat(group(1), eventFrame([])), 'PB_WIRE_TYPE'],
    ['a group of an unknown field', concat(group(15), eventFrame([])), 'PB_UNKNOWN_FIELD'],
    ['the end of a group alone', concat(tag(1, wire.endGroup), eventFrame([])), 'PB_WIRE_TYPE'],
    ['a group in BusPayload', eventFrame([group(5)]), 'PB_WIRE_TYPE'],
    ['a group in a Value', withPayload(entry('a', group(5))), 'PB_WIRE_TYPE'],
    ['wire type 6', concat(bytesOf(0x0e, 0x00), eventFrame([])), 'PB_WIRE_TYPE'],
    ['wire type 7', concat(bytesOf(0x0f, 0x00), eventFrame([])), 'PB_WIRE_TYPE'],
  ]
  it.each(cases)('%s', (_, bytes, reason) => check(bytes, reason))
})

describe('fields that stand twice', () => {
  const twice = (bytes: Uint8Array): Uint8Array[] => [bytes, bytes]
  const cases: Case[] = [
    ['the id', concat(field(1, sampleId), eventFrame([])), 'PB_DUPLICATE_FIELD'],
    ['the tenant', eventFrame([], twice(field(2, 'acme'))), 'PB_DUPLICATE_FIELD'],
    ['the room', eventFrame([], [field(3, 'a'), field(3, 'b')]), 'PB_DUPLICATE_FIELD'],
    ['the time', eventFrame([], twice(numberField(4, 1))), 'PB_DUPLICATE_FIELD'],
    ['the signature', eventFrame([], twice(field(10, 'x'))), 'PB_DUPLICATE_FIELD'],
    ['the event', concat(eventFrame([]), field(21, field(1, 'message'))), 'PB_DUPLICATE_FIELD'],
    ['a command beside the event', concat(eventFrame([]), field(20, field(1, 'x'))), 'PB_DUPLICATE_FIELD'],
    ['a signal beside the event', concat(eventFrame([]), field(22)), 'PB_DUPLICATE_FIELD'],
    ['data', concat(field(1, sampleId), field(21, ...twice(field(2)))), 'PB_DUPLICATE_FIELD'],
    ['the type of an Event', concat(field(1, sampleId), field(21, ...twice(field(1, 'x')))), 'PB_DUPLICATE_FIELD'],
    ['the channel', eventFrame([field(5, 'a'), field(5, 'b')]), 'PB_DUPLICATE_FIELD'],
    ['an empty sender', eventFrame(twice(field(4))), 'PB_DUPLICATE_FIELD'],
    ['the payload', eventFrame(twice(field(20))), 'PB_DUPLICATE_FIELD'],
    ['the metadata', eventFrame(twice(field(22))), 'PB_DUPLICATE_FIELD'],
    ['a signal’s type', concat(field(1, sampleId), field(22, ...twice(numberField(1, 1)))), 'PB_DUPLICATE_FIELD'],
    ['a header’s name', eventFrame([], [field(6, ...twice(field(1, 'channel')))]), 'PB_DUPLICATE_FIELD'],
    ['a key', withPayload(field(1, ...twice(field(1, 'a')), field(2, isTrue))), 'PB_DUPLICATE_FIELD'],
    ['a value', withPayload(field(1, field(1, 'a'), ...twice(field(2, isTrue)))), 'PB_DUPLICATE_FIELD'],
    ['two kinds of one Value', withPayload(entry('a', isTrue, text('b'))), 'PB_VALUE'],
    ['one kind of Value twice', withPayload(entry('a', isTrue, isTrue)), 'PB_VALUE'],
  ]
  it.each(cases)('%s', (_, bytes, reason) => check(bytes, reason))
})

describe('lengths and varints', () => {
  const huge = [0x7fff_ffff, 0xffff_ffff, 2 ** 32 + 1, 2n ** 63n, 2n ** 64n - 1n]
  const cases: Case[] = [
    ...huge.map(
      (length): Case => [
        `an id of ${length} bytes`,
        concat(tag(1, wire.delimited), varint(length), bytesOf(0x61)),
        'PB_TRUNCATED',
      ],
    ),
    ...huge.map(
      (length): Case => [
        `a channel of ${length} bytes`,
        eventFrame([concat(tag(5, wire.delimited), varint(length))]),
        'PB_TRUNCATED',
      ],
    ),
    [
      'text that runs over the end of its Value',
      withPayload(entry('a', bytesOf(0x1a, 5, 0x61)), entry('bcdefg', isTrue)),
      'PB_TRUNCATED',
    ],
    [
      'an entry that runs over the end of its Struct',
      eventFrame([field(20, bytesOf(0x0a, 50)), field(21, new Uint8Array(0)), field(5, 'x'.repeat(60))]),
      'PB_TRUNCATED',
    ],
    [
      'a double of seven bytes',
      withPayload(entry('a', concat(tag(2, wire.fixed64), new Uint8Array(7)))),
      'PB_TRUNCATED',
    ],
    ['a tag without end', concat(field(1, sampleId), bytesOf(0xaa)), 'PB_TRUNCATED'],
    [
      'a varint of eleven bytes',
      eventFrame([], [concat(bytesOf(0x20), new Uint8Array(10).fill(0x80), bytesOf(0))]),
      'PB_VARINT',
    ],
    [
      'a varint of 65 bits',
      eventFrame([], [concat(bytesOf(0x20), new Uint8Array(9).fill(0x80), bytesOf(2))]),
      'PB_VARINT',
    ],
    ['a tag of eleven bytes', concat(new Uint8Array(10).fill(0x8a), bytesOf(0), eventFrame([])), 'PB_VARINT'],
    ['a length of eleven bytes', concat(bytesOf(0x0a), new Uint8Array(10).fill(0x80), bytesOf(0)), 'PB_VARINT'],
    [
      'a boolean of eleven bytes',
      withPayload(entry('a', concat(bytesOf(0x20), new Uint8Array(10).fill(0x80), bytesOf(1)))),
      'PB_VARINT',
    ],
    ['a time beyond 2^53', eventFrame([], [numberField(4, 2n ** 63n - 1n)]), 'PB_NUMBER'],
  ]
  it.each(cases)('%s', (_, bytes, reason) => check(bytes, reason))
})

describe('values', () => {
  const cases: Case[] = [
    ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map(
      (value): Case => [String(value), withPayload(entry('a', doubleField(2, value))), 'PB_NUMBER'],
    ),
    ['NaN in a list', withPayload(entry('a', field(6, field(1, doubleField(2, Number.NaN))))), 'PB_NUMBER'],
    [
      'NaN of another payload',
      withPayload(entry('a', concat(bytesOf(0x11), bytesOf(1, 0, 0, 0, 0, 0, 0xf0, 0x7f)))),
      'PB_NUMBER',
    ],
    ['NaN in the metadata', withStruct(22, entry('a', doubleField(2, Number.NaN))), 'PB_NUMBER'],
    ['a null that is not 0', withPayload(entry('a', numberField(1, 1))), 'PB_VALUE'],
    ['a Value without kind', withPayload(entry('a')), 'PB_VALUE'],
    ['an entry without value', withPayload(field(1, field(1, 'a'))), 'PB_VALUE'],
    ['an empty entry', withPayload(field(1)), 'PB_VALUE'],
    ['a list item without kind', withPayload(entry('a', field(6, field(1)))), 'PB_VALUE'],
  ]
  it.each(cases)('%s', (_, bytes, reason) => check(bytes, reason))
})

describe('text that is not UTF-8', () => {
  for (const [kind, bad] of Object.entries({ badUtf8, surrogate, overlong })) {
    // Long enough to leave every short way, too.
    for (const value of [bad, concat(new TextEncoder().encode('x'.repeat(300)), bad)]) {
      const cases: [string, Uint8Array][] = [
        ['trace_id', field(1, value)],
        ['type of an Event', concat(field(1, sampleId), field(21, field(1, value)))],
        ['type of a Command', concat(field(1, sampleId), field(20, field(1, value)))],
        ['reason of a signal', concat(field(1, sampleId), field(22, field(2, value)))],
        ...[2, 3, 5].map((number): [string, Uint8Array] => [
          `Envelope ${number}`,
          eventFrame([], [field(number, value)]),
        ]),
        ['a header’s name', eventFrame([], [field(6, field(1, value), field(2, 'x'))])],
        ['a header’s value', eventFrame([], [field(6, field(1, 'channel'), field(2, value))])],
        ['an unknown header’s value', eventFrame([], [field(6, field(1, 'other'), field(2, value))])],
        ...Array.from({ length: 12 }, (_, i): [string, Uint8Array] => [
          `BusPayload ${i + 1}`,
          eventFrame([field(i + 1, value)]),
        ]),
        ...[20, 21, 22].flatMap((number): [string, Uint8Array][] => [
          [`a key of Struct ${number}`, withStruct(number, entry(value, isTrue))],
          [`a value of Struct ${number}`, withStruct(number, entry('a', text(value)))],
          [`a list of Struct ${number}`, withStruct(number, entry('a', field(6, field(1, text(value)))))],
          [`a nested key of Struct ${number}`, withStruct(number, entry('a', field(5, entry(value, isTrue))))],
        ]),
      ]
      it.each(cases)(`${kind} of ${value.length} bytes in %s`, (_, bytes) => check(bytes, 'PB_UTF8'))
    }
  }
})

describe('keys that mean something to objects', () => {
  const names = ['__proto__', 'constructor', 'prototype']

  it.each(names)('%s is refused in every Struct, at any depth', (name) => {
    for (const number of [20, 21, 22]) {
      for (let depth = 1; depth <= 32; depth++) {
        let struct = entry(name, isTrue)
        for (let i = 1; i < depth; i++) struct = entry('a', field(5, struct))
        check(withStruct(number, struct), 'FORBIDDEN_KEY')
      }
      check(withStruct(number, entry('a', field(6, field(1, field(5, entry(name, isTrue)))))), 'FORBIDDEN_KEY')
    }
  })

  it.each(names)('%s is refused as the name of a header', (name) => {
    check(eventFrame([], [field(6, field(1, name), field(2, 'x'))]), 'FORBIDDEN_KEY')
  })

  it.each(names)('%s is refused in JSON, at any depth', (name) => {
    for (let depth = 0; depth <= 31; depth++) {
      const object = `${'{"a":'.repeat(depth)}{"${name}":1}${'}'.repeat(depth)}`
      for (const part of ['payload', 'args', 'metadata']) {
        expect(jsonReason(`{"type":"message","${part}":${object}}`)).toBe('FORBIDDEN_KEY')
      }
    }
    expect(jsonReason(`{"type":"message","payload":[{"${name}":{}}]}`)).toBe('FORBIDDEN_KEY')
    expect(jsonReason(`{"type":"message","${name}":{}}`)).toBe('FORBIDDEN_KEY')
    const escaped = name.replace(/./g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
    expect(jsonReason(`{"type":"message","payload":{"${escaped}":1}}`)).toBe('FORBIDDEN_KEY')
  })

  it('leave no trace on objects', () => {
    expect(jsonReason('{"type":"message","payload":{"__proto__":{"polluted":true}}}')).toBe('FORBIDDEN_KEY')
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('are let in where they are values, and names that only look alike are let in', () => {
    const struct = concat(
      entry('__proto', text('__proto__')),
      entry('Constructor', text('constructor')),
      entry('__proto__x', isTrue),
      entry('toString', isTrue),
      entry('hasOwnProperty', isTrue),
    )
    check(withPayload(struct), undefined)
    expect(decodeProtobuf(withPayload(struct), limits).payload).toEqual(esDecode(withPayload(struct)).payload)
  })
})

describe('size', () => {
  const keys = (count: number): Uint8Array => concat(...Array.from({ length: count }, (_, i) => entry(`k${i}`, isTrue)))
  const items = (count: number): Uint8Array =>
    entry('a', field(6, ...Array.from({ length: count }, () => field(1, isTrue))))
  const headers = (count: number): Uint8Array[] =>
    Array.from({ length: count }, (_, i) => field(6, field(1, `h${i}`), field(2, 'x')))

  const cases: [string, Uint8Array, string | undefined][] = [
    ['32 levels of objects', withPayload(nestedStruct(32)), undefined],
    ['33 levels of objects', withPayload(nestedStruct(33)), 'TOO_DEEP'],
    ['31 levels of lists in an object', withPayload(nestedList(31)), undefined],
    ['32 levels of lists in an object', withPayload(nestedList(32)), 'TOO_DEEP'],
    ['33 levels in the args', withStruct(21, nestedStruct(33)), 'TOO_DEEP'],
    ['33 levels in the metadata', withStruct(22, nestedStruct(33)), 'TOO_DEEP'],
    ['500 levels', withPayload(nestedStruct(500)), 'TOO_DEEP'],
    ['1,000 keys', withPayload(keys(1_000)), undefined],
    ['1,001 keys', withPayload(keys(1_001)), 'TOO_MANY_KEYS'],
    [
      '1,001 keys in three Structs',
      eventFrame([field(20, keys(400)), field(21, keys(300)), field(22, keys(301))]),
      'TOO_MANY_KEYS',
    ],
    [
      '1,000 keys in three Structs',
      eventFrame([field(20, keys(400)), field(21, keys(300)), field(22, keys(300))]),
      undefined,
    ],
    ['10,000 items', withPayload(items(10_000)), undefined],
    ['10,001 items', withPayload(items(10_001)), 'TOO_MANY_ITEMS'],
    ['32 headers', eventFrame([], headers(32)), undefined],
    ['33 headers', eventFrame([], headers(33)), 'TOO_MANY_KEYS'],
  ]
  it.each(cases)('%s', (_, bytes, reason) => check(bytes, reason))

  it('a million levels cost no stack, in binary or in JSON', () => {
    const levels = 1_000_000
    const lengths = concat(...Array.from({ length: 2_000 }, () => bytesOf(0x0a, 0xff, 0xff, 0x7f)))
    expect(reasonOf(() => decodeProtobuf(withPayload(lengths), limits))).toBe('PB_TRUNCATED')
    expect(jsonReason('['.repeat(levels))).toBe('TOO_DEEP')
    expect(jsonReason('{"a":'.repeat(levels))).toBe('TOO_DEEP')
  })
})

function jsonReason(json: string): string | undefined {
  return reasonOf(() => decodeJson(json, limits))
}

describe('JSON', () => {
  const payload = (json: string): string => `{"type":"message","payload":${json}}`
  it.each([
    ['an integer beyond 2^53', payload('{"a":[{"b":9007199254740993}]}'), 'UNSAFE_INTEGER'],
    ['one with a sign', payload('-9007199254740993'), 'UNSAFE_INTEGER'],
    ['a number that is Infinity', payload('{"a":1e309}'), 'UNSAFE_INTEGER'],
    ['one of a thousand digits', payload('1'.repeat(1_000)), 'UNSAFE_INTEGER'],
    ['Infinity', payload('Infinity'), 'BAD_JSON'],
    ['a byte order mark', `\ufeff${payload('{}')}`, 'BAD_JSON'],
    ['a NUL', `${payload('{}')}\0`, 'BAD_JSON'],
    ['a raw control character in text', payload('"\u0001"'), 'BAD_JSON'],
    ['text without end', payload('"abc'), 'BAD_JSON'],
    ['text that ends in a backslash', payload('"abc\\'), 'BAD_JSON'],
    ['brackets in text and a quote escaped', payload('"\\"[[[["'), undefined],
    ['a lone surrogate, escaped', payload('"\\ud800"'), 'BAD_TEXT'],
    ['a pair of surrogates, escaped', payload('"\\ud83d\\ude80"'), undefined],
    ['a pair the wrong way round', payload('"\\ude80\\ud83d"'), 'BAD_TEXT'],
    ['a lone surrogate in a key of a key', payload('{"a":{"\\udfff":1}}'), 'BAD_TEXT'],
    ['the same key twice, once bad', '{"type":"message","id":"x","id":1}', 'BAD_ID'],
  ])('%s', (_, json, reason) => {
    expect(jsonReason(json)).toBe(reason)
  })

  it('is checked in linear time', () => {
    const start = performance.now()
    const escapes = '\\n'.repeat(1_000_000)
    expect(jsonReason(payload(`{"text":"${escapes}","n":9007199254740993}`))).toBe('UNSAFE_INTEGER')
    expect(jsonReason(payload(`{"text":"${'9'.repeat(1_000_000)}","n":1}`))).toBeUndefined()
    expect(jsonReason(payload(`[${'1234567890,'.repeat(9_000)}1]`))).toBeUndefined()
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})
