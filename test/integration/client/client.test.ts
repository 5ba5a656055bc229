// The SDK against a real bus over real sockets: what it promises when all is well, and when connections are lost.
import { afterEach, describe, expect, it } from 'vitest'
import { type Client, ClientError, connect, type ConnectOptions, type Message } from '../../../src/client/client.ts'
import { startTestBus, type TestBus, type TestBusOptions } from './bus.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

/** Faster than servers are by default, so that tests are not paced; tests of pace say so themselves. */
const fast = { ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '5000', ARQONBUS_LIMIT_MESSAGES_BURST: '10000' }

async function startBus(options: TestBusOptions = {}): Promise<TestBus> {
  const bus = await startTestBus({ ...options, env: options.env ?? fast })
  open.push({ close: () => bus.kill() })
  return bus
}

async function connectTo(bus: TestBus, options: Partial<ConnectOptions> = {}): Promise<Client> {
  const client = await connect({ url: bus.url, ...options })
  open.push(client)
  return client
}

/** Messages as they arrive, with a way to wait for the next ones. */
function inbox() {
  const messages: Message[] = []
  const waiting: { count: number; done: () => void }[] = []
  return {
    messages,
    payloads: () => messages.map((message) => message.payload),
    onMessage: (message: Message): void => {
      messages.push(message)
      for (const one of waiting) if (messages.length >= one.count) one.done()
    },
    /** Resolves with the messages when there are `count`; rejects after 5 s. */
    until(count: number): Promise<Message[]> {
      return new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`${messages.length} of ${count} messages`)), 5_000)
        const finish = (): void => {
          clearTimeout(timer)
          done(messages)
        }
        if (messages.length >= count) finish()
        else waiting.push({ count, done: finish })
      })
    },
  }
}

const stateOf = (client: Client, wanted: Client['state'], states: { next(): Promise<string> }): Promise<void> =>
  (async () => {
    while (client.state !== wanted) await states.next()
  })()

/** Waits for state changes of a client made with its `onState`. */
function stateWatch() {
  let wake: (() => void) | undefined
  return {
    onState: () => wake?.(),
    next: () =>
      new Promise<string>((done, fail) => {
        const timer = setTimeout(() => fail(new Error('no state change within 10 s')), 10_000)
        wake = () => {
          clearTimeout(timer)
          done('changed')
        }
      }),
  }
}

describe.each(['json', 'protobuf'] as const)('a client that speaks %s', (format) => {
  it('publishes with an acknowledgement and receives in order, but not its own', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus, { format }), await connectTo(bus, { format })]
    const [toAlice, toBob] = [inbox(), inbox()]
    await alice.join('lab', 'general', toAlice)
    const joined = await bob.join('lab', 'general', toBob)
    expect(joined.position).toEqual({ epoch: expect.any(Number), sequence: 0 })
    const acks = await Promise.all([1, 2, 3].map((n) => alice.publish('lab', 'general', { n })))
    expect(acks.map((ack) => ack.position?.sequence)).toEqual([1, 2, 3])
    expect(acks[0]).toMatchObject({ level: 'memory', duplicate: false })
    await toBob.until(3)
    expect(toBob.payloads()).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect(toBob.messages[0]).toMatchObject({
      room: 'lab',
      channel: 'general',
      sender: alice.clientId,
      position: { sequence: 1 },
    })
    await bob.publish('lab', 'general', { n: 4 })
    await toAlice.until(1)
    expect(toAlice.payloads()).toEqual([{ n: 4 }])
  })

  it('stores an id once', async () => {
    const bus = await startBus()
    const client = await connectTo(bus, { format })
    const first = await client.publish('lab', 'general', { n: 1 }, { id: 'arq_1_1_abcdef' })
    const second = await client.publish('lab', 'general', { n: 1 }, { id: 'arq_1_1_abcdef' })
    expect(second).toEqual({ ...first, duplicate: true })
    await expect(client.publish('lab', 'general', { n: 2 }, { id: 'arq_1_1_abcdef' })).rejects.toMatchObject({
      code: 'ID_CONFLICT',
      retryable: false,
      outcome: 'not_stored',
    })
  })

  it('sends privately, runs commands, and reads history', async () => {
    const bus = await startBus()
    const received = inbox()
    const alice = await connectTo(bus, { format })
    const bob = await connectTo(bus, { format, onDirect: received.onMessage })
    await alice.sendTo(bob.clientId, { secret: true })
    await received.until(1)
    expect(received.messages[0]).toMatchObject({ sender: alice.clientId, payload: { secret: true } })
    await expect(alice.sendTo(`arq_client_${'0'.repeat(32)}`, {})).rejects.toMatchObject({ code: 'TARGET_NOT_FOUND' })
    await expect(alice.command('no_such_command')).rejects.toMatchObject({ code: 'UNKNOWN_COMMAND' })
    expect((await alice.command('ping')).data).toMatchObject({ client_id: alice.clientId })
    await alice.publish('lab', 'general', { n: 1 })
    await alice.publish('lab', 'general', { n: 2 })
    const entries = await alice.history({ room: 'lab', channel: 'general', limit: 1 })
    expect(entries).toMatchObject([{ message: { payload: { n: 2 } }, position: { sequence: 2 } }])
  })
})

