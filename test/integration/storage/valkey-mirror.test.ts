// The copy of history in the streams that readers of earlier systems know: read as they read it, from a real server.
import { describe, expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import type { HistoryStore } from '../../../src/storage/store.ts'
import { asList, asNumber, asText, asTextMap } from '../../../src/valkey/replies.ts'
import { openValkey, type ValkeyClient } from '../../../src/valkey/valkey-client.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { envelopeOfFrame, frameFromEnvelope } from '../../../src/wire/message-frame.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { positionOf } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { createRespProxy } from '../../support/servers/resp-proxy.ts'
import { appendUntilAnswered, createValkeyLab, lobby, makeAppend, until } from '../../support/valkey-history.ts'

const lab = createValkeyLab()
const mirror = { toEnvelope: envelopeOfFrame, maxEntries: 1_000 }
const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `arq_1_${from + i}_000000`)

function request(id: string, more: Parameters<typeof makeAppend>[1] = {}) {
  const { room, channel } = more.key ?? lobby
  const envelope = { id, timestamp: '2026-01-31T12:00:00.000Z', type: 'message', version: '1.0' } as const
  const rest = { room, channel, payload: { text: id }, args: {}, metadata: {} }
  return makeAppend(id, { frame: frameFromEnvelope({ ...envelope, ...rest }, { sender: 'arq_client_1' }), ...more })
}

async function connect(url: string): Promise<ValkeyClient> {
  const client = await openValkey({ url, name: 'test', logger: silentLogger })
  lab.closeLater(() => client.close())
  return client
}

/** As the original's reader finds a stream and takes it apart (contract 7.3): oldest first, at most 1,000 entries. */
async function readAsBefore(
  client: ValkeyClient,
  { room, channel, limit = 1_000 }: { room?: string; channel?: string; limit?: number } = {},
): Promise<{ readonly envelope: Envelope; readonly fields: Map<string, string> }[]> {
  const ofRoom = room === undefined ? undefined : `room_${room}`
  const ofChannel = channel === undefined ? undefined : `channel_${channel}`
  const name = [ofRoom, ofChannel].filter((part) => part !== undefined).join('_')
  const range = [
    'XRANGE',
    `arqonbus:${name === '' ? 'messages' : name}`,
    '-',
    '+',
    'COUNT',
    String(Math.min(limit, 1_000)),
  ]
  return asList(await client.send(range)).map((entry) => {
    const fields = asTextMap(asList(entry)[1])
    const frame = Buffer.from(fields.get('envelope_proto_b64')!, 'base64')
    return { fields, envelope: decodeProtobuf(frame, defaultWireLimits) }
  })
}

const idsIn = async (client: ValkeyClient, where: Parameters<typeof readAsBefore>[1] = {}): Promise<string[]> =>
  (await readAsBefore(client, where)).map(({ envelope }) => envelope.id)

const isLevel = ({ mirror: state }: HistoryStore) => state !== undefined && state.waiting === 0

