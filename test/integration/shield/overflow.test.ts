// Readers that stall, under each overflow policy, at the bus and through Shield, in both formats: what each of them
// receives and the gaps it is told make up everything published, in order and once; everybody else receives everything.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope, LossyPolicy, OverflowPolicy, WireFormat } from '../../../src/envelope/envelope.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import { type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const formats = ['json', 'protobuf'] as const satisfies readonly WireFormat[]
const routes = ['direct', 'shield'] as const
const policies = ['disconnect', 'drop_oldest', 'latest'] as const satisfies readonly OverflowPolicy[]
const episodes = 2
const messagesPerEpisode = 200
const healthyPerWay = 50
const text = 'x'.repeat(1_000)
/** Kernels take about 4 MiB for a socket that is not read before anything waits in the process. */
const filler = { count: 224, text: 'f'.repeat(30 * 1_024), step: 32 }

interface Reader {
  readonly name: string
  readonly client: TestClient
  readonly policy: OverflowPolicy
}

describe.each(['memory', 'nats'] as const)('over the %s link', (kind) => {
  describe.skipIf(kind === 'nats' && skipWithout('nats')).each([true, false])('with history: %s', (history) => {
    let server: NatsServerProcess | undefined
    let lab: EdgeLab | undefined

    beforeAll(async () => {
      if (kind === 'nats') server = await startNatsServer({ config: 'max_payload: 2MB' })
    })
    afterEach(async () => {
      await lab?.close()
      lab = undefined
    })
    afterAll(() => server?.close())

    test('stalled readers miss what their gaps say, and others nothing', { timeout: 60_000 }, async () => {
      lab = await startEdgeLab({
        history,
        limits: { maxQueuedBytesPerSubscription: 64 * 1_024, closeTimeoutMs: 30_000, maxConnectionsPerSubject: 1_000 },
        // Long enough that a busy test machine is not taken for a lost link.
        shieldTiming: { answerMs: 5_000, requestMs: 5_000 },
        ...(server !== undefined && {
          connect: (name: string) => openNatsLink({ servers: [natsServerOf(server!)], name, logger: silentLogger }),
        }),
      })
      const publisher = await lab.client('acme.from', { format: 'protobuf', direct: true })
      const stalled: Reader[] = []
      const healthy: TestClient[] = []
      const fed: TestClient[] = []
      for (const route of routes) {
        for (const format of formats) {
          const how = { format, direct: route === 'direct' }
          for (const policy of policies) {
            const client = await lab.client('acme.slow', how)
            await client.join('ops', 'main', { overflow: policy })
            await client.join('ops', 'filler', { overflow: policy })
            stalled.push({ name: `${route} ${format} ${policy}`, client, policy })
          }
          for (let i = 0; i < healthyPerWay; i++) healthy.push(await lab.client('acme.quick', how))
        }
        const client = await lab.client('acme.fed', { direct: route === 'direct', format: 'protobuf' })
        await client.join('ops', 'filler')
        fed.push(client)
      }
      await Promise.all(healthy.map((client) => client.join('ops', 'main')))

      let n = 0
      let filled = 0
      for (let episode = 1; episode <= episodes; episode++) {
        for (const { client } of stalled) client.ws.pause()
        for (let i = 0; i < filler.count; i++) {
          const payload = { n: ++filled, text: filler.text }
          publisher.send({ room: 'ops', channel: 'filler', payload, metadata: { ack: 'none' } })
          if (filled % filler.step === 0) await Promise.all(fed.map((client) => client.received(filled, 'filler')))
        }
        for (let i = 0; i < messagesPerEpisode; i++) {
          publisher.send({ room: 'ops', channel: 'main', payload: { n: ++n, text }, metadata: { ack: 'none' } })
          if (i % 50 === 49) await Promise.all(healthy.map((client) => client.received(n, 'main')))
        }
        for (const { client } of stalled) client.ws.resume()
        await Promise.all(
          stalled.map(({ name, client, policy }) =>
            policy === 'disconnect'
              ? client.closed()
              : client.wait(() => (reached(client, 'main') === n ? true : undefined), `${n} at ${name}`),
          ),
        )
      }

      const everything = Array.from({ length: n }, (_, i) => i + 1)
      for (const client of healthy) {
        expect(client.numbers('main')).toEqual(everything)
        expect(client.frames.some(({ type }) => type === 'gap')).toBe(false)
      }
      for (const { name, client, policy } of stalled) {
        if (policy === 'disconnect') expect(client.closeCode, name).toBe(4008)
        else {
          expect(client.closeCode, name).toBeUndefined()
          for (const channel of ['main', 'filler']) {
            const published = channel === 'main' ? n : filled
            const epoch = history ? epochOf(client, channel) : undefined
            expect(checkAccount(client.frames, { channel, policy, epoch }), `${channel} of ${name}`).toBe(published)
          }
        }
      }
    })
  })
})

/** The life of the channel, as its first message tells. */
function epochOf(client: TestClient, channel: string): number {
  return Number((client.messages(channel)[0]!.metadata['position'] as JsonObject)['epoch'])
}

/** The number up to which the channel has been received or told as missed. */
function reached(client: TestClient, channel: string): number {
  let last = 0
  for (const frame of client.frames) {
    if (frame.channel !== channel) continue
    const payload = frame.payload as JsonObject
    if (frame.type === 'message') last = Number(payload['n'])
    else if (frame.type === 'gap') last += Number(payload['missed'])
  }
  return last
}

/** Throws unless messages and gaps of the channel follow each other without hole and repetition; returns their end. */
function checkAccount(
  frames: readonly Envelope[],
  { channel, policy, epoch }: { channel: string; policy: LossyPolicy; epoch: number | undefined },
): number {
  let last = 0
  let gaps = 0
  let isAfterGap = false
  for (const frame of frames.filter((one) => one.channel === channel)) {
    const payload = frame.payload as JsonObject
    if (frame.type === 'gap') {
      gaps++
      const missed = Number(payload['missed'])
      const range = epoch === undefined ? {} : { epoch, from: last + 1, to: last + missed }
      expect(payload).toEqual({
        room: 'ops',
        channel,
        reason: 'overflow',
        policy,
        missed,
        recoverable: epoch !== undefined,
        ...range,
      })
      last += missed
      isAfterGap = true
    } else if (frame.type === 'message') {
      last++
      expect(payload['n']).toBe(last)
      expect(frame.metadata['position']).toEqual(epoch === undefined ? undefined : { epoch, sequence: last })
      if (isAfterGap && channel === 'main') {
        // The newest of the episode, or the first of those that were held.
        const fromEnd = (messagesPerEpisode - (last % messagesPerEpisode)) % messagesPerEpisode
        if (policy === 'latest') expect(fromEnd).toBe(0)
        else expect(fromEnd).toBeGreaterThan(10)
      }
      isAfterGap = false
    }
  }
  // A test in which nobody is ever behind would show nothing.
  expect(gaps).toBeGreaterThanOrEqual(1)
  return last
}
