// The link lays its messages out itself and hands them to the client's inside; the client's own publish is what it falls
// back to. Both have to arrive as the same, in order, and count the same.
import { connect, type Msg, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { publisherOf, toLinkHeaders } from '../../../src/link/nats-messages.ts'
import { headerBlock } from '../../../src/link/payload.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'

const messages: readonly { data: Uint8Array; headers?: Record<string, string> }[] = [
  { data: new Uint8Array() },
  { data: new Uint8Array(), headers: { empty: '' } },
  { data: Buffer.from('PUB x 1\r\ny\r\n') },
  { data: Buffer.from([0, 13, 10, 255]), headers: { 'x-arqon-session': 'a', plain: 'b c' } },
  { data: Buffer.from('ü'), headers: { text: 'ünï 🚀 : "quoted"', next: 'z' } },
  { data: Buffer.alloc(17_000, 7), headers: { large: 'x'.repeat(3_000) } },
  { data: Buffer.alloc(300_000, 8) },
  ...Array.from({ length: 500 }, (_, i) => ({ data: Buffer.from(`${i}`.repeat(i % 90)), headers: { n: `${i}` } })),
]

describe.skipIf(skipWithout('nats'))('publishing on a real server', () => {
  let server: NatsServerProcess
  let nc: NatsConnection
  beforeAll(async () => {
    server = await startNatsServer()
    nc = await connect({ port: server.port, reconnect: false })
  })
  afterAll(async () => {
    await nc.close()
    await server.close()
  })

  /** What a listener gets of all messages, published by `by`. */
  async function publishAll(by: NatsConnection, subject: string) {
    const publish = publisherOf(by)
    const got: unknown[] = []
    const { promise: isWhole, resolve } = Promise.withResolvers<void>()
    const subscription = nc.subscribe(subject, {
      callback(_error, message: Msg) {
        got.push([Buffer.from(message.data).toString('hex'), toLinkHeaders(message)])
        if (got.length === messages.length) resolve()
      },
    })
    const before = nc.stats()
    for (const { data, headers } of messages) {
      const owned = Uint8Array.from(data)
      publish(subject, owned, headerBlock(headers))
      owned.fill(0) // its owner may use it again at once
    }
    await isWhole
    subscription.unsubscribe()
    const { outBytes, outMsgs } = nc.stats()
    return { got, bytes: outBytes - before.outBytes, count: outMsgs - before.outMsgs }
  }

  it('is the same by our layout and by the client’s own', async () => {
    const ours = await publishAll(nc, 'ours')
    const plain = { publish: nc.publish.bind(nc) } as unknown as NatsConnection // without the inside
    const theirs = await publishAll(plain, 'theirs')
    expect(ours).toEqual(theirs)
    expect(ours.got).toEqual(messages.map(({ data, headers }) => [Buffer.from(data).toString('hex'), headers ?? {}]))
  })

  it('goes by our layout with the pinned client', () => {
    const { protocol } = nc as unknown as { protocol?: { sendCommand?: unknown } }
    expect(protocol?.sendCommand).toBeTypeOf('function')
  })
})
