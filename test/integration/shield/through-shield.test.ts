// What a client can do at the bus, it can do through Shield, in either format.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { data, type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'

const upTo = (count: number, from = 1): number[] => Array.from({ length: count }, (_, i) => i + from)
const sequenceOf = (frame: { metadata: Record<string, unknown> }): number =>
  (frame.metadata['position'] as { sequence: number }).sequence

describe.each(['json', 'protobuf'] as const)('a %s client through Shield', (format) => {
  let lab: EdgeLab
  let alice: TestClient
  let bob: TestClient
  beforeEach(async () => {
    lab = await startEdgeLab()
    alice = await lab.client('acme.alice', { format })
    bob = await lab.client('acme.bob', { format })
  })
  afterEach(() => lab.close())

  test('is welcomed under an id of this Shield, with the limits of the bus', async () => {
    expect(alice.id).toMatch(new RegExp(`^arq_client_${lab.shield.process}[0-9a-f]{24}$`))
    expect(alice.frames[0]!.payload).toMatchObject({
      welcome: 'Connected to ArqonBus',
      capabilities: expect.arrayContaining(['recover', 'private']),
      limits: { max_joins: 100 },
    })
  })

  test('joins, publishes with acknowledgement and position, and receives in order', async () => {
    const joined = await bob.join('ops', 'alerts')
    expect(joined.status).toBe('success')
    expect(data(joined)['position']).toMatchObject({ sequence: 0 })
    for (const n of upTo(20)) {
      const ack = await alice.publish('ops', 'alerts', { n })
      expect(ack).toMatchObject({ type: 'message_response', status: 'success', metadata: { level: 'memory' } })
      expect(sequenceOf(ack)).toBe(n)
      if (format === 'json') expect(ack.payload).toEqual({ n })
    }
    const got = await bob.received(20)
    expect(bob.numbers()).toEqual(upTo(20))
    expect(got.every((frame) => frame.sender === alice.id)).toBe(true)
    expect(got.map(sequenceOf)).toEqual(upTo(20))
    expect(bob.raw.every(({ isBinary }, i) => i === 0 || isBinary === (format === 'protobuf'))).toBe(true)
  })

  test('gets exactly one response and one command_response for a command', async () => {
    const id = alice.send({ type: 'command', command: 'ping' })
    await alice.until((frame) => frame.type === 'command_response' && frame.id === id, 'command_response')
    await alice.command('status')
    expect(alice.frames.filter((frame) => frame.request_id === id || frame.id === id)).toHaveLength(2)
    expect(await alice.command('no.such')).toMatchObject({ status: 'error', error_code: 'UNKNOWN_COMMAND' })
  })

  test('does not get its own messages, and others get them once, whoever they joined by', async () => {
    await Promise.all([alice.join('ops', 'a'), alice.join('ops', '*'), bob.join('ops', '*'), bob.join('ops', 'a')])
    for (const n of upTo(5)) await alice.publish('ops', 'a', { n })
    for (const n of upTo(5)) await alice.publish('ops', 'new channel/ü', { n })
    await bob.received(10)
    expect(bob.numbers('a')).toEqual(upTo(5))
    expect(bob.numbers('new channel/ü')).toEqual(upTo(5))
    await bob.publish('ops', 'a', { n: 6 })
    await alice.received(1)
    expect(alice.numbers()).toEqual([6])
  })

  test('leaves, and is left alone', async () => {
    await bob.join('ops', 'a')
    await bob.join('ops', 'a') // twice is once
    const carol = await lab.client('acme.carol', { format })
    await carol.join('ops', 'a')
    await alice.publish('ops', 'a', { n: 1 })
    await bob.received(1)
    expect(await bob.command('leave_channel', { room: 'ops', channel: 'a' })).toMatchObject({ status: 'success' })
    expect(await bob.command('leave_channel', { room: 'ops', channel: 'a' })).toMatchObject({
      error_code: 'NOT_JOINED',
    })
    await alice.publish('ops', 'a', { n: 2 })
    await carol.received(2)
    expect(bob.numbers()).toEqual([1])
    expect(lab.shield.metrics.gauge('shield_subscriptions')).toBe(1)
    carol.ws.close()
    await lab
      .client('acme.dave')
      .then((dave) => dave.wait(() => (lab.bus.relay.sessions === 3 ? true : undefined), 'end'))
    expect(lab.shield.metrics.gauge('shield_subscriptions')).toBe(0)
  })

  test('recovers what it missed, complete and in order, before live traffic', async () => {
    await bob.join('ops', 'a')
    for (const n of upTo(3)) await alice.publish('ops', 'a', { n })
    const [, , third] = await bob.received(3)
    bob.terminate()
    for (const n of upTo(4, 4)) await alice.publish('ops', 'a', { n })
    const again = await lab.client('acme.bob', { format })
    const joined = await again.join('ops', 'a', { recover: third!.metadata['position'] as never })
    expect(data(joined)).toMatchObject({ recovered: true, replayed: 4 })
    await alice.publish('ops', 'a', { n: 8 })
    await again.received(5)
    expect(again.numbers()).toEqual(upTo(5, 4))
    const tooNew = await again.join('ops', 'b', { recover: { epoch: 1, sequence: 9 } })
    expect(data(tooNew)).toMatchObject({ recovered: false, reason: 'epoch_changed' })
  })

  test('loses nothing and repeats nothing when it joins in the middle of a stream of publishes', async () => {
    const all = upTo(300)
    const joins: Promise<unknown>[] = []
    const late: TestClient[] = []
    for (const n of all) {
      alice.send({ room: 'ops', channel: 'busy', payload: { n }, metadata: { ack: 'none' } })
      if (n % 60 === 0) {
        const client = await lab.client(`acme.late${n}`, { format })
        late.push(client)
        joins.push(client.join('ops', n % 120 === 0 ? '*' : 'busy'))
      }
      // A few turns apart, so that joins fall between publishes.
      if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await Promise.all(joins)
    await alice.publish('ops', 'busy', { n: 301 })
    for (const client of late) {
      await client.until((frame) => frame.channel === 'busy' && (frame.payload as { n: number }).n === 301, 'the last')
      const numbers = client.numbers('busy')
      expect(numbers).toEqual(upTo(numbers.length, 302 - numbers.length))
    }
  })

  test('reads history', async () => {
    for (const n of upTo(3)) await alice.publish('ops', 'a', { n })
    const history = await alice.command('op.history.get', { room: 'ops', channel: 'a', limit: 10 })
    expect(data(history)).toMatchObject({ count: 3 })
  })

  test('exchanges private messages with a client of the bus', async () => {
    const direct = await lab.client('acme.direct', { format, direct: true })
    expect(await alice.answerTo(alice.send({ to_client: direct.id, payload: { n: 1 } }))).toMatchObject({
      status: 'success',
    })
    await direct.received(1)
    expect(direct.messages()[0]).toMatchObject({ sender: alice.id, payload: { n: 1 } })
    expect(await direct.answerTo(direct.send({ to_client: alice.id, payload: { n: 2 } }))).toMatchObject({
      status: 'success',
    })
    await alice.received(1)
    expect(alice.messages()[0]).toMatchObject({ sender: direct.id, payload: { n: 2 } })
    const nobody = `arq_client_${'0'.repeat(32)}`
    expect(await alice.answerTo(alice.send({ to_client: nobody, payload: {} }))).toMatchObject({
      error_code: 'TARGET_NOT_FOUND',
    })
  })

  test('shares a channel with clients of the bus and of another Shield', async () => {
    const other = await lab.startShield('shield-2')
    const [direct, far] = await Promise.all([
      lab.client('acme.direct', { direct: true }),
      lab.client('acme.far', { shield: other, format }),
    ])
    await Promise.all([direct.join('ops', 'a'), far.join('ops', 'a'), bob.join('ops', 'a')])
    await alice.publish('ops', 'a', { n: 1 })
    await direct.publish('ops', 'a', { n: 2 })
    await far.publish('ops', 'a', { n: 3 })
    await Promise.all([bob.received(3), direct.received(2), far.received(2)])
    expect(bob.numbers()).toEqual([1, 2, 3])
    expect(direct.numbers()).toEqual([1, 3])
    expect(far.numbers()).toEqual([1, 2])
  })

  test('works where nothing is stored: no position, order all the same', async () => {
    const plain = await startEdgeLab({ history: false })
    const [from, to] = [await plain.client('acme.a', { format }), await plain.client('acme.b', { format })]
    await to.join('ops', 'a')
    for (const n of upTo(10)) expect((await from.publish('ops', 'a', { n })).metadata['position']).toBeUndefined()
    const got = await to.received(10)
    expect(to.numbers()).toEqual(upTo(10))
    expect(got.every((frame) => frame.metadata['position'] === undefined)).toBe(true)
    await plain.close()
  })
})

test('a binary frame travels byte for byte, a JSON frame as protobuf', async () => {
  const lab = await startEdgeLab()
  const seen: { data: Buffer; headers: Readonly<Record<string, string>> }[] = []
  const observer = lab.hub.connect('observer')
  observer.subscribe('in.t.acme.raw', ({ data: bytes, headers }) => seen.push({ data: Buffer.from(bytes), headers }))
  await observer.flush()
  const [json, binary] = [await lab.client('acme.j'), await lab.client('acme.b', { format: 'protobuf' })]
  const sent: Buffer[] = []
  const send = binary.ws.send.bind(binary.ws)
  binary.ws.send = ((bytes: Uint8Array) => {
    sent.push(Buffer.from(bytes))
    send(bytes)
  }) as typeof binary.ws.send
  for (const n of [1, 2, 3]) await binary.publish('ops', 'a', { n, text: 'ünïcode' })
  expect(seen.map((one) => one.data)).toEqual(sent)
  expect(seen[2]!.headers).toMatchObject({
    'x-arqon-session': binary.id,
    'x-arqon-subject': 'b',
    'x-arqon-role': 'user',
    'x-arqon-frame': '3',
  })
  const id = json.send({ room: 'ops', channel: 'a', payload: { n: 4 } })
  await json.answerTo(id)
  expect(seen[3]!.data[0]).toBe(0x0a) // the tag of trace_id, not the brace of JSON
  expect(seen[3]!.data.includes(id)).toBe(true)
  await lab.close()
})

test('tenants do not meet: same room, same channel, same ids, other tenant', async () => {
  const lab = await startEdgeLab()
  const [acme, globex, spy] = await Promise.all([
    lab.client('acme.x'),
    lab.client('globex.x'),
    lab.client('acme-eu.x', { format: 'protobuf' }),
  ])
  await Promise.all([globex.join('ops', 'a'), globex.join('ops', '*'), spy.join('ops', 'a')])
  const publisher = await lab.client('acme.y')
  await acme.join('ops', 'a')
  await publisher.publish('ops', 'a', { n: 1 })
  await acme.received(1)
  expect(data(await globex.command('op.history.get', { room: 'ops', channel: 'a' }))).toMatchObject({ count: 0 })
  expect(await globex.answerTo(globex.send({ to_client: acme.id, payload: {} }))).toMatchObject({
    error_code: 'TARGET_NOT_FOUND',
  })
  const refused = await globex.answerTo(
    globex.send({ room: 'ops', channel: 'a', payload: {}, metadata: { tenant_id: 'acme' } }),
  )
  expect(refused.error_code).toBe('TENANT_MISMATCH')
  expect(lab.shield.metrics.read('shield_frames_total', 'TENANT_MISMATCH')).toBe(1) // stopped here, not at the bus
  expect(globex.messages()).toEqual([])
  expect(spy.messages()).toEqual([])
  expect(acme.numbers()).toEqual([1])
  await lab.close()
})
