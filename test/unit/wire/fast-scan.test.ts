// The shortcut for the commonest frames says the same as the general way, or leaves the frame to it.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FastScan, frameMiddle } from '../../../src/wire/fast-scan.ts'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { payloadHash, reframe, scanFrame, withPosition } from '../../../src/wire/message-frame.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import {
  anyEnvelope,
  anyObject,
  createRandom,
  esDecode,
  esEncode,
  eventFrame,
  field,
  hexOf,
  messageOf,
  numberField,
  reasonOf,
} from '../../support/frames.ts'

const sender = 'arq_client_0123456789abcdef0123456789abcdef'
const middle = frameMiddle(sender)

/** The shortcut's frame, or undefined where it leaves the frame alone. It may throw only what the general way throws. */
function shortcut(bytes: Uint8Array): Uint8Array | undefined {
  const around = new Uint8Array(bytes.length + 20).fill(0x31) // digits: an id must not run on into them
  around.set(bytes, 10)
  const scan = new FastScan(limits)
  if (!scan.scan(around, 10, 10 + bytes.length)) return undefined
  const general = scanFrame(bytes, limits)
  expect(scan.text(scan.idStart, scan.idEnd)).toBe(general.id)
  expect(scan.text(scan.roomStart, scan.roomEnd)).toBe(general.room)
  expect(scan.text(scan.channelStart, scan.channelEnd)).toBe(general.channel)
  expect(scan.ack).toBe(general.ack)
  expect(hexOf(scan.slice(scan.payloadStart, scan.payloadEnd))).toBe(hexOf(general.payload))
  expect([general.type, general.toClient, general.tenantId]).toEqual(['message', undefined, undefined])
  const frame = new Uint8Array(scan.frameLength(middle))
  scan.writeFrame(frame, 0, middle)
  return frame
}

function compare(bytes: Uint8Array): boolean {
  let frame: Uint8Array | undefined
  try {
    frame = shortcut(bytes)
  } catch (error) {
    expect(reasonOf(() => scanFrame(bytes, limits))).toBe(reasonOf(() => raise(error)))
    return false
  }
  if (frame === undefined) return false
  const general = reframe(scanFrame(bytes, limits), { sender })
  expect(esDecode(frame)).toEqual(esDecode(general))
  // A stored frame gets its position later, and its payload has the same hash by either way.
  const position = { epoch: 7, sequence: 9 }
  expect(esDecode(withPosition(frame, position))).toEqual(esDecode(withPosition(general, position)))
  expect(payloadHash(frame)).toEqual(payloadHash(general))
  return true
}

function raise(error: unknown): never {
  throw error
}

const common = messageOf({
  room: 'science',
  channel: 'general',
  payload: { text: 'hello', n: 1 },
  timestamp: '2026-11-23T06:56:47.145Z',
})

describe('frames of the common shape', () => {
  it.each([
    ['ours', encodeProtobuf(common)],
    ['protobuf-es’s', esEncode(common)],
    ['with an ack', encodeProtobuf({ ...common, metadata: { ack: 'accepted' } })],
    ['with a long payload', encodeProtobuf({ ...common, payload: { text: 'x'.repeat(70_000) } })],
    ['with args', encodeProtobuf({ ...common, args: { a: [1, { b: null }] } })],
  ])('are taken: %s', (_, bytes) => {
    expect(compare(bytes)).toBe(true)
  })

  it('say the same as the general way, whatever their content', () => {
    let taken = 0
    fc.assert(
      fc.property(anyEnvelope(['message'], anyObject), fc.boolean(), (envelope, isPlain) => {
        const plain = { ...common, payload: envelope.payload, args: envelope.args }
        if (compare(esEncode(isPlain ? plain : envelope))) taken++
      }),
      { numRuns: 500 },
    )
    expect(taken).toBeGreaterThan(100)
  })

  it('are left alone when the time is none that can be printed', () => {
    const frame = (ms: number): Uint8Array =>
      eventFrame([field(5, 'general')], [field(3, 'science'), numberField(4, ms)])
    expect(compare(frame(1_795_417_006_860))).toBe(true)
    expect(compare(frame(253_402_300_800_000))).toBe(false)
  })

  it('are left alone without a payload, which no message may be', () => {
    const frame = encodeProtobuf({ ...common, payload: null as never })
    expect(() => scanFrame(frame, limits)).toThrow('payload is missing')
    expect(new FastScan(limits).scan(frame, 0, frame.length)).toBe(false)
  })
})

it('never takes a damaged frame that the general way refuses or reads otherwise', () => {
  const seed = Date.now() % 2 ** 31
  const random = createRandom(seed)
  const bases = [encodeProtobuf(common), esEncode(common), encodeProtobuf({ ...common, metadata: { ack: 'none' } })]
  let taken = 0
  for (let i = 0; i < 20_000; i++) {
    const bytes = bases[i % bases.length]!.slice()
    bytes[random(bytes.length)] = random(3) === 0 ? random(256) : bytes[random(bytes.length)]!
    try {
      if (compare(bytes)) taken++
    } catch (cause) {
      throw new Error(`seed ${seed}, frame ${Buffer.from(bytes).toString('hex')}`, { cause })
    }
  }
  expect(taken).toBeGreaterThan(1_000)
})
