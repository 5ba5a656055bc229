// Damaged frames: refused with VALIDATION_ERROR, or accepted and then every way on says the same as protobuf-es.
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { checkInbound } from '../../../src/wire/envelope-rules.ts'
import { decodeJson, encodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { envelopeOfFrame, frameFromEnvelope, reframe, scanFrame } from '../../../src/wire/message-frame.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { createRandom, esDecode, esEncode, messageOf } from '../../support/frames.ts'

/** Printed by a failure; put it here to see that failure again. */
const seed = Date.now() % 2 ** 31
const sender = 'arq_client_0123456789abcdef0123456789abcdef'
const full = messageOf({
  room: 'science',
  channel: 'général',
  to_client: 'you',
  from_client: 'me',
  payload: { text: 'héllo', list: [1, null, true, { deep: [0.5] }], n: -3, empty: {} },
  args: { limit: 10 },
  metadata: { ack: 'stored', tenant_id: 'acme', sequence: 3, vector_clock: { a: 1 } },
})
const envelopes: readonly Envelope[] = [
  full,
  messageOf({ room: 'a', channel: 'b', payload: { content: 'x'.repeat(130) } }),
  messageOf({ type: 'command', command: 'join_channel', args: { room: 'science', channel: '*' } }),
  messageOf({ type: 'response', request_id: 'r', status: 'error', error: 'e', error_code: 'NOT_FOUND' }),
  messageOf({ type: 'telemetry', payload: { cpu: [1, 2, 3] }, metadata: { twist_id: 'tw' } }),
]

// Most frames are refused, and noting where costs more than refusing.
const { stackTraceLimit } = Error
beforeAll(() => {
  Error.stackTraceLimit = 0
})
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit
})

type Damage<Frame> = (frame: Frame, random: (below: number) => number, other: Frame) => Frame

const interesting = [
  0x00, 0x01, 0x07, 0x08, 0x0a, 0x12, 0x1a, 0x20, 0x22, 0x2a, 0x32, 0x7f, 0x80, 0xa2, 0xaa, 0xb2, 0xff,
]

const binaryDamages: readonly Damage<Buffer>[] = [
  (frame, random) => {
    frame[random(frame.length)]! ^= 1 << random(8)
    return frame
  },
  (frame, random) => {
    frame[random(frame.length)] = random(256)
    return frame
  },
  (frame, random) => {
    frame[random(frame.length)] = interesting[random(interesting.length)]!
    return frame
  },
  (frame, random) => frame.subarray(0, random(frame.length)),
  (frame, random) => {
    const at = random(frame.length)
    return Buffer.concat([frame.subarray(0, at), frame.subarray(at + 1 + random(4))])
  },
  (frame, random) => {
    const at = random(frame.length)
    const added = Buffer.from(Array.from({ length: 1 + random(4) }, () => interesting[random(interesting.length)]!))
    return Buffer.concat([frame.subarray(0, at), added, frame.subarray(at)])
  },
  (frame, random) => {
    const [from, length, to] = [random(frame.length), random(40), random(frame.length)]
    return Buffer.concat([frame.subarray(0, to), frame.subarray(from, from + length), frame.subarray(to)])
  },
  (frame, random, other) =>
    Buffer.concat([frame.subarray(0, random(frame.length)), other.subarray(random(other.length))]),
]

type Outcome<Result> = { readonly value: Result } | { readonly reason: string }

/** What `run` returns, or why it was refused; any other error fails the test. */
function outcomeOf<Result>(run: () => Result): Outcome<Result> {
  try {
    return { value: run() }
  } catch (error) {
    const reason = isBusError(error, 'VALIDATION_ERROR') && error.details['reason']
    if (typeof reason === 'string') return { reason }
    throw error
  }
}

/** `expect` costs too much for so many frames. */
function same(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected)
}

/** A frame without a time has ours, and 0 for protobuf: then both say 0. */
function timed(envelope: Envelope, like: Envelope): Envelope {
  return like.timestamp === '1970-01-01T00:00:00.000Z' ? { ...envelope, timestamp: like.timestamp } : envelope
}

function asSent(envelope: Envelope): Envelope {
  const sent = { ...envelope, sender }
  delete sent.from_client
  return sent
}

/** True when the frame is let in. */
function checkBinary(bytes: Uint8Array): boolean {
  const scan = outcomeOf(() => scanFrame(bytes, limits))
  const decoded = outcomeOf(() => decodeProtobuf(bytes, limits))
  if ('reason' in scan) {
    // The decoder serves clients too, and leaves the rules of inbound frames to checkInbound. Two tenants are a matter
    // of the layout, which an envelope has no more.
    if ('value' in decoded && scan.reason !== 'TENANT_CONFLICT') {
      same(
        outcomeOf(() => checkInbound(decoded.value)),
        { reason: scan.reason },
      )
    }
    return false
  }
  if ('reason' in decoded) throw new Error(`let in, but not decoded: ${decoded.reason}`)
  const theirs = esDecode(bytes)
  same(timed(decoded.value, theirs), theirs)
  const frame = reframe(scan.value, { sender })
  const read = esDecode(frame)
  same(timed(read, theirs), asSent(theirs))
  same(envelopeOfFrame(frame), read)
  return true
}