describe.skipIf(skipWithout('valkey'))('the copy in arqonbus:messages and the streams beside it', () => {
  it('is what readers of the original find, for all, a room, a channel, both and a sender, and nothing of our own', async () => {
    const server = await lab.server()
    const reader = await connect(server.url)
    const env = {
      ARQONBUS_STORAGE_BACKEND: 'valkey',
      ARQONBUS_VALKEY_URL: server.url,
      ARQONBUS_VALKEY_MIRROR: 'true',
      ARQONBUS_LIMIT_MAX_MIRROR_ENTRIES: '3',
    }
    const bus = await startBusInProcess({ env })
    lab.closeLater(() => bus.close())
    const [alice, bob] = [await bus.client(), await bus.client()]
    const first = await alice.publish('lab', 'one', { n: 1, text: 'zwölf' })
    await bob.publish('lab', 'two', { n: 2 })
    await alice.publish('den', 'one', { n: 3 })
    await until(async () => (await idsIn(reader)).length === 3)

    const payloads = async (where: Parameters<typeof readAsBefore>[1]) =>
      (await readAsBefore(reader, where)).map(({ envelope }) => (envelope.payload as { n: number }).n)
    expect(await payloads({})).toEqual(expect.arrayContaining([1, 2, 3]))
    expect(await payloads({ room: 'lab' })).toEqual(expect.arrayContaining([1, 2]))
    expect(await payloads({ room: 'den' })).toEqual([3])
    expect(await payloads({ channel: 'one' })).toEqual(expect.arrayContaining([1, 3]))
    expect(await payloads({ room: 'lab', channel: 'one' })).toEqual([1])
    const [{ envelope, fields }] = (await readAsBefore(reader, { room: 'lab', channel: 'one' })) as [
      Awaited<ReturnType<typeof readAsBefore>>[0],
    ]
    expect(envelope).toMatchObject({ id: first.id, type: 'message', room: 'lab', channel: 'one' })
    expect(Object.fromEntries(fields)).toEqual({
      id: first.id,
      type: 'message',
      timestamp: envelope.timestamp,
      sender: envelope.sender,
      room: 'lab',
      channel: 'one',
      payload: '{"n":1,"text":"zwölf"}',
      envelope_proto_b64: expect.any(String) as string,
      tenant: 'default',
      epoch: String(positionOf(first).epoch),
      sequence: '1',
    })
    const ofSender = `arqonbus:sender_${envelope.sender}`
    expect(asList(await reader.send(['XRANGE', ofSender, '-', '+']))).toHaveLength(2)
    expect(asNumber(await reader.send(['PTTL', ofSender]))).toBeGreaterThan(3_500_000)

    for (const n of [4, 5, 6, 7]) await bob.publish('lab', 'one', { n })
    await until(async () => (await payloads({ room: 'lab', channel: 'one' })).at(-1) === 7)
    expect(await payloads({ room: 'lab', channel: 'one' })).toEqual([5, 6, 7])
    expect(await payloads({})).toEqual([5, 6, 7])
    await until(async () => {
      const text = await (await fetch(`http://127.0.0.1:${bus.httpPort}/metrics`)).text()
      // One that was pushed out before it was copied is none of them.
      const lines = ['lag_seconds 0', 'waiting 0', 'copied_total [67]', 'failures_total 0']
      return lines.every((line) => new RegExp(`^arqonbus_mirror_${line}$`, 'm').test(text))
    })
    const named = asList(await reader.send(['KEYS', 'arqonbus:*canary*'])).map(asText)
    expect(named.filter((name) => !name.startsWith('arqonbus:history:'))).toEqual([])
  })

  it('goes on where it stood: off and on again, by two at once, over deaths of the server, in each record once', async () => {
    const server = await lab.server()
    const reader = await connect(server.url)
    const before = await lab.store(server.url)
    await before.append(ids(1, 250).map((id) => request(id)))
    await before.close()
    expect(await idsIn(reader)).toEqual([])

    const stores = [await lab.store(server.url, { mirror }), await lab.store(server.url, { mirror })]
    await until(async () => (await idsIn(reader)).length > 0)
    await stores[1]!.close() // in the middle of it, likely
    stores[1] = await lab.store(server.url, { mirror })
    // What grows while both read it they read to different ends.
    for (const [i, id] of ids(251, 900).entries()) {
      await stores[i % 2]!.append([request(id)])
      if (i % 300 !== 150) continue
      await server.kill()
      await server.restart()
      for (const store of stores) await appendUntilAnswered(store, [request(id)])
    }
    await until(async () => (await idsIn(reader)).length >= 900 && stores.every(isLevel))
    expect(await idsIn(reader)).toEqual(ids(1, 900))
    expect(await idsIn(reader, { room: 'lobby', channel: 'general' })).toEqual(ids(1, 900))

    await reader.send(['FLUSHALL'])
    await stores[0]!.append([request('arq_1_1000_000000')])
    await until(async () => (await idsIn(reader)).length > 0)
    expect(await idsIn(reader)).toEqual(['arq_1_1000_000000'])
  })

  it('leaves out what another has copied since it looked', async () => {
    const server = await lab.server()
    const reader = await connect(server.url)
    const plain = await lab.store(server.url)
    await plain.append(ids(1, 50).map((id) => request(id)))
    const asked = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    let looks = 0
    const proxy = await createRespProxy(server.port, async (command, reply) => {
      // The first look finds the stream, the second is the one from which it is copied.
      if (command[0] !== 'HMGET' || command.at(-1) !== 'mirrored' || ++looks !== 2) return reply
      asked.resolve()
      await held.promise
      return reply
    })
    lab.closeLater(() => proxy.close())
    const late = await lab.store(`redis://127.0.0.1:${proxy.port}`, { mirror })
    await asked.promise
    const other = await lab.store(server.url, { mirror })
    await until(() => other.mirror!.copied === 50)
    await other.close()
    await plain.append(ids(51, 60).map((id) => request(id)))
    held.resolve()
    await until(async () => (await idsIn(reader)).length >= 60 && isLevel(late))
    expect(await idsIn(reader)).toEqual(ids(1, 60))
    expect(late.mirror).toMatchObject({ copied: 10, failures: 0 })
  })

  it('copies no more of one stream than is kept', async () => {
    const server = await lab.server()
    const reader = await connect(server.url)
    const before = await lab.store(server.url)
    await before.append(ids(1, 900).map((id) => request(id)))
    await before.close()
    const store = await lab.store(server.url, { mirror: { ...mirror, maxEntries: 20 } })
    await until(async () => (await idsIn(reader)).length === 20 && isLevel(store))
    expect(await idsIn(reader)).toEqual(ids(881, 900))
    expect(store.mirror).toMatchObject({ copied: 20, failures: 0, lagMs: 0 })
  })

  it('keeps no append waiting that it cannot copy, tells how far it is behind, and makes it good', async () => {
    const server = await lab.server()
    const admin = await connect(server.url)
    const rights = ['~arqonbus:history:*', '&*', '+@all']
    await admin.send(['ACL', 'SETUSER', 'bus', 'on', '>secret', ...rights])
    const store = await lab.store(server.url.replace('redis://', 'redis://bus:secret@'), { mirror })
    expect(await store.append(ids(1, 50).map((id) => request(id)))).toHaveLength(50)
    await until(() => store.mirror!.failures > 0 && store.mirror!.lagMs > 0)
    expect(store.mirror).toMatchObject({ waiting: 1, copied: 0 })
    expect((await store.append([request(ids(51, 51)[0]!)]))[0]).toMatchObject({ kind: 'stored' })
    await admin.send(['ACL', 'SETUSER', 'bus', '~arqonbus:*'])
    await until(async () => (await idsIn(admin)).length === 51 && isLevel(store))
    expect(await idsIn(admin)).toEqual(ids(1, 51))
  })

  it("leaves another's key alone, and goes on beside it", async () => {
    const server = await lab.server()
    const admin = await connect(server.url)
    await admin.send(['SET', 'arqonbus:channel_general', 'mine'])
    const store = await lab.store(server.url, { mirror })
    await store.append(ids(1, 3).map((id) => request(id)))
    await until(async () => (await idsIn(admin)).length === 3)
    expect(await idsIn(admin, { room: 'lobby' })).toEqual(ids(1, 3))
    expect(asText(await admin.send(['GET', 'arqonbus:channel_general']))).toBe('mine')
    expect(await admin.send(['PTTL', 'arqonbus:channel_general'])).toBe(-1)
  })
})
