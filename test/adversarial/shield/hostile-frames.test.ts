// Hostile frames through a real socket: each gets an answer or a close with a code, never silence, and nobody else
// notices. Shield and the bus behind it stay up.
import fc from 'fast-check'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'

let lab: EdgeLab
let witness: TestClient
beforeAll(async () => {
  lab = await startEdgeLab({ limits: { maxConnectionsPerSubject: 10_000, maxConnectionsPerTenant: 10_000 } })
  witness = await lab.client('acme.witness')
  await witness.join('ops', 'a')
})
afterAll(() => lab.close())

/** Whatever was done before: a stranger can still publish, and the witness hears it. */
async function worksAsBefore(n: number): Promise<void> {
  const publisher = await lab.client('acme.publisher')
  expect((await publisher.publish('ops', 'a', { n })).type).toBe('message_response')
  await witness.until((frame) => frame.type === 'message' && (frame.payload as { n?: number }).n === n, `message ${n}`)
  expect(witness.closeCode).toBeUndefined()
  publisher.terminate()
}

const good = encodeProtobuf({
  id: 'arq_1795417006860163159_1_55420b',
  timestamp: '2026-11-23T12:00:00.000Z',
  type: 'message',
  version: '1.0',
  room: 'ops',
  channel: 'hostile',
  payload: { text: 'x' },
  args: {},
  metadata: {},
})

const hostileTexts: readonly string[] = [
  '',
  ' ',
  'null',
  '[]',
  '"text"',
  '{',
  '{}',
  '{"type":"message","__proto__":{"admin":true}}',
  '{"type":"message","payload":{"__proto__":{"a":1}}}',
  '{"type":"message","constructor":{}}',
  `{"type":"message","room":"${'r'.repeat(10_000)}","channel":"a"}`,
  '{"type":"message","room":"a\\r\\nPUB in.t.globex.raw 1","channel":"a","payload":{}}',
  '{"type":"message","room":"*","channel":">","payload":{}}',
  '{"type":"message","room":"ops","channel":"a\\u0000","payload":{}}',
  '{"type":"message","room":"ops","channel":"a","payload":{"n":99999999999999999999}}',
  `{"type":"message","room":"ops","channel":"a","payload":${'['.repeat(500)}${']'.repeat(500)}}`,
  `{"type":"message","room":"ops","channel":"a","payload":{${Array.from({ length: 1_500 }, (_, i) => `"k${i}":1`).join(',')}}}`,
  '{"type":"message","room":"ops","channel":"a","payload":{},"metadata":{"position":{"epoch":1,"sequence":9}}}',
  '{"type":"message","room":"ops","channel":"a","payload":{},"metadata":{"tenant_id":"globex"}}',
  '{"type":"goaway","payload":{}}',
  '{"type":"gap","payload":{}}',
  '{"type":"command","command":"__proto__"}',
  '{"type":"command","command":"join_channel","args":{"room":"ops","channel":{"a":1}}}',
  '{"type":"command","command":"join_channel","args":{"room":"../..","channel":"\\ud800"}}',
  '{"type":"command","command":"auth.refresh","args":{"token":{"a":1}}}',
  '{"type":"command","command":"auth.refresh"}',
]

test.each(hostileTexts.map((text) => [text.slice(0, 90), text]))(
  'text %s is answered with an error',
  async (_name, text) => {
    const client = await lab.client('acme.hostile')
    client.sendRaw(text)
    const answer = await client.until((frame) => frame.error_code !== undefined, 'an error')
    expect(answer.error_code).not.toBe('INTERNAL_ERROR')
    expect(client.closeCode).toBeUndefined()
    client.terminate()
  },
)

test('mutated binary frames are each answered, and none does harm', async () => {
  const mutated = fc
    .tuple(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.nat(good.length),
    )
    .map(([changes, cut]) => {
      const copy = good.slice()
      for (const [at, value] of changes) copy[at] = value
      return cut < 20 ? copy.subarray(0, cut) : copy
    })
  await fc.assert(
    fc.asyncProperty(fc.oneof(mutated, fc.uint8Array({ maxLength: 300 })), async (bytes) => {
      const client = await lab.client('acme.hostile', { format: 'protobuf' })
      client.sendRaw(bytes)
      const answer = await client.wait(() => client.frames[1], `an answer to ${Buffer.from(bytes).toString('hex')}`)
      expect(answer.error_code).not.toBe('INTERNAL_ERROR')
      expect(client.raw[1]!.isBinary).toBe(true)
      client.terminate()
    }),
    { numRuns: 150 },
  )
  await worksAsBefore(1)
})

test('spoofed identity in a frame is not believed', async () => {
  const client = await lab.client('acme.mallory')
  await client.answerTo(
    client.send({ room: 'ops', channel: 'a', payload: { n: 50 }, sender: witness.id, from_client: witness.id }),
  )
  const frame = await witness.until((one) => (one.payload as { n?: number }).n === 50, 'the message')
  expect(frame.sender).toBe(client.id)
})