it('takes 100,000 damaged binary frames for what protobuf-es takes them for, or refuses them', () => {
  const random = createRandom(seed)
  const bases = envelopes.flatMap((envelope) => [
    Buffer.from(encodeProtobuf(envelope)),
    Buffer.from(esEncode(envelope, { headers: true })),
    Buffer.from(esEncode(envelope, { bare: true })),
    Buffer.from(frameFromEnvelope(envelope, { sender })),
  ])
  let taken = 0
  for (let i = 0; i < 100_000; i++) {
    let frame = Buffer.from(bases[i % bases.length]!)
    for (let hits = 1 + (random(4) === 0 ? random(3) : 0); hits > 0 && frame.length > 0; hits--) {
      frame = Buffer.from(binaryDamages[random(binaryDamages.length)]!(frame, random, bases[random(bases.length)]!))
    }
    try {
      if (checkBinary(frame)) taken++
    } catch (cause) {
      throw new Error(`seed ${seed}, frame ${i}: ${frame.toString('hex')}`, { cause })
    }
  }
  // Damage inside text is no damage to the frame; a harness that refuses all or takes all tests nothing.
  expect(taken).toBeGreaterThan(5_000)
  expect(taken).toBeLessThan(80_000)
}, 60_000)

const fragments = [
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\',
  ',',
  ':',
  'null',
  '1e999',
  '9007199254740993',
  '"\\ud800"',
  '-',
  '0',
  '{}',
  '"__proto__":1,',
  '"id":"",',
  '\u0000',
  '\ufeff',
  ' ',
  'é',
]

const jsonDamages: readonly Damage<string>[] = [
  (text, random) => {
    const at = random(text.length)
    return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << random(7))) + text.slice(at + 1)
  },
  (text, random) => text.slice(0, random(text.length)),
  (text, random) => {
    const at = random(text.length)
    return text.slice(0, at) + text.slice(at + 1 + random(4))
  },
  (text, random) => {
    const at = random(text.length)
    return text.slice(0, at) + fragments[random(fragments.length)]! + text.slice(at)
  },
  (text, random) => {
    const [from, length, to] = [random(text.length), random(40), random(text.length)]
    return text.slice(0, to) + text.slice(from, from + length) + text.slice(to)
  },
  (text, random, other) => text.slice(0, random(text.length)) + other.slice(random(other.length)),
  (text, random) => {
    const digits = [...text.matchAll(/\d+/g)]
    const { index, 0: found } = digits[random(digits.length)]!
    return text.slice(0, index) + `${random(10)}`.repeat(1 + random(25)) + text.slice(index + found.length)
  },
]

/** True when the frame is let in. */
function checkJson(text: string): boolean {
  const decoded = outcomeOf(() => decodeJson(text, limits))
  if ('reason' in decoded || 'reason' in outcomeOf(() => checkInbound(decoded.value))) return false
  const envelope = decoded.value
  const frame = frameFromEnvelope(envelope, { sender })
  // Empty text is absent in protobuf.
  const sent = Object.fromEntries(
    Object.entries(asSent(envelope)).filter(([key, value]) => value !== '' || key === 'payload'),
  )
  same(envelopeOfFrame(frame), sent)
  same(esDecode(frame), sent)
  // A double beyond 2^53 that was no whole number in the text may be one when it is printed.
  const again = outcomeOf(() => decodeJson(encodeJson(envelope), limits))
  if ('reason' in again && again.reason === 'UNSAFE_INTEGER') return true
  same(again, { value: JSON.parse(encodeJson(envelope)) as unknown }) // printed, because -0 becomes 0
  return true
}

it('takes 20,000 damaged JSON frames for what they say, or refuses them', () => {
  const random = createRandom(seed)
  const bases = envelopes.map(encodeJson)
  let taken = 0
  for (let i = 0; i < 20_000; i++) {
    const text = jsonDamages[random(jsonDamages.length)]!(
      bases[i % bases.length]!,
      random,
      bases[random(bases.length)]!,
    )
    try {
      if (checkJson(text)) taken++
    } catch (cause) {
      throw new Error(`seed ${seed}, frame ${i}: ${JSON.stringify(text)}`, { cause })
    }
  }
  expect(taken).toBeGreaterThan(1_000)
  expect(taken).toBeLessThan(16_000)
}, 30_000)