describe('a subscription', () => {
  it('can be iterated over, and ends when it is left', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus)]
    const general = await bob.join('lab', 'general')
    await expect(bob.join('lab', 'general')).rejects.toMatchObject({ code: 'ALREADY_JOINED' })
    for (const n of [1, 2, 3]) await alice.publish('lab', 'general', { n })
    const seen: unknown[] = []
    for await (const { payload } of general) {
      seen.push(payload)
      if (seen.length === 3) await general.leave()
    }
    expect(seen).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect((await alice.command('presence', { room: 'lab', channel: 'general' })).data).toMatchObject({
      member_count: 0,
    })
  })

  it('of a whole room gets channels to come as well', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus)]
    const everything = inbox()
    await bob.join('lab', '*', everything)
    await alice.publish('lab', 'one', { n: 1 })
    await alice.publish('lab', 'two', { n: 2 })
    await alice.publish('other', 'one', { n: 3 })
    await alice.publish('lab', 'one', { n: 4 })
    const messages = await everything.until(3)
    expect(messages.map(({ channel, payload }) => [channel, payload])).toEqual([
      ['one', { n: 1 }],
      ['two', { n: 2 }],
      ['one', { n: 4 }],
    ])
  })

  it('begins with what was missed when it is given a position', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus)]
    const first = await alice.publish('lab', 'general', { n: 1 })
    for (const n of [2, 3]) await alice.publish('lab', 'general', { n })
    const missed = inbox()
    const joined = await bob.join('lab', 'general', { ...missed, recover: first.position! })
    expect(joined.recovered).toBe(true)
    await alice.publish('lab', 'general', { n: 4 })
    await missed.until(3)
    expect(missed.payloads()).toEqual([{ n: 2 }, { n: 3 }, { n: 4 }])
    const other = await connectTo(bus)
    const refused = await other.join('lab', 'general', { recover: { epoch: 999, sequence: 1 } })
    expect(refused).toMatchObject({ recovered: false, reason: 'epoch_changed' })
  })
})

