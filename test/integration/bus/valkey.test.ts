// The whole bus with its history on a real Valkey server that dies and freezes: members get what was acknowledged, once
// and in order; publishers get the truth; the bus goes on without a restart.
import { afterEach, describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { dataOf, positionOf, type WireClient } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerOptions } from '../../support/servers/valkey-server.ts'
import { failureOf, until } from '../../support/valkey-history.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function startServer(options: ValkeyServerOptions) {
  const server = await startValkeyServer(options)
  closers.push(() => server.close())
  return server
}

async function startBusOn(url: string): Promise<BusInProcess> {
  const env = { ARQONBUS_STORAGE_BACKEND: 'valkey', ARQONBUS_VALKEY_URL: url, ARQONBUS_STORAGE_MODE: 'strict' }
  const bus = await startBusInProcess({ env })
  closers.push(() => bus.close())
  return bus
}

const numbers = (client: WireClient) => client.messages().map(({ payload }) => (payload as { n: number }).n)

describe.skipIf(skipWithout('valkey'))('the bus with its history on Valkey', () => {
  it.each([
    ['always', 'disk', true],
    ['everysec', 'process', false],
  ])('with appendfsync %s survives the death of the server; acks say %s', async (appendfsync, level, keepsEpoch) => {
    const server = await startServer({ settings: { appendfsync } })
    const bus = await startBusOn(server.url)
    const [publisher, reader] = [await bus.client(), await bus.client()]
    await reader.join('lab', 'one')
    const first = await publisher.publish('lab', 'one', { n: 1 })
    expect(first).toMatchObject({ type: 'message_response', metadata: { level } })
    await server.kill()
    await until(async () => {
      const refused = await publisher.publish('lab', 'one', { n: -1 })
      return refused.type === 'error' && refused.error_code === 'STORE_UNAVAILABLE'
    })
    await server.restart()
    let second = first
    await until(async () => {
      second = await publisher.publish('lab', 'one', { n: 2 })
      return second.type === 'message_response'
    })
    expect(positionOf(second).sequence).toBe(2)
    expect(positionOf(second).epoch > positionOf(first).epoch).toBe(!keepsEpoch)
    await reader.received(2)
    expect(numbers(reader)).toEqual([1, 2])
    const late = await bus.client()
    const answer = dataOf(await late.join('lab', 'one', { ...positionOf(first) }))
    expect(answer).toMatchObject(keepsEpoch ? { recovered: true } : { recovered: false, reason: 'epoch_changed' })
  })

  it('delivers a message that a frozen server stores late, once, also when it is sent again', async () => {
    const server = await startServer({})
    const bus = await startBusOn(server.url)
    const [publisher, reader] = [await bus.client(), await bus.client()]
    await reader.join('lab', 'one')
    await publisher.publish('lab', 'one', { n: 1 })
    await server.freeze()
    const startedAt = performance.now()
    const sent = { id: 'arq_1795466362345000000_7_a1b2c3', room: 'lab', channel: 'one', payload: { n: 2 } }
    const unknown = await publisher.ask(sent)
    expect(unknown).toMatchObject({ type: 'error', error_code: 'STORE_TIMEOUT' })
    expect(performance.now() - startedAt).toBeLessThan(2_300)
    server.thaw()
    let answer = unknown
    await until(async () => {
      answer = await (await bus.client()).ask(sent) // a client finds the first answer to an id it has sent
      return answer.type === 'message_response'
    })
    expect(answer).toMatchObject({ type: 'message_response', metadata: { duplicate: true } })
    await publisher.publish('lab', 'one', { n: 3 })
    await reader.received(3)
    expect(numbers(reader)).toEqual([1, 2, 3])
  })

  it('does not start where the password is wrong, nor where nothing answers', async () => {
    const server = await startServer({ password: 'right' })
    const denied = await failureOf(startBusOn(`redis://:wrong@127.0.0.1:${server.port}`))
    expect(isBusError(denied, 'STORE_OPEN_FAILED')).toBe(true)
    expect(denied).toMatchObject({ details: { reason: 'DENIED' } })
    await server.kill()
    const away = await failureOf(startBusOn(server.url))
    expect(away).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'ECONNREFUSED' } })
  })
})
