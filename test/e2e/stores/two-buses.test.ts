// Two buses on one Valkey, which nobody asks for and nothing forbids: one order for both, and every member is told
// everything, whichever bus it was published at.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { type LaunchedProgram, launchBus } from '../../support/launch/launch-linked.ts'
import { raisedLimits } from '../../support/launch/raised-limits.ts'
import { dataOf, positionOf, WireClient } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'

async function startBus(valkeyUrl: string): Promise<LaunchedProgram> {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-two-'))
  const bus = await launchBus({
    ...raisedLimits,
    ARQONBUS_DATA_DIR: dataDir,
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_STORAGE_BACKEND: 'valkey',
    ARQONBUS_STORAGE_MODE: 'strict',
    ARQONBUS_VALKEY_URL: valkeyUrl,
  })
  onTestFinished(async () => {
    await bus.kill()
    await rm(dataDir, { recursive: true, force: true })
  })
  return bus
}

async function connect({ url }: LaunchedProgram): Promise<WireClient> {
  const client = await WireClient.connect(url)
  onTestFinished(() => client.terminate())
  return client
}

const sequences = (messages: readonly Envelope[]) => messages.map((message) => positionOf(message).sequence)
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)
const idsOf = (messages: readonly Envelope[]) => messages.map(({ id }) => id)

describe.skipIf(skipWithout('valkey'))('two buses on one Valkey', () => {
  test('number one channel together; each member gets everything, once and in order, at whichever bus it is', async () => {
    const server = await startValkeyServer()
    onTestFinished(() => server.close())
    const buses = await Promise.all([startBus(server.url), startBus(server.url)])
    const [one, two] = buses as [LaunchedProgram, LaunchedProgram]
    const [reader, other, whole] = await Promise.all([connect(one), connect(two), connect(one)])
    await reader.join('lab', 'one')
    await other.join('lab', 'one')
    await whole.join('lab', '*')

    const each = 150
    const publishers = await Promise.all([one, two, one, two].map((bus) => connect(bus)))
    const acks = await Promise.all(
      publishers.flatMap((publisher, p) =>
        Array.from({ length: each }, (_, n) => publisher.publish('lab', 'one', { p, n })),
      ),
    )
    const total = each * publishers.length
    expect(sequences(acks).toSorted((a, b) => a - b)).toEqual(upTo(total))
    const byPosition = idsOf(acks.toSorted((a, b) => positionOf(a).sequence - positionOf(b).sequence))
    for (const member of [reader, other, whole]) {
      const messages = await member.received(total)
      expect(sequences(messages)).toEqual(upTo(total))
      expect(idsOf(messages)).toEqual(byPosition)
    }

    // The same message at both, at once: stored once.
    const twice = { id: 'arq_1795466362345000000_7_a1b2c3', room: 'lab', channel: 'one', payload: { n: 0 } }
    const answers = await Promise.all(publishers.map((publisher) => publisher.ask(twice)))
    expect(sequences(answers)).toEqual(publishers.map(() => total + 1))
    expect(answers.filter(({ metadata }) => metadata['duplicate'] !== true)).toHaveLength(1)

    // A channel that begins at one bus is a channel of the room at the other.
    await publishers[1]!.publish('lab', 'two', { n: 0 })
    await publishers[1]!.publish('lab', 'three', { n: 0 })
    await publishers[0]!.publish('lab', 'three', { n: 1 })
    await whole.received(1, 'two')
    expect(sequences(await whole.received(2, 'three'))).toEqual([1, 2])
    for (const member of [reader, other, whole]) {
      const messages = await member.received(total + 1, 'one')
      expect(sequences(messages)).toEqual(upTo(total + 1))
    }

    // What one bus gave out holds at the other when the one is gone.
    await one.kill()
    const late = await connect(two)
    const recover = { epoch: positionOf(acks[0]!).epoch, sequence: total - 100 }
    expect(dataOf(await late.join('lab', 'one', recover))).toMatchObject({ recovered: true, replayed: 101 })
    expect(sequences([await publishers[1]!.publish('lab', 'one', {})])).toEqual([total + 2])
  })
})