describe('a lost connection', () => {
  it('is repaired: joined again, nothing missed, nothing twice', async () => {
    const bus = await startBus()
    const states = stateWatch()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus, states)]
    const toBob = inbox()
    const rejoins: unknown[] = []
    await bob.join('lab', 'general', { ...toBob, onRejoin: ({ recovered }) => rejoins.push(recovered) })
    await alice.publish('lab', 'general', { n: 1 })
    await toBob.until(1)
    const before = bob.clientId
    for (const one of bus.core.clients.all()) if (one.id === before) one.close('GOING_AWAY')
    for (const n of [2, 3]) await alice.publish('lab', 'general', { n })
    await stateOf(bob, 'reconnecting', states).catch(() => undefined)
    await toBob.until(3)
    await alice.publish('lab', 'general', { n: 4 })
    await toBob.until(4)
    expect(toBob.payloads()).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
    expect(rejoins).toEqual([true])
    expect(bob.clientId).not.toBe(before)
  })

  it('by a drained restart loses no publish and repeats none, while publishing goes on', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus)]
    const toBob = inbox()
    await bob.join('lab', 'general', toBob)
    const acks: Promise<unknown>[] = []
    let isRestarted = false
    const publishing = (async () => {
      for (let n = 0; n < 400; n++) {
        acks.push(alice.publish('lab', 'general', { n }))
        if (n % 20 === 0) await new Promise((turn) => setImmediate(turn))
        if (n === 200) {
          await bus.stop()
          await bus.start()
          isRestarted = true
        }
      }
    })()
    await publishing
    await Promise.all(acks)
    await toBob.until(400)
    expect(isRestarted).toBe(true)
    const numbers = toBob.payloads().map((payload) => (payload as { n: number }).n)
    expect(new Set(numbers).size).toBe(400)
    expect(numbers).toHaveLength(400)
    const sequences = toBob.messages.map((message) => message.position!.sequence)
    expect(sequences).toEqual(Array.from({ length: 400 }, (_, index) => index + 1))
  })

  it('by a killed server is survived too', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus)]
    const toBob = inbox()
    await bob.join('lab', '*', toBob)
    await alice.publish('lab', 'general', { n: 1 })
    await toBob.until(1)
    await bus.kill()
    const pending = alice.publish('lab', 'general', { n: 2 })
    await bus.start()
    expect((await pending).position?.sequence).toBe(2)
    await toBob.until(2)
    expect(toBob.payloads()).toEqual([{ n: 1 }, { n: 2 }])
  })

  it('to a whole room brings channels that were made meanwhile', async () => {
    const bus = await startBus()
    const [alice, bob] = [await connectTo(bus), await connectTo(bus)]
    const toBob = inbox()
    const rejoins: unknown[] = []
    await bob.join('lab', '*', { ...toBob, onRejoin: ({ recovered }) => rejoins.push(recovered) })
    for (const one of bus.core.clients.all()) if (one.id === bob.clientId) one.close('GOING_AWAY')
    for (const n of [1, 2]) await alice.publish('lab', 'new', { n })
    await toBob.until(2)
    await alice.publish('lab', 'new', { n: 3 })
    await toBob.until(3)
    expect(toBob.payloads()).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect(rejoins).toEqual([true])
  })

  it('fails what may not be repeated, and says that its outcome is unknown', async () => {
    const bus = await startBus()
    const client = await connectTo(bus, { reconnect: false })
    const pending = client.publish('lab', 'general', {}, { retry: false })
    const failure = pending.then(
      () => undefined,
      (error: unknown) => error,
    )
    for (const one of bus.core.clients.all()) one.close('GOING_AWAY')
    const error = await failure
    if (error !== undefined) expect(error).toMatchObject({ outcome: 'unknown' })
    const end = await client.closed
    expect(end).toBeInstanceOf(ClientError)
    expect(client.state).toBe('closed')
    await expect(client.publish('lab', 'general', {})).rejects.toBeInstanceOf(ClientError)
  })

  it('without history says that messages may be missing', async () => {
    const bus = await startBus({ history: false })
    const states = stateWatch()
    const client = await connectTo(bus, states)
    const rejoined = new Promise((done) => {
      void client.join('lab', 'general', { onMessage: () => {}, onRejoin: (result) => done(result.recovered) })
    })
    await client.command('ping')
    for (const one of bus.core.clients.all()) one.close('GOING_AWAY')
    expect(await rejoined).toBe(false)
  })
})

