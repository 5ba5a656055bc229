// Events into a real Postgres: each once, the newest wins, poison is set aside byte for byte, and what is not the
// event's fault never is.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { keepConnection, type KeptConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { createDeadLetters, eachDeadLetter } from '../../../src/projector/dead-letters.ts'
import { createProjector, type Projector } from '../../../src/projector/projector.ts'
import { createReads } from '../../../src/projector/reads.ts'
import { createSql } from '../../../src/projector/sql.ts'
import { readCheckpoint } from '../../../src/projector/statements.ts'
import { type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
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

describe.skipIf(skipWithout('postgres'))('the projector on a real Postgres', () => {
  let lab: PostgresLab
  const open: { close(): Promise<void> }[] = []
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterAll(async () => {
    await Promise.all(open.map((one) => one.close()))
    await lab.close()
  })

  interface Bench {
    readonly database: LabDatabase
    readonly connection: KeptConnection
    readonly projector: Projector
    readonly project: (events: readonly unknown[]) => Promise<string[]>
    readonly rows: () => Promise<Record<string, unknown>[]>
  }

  async function connect({ url }: LabDatabase, maxDeadLetters = 100_000) {
    const connection = await keepConnection({
      address: parsePostgresAddress(url),
      limits: slowLimits,
      logger: silentLogger,
      name: 'test',
    })
    open.push(connection)
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock: systemClock,
      maxDeadLetters,
    })
    return { connection, projector }
  }

  async function bench(maxDeadLetters?: number): Promise<Bench> {
    const database = await lab.newDatabase()
    const { connection, projector } = await connect(database, maxDeadLetters)
    return {
      database,
      connection,
      projector,
      async project(events) {
        const outcomes = await projector.project(events.map((event) => ({ raw: toBytes(event), source: 'nats' })))
        return outcomes.map(({ status }) => status)
      },
      rows: async () => (await database.query(projectionRows)).sort(byKey),
    }
  }

  const tools = (database: LabDatabase) => {
    const sql = createSql(parsePostgresAddress(database.url), slowLimits)
    open.push(sql)
    return { reads: createReads(sql), letters: createDeadLetters({ sql, clock: systemClock }) }
  }

  it('projects, knows repetitions, refuses what is older, and keeps tombstones', async () => {
    const { project, rows, database } = await bench()
    const at = (n: number, more: Partial<TestEvent> = {}) => makeEvent(n, { agent_id: 'a', episode_id: 'e', ...more })
    expect(await project([at(5)])).toEqual(['projected'])
    expect(await project([at(5)])).toEqual(['duplicate'])
    expect(await project([at(4)])).toEqual(['stale_rejected'])
    expect(await project([at(4)])).toEqual(['duplicate'])
    const gone = at(6, { event_type: 'episode.deleted' })
    expect(await project([gone])).toEqual(['projected'])
    expect(await rows()).toEqual(modelRows([at(5), at(4), gone]))
    expect((await rows())[0]).toMatchObject({ deleted: true, tags: ['a', 'tag-6'] })
    expect(await project([at(7)])).toEqual(['projected'])
    expect((await rows())[0]).toMatchObject({ deleted: false, last_event_id: 'event-7' })
    // At the same time the greater id wins, by its bytes: lower case after upper case.
    const same = (event_id: string) => at(8, { event_id })
    expect(await project([same('b'), same('B'), same('b')])).toEqual(['projected', 'stale_rejected', 'duplicate'])
    expect((await database.query('SELECT count(*)::int AS n FROM arqonbus_continuum_projection_events'))[0]).toEqual({
      n: 6,
    })
  })

  it('keeps numbers as they were written', async () => {
    const { projector, database } = await bench()
    const text = JSON.stringify(makeEvent(1)).replace('"n":1', '"n":12345678901234567890.10')
    await projector.project([{ raw: new TextEncoder().encode(text), source: 'nats' }])
    const [row] = await database.query("SELECT metadata->>'n' AS n FROM arqonbus_continuum_projection")
    expect(row).toEqual({ n: '12345678901234567890.10' })
  })

  it('lets the newest of 8 concurrent events win in each of 400 contended episodes, from 4 workers', async () => {
    const { database, rows } = await bench()
    const workers = await Promise.all(Array.from({ length: 4 }, () => connect(database)))
    const events = Array.from({ length: 400 }, (_, episode) =>
      Array.from({ length: 8 }, (_, k) =>
        // Two at each time: the id decides between them.
        makeEvent(episode * 8 + k, { agent_id: 'a', episode_id: `e-${episode}`, source_ts: timeAt(k >> 1) }),
      ),
    )
    for (const contended of events) {
      const shuffled = contended.toSorted(() => Math.random() - 0.5)
      await Promise.all(
        workers.flatMap(({ projector }, w) =>
          shuffled.slice(w * 2, w * 2 + 2).map((event) => projector.project([{ raw: toBytes(event), source: 'nats' }])),
        ),
      )
    }
    expect(await rows()).toEqual(modelRows(events.flat()))
  })

  it('does not tie batches of several workers into a knot', async () => {
    const { database, rows } = await bench()
    const workers = await Promise.all(Array.from({ length: 4 }, () => connect(database)))
    const events = Array.from({ length: 2_000 }, (_, n) => makeEvent(n))
    await Promise.all(
      workers.map(async ({ projector }) => {
        const mine = events.toSorted(() => Math.random() - 0.5)
        for (let i = 0; i < mine.length; i += 100) {
          await projector.project(mine.slice(i, i + 100).map((event) => ({ raw: toBytes(event), source: 'nats' })))
        }
      }),
    )
    expect(await rows()).toEqual(modelRows(events))
  })

  describe('poison', () => {
    const text = (event: unknown) => new TextEncoder().encode(typeof event === 'string' ? event : JSON.stringify(event))
    const withMetadata = (json: string) => JSON.stringify(makeEvent(1)).replace('"n":1', `"n":${json}`)
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    // Values of the lab (reliability, L20), and what only Postgres can judge.
    const poison: [string, Uint8Array, string][] = [
      ['NUL in an id', text(makeEvent(1, { event_id: 'a\0b' })), 'BAD_TEXT'],
      ['NUL deep inside', text(withMetadata(String.raw`"\u0000"`)), 'BAD_TEXT'],
      ['a lone surrogate', text(withMetadata(String.raw`"\ud800"`)), 'BAD_TEXT'],
      ['a huge number', text(withMetadata('1e400000')), 'BAD_NUMBER'],
      ['a tiny number', text(withMetadata('1e-400000')), 'BAD_DATA'],
      ['depth 100,000', text(withMetadata(deep)), 'TOO_DEEP'],
      ['a long id', text(makeEvent(1, { episode_id: 'x'.repeat(1_000) })), 'BAD_ID'],
      ['infinity as a time', text(makeEvent(1, { source_ts: 'infinity' })), 'BAD_TIME'],
      ['tomorrow', text(makeEvent(1, { source_ts: 'tomorrow' })), 'BAD_TIME'],
      ['30 February', text(makeEvent(1, { source_ts: '2026-02-30T10:00:00Z' })), 'BAD_TIME'],
      ['the year 2099', text(makeEvent(1, { source_ts: '2099-01-01T00:00:00Z' })), 'TIME_IN_FUTURE'],
      ['no JSON', text('{"event_id":'), 'NOT_JSON'],
      ['no UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), 'NOT_UTF8'],
      ['a raw NUL', new Uint8Array([0]), 'NOT_JSON'],
      ['nothing', new Uint8Array(0), 'NOT_JSON'],
    ]

    it('of every kind is set aside once, byte for byte, in the middle of a batch of good ones', async () => {
      const { projector, rows, database } = await bench()
      const good = Array.from({ length: 300 }, (_, n) => makeEvent(n + 10))
      const items = good.map((event) => ({ raw: toBytes(event), source: 'nats' }))
      for (const [i, [, raw]] of poison.entries()) items.splice(i * 17 + 3, 0, { raw, source: 'nats' })
      for (let round = 0; round < 2; round++) {
        const outcomes = await projector.project(items)
        const codes = outcomes.flatMap((outcome) => (outcome.status === 'dlq_queued' ? [outcome.refusal.code] : []))
        expect(codes).toEqual(poison.map(([, , code]) => code))
      }
      expect(await rows()).toEqual(modelRows(good))
      const { letters } = tools(database)
      const kept = []
      for await (const letter of eachDeadLetter(letters, {})) kept.push(letter)
      const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex')
      expect(kept.map(({ raw }) => hex(raw)).sort()).toEqual(poison.map(([, raw]) => hex(raw)).sort())
      expect(kept.map(({ attempts }) => attempts).sort((a, b) => a - b)).toEqual([...poison.slice(1).map(() => 2), 6])
      // The parsed form where there is one.
      const parsed = kept.find(({ code }) => code === 'TIME_IN_FUTURE')
      expect(JSON.parse(parsed!.event)).toMatchObject({ source_ts: '2099-01-01T00:00:00Z' })
      expect(kept.find(({ code }) => code === 'NOT_JSON')!.event).toBe('{}')
    })

    it('one event of 2099 freezes nothing', async () => {
      const { project, rows } = await bench()
      const at = (n: number, more = {}) => makeEvent(n, { agent_id: 'a', episode_id: 'e', ...more })
      await project([at(1), at(2, { source_ts: '2099-01-01T00:00:00Z' }), at(3)])
      expect((await rows())[0]).toMatchObject({ last_event_id: 'event-3' })
    })

    it('stops the lane when there is no more room for dead letters, and nothing is lost', async () => {
      const { project, rows } = await bench(3)
      const bad = (n: number) => makeEvent(n, { event_type: 'nonsense' })
      await project([bad(1), bad(2)])
      // Those that are there already take no room.
      await project([bad(3), bad(1), bad(2)])
      await project([bad(1), bad(2), bad(3)])
      await expect(project([makeEvent(9), bad(4)])).rejects.toMatchObject({
        code: 'LIMIT_EXCEEDED',
        details: { reason: 'DEAD_LETTERS_FULL' },
      })
      expect(await rows()).toEqual([])
    })
  })

  it('moves the checkpoint with the effects, and only forward', async () => {
    const { projector, connection } = await bench()
    const items = [{ raw: toBytes(makeEvent(1)), source: 'acme' }]
    const query = (statement: Parameters<typeof connection.query>[0]) => connection.query(statement)
    await projector.project(items, { source: 's', epoch: 2, sequence: 10 })
    await projector.project(items, { source: 's', epoch: 2, sequence: 5 })
    await projector.project(items, { source: 's', epoch: 1, sequence: 99 })
    expect(await readCheckpoint(query, 's')).toEqual({ source: 's', epoch: 2, sequence: 10 })
    await projector.project([], { source: 's', epoch: 3, sequence: 1 })
    expect(await readCheckpoint(query, 's')).toEqual({ source: 's', epoch: 3, sequence: 1 })
  })

  describe('a dead letter', () => {
    const broken = makeEvent(1, { agent_id: 'a', episode_id: 'e', event_type: 'nonsense' })
    const mended = { ...broken, event_type: 'episode.created' }

    it('is judged again when replayed: refused as it is, projected when mended, gone then', async () => {
      const { project, rows, database } = await bench()
      await project([broken])
      const { letters } = tools(database)
      const [letter] = (await letters.list({}, 10)).entries
      expect(await letters.replay(letter!.id)).toMatchObject({ status: 'refused', refusal: { code: 'BAD_EVENT_TYPE' } })
      expect(await rows()).toEqual([])
      expect(await letters.replay(letter!.id, { tenant: 'other' })).toEqual({ status: 'not_found' })
      expect(await letters.replay(letter!.id, { edited: toBytes(mended) })).toMatchObject({ status: 'projected' })
      expect(await rows()).toEqual(modelRows([mended]))
      expect(await letters.replay(letter!.id)).toEqual({ status: 'not_found' })
    })

    it('is replayed by one of eight at once', async () => {
      const { project, database } = await bench()
      await project([broken])
      const { letters } = tools(database)
      const id = (await letters.list({}, 10)).entries[0]!.id
      const replays = await Promise.all(
        Array.from({ length: 8 }, () => letters.replay(id, { edited: toBytes(mended) })),
      )
      expect(replays.map(({ status }) => status).sort()).toEqual([...Array(7).fill('not_found'), 'projected'])
    })

    it('is listed in pages, newest first, by tenant and code, and discarded', async () => {
      const { project, database } = await bench()
      const bad = Array.from({ length: 25 }, (_, n) =>
        makeEvent(n, { event_type: 'nonsense', tenant_id: n % 5 === 0 ? 'other' : 'acme' }),
      )
      for (const event of bad) await project([event])
      const { letters } = tools(database)
      const ids: string[] = []
      let after: string | undefined
      do {
        const page = await letters.list({ tenant: 'acme', code: 'BAD_EVENT_TYPE' }, 6, after)
        ids.push(...page.entries.map(({ event }) => (JSON.parse(event) as TestEvent).event_id))
        after = page.next
      } while (after !== undefined)
      expect(ids).toEqual(
        bad
          .filter(({ tenant_id }) => tenant_id === 'acme')
          .map(({ event_id }) => event_id)
          .reverse(),
      )
      const all = (await letters.list({}, 100)).entries.map(({ id }) => id)
      expect(await letters.discard(all, 'other')).toBe(5)
      expect((await letters.list({}, 100)).entries).toHaveLength(20)
    })
  })

  it('gives pages of the projection that hold each row once, and the counts of one tenant', async () => {
    const { project, database } = await bench()
    for (let i = 0; i < 10; i++) {
      await project(
        Array.from({ length: 7 }, (_, k) => makeEvent(i * 7 + k, { episode_id: `e${i * 7 + k}`, agent_id: 'a' })),
      )
    }
    await project([makeEvent(1_000, { tenant_id: 'other' }), makeEvent(1, { event_type: 'x' })])
    const { reads } = tools(database)
    const found: string[] = []
    let after: string | undefined
    do {
      const page = await reads.list({ tenant: 'acme', limit: 9, after })
      found.push(...page.items.map((item) => item['episode_id'] as string))
      after = page.next
    } while (after !== undefined)
    expect(found.slice(0, 7).sort()).toEqual(['e63', 'e64', 'e65', 'e66', 'e67', 'e68', 'e69'])
    expect(new Set(found).size).toBe(70)
    expect(found).toHaveLength(70)
    expect(await reads.counts('acme')).toEqual({ projections: 70, events: 70, deadLetters: 1 })
    expect(await reads.counts()).toEqual({ projections: 71, events: 71, deadLetters: 1 })
    expect(await reads.find({ tenant: 'acme', agent: 'a', episode: 'e3' })).toMatchObject({
      tags: ['a', 'tag-3'],
      last_event_ts: timeAt(3),
    })
    expect(await reads.find({ tenant: 'other', agent: 'a', episode: 'e3' })).toBeUndefined()
  })
})
