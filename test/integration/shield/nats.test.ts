// What holds at the edge over the in-process link holds over a real NATS server: one suite, both links.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Link } from '../../../src/link/link.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import { data, type EdgeLab, startEdgeLab } from '../../support/edge-lab.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const upTo = (count: number, from = 1): number[] => Array.from({ length: count }, (_, i) => i + from)

describe.each(['memory', 'nats'] as const)('over the %s link', (kind) => {
  describe.skipIf(kind === 'nats' && skipWithout('nats'))('clients of Shields', () => {
    let server: NatsServerProcess | undefined
    let lab: EdgeLab
    const links: Link[] = []

    beforeAll(async () => {
      if (kind === 'nats') server = await startNatsServer({ config: 'max_payload: 2MB' })
    })
    afterAll(() => server?.close())

    beforeEach(async () => {
      lab = await startEdgeLab({
        ...(server !== undefined && {
          connect: async (name: string) => {
            const link = await openNatsLink({ servers: [natsServerOf(server!)], name, logger: silentLogger })
            links.push(link)
            return link
          },
        }),
      })
    })
    afterEach(async () => {
      await lab.close()
      for (const link of links.splice(0)) await link.close()
    })

    test('join, publish with acknowledgement, and receive in order, in either format', async () => {
      const [from, json, binary] = await Promise.all([
        lab.client('acme.from', { format: 'protobuf' }),
        lab.client('acme.json'),
        lab.client('acme.binary', { format: 'protobuf' }),
      ])
      await Promise.all([json.join('ops', 'alerts'), binary.join('ops', '*')])
      for (const n of upTo(30)) {
        const ack = await from.publish('ops', 'alerts', { n })
        expect(ack).toMatchObject({ type: 'message_response', metadata: { position: { sequence: n } } })
      }
      await Promise.all([json.received(30), binary.received(30)])
      expect(json.numbers()).toEqual(upTo(30))
      expect(binary.numbers()).toEqual(upTo(30))
    })

    test('recover what they missed, complete and in order, before live traffic', async () => {
      const [from, reader] = await Promise.all([lab.client('acme.from'), lab.client('acme.reader')])
      await reader.join('ops', 'a')
      for (const n of upTo(3)) await from.publish('ops', 'a', { n })
      const [, , third] = await reader.received(3)
      reader.terminate()
      for (const n of upTo(4, 4)) await from.publish('ops', 'a', { n })
      const again = await lab.client('acme.reader')
      const joined = await again.join('ops', 'a', { recover: third!.metadata['position'] as never })
      expect(data(joined)).toMatchObject({ recovered: true, replayed: 4 })
      await from.publish('ops', 'a', { n: 8 })
      await again.received(5)
      expect(again.numbers()).toEqual(upTo(5, 4))
    })

    test('exchange private messages with clients of the bus and of another Shield', async () => {
      const other = await lab.startShield('shield-2')
      const [near, far, direct] = await Promise.all([
        lab.client('acme.near'),
        lab.client('acme.far', { shield: other, format: 'protobuf' }),
        lab.client('acme.direct', { direct: true }),
      ])
      const sent = [
        near.send({ to_client: far.id, payload: { n: 1 } }),
        near.send({ to_client: direct.id, payload: { n: 1 } }),
      ]
      for (const id of sent) expect(await near.answerTo(id)).toMatchObject({ status: 'success' })
      await Promise.all([far.received(1), direct.received(1)])
      expect(far.messages()[0]).toMatchObject({ sender: near.id, payload: { n: 1 } })
      const nobody = near.send({ to_client: `arq_client_${'0'.repeat(32)}`, payload: {} })
      expect(await near.answerTo(nobody)).toMatchObject({ error_code: 'TARGET_NOT_FOUND' })
    })

    test('of several Shields share one bus and one order', async () => {
      const shields = [lab.shield, await lab.startShield('shield-2'), await lab.startShield('shield-3')]
      const members = await Promise.all(shields.map((shield, i) => lab.client(`acme.member-${i}`, { shield })))
      const publishers = await Promise.all(shields.map((shield, i) => lab.client(`acme.from-${i}`, { shield })))
      await Promise.all(members.map((member) => member.join('ops', 'a')))
      await Promise.all(
        publishers.map(async (publisher, i) => {
          for (const n of upTo(20, i * 20)) await publisher.publish('ops', 'a', { n })
        }),
      )
      await Promise.all(members.map((member) => member.received(60)))
      const [first, ...others] = members.map((member) => member.numbers())
      expect(new Set(first).size).toBe(60)
      for (const numbers of others) expect(numbers).toEqual(first)
    })

    test('send binary frames that arrive byte for byte on the subject of their tenant and on no other', async () => {
      const seen: Buffer[] = []
      const elsewhere: string[] = []
      const observer = await lab.connect('observer')
      observer.subscribe('in.t.acme.raw', ({ data: bytes }) => seen.push(Buffer.from(bytes)))
      observer.subscribe('in.t.globex.raw', ({ subject }) => elsewhere.push(subject))
      observer.subscribe('out.t.globex.>', ({ subject }) => elsewhere.push(subject))
      await observer.flush()
      const [binary, globex] = await Promise.all([
        lab.client('acme.b', { format: 'protobuf' }),
        lab.client('globex.x', { format: 'protobuf' }),
      ])
      const sent: Buffer[] = []
      const send = binary.ws.send.bind(binary.ws)
      binary.ws.send = ((bytes: Uint8Array) => {
        sent.push(Buffer.from(bytes))
        send(bytes)
      }) as typeof binary.ws.send
      for (const n of upTo(5)) await binary.publish('ops', 'a', { n, text: 'ünïcode' })
      expect(sent).toHaveLength(5)
      expect(seen).toEqual(sent)
      expect(elsewhere).toEqual([])
      await globex.publish('ops', 'a', { n: 1 })
      await binary.wait(() => (elsewhere.includes('in.t.globex.raw') ? true : undefined), 'the frame of globex')
    })

    test('keep their sockets and memberships when the bus is replaced', async () => {
      const [from, reader] = await Promise.all([lab.client('acme.from'), lab.client('acme.reader')])
      await reader.join('ops', 'a')
      await from.publish('ops', 'a', { n: 1 })
      await lab.stopBus()
      await from.wait(() => (lab.shield.isBusReachable ? undefined : true), 'loss of the bus')
      expect((await from.publish('ops', 'a', { n: 0 })).error_code).toBe('LINK_UNAVAILABLE')
      await lab.startBus()
      await from.wait(() => (lab.bus.relay.sessions === 2 ? true : undefined), 'sessions')
      const direct = await lab.client('acme.direct', { direct: true })
      await direct.publish('ops', 'a', { n: 2 })
      await reader.received(2)
      expect(reader.numbers()).toEqual([1, 2])
      expect(reader.closeCode).toBeUndefined()
    })
  })
})
