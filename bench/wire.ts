// What the wire part costs for one message with a 128-byte payload, in microseconds of CPU: the median of nine rounds.
//   node bench/wire.ts
import type { Envelope } from '../src/envelope/envelope.ts'
import { decodeJson, encodeJson } from '../src/wire/json-codec.ts'
import { defaultWireLimits as limits } from '../src/wire/limits.ts'
import {
  envelopeOfFrame,
  frameFromEnvelope,
  payloadHash,
  positionedLength,
  reframe,
  scanFrame,
  withPosition,
  writePositioned,
} from '../src/wire/message-frame.ts'
import { decodeProtobuf, encodeProtobuf } from '../src/wire/protobuf-codec.ts'

const envelope: Envelope = {
  id: 'arq_1795417006860163159_12345_55420b',
  timestamp: '2026-11-23T06:56:47.145Z',
  type: 'message',
  version: '1.0',
  payload: { content: 'x'.repeat(128) },
  args: {},
  metadata: {},
  room: 'science',
  channel: 'general',
}
const server = { sender: 'arq_client_0123456789abcdef0123456789abcdef' }
const position = { epoch: 3, sequence: 123_456 }
const json = encodeJson(envelope)
const inbound = encodeProtobuf(envelope)
const frame = frameFromEnvelope(envelope, server)
const target = Buffer.alloc(positionedLength(frame))
const defaults = { nextId: () => envelope.id, nowMs: 0 }

/** Keeps results alive, so that no work can be optimised away. */
let sink: unknown

function measure(name: string, work: () => unknown): void {
  const perRound = 50_000
  const rounds: number[] = []
  for (let round = 0; round < 11; round++) {
    const before = process.cpuUsage()
    for (let i = 0; i < perRound; i++) sink = work()
    const { user, system } = process.cpuUsage(before)
    rounds.push((user + system) / perRound)
  }
  const measured = rounds.slice(2).sort((a, b) => a - b) // the first two warm up
  console.log(`${name.padEnd(36)} ${measured[4]!.toFixed(2).padStart(6)} us   best ${measured[0]!.toFixed(2)}`)
}

console.log(`inbound ${inbound.length} bytes, canonical frame ${frame.length}, JSON ${json.length}`)
measure('scan', () => scanFrame(inbound, limits))
measure('scan + reframe', () => reframe(scanFrame(inbound, limits), server))
measure('payloadHash', () => payloadHash(frame))
measure('withPosition', () => withPosition(frame, position))
measure('writePositioned', () => writePositioned(target, 0, frame, position))
measure('envelopeOfFrame + JSON print', () => encodeJson(envelopeOfFrame(frame, position)))
measure('decodeJson', () => decodeJson(json, limits, defaults))
measure('decodeJson + frameFromEnvelope', () => frameFromEnvelope(decodeJson(json, limits, defaults), server))
measure('decodeProtobuf', () => decodeProtobuf(inbound, limits))
measure('encodeProtobuf', () => encodeProtobuf(envelope))
if (sink === undefined) throw new Error('nothing was measured')
