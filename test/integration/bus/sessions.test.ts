// The life of a session: formats, tokens that end, slow readers, and the drain of a bus that stops.
import { afterEach, describe, expect, it } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openStore } from '../../../src/storage/open-store.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { createTempDir, removeTempDir } from '../../support/launch/launch-up.ts'
import { dataOf, positionOf, WireClient } from '../../support/launch/wire-client.ts'

const secret = 'sessions-only-0123456789-abcdefghijklmno'

let bus: BusInProcess
afterEach(() => bus.close())

describe('where JSON is not allowed', () => {
  it('a text frame is refused in binary, nothing JSON leaves, and the connection stays', async () => {
    bus = await startBusInProcess({ env: { ARQONBUS_ALLOW_JSON_INFRA: 'false' } })
    const [client, other] = [await bus.client({ format: 'protobuf' }), await bus.client({ format: 'protobuf' })]
    await client.join('lab', 'one')
    client.ws.send(JSON.stringify({ type: 'message', room: 'lab', channel: 'one', payload: {} }))
    const refusal = await client.until((frame) => frame.type === 'error', 'error')
    expect(refusal).toMatchObject({
      error_code: 'INFRA_PROTOCOL_ERROR',
      payload: { required_protocol: 'protobuf', retryable: false },
    })
    await other.publish('lab', 'one', { n: 1 })
    await client.received(1)
    await client.command('nothing')
    expect(await client.publish('lab', 'one', {})).toMatchObject({ type: 'message_response' })
    await bus.close()
    expect((await client.closed).code).toBe(1012)
    expect(client.frames.map((frame) => frame.type)).toContain('goaway')
    expect(client.isBinary).not.toContain(false)
  })
})

describe('the format of a session', () => {
  it('is that of its last frame, for answers and deliveries alike', async () => {
    bus = await startBusInProcess()
    const [client, other] = [await bus.client(), await bus.client()]
    await client.join('lab', 'one')
    for (const format of ['protobuf', 'json', 'protobuf'] as const) {
      client.format = format
      await client.command('ping')
      const from = client.frames.length
      const ack = await other.publish('lab', 'one', { format })
      const received = await client.until((frame) => frame.id === ack.id, 'delivery')
      expect(received.payload).toEqual({ format })
      expect(client.isBinary.slice(from)).toEqual([format === 'protobuf'])
    }
  })

  it('does not change by a frame that cannot be read', async () => {
    bus = await startBusInProcess()
    const client = await bus.client({ format: 'json' })
    client.ws.send(Uint8Array.from([1, 2, 3]))
    await client.until((frame) => frame.type === 'error', 'error')
    expect(client.isBinary.at(-1)).toBe(false)
  })
})

describe('a token that ends', () => {
  function createShiftedClock(): Clock & { shiftMs: number } {
    const clock = {
      shiftMs: 0,
      now: () => systemClock.now() + clock.shiftMs,
      monotonic: () => systemClock.monotonic(),
    }
    return clock
  }
  const env = { ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: secret }
  const tokenOf = (clock: Clock, subject: string, ttlSeconds: number, tenant = 'acme'): Promise<string> =>
    mintToken({ secret, subject, tenant, ttlSeconds, nowMs: clock.now() })

  it('closes its session with 4401, unless a newer one of the same subject came in time', async () => {
    const clock = createShiftedClock()
    bus = await startBusInProcess({ env, clock })
    const ending = await bus.client({ token: await tokenOf(clock, 'ending', 60) })
    const refreshed = await bus.client({ token: await tokenOf(clock, 'refreshed', 60) })
    await refreshed.join('lab', 'one')
    clock.shiftMs = 80_000 // within the 30 s for clocks that differ
    const answer = await refreshed.command('auth.refresh', { token: await tokenOf(clock, 'refreshed', 600) })
    expect(answer.status).toBe('success')
    expect(await ending.command('ping')).toMatchObject({ status: 'success' })
    clock.shiftMs = 95_000
    expect((await ending.closed).code).toBe(4401)
    // The memberships of who stayed, stayed.
    const sender = await bus.client({ token: await tokenOf(clock, 'sender', 60) })
    await sender.publish('lab', 'one', { n: 1 })
    await refreshed.received(1)
    expect(bus.core.clients.find(ending.id)).toBeUndefined()
  })

  it.each([
    ['of another subject', 'mallory', 'acme'],
    ['of another tenant', 'alice', 'globex'],
  ])('replaced by one %s closes the session with 4403', async (_name, subject, tenant) => {
    bus = await startBusInProcess({ env })
    const client = await bus.client({ token: await tokenOf(systemClock, 'alice', 60) })
    const token = await tokenOf(systemClock, subject, 60, tenant)
    client.send({ type: 'command', command: 'auth.refresh', args: { token } })
    expect((await client.closed).code).toBe(4403)
  })

  it('is not refreshed where authentication is off', async () => {
    bus = await startBusInProcess()
    const answer = await (await bus.client()).command('auth.refresh', { token: 'a.b.c' })
    expect(answer).toMatchObject({ status: 'error', error_code: 'FEATURE_DISABLED' })
  })
})

