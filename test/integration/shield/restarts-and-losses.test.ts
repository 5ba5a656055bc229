// The link loses messages, the bus goes and comes back: what clients see of it, and what they never lose.
import { afterEach, describe, expect, test } from 'vitest'
import { closeTable } from '../../../src/base/close-codes.ts'
import { deliver, type Fate, type Hop, seededFaults } from '../../../src/link/faults.ts'
import { type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'

const upTo = (count: number, from = 1): number[] => Array.from({ length: count }, (_, i) => i + from)
const isFrame = ({ subject }: Hop): boolean => subject.startsWith('in.t.')
const isReply = ({ subject }: Hop): boolean => /^out\.t\.[^.]+\.s\./.test(subject)
const isDelivery = ({ subject }: Hop): boolean => /^out\.t\.[^.]+\.r\./.test(subject)

let lab: EdgeLab
afterEach(() => lab.close())

/** Faults for chosen hops, counted from when they are switched on. */
function chosenFaults() {
  let fates: ((hop: Hop) => Fate | undefined) | undefined
  return {
    faults: (hop: Hop): Fate => fates?.(hop) ?? deliver,
    on: (choose: (hop: Hop) => Fate | undefined) => {
      fates = choose
    },
    off: () => {
      fates = undefined
    },
  }
}

/** Drops the hops of a kind whose number, from 1, is listed. */
function dropping(kind: (hop: Hop) => boolean, numbers: readonly number[]): (hop: Hop) => Fate | undefined {
  let count = 0
  return (hop) => (kind(hop) && numbers.includes(++count) ? { kind: 'drop' } : undefined)
}

test('a lost frame: those behind it are refused with LINK_GAP, not stored, and later ones pass again', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ faults: network.faults })
  const client = await lab.client('acme.a')
  await client.publish('ops', 'a', { n: 0 })
  network.on(dropping(isFrame, [1]))
  const ids = upTo(3).map((n) => client.send({ room: 'ops', channel: 'a', payload: { n } }))
  const answers = await Promise.all(ids.map((id) => client.answerTo(id)))
  expect(answers.map((answer) => answer.error_code)).toEqual(['LINK_GAP', 'LINK_GAP', 'LINK_GAP'])
  expect(answers[0]!.payload).toMatchObject({ outcome: 'not_stored', retryable: true })
  // The same ids again: stored once each, in order.
  for (const [index, id] of ids.entries()) {
    const before = client.frames.length
    client.send({ id, room: 'ops', channel: 'a', payload: { n: index + 1 } })
    const ack = await client.wait(
      () => client.frames.slice(before).find((frame) => frame.id === id),
      'the acknowledgement',
    )
    expect(ack.metadata).toMatchObject({ position: { sequence: index + 2 } })
    expect(ack.metadata['duplicate']).toBeUndefined()
  }
})

test('a lost last frame: LINK_TIMEOUT says the outcome is unknown, and the next frame passes at once', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ faults: network.faults, shieldTiming: { answerMs: 100 } })
  const client = await lab.client('acme.a')
  network.on(dropping(isFrame, [1]))
  const lost = await client.publish('ops', 'a', { n: 1 })
  expect(lost).toMatchObject({ type: 'error', error_code: 'LINK_TIMEOUT', payload: { outcome: 'unknown' } })
  expect(await client.publish('ops', 'a', { n: 2 })).toMatchObject({ metadata: { position: { sequence: 1 } } })
})

test('a lost answer: LINK_TIMEOUT, and the retry with the same id is a duplicate, not a second message', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ faults: network.faults, shieldTiming: { answerMs: 100 } })
  const [client, reader] = [await lab.client('acme.a'), await lab.client('acme.b')]
  await reader.join('ops', 'a')
  network.on(dropping(isReply, [1]))
  const id = client.send({ room: 'ops', channel: 'a', payload: { n: 1 } })
  expect((await client.answerTo(id)).error_code).toBe('LINK_TIMEOUT')
  client.send({ id, room: 'ops', channel: 'a', payload: { n: 1 } })
  const ack = await client.until((frame) => frame.type === 'message_response' && frame.id === id, 'acknowledgement')
  expect(ack.metadata).toMatchObject({ duplicate: true, position: { sequence: 1 } })
  await client.publish('ops', 'a', { n: 2 })
  await reader.received(2)
  expect(reader.numbers()).toEqual([1, 2])
})

test.each([
  ['the response', 1, 'json'],
  ['the first recovered message', 2, 'protobuf'],
  ['the last recovered message', 4, 'json'],
] as const)(
  '%s of a join is lost: the client is told to come back, not left with a hole',
  async (_name, lost, format) => {
    const network = chosenFaults()
    lab = await startEdgeLab({ faults: network.faults, shieldTiming: { answerMs: 5_000 } })
    const from = await lab.client('acme.a')
    const first = await from.publish('ops', 'a', { n: 1 })
    for (const n of upTo(3, 2)) await from.publish('ops', 'a', { n })
    const { epoch } = first.metadata['position'] as { epoch: number }
    const reader = await lab.client('acme.b', { format })
    network.on(dropping(isReply, [lost]))
    reader.send({
      type: 'command',
      command: 'join_channel',
      args: { room: 'ops', channel: 'a', recover: { epoch, sequence: 1 } },
    })
    expect(await reader.closed()).toBe(closeTable.LINK_LOST.code)
  },
)

