// The ways in of the original system's clients: handshake, welcome, and the frames that answer theirs
// (original-contract 3).
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { dataOf, positionOf, WireClient } from '../../support/launch/wire-client.ts'

const secret = 'original-ways-0123456789-abcdefghijklmnop'
const tokenOf = (subject: string, tenant = 'acme'): Promise<string> =>
  mintToken({ secret, subject, tenant, ttlSeconds: 600 })

let bus: BusInProcess
let guarded: BusInProcess
let unstored: BusInProcess
beforeAll(async () => {
  bus = await startBusInProcess()
  guarded = await startBusInProcess({ env: { ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: secret } })
  unstored = await startBusInProcess({ history: 'none' })
})
afterAll(async () => {
  for (const one of [bus, guarded, unstored]) await one.close()
})

describe('the welcome', () => {
  it('comes first, as JSON text, with the text and the key that the original clients look for', async () => {
    const client = await bus.client()
    expect(client.isBinary[0]).toBe(false)
    const welcome = client.frames[0]!
    expect(welcome).toMatchObject({ type: 'message', sender: 'arqonbus' })
    expect(welcome.payload).toMatchObject({ welcome: 'Connected to ArqonBus' })
    expect((welcome.payload as JsonObject)['client_id']).toMatch(/^arq_client_[0-9a-f]{32}$/)
    expect(welcome.room).toBeUndefined()
  })

  it.each(['', '/', '/ws', '/any/path?x=1', '/%7Eodd'])('comes on the path %j', async (path) => {
    expect((await bus.client({ path })).id).toMatch(/^arq_client_/)
  })

  it('announces what the server keeps and takes', async () => {
    const facts = (await bus.client()).frames[0]!.payload as JsonObject
    expect(facts['capabilities']).toContain('recover')
    expect(facts['limits']).toMatchObject({ max_inflight: 256 })
    expect(((await unstored.client()).frames[0]!.payload as JsonObject)['capabilities']).not.toContain('recover')
  })
})

describe('a token', () => {
  it.each(['Bearer', 'bearer', 'BEARER '])('is taken from the header after %j', async (scheme) => {
    const authorization = `${scheme} ${await tokenOf('alice')}`
    const client = await guarded.client({ headers: { authorization } })
    const info = dataOf(await client.command('ping'))['client_info']
    expect(info).toMatchObject({ tenant: 'acme', subject: 'alice', role: 'user' })
  })

  it.each(['token', 'access_token', 'auth_token'])('is taken from the query key %s', async (key) => {
    const client = await guarded.client({ path: `/?${key}=${await tokenOf('bob')}` })
    expect(dataOf(await client.command('ping'))['client_info']).toMatchObject({ subject: 'bob' })
  })

  it.each([
    ['no token', {}, 'Missing bearer token'],
    ['a bad token', { authorization: 'Bearer a.b.c' }, 'Invalid token'],
  ])('%s gets 401 with the original body, on upgrade and on plain HTTP', async (_name, headers, details) => {
    const plain = await fetch(`http://127.0.0.1:${guarded.wsPort}/`, { headers })
    expect(plain.status).toBe(401)
    expect(plain.headers.get('content-type')).toBe('application/json')
    expect(plain.headers.get('www-authenticate')).toBe('Bearer realm="arqonbus"')
    expect(await plain.json()).toEqual({ error: 'Unauthorized', details })
    await expect(WireClient.connect(guarded.url, { headers })).rejects.toThrow('closed with 1006')
  })

  it('is not asked for where authentication is off, and plain HTTP is told to upgrade', async () => {
    const plain = await fetch(`http://127.0.0.1:${bus.wsPort}/`)
    expect(plain.status).toBe(426)
  })
})

