// One order for all: under load from several publishers in both formats, every subscriber of a channel, JSON or
// protobuf, at the bus or behind Shield, sees the same messages in the same order, each publisher's in its own.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { WireFormat } from '../../../src/envelope/envelope.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import { type EdgeLab, startEdgeLab, type TestClient } from '../../support/edge-lab.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const messagesEach = 1_000
const inFlight = 50
/** Where each of publishers and subscribers is connected, and how it speaks. */
const ways = [
  { format: 'json', direct: true },
  { format: 'protobuf', direct: true },
  { format: 'json', direct: false },
  { format: 'protobuf', direct: false },
] as const satisfies readonly { format: WireFormat; direct: boolean }[]
const nameOf = ({ format, direct }: (typeof ways)[number]): string =>
  `${format} ${direct ? 'direct' : 'through Shield'}`

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

    test('all subscribers see the same messages in the same order', { timeout: 60_000 }, async () => {
      lab = await startEdgeLab({
        history,
        shieldTiming: { answerMs: 5_000, requestMs: 5_000 },
        ...(server !== undefined && {
          connect: (name: string) => openNatsLink({ servers: [natsServerOf(server!)], name, logger: silentLogger }),
        }),
      })
      const subscribers: { name: string; client: TestClient }[] = []
      for (const way of ways) {
        for (const channel of ['busy', '*']) {
          const client = await lab.client('acme.reader', way)
          await client.join('ops', channel)
          subscribers.push({ name: `${nameOf(way)}, joined ${channel}`, client })
        }
      }
      const publishers = await Promise.all(
        ways.map(async (way) => ({ name: nameOf(way), client: await lab!.client('acme.writer', way) })),
      )
      await Promise.all(publishers.map(({ name, client }) => publishAll(client, name)))

      const total = messagesEach * publishers.length
      await Promise.all(subscribers.map(({ client }) => client.received(total)))
      const [first, ...others] = subscribers
      const reference = describeAll(first!.client)
      expect(new Set(reference.map(({ id }) => id)).size).toBe(total)
      for (const { name } of publishers) {
        const own = reference.filter(({ from }) => from === name).map(({ n }) => n)
        expect(own, name).toEqual(Array.from({ length: messagesEach }, (_, i) => i + 1))
      }
      // Publishers took turns: one after the other would be no test of order.
      expect(changes(reference.map(({ from }) => from))).toBeGreaterThan(20)
      if (history) expect(reference.map(({ sequence }) => sequence)).toEqual(reference.map((_, i) => i + 1))
      for (const { name, client } of others) expect(describeAll(client), name).toEqual(reference)
    })
  })
})

/** Numbers from 1, at most `inFlight` of them unanswered. */
async function publishAll(client: TestClient, from: string): Promise<void> {
  for (let n = 1; n <= messagesEach; n++) {
    // Text that both formats have to carry unharmed.
    const payload = { from, n, text: `“${n}” é\u0000\n𝄞`, exact: 2 ** 53 - n, half: n / 2, list: [n, null, { n }] }
    const id = client.send({ room: 'ops', channel: 'busy', payload })
    if (n % inFlight === 0) await client.answerTo(id)
  }
}

/** All that must be the same for everybody, whatever the format. */
function describeAll(client: TestClient) {
  return client.messages('busy').map(({ id, sender, payload, metadata }) => {
    const { from, n } = payload as { from: string; n: number }
    const sequence = (metadata['position'] as JsonObject | undefined)?.['sequence']
    return { id, sender, from, n, sequence, payload }
  })
}

function changes(list: readonly string[]): number {
  return list.filter((one, i) => i > 0 && one !== list[i - 1]).length
}