test('a lost delivery in the middle is read from the log before anything later comes out', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ faults: network.faults, relayTiming: { headsMs: 60_000 } })
  const [from, to, binary] = [
    await lab.client('acme.a'),
    await lab.client('acme.b'),
    await lab.client('acme.c', { format: 'protobuf' }),
  ]
  await Promise.all([to.join('ops', 'a'), binary.join('ops', '*')])
  network.on(dropping(isDelivery, [3, 4, 5, 6, 11, 12]))
  for (const n of upTo(12)) await from.publish('ops', 'a', { n })
  network.off()
  await from.publish('ops', 'a', { n: 13 })
  await Promise.all([to.received(13), binary.received(13)])
  expect(to.numbers()).toEqual(upTo(13))
  expect(binary.numbers()).toEqual(upTo(13))
  expect(lab.shield.metrics.read('shield_holes_total', 'filled')).toBeGreaterThan(0)
})

test('a lost tail is found by the heads', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ faults: network.faults })
  const [from, to] = [await lab.client('acme.a'), await lab.client('acme.b')]
  await to.join('ops', 'a')
  network.on((hop) => (isDelivery(hop) ? { kind: 'drop' } : undefined))
  for (const n of upTo(5)) await from.publish('ops', 'a', { n })
  await to.received(5)
  expect(to.numbers()).toEqual(upTo(5))
})

test('where nothing is stored, a lost delivery is told as a gap', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ history: false, faults: network.faults })
  const [from, to] = [await lab.client('acme.a'), await lab.client('acme.b')]
  await to.join('ops', 'a')
  await from.publish('ops', 'a', { n: 1 })
  network.on(dropping(isDelivery, [1]))
  await from.publish('ops', 'a', { n: 2 })
  const gap = await to.until((frame) => frame.type === 'gap', 'gap')
  expect(gap).toMatchObject({ room: 'ops', channel: 'a', payload: { reason: 'not_stored', missed: 1 } })
  await from.publish('ops', 'a', { n: 3 })
  await to.received(2)
  expect(to.numbers()).toEqual([1, 3])
})

describe.each([11, 12, 13, 14])('with seeded faults %i on every kind of message', (seed) => {
  test('no acknowledged message is lost or repeated, and order holds', async () => {
    let isOn = false
    const random = seededFaults({ seed, drop: 0.06, delay: 0.1, spare: ({ subject }) => subject.startsWith('_INBOX') })
    lab = await startEdgeLab({
      faults: (hop) => (isOn ? random(hop) : deliver),
      shieldTiming: { answerMs: 150 },
    })
    const [from, to, other] = [
      await lab.client('acme.a'),
      await lab.client('acme.b'),
      await lab.client('acme.c', { format: 'protobuf' }),
    ]
    await Promise.all([to.join('ops', 'a'), other.join('ops', '*')])
    isOn = true
    const joiners: Promise<TestClient>[] = []
    // A client that retries with the same id until it is told where the message stands.
    for (const n of upTo(60)) {
      if (n % 15 === 5) joiners.push(joinUntilDone(`acme.late${n}`, n % 2 === 0 ? '*' : 'a'))
      await publishUntilStored(from, n)
    }
    const late = await Promise.all(joiners)
    isOn = false
    await publishUntilStored(from, 61)
    for (const reader of late) {
      const last = reader.until((frame) => (frame.payload as { n?: number }).n === 61, 'the last message')
      // A join whose end was lost is closed with "come back"; all others go on without a hole.
      if ((await last.catch(() => reader.closeCode)) === closeTable.LINK_LOST.code) continue
      expect(reader.closeCode).toBeUndefined()
      const numbers = reader.numbers()
      expect(numbers, `seed ${seed}`).toEqual(upTo(numbers.length, 62 - numbers.length))
    }
    for (const reader of [to, other]) {
      await reader.until((frame) => (frame.payload as { n?: number }).n === 61, 'the last message')
      expect(reader.numbers(), `seed ${seed}`).toEqual(upTo(61))
    }
  })
})