describe('a message', () => {
  it('is answered by a message_response with the same id and the payload', async () => {
    const client = await bus.client()
    const payload = { text: 'hällo', nested: { list: [1, null, true, 'x'] } }
    const answer = await client.publish('lab', 'echo', payload)
    expect(answer).toMatchObject({ type: 'message_response', payload, sender: 'arqonbus', status: 'success' })
    expect(client.frames.filter((frame) => frame.id === answer.id)).toHaveLength(1)
  })

  it('reaches members of its channel and nobody else, its sender included', async () => {
    const [sender, member, other] = [await bus.client(), await bus.client(), await bus.client()]
    for (const client of [sender, member]) await client.join('lab', 'reach')
    await other.join('lab', 'elsewhere')
    const ack = await sender.publish('lab', 'reach', { n: 1 })
    const [received] = await member.received(1)
    expect(received).toMatchObject({ id: ack.id, room: 'lab', channel: 'reach', payload: { n: 1 }, sender: sender.id })
    expect(received!.metadata['position']).toEqual(ack.metadata['position'])
    await Promise.all([sender.command('ping'), other.command('ping')])
    expect(sender.messages()).toEqual([])
    expect(other.messages()).toEqual([])
  })

  it.each([
    ['without a room', { channel: 'x' }, 'NO_ROUTE'],
    ['without a channel', { room: 'x' }, 'NO_ROUTE'],
    ['to a room with a control character', { room: 'a\u0007', channel: 'x' }, 'BAD_NAME'],
    [
      'that claims a position',
      { room: 'a', channel: 'x', metadata: { position: { epoch: 1, sequence: 1 } } },
      'SERVER_FIELD',
    ],
    ['with an unknown ack', { room: 'a', channel: 'x', metadata: { ack: 'maybe' } }, 'BAD_ACK'],
  ])('%s is refused by a reason', async (_name, fields, reason) => {
    const client = await bus.client()
    const answer = await client.ask(fields)
    expect(answer).toMatchObject({
      type: 'error',
      error_code: 'VALIDATION_ERROR',
      payload: { reason, retryable: false },
    })
  })

  it.each([
    ['{', 'BAD_JSON'],
    ['[]', 'NOT_OBJECT'],
    ['{"type":"message","extra":1}', 'UNKNOWN_KEY'],
    ['{"type":"nonsense"}', 'BAD_TYPE'],
    ['{"type":"message_response"}', undefined],
  ])('that cannot be read (%s) gets an error, and the connection stays', async (text, reason) => {
    const client = await bus.client()
    client.ws.send(text)
    const answer = await client.until((frame) => frame.type === 'error', 'error')
    expect(answer.error_code).toBe('VALIDATION_ERROR')
    if (reason !== undefined) expect(answer.payload).toMatchObject({ reason })
    expect(await client.command('ping')).toMatchObject({ status: 'success' })
  })

  it('of type telemetry is delivered and not answered', async () => {
    const [sender, member] = [await bus.client(), await bus.client()]
    await member.join('integriguard', 'telemetry-stream')
    const id = sender.send({ type: 'telemetry', payload: { cpu: 1 } })
    await member.received(1)
    await sender.command('ping')
    expect(sender.frames.some((frame) => frame.id === id || frame.request_id === id)).toBe(false)
  })
})