test('a frame on the link with a stolen session is not believed', async () => {
  const impostor = lab.hub.connect('impostor')
  const headers = (changes: Record<string, string>): Record<string, string> => ({
    'x-arqon-session': witness.id,
    'x-arqon-subject': 'witness',
    'x-arqon-role': 'user',
    'x-arqon-frame': '2',
    ...changes,
  })
  const before = lab.bus.relay.counts.impostors
  impostor.publish('in.t.acme.raw', good, headers({ 'x-arqon-role': 'admin' }))
  impostor.publish('in.t.acme.raw', good, headers({ 'x-arqon-subject': 'root' }))
  impostor.publish('in.t.globex.raw', good, headers({}))
  impostor.publish('in.t.acme.raw', good, headers({ 'x-arqon-session': 'arq_client_ffffffffffffffffffffffffffffffff' }))
  impostor.publish('in.t.acme.raw', good, headers({ 'x-arqon-frame': 'x' }))
  impostor.publish('in.t.acme.raw', good, {})
  await impostor.flush()
  await worksAsBefore(2)
  expect(lab.bus.relay.counts.impostors - before).toBe(3)
  expect(lab.events.filter((event) => event.type === 'security_violation').length).toBeGreaterThanOrEqual(3)
})

test('junk on control subjects is answered or ignored, and changes nothing', async () => {
  const stranger = lab.hub.connect('stranger')
  const witnessJson = await lab.client('acme.json')
  const junk = ['', '{', '[]', 'null', '{"clientId":7}', '{"clientId":"x","tenant":"acme"}', '[[1]]', '\u00ff']
  for (const text of junk) {
    const bytes = Buffer.from(text, 'latin1')
    for (const subject of ['ctl.bus.open', 'ctl.bus.close', 'ctl.bus.lease']) {
      const answer = await stranger.request(subject, bytes, { timeoutMs: 1_000 })
      if (subject === 'ctl.bus.open')
        expect(JSON.parse(Buffer.from(answer.data).toString())).toMatchObject({ ok: false })
    }
    const read = await stranger.request('ctl.bus.read', bytes, { timeoutMs: 1_000 })
    expect(read.headers['x-arqon-error']).toBe('VALIDATION_ERROR')
    for (const subject of [
      'ctl.edge.resync',
      'ctl.edge.heads',
      'ctl.edge.removed',
      `ctl.edge.close.${lab.shield.process}`,
    ]) {
      stranger.publish(subject, bytes)
    }
    const own = `out.t.acme.s.${lab.shield.process}.${witnessJson.id.slice('arq_client_'.length + 8)}`
    stranger.publish('out.t.acme.r.ops.a', bytes, { 'x-arqon-seq': text === '' ? 'x' : '-1' })
    stranger.publish('out.t.acme.r.ops.a', bytes, { 'x-arqon-seq': '1', 'x-arqon-epoch': '0', 'x-arqon-live': text })
    stranger.publish(own, bytes, { 'x-arqon-frame': '9', 'x-arqon-since': text })
    stranger.publish(`out.t.acme.s.${lab.shield.process}.${'0'.repeat(24)}`, bytes, { 'x-arqon-frame': '1' })
    stranger.publish(own, bytes, { 'x-arqon-frame': '1', 'x-arqon-joined': text })
  }
  await stranger.flush()
  await worksAsBefore(3)
})

test('WebSocket framing that is wrong closes its own connection only', async () => {
  const handshake = [
    'GET /ws HTTP/1.1',
    'Host: x',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Authorization: Bearer acme.raw',
    '',
    '',
  ].join('\r\n')
  const wrong: readonly number[][] = [
    [0x81, 0x02, 0x7b, 0x7d], // not masked
    [0xf1, 0x80, 0, 0, 0, 0], // reserved bits
    [0x83, 0x80, 0, 0, 0, 0], // reserved opcode
    [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], // text that is not UTF-8
    [0x09, 0x80, 0, 0, 0, 0], // a fragmented ping
  ]
  for (const bytes of wrong) {
    const socket = connect(lab.shield.port, '127.0.0.1')
    socket.write(handshake)
    const ended = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('still open after 5 s')), 5_000)
      socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
      socket.on('error', () => undefined)
      socket.on('data', () => undefined)
    })
    socket.once('data', () => socket.write(Uint8Array.from(bytes)))
    await ended
  }
  await worksAsBefore(4)
})

test('a flood of frames is paced, then closed, and others are served', async () => {
  const paced = await startEdgeLab({ limits: { messagesPerSecond: 50, messagesBurst: 100 } })
  const [flooder, other] = [await paced.client('acme.flood'), await paced.client('acme.calm')]
  for (let i = 0; i < 2_000; i++) flooder.send({ room: 'ops', channel: 'a', payload: {} })
  expect(await flooder.closed()).toBe(4029)
  expect((await other.command('ping')).status).toBe('success')
  await paced.close()
})