async function publishUntilStored(client: TestClient, n: number): Promise<void> {
  let id: string | undefined
  const deadline = performance.now() + 8_000
  while (performance.now() < deadline) {
    const seen = client.frames.length
    id = client.send({ ...(id !== undefined && { id }), room: 'ops', channel: 'a', payload: { n } })
    const current = id
    const answer = await client.wait(
      () => client.frames.slice(seen).find((frame) => frame.id === current || frame.request_id === current),
      `answer for ${n}`,
    )
    if (answer.type === 'message_response') return
    expect(['LINK_GAP', 'LINK_TIMEOUT', 'LINK_UNAVAILABLE']).toContain(answer.error_code)
    if (answer.error_code === 'LINK_UNAVAILABLE') await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${n} was not stored within 8 s`)
}

/** Connects and joins until both succeed; answers that were lost are asked for again. */
async function joinUntilDone(token: string, channel: string): Promise<TestClient> {
  const deadline = performance.now() + 8_000
  while (performance.now() < deadline) {
    try {
      const client = await lab.client(token)
      while (client.closeCode === undefined) {
        const answer = await client.join('ops', channel)
        if (answer.status === 'success') return client
      }
    } catch {
      // refused before the upgrade, or closed with LINK_LOST before the answer
    }
  }
  throw new Error(`${token} could not join within 8 s`)
}

async function busIs(client: TestClient, isReachable: boolean): Promise<void> {
  await client.wait(() => (lab.shield.isBusReachable === isReachable ? true : undefined), `bus ${isReachable}`)
}

test('a bus restart: sockets stay, frames are refused as not stored, memberships and messages come back', async () => {
  lab = await startEdgeLab()
  const [from, to, room] = [
    await lab.client('acme.a'),
    await lab.client('acme.b'),
    await lab.client('acme.c', { format: 'protobuf' }),
  ]
  await Promise.all([to.join('ops', 'a'), room.join('ops', '*')])
  for (const n of upTo(3)) await from.publish('ops', 'a', { n })
  await lab.stopBus()
  await busIs(from, false)
  const refused = await from.publish('ops', 'a', { n: 0 })
  expect(refused).toMatchObject({ error_code: 'LINK_UNAVAILABLE', payload: { outcome: 'not_stored' } })
  await lab.startBus()
  // Published at the new bus before and while Shields come back: members miss none of it.
  const direct = await lab.client('acme.direct', { direct: true })
  for (const n of upTo(3, 4)) await direct.publish('ops', 'a', { n })
  await busIs(from, true)
  await publishUntilStored(from, 7)
  await Promise.all([to.received(7), room.received(7)])
  expect(to.numbers()).toEqual(upTo(7))
  expect(room.numbers()).toEqual(upTo(7))
  expect(from.closeCode ?? to.closeCode ?? room.closeCode).toBeUndefined()
  expect(lab.shield.metrics.read('shield_resyncs_total')).toBe(2) // the first bus, and this one
  expect(lab.bus.relay.sessions).toBe(3)
})

test('a bus restart where nothing is stored: members are told, and live traffic goes on', async () => {
  lab = await startEdgeLab({ history: false })
  const [from, to] = [await lab.client('acme.a'), await lab.client('acme.b')]
  await to.join('ops', 'a')
  for (const n of upTo(5)) await from.publish('ops', 'a', { n })
  await to.received(5)
  await lab.stopBus()
  await busIs(from, false)
  await lab.startBus()
  await busIs(from, true)
  await publishUntilStored(from, 6)
  await publishUntilStored(from, 7)
  await to.received(7)
  expect(to.numbers()).toEqual(upTo(7))
  expect(to.frames.filter((frame) => frame.type === 'gap')).toHaveLength(1)
})

test('the link of Shield goes down and comes back: refused meanwhile, the same session afterwards', async () => {
  lab = await startEdgeLab()
  const [from, to] = [await lab.client('acme.a'), await lab.client('acme.b')]
  await to.join('ops', 'a')
  await from.publish('ops', 'a', { n: 1 })
  lab.hub.disconnect('shield')
  expect((await from.publish('ops', 'a', { n: 0 })).error_code).toBe('LINK_UNAVAILABLE')
  const direct = await lab.client('acme.direct', { direct: true })
  await direct.publish('ops', 'a', { n: 2 })
  lab.hub.reconnect('shield')
  await busIs(from, true)
  await publishUntilStored(from, 3)
  await to.received(3)
  expect(to.numbers()).toEqual([1, 2, 3])
})

test('a silent Shield loses its sessions at the bus, and opens them again when it is back', async () => {
  lab = await startEdgeLab({ relayTiming: { leaseMs: 100 } })
  const [from, to] = [await lab.client('acme.a'), await lab.client('acme.b')]
  await to.join('ops', 'a')
  lab.hub.disconnect('shield')
  await from.wait(() => (lab.bus.relay.sessions === 0 ? true : undefined), 'expiry')
  const direct = await lab.client('acme.direct', { direct: true })
  await direct.publish('ops', 'a', { n: 1 })
  lab.hub.reconnect('shield')
  await busIs(from, true)
  await publishUntilStored(from, 2)
  await to.received(2)
  expect(to.numbers()).toEqual([1, 2])
  expect(lab.bus.relay.sessions).toBe(2)
})

test('a client that goes is gone at the bus, even when the first word of it was lost', async () => {
  const network = chosenFaults()
  lab = await startEdgeLab({ faults: network.faults })
  const [one, two] = [await lab.client('acme.a'), await lab.client('acme.b')]
  expect(lab.bus.relay.sessions).toBe(2)
  network.on(dropping(({ subject }) => subject === 'ctl.bus.close', [1, 2]))
  one.terminate()
  await two.wait(() => (lab.bus.relay.sessions === 1 ? true : undefined), 'close')
})
