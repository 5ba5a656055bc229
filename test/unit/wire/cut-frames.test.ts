// Frames that end too early: refused as VALIDATION_ERROR, or a shorter message that protobuf-es reads too.
import { describe, expect, it } from 'vitest'
import { defaultWireLimits as limits } from '../../../src/wire/limits.ts'
import { reframe, scanFrame } from '../../../src/wire/message-frame.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { decodeJson, encodeJson } from '../../../src/wire/json-codec.ts'
import { esDecode, esEncode, messageOf, reasonOf, splitFields } from '../../support/frames.ts'

const full = messageOf({
  room: 'science',
  channel: 'général',
  sender: 'me',
  to_client: 'you',
  payload: { text: 'x'.repeat(200), list: [1, null, true, { deep: [] }] },
  args: { limit: 10 },
  metadata: { ack: 'stored', tenant_id: 'acme', twist_id: 'tw' },
})
const frames = {
  ours: encodeProtobuf(full),
  'with header copies': esEncode(full, { headers: true }),
  'a command': encodeProtobuf(messageOf({ ...full, type: 'command', command: 'status' })),
  canonical: reframe(scanFrame(encodeProtobuf(full), limits), { sender: 'arq_client_x' }),
}

describe.each(Object.entries(frames))('%s', (_, frame) => {
  it('is refused wherever it is cut, but for the ends of outer fields', () => {
    const boundaries = new Set([0])
    let at = 0
    for (const part of splitFields(frame)) {
      at += part.length
      boundaries.add(at)
    }
    for (let end = 0; end < frame.length; end++) {
      const bytes = frame.subarray(0, end)
      const reasons = [reasonOf(() => scanFrame(bytes, limits)), reasonOf(() => decodeProtobuf(bytes, limits))]
      if (!boundaries.has(end)) expect(reasons).toEqual(['PB_TRUNCATED', 'PB_TRUNCATED'])
      else if (reasons[1] === undefined) {
        const { timestamp: ours, ...decoded } = decodeProtobuf(bytes, limits)
        const { timestamp: theirs, ...expected } = esDecode(bytes)
        expect(decoded).toEqual(expected)
        // Without the field, we say now and protobuf says 0.
        if (theirs !== '1970-01-01T00:00:00.000Z') expect(ours).toBe(theirs)
      } else expect(end === 0 ? 'PB_EMPTY' : 'BAD_ID').toBe(reasons[1])
    }
  })
})

it('refuses a JSON frame wherever it is cut', () => {
  const text = encodeJson(full)
  for (let end = 0; end < text.length; end++) {
    expect(reasonOf(() => decodeJson(text.slice(0, end), limits))).toBe('BAD_JSON')
  }
})
