import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameParser } from '../../../src/transport/frame-parser.ts'

const limits = { maxMessageBytes: 70_000, maxFragments: 4 }

/** A client frame; `raw` overrides for what must not be. */
function frame(
  opcode: number,
  payload: Uint8Array | string = '',
  raw: { fin?: boolean; rsv?: number; isMasked?: boolean; mask?: number[]; declared?: number } = {},
): Buffer {
  const body = Buffer.from(payload as string)
  const { fin = true, rsv = 0, isMasked = true, mask = [1, 2, 3, 250], declared = body.length } = raw
  const head = [(fin ? 0x80 : 0) | rsv | opcode]
  const bit = isMasked ? 0x80 : 0
  if (declared < 126) head.push(bit | declared)
  else if (declared < 65_536) head.push(bit | 126, declared >> 8, declared & 255)
  else {
    const long = Buffer.alloc(8)
    long.writeBigUInt64BE(BigInt(declared))
    head.push(bit | 127, ...long)
  }
  const masked = isMasked ? body.map((byte, i) => byte ^ mask[i % 4]!) : body
  return Buffer.concat([Buffer.from(head), Buffer.from(isMasked ? mask : []), masked])
}

/** What the parser reported, as text. */
function read(chunks: readonly Buffer[]): string[] {
  const seen: string[] = []
  const parser = new FrameParser(limits, {
    message: (bytes, start, end, isBinary) => {
      seen.push(`${isBinary ? 'binary' : 'text'} ${Buffer.from(bytes.subarray(start, end)).toString('hex')}`)
    },
    ping: (data) => seen.push(`ping ${Buffer.from(data).toString('hex')}`),
    pong: () => seen.push('pong'),
    peerClosed: (code) => seen.push(`close ${code}`),
    failed: (name) => seen.push(name),
  })
  for (const chunk of chunks) parser.push(Buffer.from(chunk))
  return seen
}
const hex = (text: string): string => Buffer.from(text).toString('hex')

describe('FrameParser', () => {
  test('takes messages of every length form, with and without a mask that changes anything', () => {
    for (const length of [0, 1, 3, 125, 126, 127, 65_535, 65_536, 70_000]) {
      const payload = Buffer.alloc(length, 'é')
      for (const mask of [
        [0, 0, 0, 0],
        [9, 8, 7, 255],
      ]) {
        expect(read([frame(2, payload, { mask })])).toEqual([`binary ${payload.toString('hex')}`])
      }
    }
  })

  test('reads the same however the bytes are cut', () => {
    const stream = Buffer.concat([
      frame(1, 'grüße'),
      frame(2, Buffer.alloc(300, 7)),
      frame(9, 'p'),
      frame(1, 'ab', { fin: false }),
      frame(10),
      frame(0, 'cd'),
      frame(8, Buffer.from([0x03, 0xe8])),
    ])
    const whole = read([stream])
    expect(whole).toEqual([
      `text ${hex('grüße')}`,
      `binary ${'07'.repeat(300)}`,
      `ping ${hex('p')}`,
      'pong',
      `text ${hex('abcd')}`,
      'close 1000',
    ])
    for (let at = 1; at < stream.length; at++)
      expect(read([stream.subarray(0, at), stream.subarray(at)])).toEqual(whole)
    expect(read(Array.from(stream, (byte) => Buffer.from([byte])))).toEqual(whole)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: stream.length - 1 }), { maxLength: 12 }), (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), stream.length]
        expect(read(at.slice(1).map((end, i) => stream.subarray(at[i], end)))).toEqual(whole)
      }),
    )
  })

  test.each<[string, Buffer[], string]>([
    ['reserved bits', [frame(1, 'a', { rsv: 0x40 })], 'PROTOCOL_ERROR'],
    ['an unmasked frame', [frame(1, 'a', { isMasked: false })], 'PROTOCOL_ERROR'],
    ['an unknown data opcode', [frame(3, 'a')], 'PROTOCOL_ERROR'],
    ['an unknown control opcode', [frame(11, 'a')], 'PROTOCOL_ERROR'],
    ['a fragmented control frame', [frame(9, 'a', { fin: false })], 'PROTOCOL_ERROR'],
    ['a long control frame', [frame(9, Buffer.alloc(126))], 'PROTOCOL_ERROR'],
    ['a continuation without a beginning', [frame(0, 'a')], 'PROTOCOL_ERROR'],
    ['a new message inside a fragmented one', [frame(1, 'a', { fin: false }), frame(1, 'b')], 'PROTOCOL_ERROR'],
    ['a declared length over the limit', [frame(2, '', { declared: 70_001 })], 'FRAME_TOO_LARGE'],
    ['a length above 2^53', [frame(2, '', { declared: 2 ** 62 })], 'FRAME_TOO_LARGE'],
    [
      'fragments over the limit together',
      [frame(2, Buffer.alloc(60_000), { fin: false }), frame(0, Buffer.alloc(10_001))],
      'FRAME_TOO_LARGE',
    ],
    [
      'too many fragments, though empty',
      [frame(1, '', { fin: false }), ...Array<Buffer>(4).fill(frame(0, '', { fin: false }))],
      'POLICY_VIOLATION',
    ],
    ['text that is not UTF-8', [frame(1, Buffer.from([0xc3, 0x28]))], 'BAD_UTF8'],
    ['a Close of one byte', [frame(8, 'a')], 'PROTOCOL_ERROR'],
    ['a Close with a reserved code', [frame(8, Buffer.from([0x03, 0xed]))], 'PROTOCOL_ERROR'],
    ['a Close whose reason is not UTF-8', [frame(8, Buffer.from([0x03, 0xe8, 0xff]))], 'BAD_UTF8'],
  ])('refuses %s, and reads nothing after it', (_name, frames, expected) => {
    const seen = read([Buffer.concat([...frames, frame(1, 'later')])])
    expect(seen.at(-1)).toBe(expected)
    expect(seen).not.toContain(`text ${hex('later')}`)
    expect(read(Array.from(Buffer.concat(frames), (byte) => Buffer.from([byte]))).at(-1)).toBe(expected)
  })

  test('takes text whose characters are split between fragments', () => {
    const bytes = Buffer.from('€')
    expect(read([frame(1, bytes.subarray(0, 1), { fin: false }), frame(0, bytes.subarray(1))])).toEqual([
      `text ${hex('€')}`,
    ])
  })

  test('a Close without a code is 1005', () => {
    expect(read([frame(8), frame(1, 'later')])).toEqual(['close 1005'])
  })
})
