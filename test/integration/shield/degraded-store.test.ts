// Members behind Shield while the bus's store is away (degraded): they get what is published meanwhile, and go on when
// the store is back, told of it where positions of before do not hold any more.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type RunningUp, startUp } from '../../../src/app/up.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { createMessageIds } from '../../../src/base/ids.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope, WireFormat } from '../../../src/envelope/envelope.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { loadBusConfig, loadShieldConfig } from '../../../src/config/load.ts'
import { strongSecret } from '../../support/environments.ts'
import { raisedLimits } from '../../support/launch/raised-limits.ts'
import { dataOf, positionOf, WireClient } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer, type ValkeyServerProcess } from '../../support/servers/valkey-server.ts'

describe.skipIf(skipWithout('valkey'))('members behind Shield, the store away', () => {
  let server: ValkeyServerProcess
  let dataDir: string
  let up: RunningUp
  let publisher: WireClient
  let binary: WireClient
  let member: WireClient
  let connect: (format?: WireFormat) => Promise<WireClient>
  const nextId = createMessageIds(Date.now())

  beforeEach(async () => {
    server = await startValkeyServer()
    dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-degraded-'))
    const env = {
      ...raisedLimits,
      JWT_SECRET: strongSecret,
      ARQONBUS_SERVER_PORT: '0',
      ARQONBUS_HTTP_PORT: '0',
      ARQONBUS_ENABLE_TELEMETRY: 'false',
      ARQONBUS_ENABLE_PERSISTENCE: 'true',
      ARQONBUS_STORAGE_BACKEND: 'valkey',
      ARQONBUS_VALKEY_URL: server.url,
      ARQONBUS_DATA_DIR: dataDir,
      SHIELD_PORT: '0',
      SHIELD_METRICS_PORT: '0',
    }
    const configs = { bus: loadBusConfig(env), shield: loadShieldConfig(env) }
    up = await startUp(configs, { clock: systemClock, logger: silentLogger })
    const token = await mintToken({ secret: strongSecret, subject: 'tester', tenant: 'acme', ttlSeconds: 600 })
    const url = `ws://127.0.0.1:${up.shield.wsPort}/ws`
    connect = (format = 'json') => WireClient.connect(url, { token, format })
    ;[publisher, binary, member] = await Promise.all([connect(), connect('protobuf'), connect()])
    await member.join('lab', 'one')
  })

  afterEach(async () => {
    await publisher.terminate()
    await binary.terminate()
    await member.terminate()
    await up.close()
    await server.close()
    await rm(dataDir, { recursive: true, force: true })
  })

  const numbers = (client = member): unknown[] =>
    client.messages('one').map(({ payload }) => (payload as JsonObject)['n'])
  const isUpgrade = ({ metadata }: Envelope): boolean => metadata['durability'] !== undefined
  const publish = (n: number, id = nextId(), by = publisher) =>
    by.ask({ id, room: 'lab', channel: 'one', payload: { n } })

  async function comeBack(): Promise<void> {
    await server.restart()
    await expect.poll(() => up.bus.store?.state, { timeout: 10_000 }).toBe('ready')
  }

  test('nothing is missed or told twice where the log holds what was delivered', async () => {
    const first = positionOf(await publish(0))
    await server.kill()
    const held = new Map<WireClient, string[]>([publisher, binary].map((one) => [one, []]))
    for (let n = 1; n <= 5; n++) {
      const one = n % 2 === 0 ? binary : publisher
      const answer = await publish(n, nextId(), one)
      expect(answer).toMatchObject({ type: 'message_response', metadata: { level: 'memory' } })
      held.get(one)!.push(answer.id)
    }
    await member.received(6, 'one')
    // Who comes back meanwhile is given from memory what it missed.
    const late = await Promise.all([connect(), connect('protobuf')])
    for (const one of late) {
      const joined = dataOf(await one.join('lab', 'one', { ...first }))
      expect(joined).toMatchObject({ recovered: true, replayed: 5, position: first })
      await one.received(5, 'one')
    }
    await comeBack()
    // Through Shield, in both formats: that what was in memory only is on disk now.
    for (const one of [publisher, binary]) {
      await one.until(
        (frame) => isUpgrade(frame) && one.frames.filter(isUpgrade).length === held.get(one)!.length,
        'all',
      )
      const told = one.frames.filter(isUpgrade).map(({ type, id, metadata }) => [type, id, metadata['level']])
      expect(told).toEqual(held.get(one)!.map((id) => ['message_response', id, 'disk']))
    }
    await publish(6)
    await member.received(7, 'one')
    expect(numbers()).toEqual([0, 1, 2, 3, 4, 5, 6])
    for (const one of late) {
      await one.received(6, 'one')
      expect(numbers(one)).toEqual([1, 2, 3, 4, 5, 6])
    }
    for (const one of [member, ...late]) expect(one.frames.filter(({ type }) => type === 'gap')).toEqual([])
    await Promise.all(late.map((one) => one.terminate()))
  })

  test('a new epoch is told where an id of before the outage was delivered again, and later messages come', async () => {
    const id = nextId()
    const first = await publish(0, id)
    await publish(1)
    await server.kill()
    publisher.send({ id, room: 'lab', channel: 'one', payload: { n: 0 } })
    await publish(2)
    await member.received(4, 'one')
    expect(numbers()).toEqual([0, 1, 0, 2])
    await comeBack()
    const after = await publish(3)
    const { epoch } = after.metadata['position'] as { epoch: number }
    expect(epoch).toBeGreaterThan((first.metadata['position'] as { epoch: number }).epoch)
    await member.until((frame) => (frame.payload as JsonObject)['n'] === 3, 'message 3')
    const gaps = member.frames.filter(({ type }) => type === 'gap')
    expect(gaps.map(({ payload }) => (payload as JsonObject)['reason'])).toEqual(['epoch_changed'])
  })
})