describe('ack', () => {
  it('none is not answered, and stored and delivered all the same', async () => {
    const [sender, member] = [await bus.client(), await bus.client()]
    await member.join('lab', 'none')
    const id = sender.send({ room: 'lab', channel: 'none', payload: { n: 1 }, metadata: { ack: 'none' } })
    const [received] = await member.received(1)
    expect(positionOf(received!).sequence).toBe(1)
    await sender.command('ping')
    expect(sender.frames.some((frame) => frame.id === id)).toBe(false)
  })

  it('accepted answers at once, without a position', async () => {
    const ack = await (await bus.client()).publish('lab', 'accepted', {}, { ack: 'accepted' })
    expect(ack.metadata).toEqual({ level: 'memory' })
  })

  it('stored answers with position and level, and is the default where history is kept', async () => {
    const client = await bus.client()
    for (const metadata of [{}, { ack: 'stored' }] as JsonObject[]) {
      const ack = await client.publish('lab', 'stored', {}, metadata)
      expect(ack.metadata).toMatchObject({ level: 'memory', position: { sequence: expect.any(Number) } })
    }
  })

  it('stored is refused where nothing is stored, and the default there is accepted', async () => {
    const client = await unstored.client()
    expect(await client.publish('lab', 'x', {}, { ack: 'stored' })).toMatchObject({ error_code: 'FEATURE_DISABLED' })
    expect((await client.publish('lab', 'x', {})).metadata).toEqual({ level: 'memory' })
  })

  it.each(['memory', 'none'] as const)(
    'of an id sent again says duplicate; of another payload, conflict (%s)',
    async (history) => {
      const from = history === 'memory' ? bus : unstored
      const [sender, member] = [await from.client(), await from.client()]
      await member.join('lab', 'again')
      const first = await sender.publish('lab', 'again', { n: 1 })
      const message = { id: first.id, room: 'lab', channel: 'again' }
      const second = sender.frames.length
      sender.send({ ...message, payload: { n: 1 } })
      const again = await sender.until(
        (frame) => sender.frames.indexOf(frame) >= second && frame.id === first.id,
        'ack',
      )
      expect(again).toMatchObject({ type: 'message_response', metadata: { duplicate: true } })
      expect(again.metadata['position']).toEqual(first.metadata['position'])
      sender.send({ ...message, payload: { n: 2 } })
      const conflict = await sender.until((frame) => frame.request_id === first.id, 'conflict')
      expect(conflict).toMatchObject({ type: 'error', error_code: 'ID_CONFLICT' })
      await sender.publish('lab', 'again', { n: 3 })
      expect((await member.received(2)).map((frame) => frame.payload)).toEqual([{ n: 1 }, { n: 3 }])
    },
  )
})

it('the same id in another channel is another message', async () => {
  const [sender, member] = [await bus.client(), await bus.client()]
  await member.join('ids', '*')
  const { id } = await sender.publish('ids', 'one', { n: 1 })
  sender.send({ id, room: 'ids', channel: 'two', payload: { n: 2 } })
  expect((await member.received(2)).map((frame) => [frame.id, frame.channel])).toEqual([
    [id, 'one'],
    [id, 'two'],
  ])
})

describe('a private message', () => {
  it('reaches the one client, in its own format, and is answered as accepted at most', async () => {
    const [from, to, other] = [await bus.client(), await bus.client({ format: 'protobuf' }), await bus.client()]
    await to.command('ping')
    const ack = await from.ask({ to_client: to.id, payload: { hi: 1 } })
    expect(ack).toMatchObject({ type: 'message_response', metadata: { level: 'memory' }, payload: { hi: 1 } })
    const received = await to.until((frame) => frame.id === ack.id, 'private message')
    expect(received).toMatchObject({ payload: { hi: 1 }, sender: from.id, to_client: to.id })
    expect(to.isBinary.at(-1)).toBe(true)
    expect(received.metadata['position']).toBeUndefined()
    await other.command('ping')
    expect(other.messages()).toEqual([])
  })

  it('is refused to who is not there, to another tenant, and as stored', async () => {
    const [alice, eve] = [
      await guarded.client({ token: await tokenOf('alice') }),
      await guarded.client({ token: await tokenOf('eve', 'globex') }),
    ]
    const gone = await guarded.client({ token: await tokenOf('gone') })
    await gone.terminate()
    for (const target of [eve.id, 'arq_client_nobody']) {
      expect(await alice.ask({ to_client: target, payload: {} })).toMatchObject({ error_code: 'TARGET_NOT_FOUND' })
    }
    const stored = await alice.ask({ to_client: alice.id, payload: {}, metadata: { ack: 'stored' } })
    expect(stored).toMatchObject({ error_code: 'VALIDATION_ERROR', payload: { reason: 'BAD_ACK' } })
    await eve.command('ping')
    expect(eve.messages()).toEqual([])
  })
})
