import { expect, test } from 'vitest'
import { createReplies } from '../../../src/router/replies.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { ackFrame } from '../../../src/wire/ack-frame.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'

const atMs = Date.parse('2026-11-23T12:00:00.123Z')
const replies = createReplies({ now: () => atMs, monotonic: () => 0 }, () => 'arq_1_1_000000')
const id = 'arq_1_2_0a0b0c'

test.each([
  { level: 'memory' as const, position: undefined, isDuplicate: false },
  { level: 'disk' as const, position: { epoch: 217_631_238_661, sequence: 1 }, isDuplicate: false },
  { level: 'process' as const, position: { epoch: 1, sequence: 2 ** 40 }, isDuplicate: true },
])('a binary acknowledgement laid out directly says what the general one says: %o', (ack) => {
  const frame = ackFrame({ id, atMs, sender: 'arqonbus', ...ack })
  expect([frame[0], frame[1]! & 0x80]).toEqual([0x82, 0])
  const payload = frame.subarray(frame[1] === 126 ? 4 : 2)
  const { position, ...rest } = ack
  const general = replies.acknowledgement(id, { ...rest, ...(position !== undefined && { position }) })
  expect(decodeProtobuf(payload, defaultWireLimits)).toEqual(decodeProtobuf(encodeProtobuf(general), defaultWireLimits))
})
