// A model of who must receive what, against a real bus: clients of two tenants in both formats join, leave, come back
// and publish at random, with and without history. Publishing goes on while memberships change.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import type { WireClient } from '../../support/launch/wire-client.ts'

const secret = 'model-only-0123456789-abcdefghijklmnopqr'
const tenants = ['acme', 'globex'] as const
const channels = ['one', 'two'] as const
const clientCount = 6

const who = fc.nat(clientCount - 1)
const names = fc.constantFrom('one', 'two', '*')
const publishing = fc.record({
  who,
  channel: fc.constantFrom(...channels),
  format: fc.constantFrom('json', 'protobuf'),
})
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('join' as const), who, name: names }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), who, name: names }) },
  // Sent at once, by several clients: what they are answered decides nothing about who receives it.
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      all: fc.array(publishing, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('again' as const),
      all: fc.array(publishing, { minLength: 1, maxLength: 3 }),
    }),
  },
)

interface Modelled {
  readonly client: WireClient
  readonly tenant: string
  readonly joined: Set<string>
  /** Texts to be received by channel: those of one burst in any order between senders, in order for each of them. */
  readonly expected: Map<string, string[]>
}

describe.each(['memory', 'none'] as const)('with history %s', (history) => {
  it('each client gets exactly its tenant’s messages of its channels, once, in order, never its own', async () => {
    const env = { ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: secret }
    const bus = await startBusInProcess({ history, env })
    let run = 0
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30, size: 'max' }), async (steps) => {
          const room = `room-${run++}`
          const all = await openAll(bus)
          let n = 0
          for (const one of steps) {
            if (one.do === 'join' || one.do === 'leave') {
              const { client, joined } = all[one.who]!
              const answer = await client.command(`${one.do}_channel`, { room, channel: one.name })
              const isGood = one.do === 'join' || joined.has(one.name)
              expect(answer.status).toBe(isGood ? 'success' : 'error')
              if (one.do === 'join') joined.add(one.name)
              else joined.delete(one.name)
              continue
            }
            await Promise.all(
              one.all.map(async ({ who: index, channel, format }) => {
                const sender = all[index]!
                sender.client.format = format as 'json' | 'protobuf'
                const text = `${index}:${++n}`
                expectAtMembers(all, sender, channel, text)
                const ack = await sender.client.publish(room, channel, { text })
                expect(ack.type).toBe('message_response')
                if (one.do !== 'again') return
                const repeat = { id: ack.id, room, channel, payload: { text } }
                sender.client.send(repeat)
              }),
            )
            // A membership that begins now must not meet what was published before it.
            await Promise.all(all.map(({ client }) => client.command('ping')))
            await bus.core.publisher.idle()
          }
          await Promise.all(all.map(({ client }) => client.command('ping')))
          for (const modelled of all) check(modelled)
          await Promise.all(all.map(({ client }) => client.terminate()))
        }),
        { numRuns: 25 },
      )
    } finally {
      await bus.close()
    }
  })
})

function openAll(bus: BusInProcess): Promise<Modelled[]> {
  return Promise.all(
    Array.from({ length: clientCount }, async (_, index) => {
      const tenant = tenants[index % 2]!
      const token = await mintToken({ secret, subject: `s${index}`, tenant, ttlSeconds: 600 })
      const format = index % 4 < 2 ? 'json' : 'protobuf'
      const client = await bus.client({ token, format })
      return { client, tenant, joined: new Set<string>(), expected: new Map<string, string[]>() }
    }),
  )
}

function expectAtMembers(all: readonly Modelled[], sender: Modelled, channel: string, text: string): void {
  for (const { client, tenant, joined, expected } of all) {
    if (client === sender.client || tenant !== sender.tenant) continue
    if (!joined.has(channel) && !joined.has('*')) continue
    expected.set(channel, [...(expected.get(channel) ?? []), text])
  }
}

function check({ client, expected }: Modelled): void {
  for (const channel of channels) {
    const got = client.messages(channel).map((frame) => (frame.payload as { text: string }).text)
    const wanted = expected.get(channel) ?? []
    expect(got.toSorted()).toEqual(wanted.toSorted())
    for (let sender = 0; sender < clientCount; sender++) {
      const isOf = (text: string): boolean => text.startsWith(`${sender}:`)
      expect(got.filter(isOf)).toEqual(wanted.filter(isOf))
    }
  }
}
