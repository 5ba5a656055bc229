// Our WebSocket framing, read by the `ws` package's own parser.
import { Buffer } from 'node:buffer'
import type { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import * as ws from 'ws'
import { writeWsFrameHeader, wsFrame, wsFrameLength } from '../../../src/wire/ws-frame.ts'

// `ws` exports its parser, but its type package does not know it.
const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: boolean; maxPayload: number }) => Writable }

function receive(bytes: Uint8Array): Promise<{ data: Buffer; isBinary: boolean }[]> {
  const receiver = new Receiver({ isServer: false, maxPayload: 0 })
  const messages: { data: Buffer; isBinary: boolean }[] = []
  receiver.on('message', (data: Buffer, isBinary: boolean) => messages.push({ data, isBinary }))
  return new Promise((done, fail) => {
    receiver.on('error', fail)
    receiver.on('finish', () => done(messages))
    receiver.end(Buffer.from(bytes))
  })
}

const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]

describe('wsFrame', () => {
  it.each(lengths)('makes a frame of %i bytes that ws reads', async (length) => {
    const payload = Uint8Array.from({ length }, (_, i) => 0x20 + (i % 90))
    for (const opcode of [1, 2] as const) {
      const frame = wsFrame(opcode, payload)
      expect(frame.length).toBe(wsFrameLength(length))
      const [message, ...others] = await receive(frame)
      expect(others).toEqual([])
      expect(message?.isBinary).toBe(opcode === 2)
      expect(message?.data.equals(payload)).toBe(true)
    }
  })

  it('makes frames that ws reads one after the other', async () => {
    const frames = lengths.map((length) => wsFrame(2, new Uint8Array(length)))
    const messages = await receive(Buffer.concat(frames))
    expect(messages.map(({ data }) => data.length)).toEqual(lengths)
  })
})

describe('writeWsFrameHeader', () => {
  it('uses the shortest length, returns the offset after it, and touches nothing else', () => {
    for (const length of lengths) {
      const target = new Uint8Array(20).fill(0x55)
      const header = wsFrameLength(length) - length
      expect(writeWsFrameHeader(target, 3, 2, length)).toBe(3 + header)
      expect([...target.subarray(0, 3), ...target.subarray(3 + header)]).toEqual(Array(20 - header).fill(0x55))
      expect(header).toBe(length < 126 ? 2 : length < 65_536 ? 4 : 10)
    }
  })

  it('writes lengths above 4 GiB', () => {
    const target = Buffer.alloc(10)
    writeWsFrameHeader(target, 0, 2, 2 ** 32 + 5)
    expect(target.toString('hex')).toBe('827f0000000100000005')
  })
})
