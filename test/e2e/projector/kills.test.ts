// T14 and T15 of the reliability plan on the real programs: 50,000 events with repetitions, late ones and poison, while
// the projector and Postgres are killed twenty times. The table has to be that of a plain model, row for row.
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { migrateUp } from '../../../src/postgres/migrations.ts'
import { compiled } from '../../support/compiled.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { type EventServer, startEventServer } from '../../support/launch/projector-lab.ts'
import { chooseSeed, createSeeded } from '../../support/launch/seeded.ts'
import { eventually } from '../../support/postgres-lab.ts'
import {
  byKey,
  makeEvent,
  modelRows,
  projectionRows,
  type TestEvent,
  timeAt,
  toBytes,
} from '../../support/projector-model.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { type PostgresServerProcess, startPostgresServer } from '../../support/servers/postgres-server.ts'

const total = 50_000
const kills = 20
const command = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))

describe.skipIf(skipWithout('postgres', 'nats'))('the projector and Postgres, killed again and again', () => {
  let postgres: PostgresServerProcess
  let events: EventServer
  let lane: ChildProcess | undefined
  let metricsPort: number
  beforeAll(async () => {
    postgres = await startPostgresServer({ settings: { fsync: 'off' } })
    events = await startEventServer()
    await migrateUp({ address: parsePostgresAddress(postgres.url) })
    await events.makeStream()
    metricsPort = (await findFreePorts(1))[0]!
  })
  afterAll(async () => {
    lane?.kill('SIGKILL')
    await events.close()
    await postgres.close()
  })

  function startLane(): void {
    lane = spawn(process.execPath, [command, 'projector'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        PATH: process.env['PATH'],
        NODE_COMPILE_CACHE: compiled,
        NATS_URL: events.url,
        ARQONBUS_POSTGRES_URL: postgres.url,
        ARQONBUS_PROJECTOR_METRICS_PORT: String(metricsPort),
        ARQONBUS_PROJECTOR_ACK_WAIT_MS: '2000',
        ARQONBUS_LOG_LEVEL: 'error',
      },
    })
  }

  async function killLane(): Promise<void> {
    const gone = new Promise((resolve) => lane!.once('close', resolve))
    lane!.kill('SIGKILL')
    await gone
  }

  const select = async (sql: string) => (await postgres.query(sql, [], 'arqonbus')).rows as Record<string, unknown>[]
  const count = async (table: string): Promise<number> =>
    Number((await select(`SELECT count(*) AS n FROM ${table}`))[0]!['n'])

  it('keep every event once, the newest in each episode, and every poison once', async () => {
    const seed = chooseSeed()
    process.stderr.write(`TEST_SEED=${seed} repeats what is sent\n`)
    const seeded = createSeeded(seed)
    const random = (): number => seeded.int(0, 2 ** 30) / (2 ** 30 + 1)
    const chance = (of: number): boolean => random() < of
    const good: TestEvent[] = []
    const poison = new Map<string, Uint8Array>()
    const messages: Uint8Array[] = []
    for (let n = 0; n < total; n++) {
      if (chance(0.02)) {
        const bytes = poisonOf(n)
        poison.set(Buffer.from(bytes).toString('hex'), bytes)
        messages.push(bytes)
        if (chance(0.2)) messages.push(bytes)
        continue
      }
      // Late: its time is up to a second before its place.
      const at = chance(0.2) ? Math.max(0, n * 10 - Math.floor(random() * 1e6)) : n * 10
      const type = chance(0.05) ? 'episode.deleted' : 'episode.updated'
      const event = makeEvent(n, {
        episode_id: `episode-${Math.floor(random() * 5_000)}`,
        source_ts: timeAt(at),
        event_type: type,
        agent_id: 'a',
      })
      good.push(event)
      messages.push(toBytes(event))
      if (chance(0.2)) messages.push(toBytes(good[Math.floor(random() * good.length)]))
    }

    startLane()
    const logged = () => count('arqonbus_continuum_projection_events')
    for (let kill = 0; kill < kills; kill++) {
      const slice = Math.ceil(messages.length / kills)
      await events.publish(messages.slice(kill * slice, (kill + 1) * slice))
      // In the middle of the work, at another place each time.
      const before = await logged()
      await eventually(async () => (await logged()) > before, 30_000)
      await pause(random() * 100)
      if (kill % 2 === 0) {
        await killLane()
        startLane()
      } else {
        await postgres.kill()
        await postgres.restart()
      }
    }
    await eventually(async () => {
      const { unread, unacknowledged } = await events.waiting()
      return unread + unacknowledged === 0
    }, 60_000)

    expect(await logged()).toBe(good.length)
    const rows = (await select(projectionRows)).sort(byKey)
    expect(rows).toEqual(modelRows(good))
    const buried = await select('SELECT raw FROM arqonbus_continuum_projection_dlq_raw')
    expect(buried.map(({ raw }) => (raw as Buffer).toString('hex')).sort()).toEqual([...poison.keys()].sort())
    expect(await count('arqonbus_continuum_projection_dlq')).toBe(poison.size)
  })
})

/** Values that a column of JSON cannot hold, or that the contract refuses; each other bytes. */
function poisonOf(n: number): Uint8Array {
  const text = JSON.stringify(makeEvent(n))
  const kinds = [
    JSON.stringify(makeEvent(n, { event_id: `a\0${n}` })),
    text.replace('"nested"', String.raw`"x":"\ud800","nested"`),
    text.replace(`"n":${n}`, `"n":${n}e400000`),
    text.replace(`"n":${n}`, `"n":${n + 1}e-400000`),
    JSON.stringify(makeEvent(n, { source_ts: '2099-01-01T00:00:00Z' })),
    JSON.stringify(makeEvent(n, { agent_id: 'x'.repeat(1_000) })),
    text.slice(0, -1),
  ]
  if (n % 8 === 7) return new Uint8Array([0xff, ...new TextEncoder().encode(text)])
  return new TextEncoder().encode(kinds[(n % 8) % kinds.length]!)
}
