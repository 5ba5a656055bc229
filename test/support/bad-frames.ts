// Bad WebSocket input in classes: the bytes of each, and what an honest server does about it.
import { rawFrame } from './raw-websocket.ts'

export interface BadFrameClass {
  readonly name: string
  /** The `n`th variant. */
  bytes(n: number): Buffer
  /** The close code that answers it. */
  readonly close?: number
  /** The error code that answers it on a connection that stays open. */
  readonly error?: RegExp
  /** The sender resets the connection instead of waiting for the server. */
  readonly isReset?: true
  /** It says too little to be wrong: only the missing pong ends it. */
  readonly isSilent?: true
}

const text = 1
const binary = 2
const continuation = 0
const close = 8
const ping = 9
const pong = 10

const pick = <Item>(items: readonly Item[], n: number): Item => items[n % items.length]!
const status = (code: number, reason: string | Uint8Array = ''): Buffer => {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code)
  return Buffer.concat([head, Buffer.from(reason)])
}
const fragments = (count: number, payload: Uint8Array): Buffer =>
  Buffer.concat(
    Array.from({ length: count }, (_, at) =>
      rawFrame({ opcode: at === 0 ? binary : continuation, isFinal: false, payload }),
    ),
  )

/** Not UTF-8: lone continuation, overlong slash, surrogate, beyond U+10FFFF, cut short, 0xFF. */
const badUtf8 = [[0x80], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0xff]].map(
  (bytes) => Buffer.from(bytes),
)

const badJson = [
  '',
  '{',
  '[]',
  'null',
  '"text"',
  '{"type":"message"',
  '{"a":NaN}',
  '['.repeat(5_000),
  '{"__proto__":{}}',
]

/** Tag and length 2 GiB; field 0; wire type 7; endless varint; depth; unknown field; a known field of a wrong type. */
const badProtobuf = [
  Buffer.alloc(0),
  Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]),
  Buffer.from([0x02, 0x00]),
  Buffer.from([0x0f]),
  Buffer.alloc(11, 0xff),
  Buffer.from([0xa2, 0x01, 0x80]),
  Buffer.concat(Array.from({ length: 200 }, () => Buffer.from([0xa2, 0x01, 0x7f]))),
  Buffer.from([0xfa, 0xff, 0x03, 0x01, 0x41]),
  Buffer.from([0x08, 0x01]),
  Buffer.from([0x0a, 0x02, 0xc3, 0x28]),
]

/** `maxBytes` and `maxFragments` are the limits of the server under attack. */
export function badFrameClasses(maxBytes: number, maxFragments: number): readonly BadFrameClass[] {
  const half = Buffer.alloc(Math.ceil(maxBytes / 2) + 1, 0x41)
  const message = rawFrame({ opcode: text, payload: '{"type":"message"}' })
  return [
    {
      name: 'reserved bits',
      bytes: (n) => rawFrame({ opcode: pick([text, binary, ping], n), reserved: pick([0x40, 0x20, 0x10, 0x70], n) }),
      close: 1002,
    },
    {
      name: 'an opcode that does not exist',
      bytes: (n) => rawFrame({ opcode: pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15], n), payload: 'x' }),
      close: 1002,
    },
    {
      name: 'an unmasked frame',
      bytes: (n) => rawFrame({ opcode: pick([text, binary, ping, close], n), payload: '{}', isMasked: false }),
      close: 1002,
    },
    {
      name: 'a control frame of 126 bytes and more',
      bytes: (n) => rawFrame({ opcode: pick([ping, pong], n), payload: Buffer.alloc(pick([126, 1_000], n)) }),
      close: 1002,
    },
    {
      name: 'a fragmented control frame',
      bytes: (n) => rawFrame({ opcode: pick([ping, pong, close], n), isFinal: false }),
      close: 1002,
    },
    {
      name: 'a frame declared too large',
      bytes: (n) =>
        rawFrame({
          opcode: binary,
          payload: 'x',
          declared: pick([BigInt(maxBytes) + 1n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n], n),
        }),
      close: 1009,
    },
    {
      name: 'fragments too large together',
      bytes: () => fragments(2, half),
      close: 1009,
    },
    {
      name: 'text that is not UTF-8',
      bytes: (n) => rawFrame({ opcode: text, payload: pick(badUtf8, n) }),
      close: 1007,
    },
    {
      name: 'too many fragments',
      bytes: () => fragments(maxFragments + 1, Buffer.from('x')),
      close: 1008,
    },
    {
      name: 'too many empty fragments',
      bytes: () => fragments(maxFragments + 1, Buffer.alloc(0)),
      close: 1008,
    },
    {
      name: 'half a header, then silence',
      bytes: (n) => rawFrame({ opcode: text, payload: Buffer.alloc(300) }).subarray(0, pick([1, 2, 3, 5], n)),
      isSilent: true,
      close: 4009,
    },
    {
      name: 'half a frame, then a reset',
      bytes: () => rawFrame({ opcode: binary, payload: Buffer.alloc(1_000) }).subarray(0, 500),
      isReset: true,
    },
    {
      name: 'invalid JSON',
      bytes: (n) => rawFrame({ opcode: text, payload: pick(badJson, n) }),
      error: /VALIDATION_ERROR/,
    },
    {
      name: 'hostile protobuf',
      bytes: (n) => rawFrame({ opcode: binary, payload: pick(badProtobuf, n) }),
      error: /VALIDATION_ERROR|SCHEMA_VIOLATION/, // the latter is Shield's word for frames its schema does not have
    },
    {
      name: 'a close reason that is too long',
      bytes: (n) => rawFrame({ opcode: close, payload: status(1000, 'r'.repeat(124 + (n % 1_000))) }),
      close: 1002,
    },
    {
      name: 'a close reason that is not UTF-8',
      bytes: (n) => rawFrame({ opcode: close, payload: status(1000, pick(badUtf8, n)) }),
      close: 1007,
    },
    {
      name: 'a close code that must not be sent',
      bytes: (n) =>
        rawFrame({
          opcode: close,
          payload: pick([status(999), status(1004), status(1005), status(1006), status(1015), Buffer.alloc(1)], n),
        }),
      close: 1002,
    },
    {
      name: 'a continuation of nothing',
      bytes: (n) => rawFrame({ opcode: continuation, isFinal: n % 2 === 0, payload: 'x' }),
      close: 1002,
    },
    {
      name: 'a new message inside a fragmented one',
      bytes: () => Buffer.concat([fragments(1, Buffer.from('x')), message]),
      close: 1002,
    },
  ]
}