describe('goaway', () => {
  it('makes a client finish, leave by itself, and come back when it was told to', async () => {
    const bus = await startBus()
    const states = stateWatch()
    const client = await connectTo(bus, states)
    const before = client.clientId
    const session = bus.core.clients.find(before)!
    const leftAt = performance.now()
    session.send(bus.core.replies.notice('goaway', { reason: 'restart', reconnect_after_ms: 400 }))
    while (client.state === 'open') await states.next()
    const waiting = client.publish('lab', 'general', { n: 1 })
    expect((await waiting).position?.sequence).toBe(1)
    expect(performance.now() - leftAt).toBeGreaterThanOrEqual(400)
    expect(client.clientId).not.toBe(before)
  })
})

describe('close codes', () => {
  it('make a client stay away when coming back is useless', async () => {
    const bus = await startBus()
    const client = await connectTo(bus)
    const general = await client.join('lab', 'general')
    for (const one of bus.core.clients.all()) one.close('REFUSED_TOO_OFTEN')
    expect(await client.closed).toMatchObject({ code: 'CLIENT_CLOSED', details: { code: 4503 } })
    await expect(general[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })

  it('make it come back with a new token when the old one has ended', async () => {
    let good = 'first'
    const bus = await startBus({ token: () => good })
    const states = stateWatch()
    let asked = 0
    const client = await connectTo(bus, {
      ...states,
      token: () => {
        asked++
        return good
      },
    })
    good = 'second'
    for (const one of bus.core.clients.all()) one.close('TOKEN_EXPIRED')
    await states.next()
    await stateOf(client, 'open', states)
    expect(asked).toBe(2)
    await client.command('ping')
  })

  it('with a fixed token mean the end when a new one is asked for', async () => {
    const bus = await startBus({ token: () => 'only' })
    const client = await connectTo(bus, { token: 'only' })
    for (const one of bus.core.clients.all()) one.close('TOKEN_EXPIRED')
    expect(await client.closed).toMatchObject({ details: { code: 4401 } })
  })
})

describe('connecting', () => {
  it('fails clearly where nothing listens, where a token is needed, and for an address that is none', async () => {
    const bus = await startBus({ token: () => 'x' })
    for (const url of ['ws://127.0.0.1:1', bus.url, 'http://example.com', 'nonsense']) {
      await expect(connect({ url, connectTimeoutMs: 3_000 })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
    }
  })

  it('takes the format of the server where JSON is not allowed, and refuses to insist on JSON', async () => {
    const bus = await startBus({ env: { ...fast, ARQONBUS_ALLOW_JSON_INFRA: 'false' } })
    const client = await connectTo(bus)
    expect((await client.publish('lab', 'general', { n: 1 })).position?.sequence).toBe(1)
    await expect(connect({ url: bus.url, format: 'json' })).rejects.toMatchObject({ code: 'INFRA_PROTOCOL_ERROR' })
  })

  it('is undone by close(): iterations and requests end with it', async () => {
    const bus = await startBus()
    const client = await connectTo(bus)
    const general = await client.join('lab', 'general')
    const reading = (async () => {
      for await (const message of general) expect(message).toBeUndefined()
    })()
    await client.close()
    await reading
    expect(await client.closed).toBeUndefined()
    await expect(client.command('ping')).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })
})

describe('many publishes at once', () => {
  it('go at the pace that the server announces: none is refused, no connection is closed', async () => {
    const bus = await startBus({ env: { ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '200' } })
    let changes = 0
    const client = await connectTo(bus, { onState: () => changes++ })
    const acks = await Promise.all(Array.from({ length: 500 }, (_, n) => client.publish('lab', 'general', { n })))
    expect(acks.map((ack) => ack.position!.sequence)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
    expect(changes).toBe(1) // it opened
  })

  it('are stored once each even where the server closes the connection of who goes too fast', async () => {
    // The announced rate is honoured, but this bus allows less at a time than it says.
    const bus = await startBus({
      env: { ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '500', ARQONBUS_LIMIT_MESSAGES_BURST: '60' },
    })
    const client = await connectTo(bus)
    const acks = await Promise.all(Array.from({ length: 500 }, (_, n) => client.publish('lab', 'general', { n })))
    const sequences = acks.map((ack) => ack.position!.sequence).sort((a, b) => a - b)
    expect(sequences).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
  })
})
