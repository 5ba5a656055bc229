// `overflow` of a join: who may ask for what, what is announced, whole rooms, and recovering while behind; at the bus
// and through Shield.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import { startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { data, type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'

const mib = 1_024 * 1_024
let lab: EdgeLab
beforeEach(async () => {
  lab = await startEdgeLab({
    limits: { maxQueuedBytesPerSubscription: 64 * 1_024, maxQueuedBytesPerClient: 16 * mib, maxRecoverMessages: 5_000 },
    shieldTiming: { answerMs: 5_000 },
  })
})
afterEach(() => lab.close())

/** Numbers from 1; together more than a kernel takes for a socket that is not read. */
async function publishFar(publisher: TestClient, watcher: TestClient, channel: string, from = 1): Promise<number> {
  const last = from + 199
  for (let n = from; n <= last; n++) {
    publisher.send({ room: 'ops', channel, payload: { n, text: 'x'.repeat(40_000) }, metadata: { ack: 'none' } })
    if (n % 20 === 0) await watcher.received(n, channel)
  }
  await watcher.received(last, channel)
  return last
}

const gapsOf = (client: TestClient, channel: string): JsonObject[] =>
  client.frames.filter((one) => one.type === 'gap' && one.channel === channel).map((one) => one.payload as JsonObject)

describe.each([true, false])('overflow, straight to the bus: %s', (direct) => {
  it('is announced, echoed, and refused by name when it is none of the policies', async () => {
    const client = await lab.client('acme.a', { direct })
    const welcome = client.frames[0]!.payload as JsonObject
    expect(welcome['capabilities']).toContain('overflow')
    for (const overflow of ['newest', '', 7, { policy: 'latest' }]) {
      const refused = await client.join('ops', 'a', { overflow })
      expect(refused).toMatchObject({
        status: 'error',
        error_code: 'VALIDATION_ERROR',
        payload: { field: 'overflow', message: expect.stringContaining('drop_oldest') },
      })
    }
    expect(lab.bus.core.rooms.counts().memberships).toBe(0)
    for (const overflow of ['disconnect', 'drop_oldest', 'latest']) {
      const joined = await client.join('ops', 'a', { overflow })
      expect(data(joined)).toMatchObject({ overflow })
    }
    expect(data(await client.join('ops', 'a'))).not.toHaveProperty('overflow')
  })

  it('of a whole room holds for channels to come', async () => {
    const [reader, watcher, publisher] = await Promise.all([
      lab.client('acme.reader', { direct, format: 'protobuf' }),
      lab.client('acme.watcher', { direct }),
      lab.client('acme.publisher', { direct: true }),
    ])
    await reader.join('ops', '*', { overflow: 'latest' })
    await watcher.join('ops', '*')
    reader.ws.pause()
    const last = await publishFar(publisher, watcher, 'new')
    reader.ws.resume()
    await reader.until((one) => (one.payload as JsonObject)['n'] === last, 'the newest')
    const [gap, ...more] = gapsOf(reader, 'new')
    expect(more).toEqual([])
    expect(gap).toMatchObject({ reason: 'overflow', policy: 'latest', to: last - 1 })
    const received = reader.numbers('new')
    expect(received).toEqual([...Array.from({ length: Number(gap!['from']) - 1 }, (_, i) => i + 1), last])
  })

  it('lets a member that is behind recover: what it missed comes from the log, and nothing behind it is lost', async () => {
    const [reader, watcher, publisher] = await Promise.all([
      lab.client('acme.reader', { direct }),
      lab.client('acme.watcher', { direct }),
      lab.client('acme.publisher', { direct: true }),
    ])
    const joined = data(await reader.join('ops', 'a', { overflow: 'drop_oldest' }))
    await watcher.join('ops', 'a')
    reader.ws.pause()
    const last = await publishFar(publisher, watcher, 'a')
    // Sent while the server waits for the socket to drain; the answer comes behind what it wrote before.
    const again = reader.send({
      type: 'command',
      command: 'join_channel',
      args: { room: 'ops', channel: 'a', recover: { ...(joined['position'] as JsonObject), sequence: last - 60 } },
    })
    await expect.poll(() => lab.bus.core.rooms.counts().memberships).toBe(2)
    reader.ws.resume()
    expect(data(await reader.answerTo(again))).toMatchObject({ recovered: true })
    await publisher.publish('ops', 'a', { n: last + 1, text: '' })
    await reader.until((one) => (one.payload as JsonObject)['n'] === last + 1, 'the next live message')

    const at = reader.frames.findIndex((one) => one.request_id === again)
    const isBehind = (index: number): boolean => index > at
    const replayed = reader.frames
      .filter((one, index) => isBehind(index) && one.type === 'message')
      .map(({ payload }) => Number((payload as JsonObject)['n']))
    const wanted = Array.from({ length: 61 }, (_, i) => last - 59 + i)
    // Through Shield what is held can come between the messages of the log; each message is there all the same.
    if (direct) expect(replayed).toEqual(wanted)
    expect([...new Set(replayed)].toSorted((a, b) => a - b)).toEqual(wanted)
    // The client had said that it knows all before: none of that is told as missed.
    for (const gap of gapsOf(reader, 'a')) expect(gap['from']).toBeGreaterThan(last)
  })
})

it('is counted: gaps and the messages in them by policy, and what is held', async () => {
  const bus = await startBusInProcess({ env: { ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_SUBSCRIPTION: '65536' } })
  try {
    const { rooms } = bus.core
    const [reader, publisher] = [await bus.client(), await bus.client()]
    await reader.command('join_channel', { room: 'ops', channel: 'a', overflow: 'latest' })
    reader.ws.pause()
    let n = 0
    const publish = () => publisher.publish('ops', 'a', { n: ++n, text: 'x'.repeat(50_000) })
    while (rooms.overflow.heldBytes === 0) await publish()
    for (let more = 0; more < 5; more++) await publish()
    const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${bus.httpPort}/metrics`)).text()
    expect(await metrics()).toMatch(/^arqonbus_held_bytes [1-9]\d+$/m)
    expect(await metrics()).toMatch(/^arqonbus_gaps_total\{policy="latest"\} 0$/m)
    reader.ws.resume()
    await expect.poll(metrics).toMatch(/^arqonbus_gaps_total\{policy="latest"\} 1$/m)
    const dropped = rooms.overflow.dropped.latest
    expect(await metrics()).toMatch(
      new RegExp(`^arqonbus_messages_dropped_total\\{policy="latest"\\} ${dropped}$`, 'm'),
    )
    await expect.poll(metrics).toMatch(/^arqonbus_held_bytes 0$/m)
  } finally {
    await bus.close()
  }
})