it('a slow reader is closed with 4008, and nobody else notices', async () => {
  bus = await startBusInProcess({
    history: 'none',
    env: { ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_CLIENT: '1048576', ARQONBUS_LIMIT_CLOSE_TIMEOUT_MS: '10000' },
  })
  const [slow, healthy, sender] = [await bus.client(), await bus.client(), await bus.client()]
  for (const client of [slow, healthy]) await client.join('lab', 'one')
  slow.ws.pause()
  const pad = 'x'.repeat(256 * 1024)
  let sent = 0
  while (bus.core.clients.find(slow.id)?.isClosed === false && sent < 400) {
    await sender.publish('lab', 'one', { n: sent++, pad })
  }
  // What the kernel took has to be read before the close behind it.
  slow.ws.resume()
  expect((await slow.closed).code).toBe(4008)
  expect(slow.messages().length).toBeLessThan(sent)
  await sender.publish('lab', 'one', { n: sent++ })
  const got = (await healthy.received(sent)).map((frame) => (frame.payload as { n: number }).n)
  expect(got).toEqual(Array.from({ length: sent }, (_, n) => n))
  expect(bus.core.rooms.find({ tenant: 'default', room: 'lab', channel: 'one' })!.memberCount).toBe(1)
})

describe('a bus that stops', () => {
  it('says goaway, answers what it has begun, closes with 1012, and has stored all that it acknowledged', async () => {
    const dataDir = await createTempDir()
    try {
      bus = await startBusInProcess({ env: { ARQONBUS_STORAGE_BACKEND: 'embedded', ARQONBUS_DATA_DIR: dataDir } })
      const publishers = await Promise.all(Array.from({ length: 4 }, () => bus.client()))
      const member = await bus.client({ format: 'protobuf' })
      await member.join('lab', 'one')
      const ids = publishers.flatMap((client) =>
        Array.from({ length: 100 }, (_, n) => client.send({ room: 'lab', channel: 'one', payload: { n } })),
      )
      await publishers[0]!.until((frame) => frame.type === 'message_response', 'first acknowledgement')
      await bus.close()
      const acked = new Set<string>()
      for (const client of [...publishers, member]) {
        expect((await client.closed).code).toBe(1012)
        const goaway = client.frames.filter((frame) => frame.type === 'goaway')
        expect(goaway).toHaveLength(1)
        expect(goaway[0]!.payload).toMatchObject({ reason: 'restart', reconnect_after_ms: expect.any(Number) })
        for (const frame of client.frames) if (frame.type === 'message_response') acked.add(frame.id)
      }
      await expect(WireClient.connect(bus.url)).rejects.toThrow('closed with 1006')

      const retention = { maxRecords: 10_000, maxBytes: 1e9, maxAgeMs: 1e9 }
      const dedup = { maxAgeMs: 1e6, maxIds: 10_000 }
      const store = await openStore(
        { backend: 'embedded', dataDir, retention, dedup },
        { clock: systemClock, logger: silentLogger },
      )
      const key = { tenant: 'default', room: 'lab', channel: 'one' }
      const records = await store.readBySequence({ key, after: 0, limit: 10_000, maxBytes: 1e9 })
      await store.close()
      const stored = records.map((record) => record.id)
      expect(acked.size).toBeGreaterThan(0)
      expect([...acked].filter((id) => !stored.includes(id))).toEqual([])
      expect(stored.filter((id) => !ids.includes(id))).toEqual([])
      // What a member was given before the end is the log from its beginning, without holes.
      const given = member.messages().map((frame) => positionOf(frame).sequence)
      expect(given).toEqual(stored.map((_, index) => index + 1))
    } finally {
      await removeTempDir(dataDir)
    }
  })

  it('spreads the time at which its clients come back', async () => {
    bus = await startBusInProcess()
    const clients = await Promise.all(Array.from({ length: 20 }, () => bus.client()))
    await bus.close()
    const times = clients.map((client) => {
      const goaway = client.frames.find((frame) => frame.type === 'goaway')
      return (goaway!.payload as { reconnect_after_ms: number }).reconnect_after_ms
    })
    expect(new Set(times).size).toBeGreaterThan(10)
  })
})

it('a client that leaves without a word is forgotten everywhere', async () => {
  bus = await startBusInProcess()
  const [client, other] = [await bus.client(), await bus.client()]
  await client.join('lab', 'one')
  await client.join('lab', '*')
  await client.terminate()
  const presence = async (): Promise<number> =>
    Number(dataOf(await other.command('presence', { room: 'lab', channel: 'one' }))['member_count'])
  await expect.poll(presence).toBe(0)
  await expect.poll(() => bus.core.clients.find(client.id)).toBeUndefined()
})
