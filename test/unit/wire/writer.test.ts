import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf, encodeStruct } from '../../../src/wire/protobuf-codec.ts'
import { Writer } from '../../../src/wire/writer.ts'
import { messageOf } from '../../support/frames.ts'

/** `size` bytes that only the message `n` has. */
function message(writer: Writer, n: number, size: number): Uint8Array {
  writer.begin()
  for (let i = 0; i < size; i++) writer.byte(n)
  return writer.finish()
}

describe('messages of one writer', () => {
  it('stay as they were while others are written, whatever their sizes', () => {
    const size = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 5_000 }), fc.nat({ max: 40_000 }))
    fc.assert(
      fc.property(fc.array(size, { minLength: 2, maxLength: 40 }), (sizes) => {
        const writer = new Writer()
        const messages = sizes.map((bytes, n) => message(writer, n, bytes))
        for (const [n, bytes] of messages.entries()) {
          expect(bytes).toHaveLength(sizes[n]!)
          expect(bytes.every((byte) => byte === n)).toBe(true)
        }
      }),
    )
  })

  it('do not hold what a message that was given up had written', () => {
    const writer = new Writer()
    const before = message(writer, 1, 10)
    writer.begin()
    writer.text('abc')
    expect(() => writer.text('\ud800')).toThrow(expect.objectContaining({ details: { reason: 'BAD_TEXT' } }))
    expect(message(writer, 2, 3)).toEqual(Uint8Array.of(2, 2, 2))
    expect(before).toEqual(new Uint8Array(10).fill(1))
  })

  it('keep no more memory than a slab, and a large one only its own', () => {
    const writer = new Writer()
    expect(message(writer, 1, 100).buffer.byteLength).toBe(16 * 1024)
    expect(message(writer, 2, 5_000).buffer.byteLength).toBe(5_000)
    expect(message(writer, 3, 100_000).buffer.byteLength).toBe(100_000)
    expect(message(writer, 4, 100).buffer.byteLength).toBe(16 * 1024)
  })
})

describe('varints', () => {
  it.each<[number, number[]]>([
    [0, [0]],
    [127, [0x7f]],
    [128, [0x80, 0x01]],
    [16_383, [0xff, 0x7f]],
    [16_384, [0x80, 0x80, 0x01]],
    [2 ** 32, [0x80, 0x80, 0x80, 0x80, 0x10]],
    [Number.MAX_SAFE_INTEGER, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    [-1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
  ])('of %i are as short as they can be', (value, bytes) => {
    const writer = new Writer()
    writer.begin()
    writer.varint(value)
    expect([...writer.finish()]).toEqual(bytes)
  })
})

it('leaves out of a Struct what is undefined, as JSON does', () => {
  const payload = { a: 1, b: undefined as unknown as null, c: { d: undefined as unknown as null } }
  expect(encodeStruct(payload)).toEqual(encodeStruct({ a: 1, c: {} }))
  expect(decodeProtobuf(encodeProtobuf(messageOf({ payload })), defaultWireLimits).payload).toEqual({ a: 1, c: {} })
})
