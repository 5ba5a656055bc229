// One session's life at the edge: tokens that end or are renewed, policy, limits, refusals.
import { afterEach, describe, expect, test } from 'vitest'
import { closeTable } from '../../../src/base/close-codes.ts'
import type { Policy, Verdict } from '../../../src/policy/policy.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { createTestClock, data, type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'

let lab: EdgeLab
afterEach(() => lab.close())

const inAnHour = (from = Date.now()): number => from + 3_600_000
/** A frame with a field that no schema knows. */
const unknownField = Uint8Array.from([0xfa, 0x06, 0x01, 0x78])

describe('a token', () => {
  test('ends the session when it ends, with the half minute that clocks may differ', async () => {
    const clock = createTestClock()
    lab = await startEdgeLab({ shield: { clock } })
    const short = await lab.client(`acme.alice.user.${clock.now() + 60_000}`)
    const long = await lab.client(`acme.bob.user.${inAnHour(clock.now())}`)
    clock.advance(89_000)
    expect((await short.command('ping')).status).toBe('success')
    clock.advance(2_000)
    expect(await short.closed()).toBe(closeTable.TOKEN_EXPIRED.code)
    expect((await long.command('ping')).status).toBe('success')
  })

  test('is renewed in band, and never travels on the link', async () => {
    const clock = createTestClock()
    lab = await startEdgeLab({ shield: { clock } })
    const seen: string[] = []
    const observer = lab.hub.connect('observer')
    observer.subscribe('>', ({ data: bytes }) => seen.push(Buffer.from(bytes).toString('latin1')))
    const client = await lab.client(`acme.alice.user.${clock.now() + 60_000}`)
    const [from, renewed] = [await lab.client('acme.bob'), `acme.alice.user.${inAnHour(clock.now())}`]
    await client.join('ops', 'a')
    const response = await client.command('auth.refresh', { token: renewed })
    expect(response.status).toBe('success')
    expect(data(response)['expires_at']).toBe(new Date(inAnHour(clock.now())).toISOString())
    clock.advance(120_000)
    await from.publish('ops', 'a', { n: 1 })
    await client.received(1)
    expect((await client.publish('ops', 'b', { n: 1 })).type).toBe('message_response')
    expect(seen.length).toBeGreaterThan(5)
    expect(seen.filter((text) => text.includes(renewed))).toEqual([])
  })

  test.each([
    ['another subject', 'acme.bob', closeTable.TOKEN_REVOKED.code],
    ['another tenant', 'globex.alice', closeTable.TOKEN_REVOKED.code],
    ['a bad one', 'nonsense', undefined],
  ])('of %s does not renew the session', async (_name, token, code) => {
    lab = await startEdgeLab()
    const client = await lab.client('acme.alice')
    client.send({ type: 'command', command: 'auth.refresh', args: { token } })
    const refused = await client.until((frame) => frame.status === 'error', 'refusal')
    expect(refused.error_code).toBe('AUTHENTICATION_FAILED')
    if (code !== undefined) expect(await client.closed()).toBe(code)
    else expect((await client.command('ping')).status).toBe('success')
  })

  test('with fewer permissions ends the memberships it does not permit', async () => {
    lab = await startEdgeLab()
    const [client, from] = [await lab.client('acme.alice'), await lab.client('acme.bob')]
    await client.join('ops', 'a')
    const narrow = `acme.alice.user..channel_view`
    expect((await client.command('auth.refresh', { token: narrow })).status).toBe('success')
    const gap = await client.until((frame) => frame.type === 'gap', 'gap')
    expect(gap).toMatchObject({ room: 'ops', channel: 'a', payload: { reason: 'not_permitted' } })
    await from.publish('ops', 'a', { n: 1 })
    expect(data(await from.command('presence', { room: 'ops', channel: 'a' }))).toMatchObject({ member_count: 0 })
    expect((await client.join('ops', 'a')).error_code).toBe('AUTHORIZATION_ERROR')
    expect(client.messages()).toEqual([])
  })
})

describe('a policy', () => {
  const words: Policy = {
    name: 'words',
    decide({ frame }): Verdict | Promise<Verdict> {
      const text = Buffer.from(frame).toString('latin1')
      if (text.includes('later')) return Promise.resolve({ allows: true })
      if (text.includes('never')) return { allows: false, code: 'POLICY_DENIED', reason: 'WORD' }
      return text.includes('broken') ? { allows: false, code: 'POLICY_ERROR' } : { allows: true }
    },
  }

  test('that denies or fails keeps the frame out and says so; order holds when it takes its time', async () => {
    lab = await startEdgeLab({ shield: { policy: words } })
    const [client, reader] = [await lab.client('acme.a'), await lab.client('acme.b', { format: 'protobuf' })]
    await reader.join('ops', 'a')
    const denied = await client.publish('ops', 'a', { n: 0, text: 'never' })
    expect(denied).toMatchObject({ error_code: 'POLICY_DENIED', payload: { reason: 'WORD', outcome: 'not_stored' } })
    expect((await client.publish('ops', 'a', { n: 0, text: 'broken' })).error_code).toBe('POLICY_ERROR')
    for (let n = 1; n <= 10; n++)
      client.send({ room: 'ops', channel: 'a', payload: { n, text: n % 3 === 0 ? 'later' : 'now' } })
    await reader.received(10)
    expect(reader.numbers()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(lab.shield.metrics.read('shield_policy_decisions_total', 'POLICY_DENIED')).toBe(1)
  })
})

describe('a frame against the schema', () => {
  const bad = (client: TestClient): Uint8Array =>
    Buffer.concat([
      encodeProtobuf({
        id: 'arq_1795417006860163159_1_55420b',
        timestamp: new Date().toISOString(),
        type: 'message',
        version: '1.0',
        room: 'ops',
        channel: client.id,
        payload: {},
        args: {},
        metadata: {},
      }),
      unknownField,
    ])

  test('is refused with field, rule and id, counted, and not passed on', async () => {
    lab = await startEdgeLab()
    const seen: string[] = []
    const observer = lab.hub.connect('observer')
    observer.subscribe('in.t.*.raw', ({ subject }) => seen.push(subject))
    await observer.flush()
    const client = await lab.client('acme.a', { format: 'protobuf' })
    client.sendRaw(bad(client))
    const refusal = await client.until((frame) => frame.type === 'error', 'refusal')
    expect(refusal).toMatchObject({
      request_id: 'arq_1795417006860163159_1_55420b',
      error_code: 'SCHEMA_VIOLATION',
      payload: { reason: 'UNKNOWN_FIELD', field: '111' },
    })
    expect(client.raw.at(-1)!.isBinary).toBe(true)
    expect(lab.shield.metrics.read('shield_schema_violations_total', 'UNKNOWN_FIELD')).toBe(1)
    expect(seen).toEqual([])
  })

  test('is counted and left to the rules of the wire where the schema is not strict', async () => {
    lab = await startEdgeLab({ shield: { schemaStrict: false } })
    const client = await lab.client('acme.a', { format: 'protobuf' })
    client.sendRaw(bad(client))
    const answer = await client.wait(() => client.frames[1], 'an answer')
    expect(answer.error_code).not.toBe('SCHEMA_VIOLATION')
    expect(lab.shield.metrics.read('shield_schema_violations_total', 'UNKNOWN_FIELD')).toBe(1)
  })

  test('ten times in a minute closes the connection, less often does not', async () => {
    const clock = createTestClock()
    lab = await startEdgeLab({ shield: { clock } })
    const [often, seldom] = [await lab.client('acme.a'), await lab.client('acme.b')]
    for (let i = 0; i < 9; i++) often.sendRaw('{}')
    for (let i = 0; i < 9; i++) seldom.sendRaw('not json')
    await often.wait(() => (often.frames.length === 10 ? true : undefined), 'nine refusals')
    await seldom.wait(() => (seldom.frames.length === 10 ? true : undefined), 'nine refusals')
    expect(often.frames.slice(1).every((frame) => frame.error_code === 'VALIDATION_ERROR')).toBe(true)
    often.sendRaw('{}')
    expect(await often.closed()).toBe(closeTable.REFUSED_TOO_OFTEN.code)
    clock.advance(61_000)
    seldom.sendRaw('not json')
    await seldom.wait(() => (seldom.frames.length === 11 ? true : undefined), 'the tenth')
    expect((await seldom.command('ping')).status).toBe('success')
  })
})

describe('limits', () => {
  test('a frame above the limit closes with 1009', async () => {
    lab = await startEdgeLab({ limits: { maxMessageBytes: 64 * 1024 } })
    const [big, exact] = [await lab.client('acme.a'), await lab.client('acme.b')]
    const envelope = (length: number): string => {
      const head = '{"type":"message","room":"ops","channel":"a","payload":{"t":"'
      return `${head}${'x'.repeat(length - head.length - 3)}"}}`
    }
    exact.sendRaw(envelope(64 * 1024))
    await exact.until((frame) => frame.type === 'message_response', 'acknowledgement')
    big.sendRaw(envelope(64 * 1024 + 1))
    expect(await big.closed()).toBe(1009)
  })

  test('more unanswered frames than allowed are refused, the others are answered', async () => {
    let isSlow = false
    lab = await startEdgeLab({
      limits: { maxInflight: 4 },
      faults: ({ subject }) =>
        isSlow && subject.startsWith('in.t.') ? { kind: 'delay', turns: 50 } : { kind: 'deliver' },
    })
    const client = await lab.client('acme.a')
    isSlow = true
    const ids = [1, 2, 3, 4, 5, 6].map((n) => client.send({ room: 'ops', channel: 'a', payload: { n } }))
    const answers = await Promise.all(ids.map((id) => client.answerTo(id)))
    expect(answers.filter((answer) => answer.type === 'message_response')).toHaveLength(4)
    expect(answers.slice(4).map((answer) => answer.error_code)).toEqual(['INFLIGHT_EXCEEDED', 'INFLIGHT_EXCEEDED'])
  })

  test('JSON is refused, in protobuf, where only protobuf is spoken', async () => {
    lab = await startEdgeLab({ env: { ARQONBUS_ALLOW_JSON_INFRA: 'false', ARQONBUS_INFRA_PROTOCOL: 'protobuf' } })
    const client = await lab.client('acme.a', { format: 'protobuf' })
    expect(client.raw[0]!.isBinary).toBe(true)
    client.sendRaw('{"type":"message"}')
    const refusal = await client.until((frame) => frame.type === 'error', 'refusal')
    expect(refusal).toMatchObject({ error_code: 'INFRA_PROTOCOL_ERROR', payload: { required_protocol: 'protobuf' } })
    expect((await client.command('ping')).status).toBe('success')
    expect(client.raw.every(({ isBinary }) => isBinary)).toBe(true)
  })
})

test('a Shield that stops says goodbye, answers what is under way, and asks its clients to come back', async () => {
  let isSlow = false
  lab = await startEdgeLab({
    faults: ({ subject }) =>
      isSlow && subject.startsWith('in.t.') ? { kind: 'delay', turns: 20 } : { kind: 'deliver' },
  })
  const leaving = await lab.startShield('leaving')
  const client = await lab.client('acme.a', { shield: leaving })
  await client.join('ops', 'a')
  isSlow = true
  const id = client.send({ room: 'ops', channel: 'a', payload: {} })
  await client.wait(() => (leaving.metrics.read('shield_frames_total', 'forwarded') === 2 ? true : undefined), 'frame')
  const closing = leaving.close()
  expect(await client.closed()).toBe(closeTable.RESTART.code)
  await closing
  expect(client.frames.some((frame) => frame.type === 'goaway')).toBe(true)
  expect(client.frames.some((frame) => frame.type === 'message_response' && frame.id === id)).toBe(true)
  expect(lab.bus.relay.sessions).toBe(0)
})

test('a deleted channel is left at the edge too', async () => {
  lab = await startEdgeLab()
  const [admin, member] = [await lab.client('acme.root.admin'), await lab.client('acme.b')]
  await member.join('ops', 'a')
  expect(lab.shield.metrics.gauge('shield_subscriptions')).toBe(1)
  expect((await admin.command('delete_channel', { room: 'ops', channel: 'a' })).status).toBe('success')
  await member.wait(() => (lab.shield.metrics.gauge('shield_subscriptions') === 0 ? true : undefined), 'end')
  await admin.join('ops', 'a')
  await admin.publish('ops', 'a', { n: 1 })
  expect((await member.command('ping')).status).toBe('success')
  expect(member.messages()).toEqual([])
})
