// A rebuild from the event log gives what live traffic gave, whatever happened to either, and says before what it would
// change.
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { keepConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { backfill, type BackfillOptions } from '../../../src/projector/backfill.ts'
import { createProjector } from '../../../src/projector/projector.ts'
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

describe.skipIf(skipWithout('postgres'))('a backfill', () => {
  let lab: PostgresLab
  const open: { close(): Promise<void> }[] = []
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterAll(async () => {
    await Promise.all(open.map((one) => one.close()))
    await lab.close()
  })

  async function bench() {
    const database = await lab.newDatabase()
    const address = parsePostgresAddress(database.url)
    const connection = await keepConnection({ address, limits: slowLimits, logger: silentLogger, name: 'test' })
    open.push(connection)
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock: systemClock,
      maxDeadLetters: 1_000,
    })
    const run = (more: Partial<BackfillOptions> = {}) =>
      backfill({ address, clock: systemClock, filter: {}, dryRun: false, ...more })
    const project = (events: readonly TestEvent[]) =>
      projector.project(events.map((event) => ({ raw: toBytes(event), source: 'nats' })))
    return { database, run, project }
  }

  const rowsOf = async (database: LabDatabase) => (await database.query(projectionRows)).sort(byKey)
  /** As text, every column but updated_at: byte for byte. */
  const bytesOf = async (database: LabDatabase): Promise<unknown[]> =>
    await database.query(`SELECT tenant_id, agent_id, episode_id, event_type, content_ref, summary, tags::text,
      embedding_ref, metadata::text, last_event_id, last_event_ts::text, deleted
      FROM arqonbus_continuum_projection ORDER BY 1, 2, 3`)
  const spoil = `UPDATE arqonbus_continuum_projection SET summary = 'wrong', tags = '["w"]', last_event_ts = now() + interval '9 years'`

  const arbitraryEvents = fc.array(
    fc
      .record({
        n: fc.nat(30),
        at: fc.nat(5),
        episode: fc.nat(3),
        type: fc.constantFrom('episode.created', 'episode.updated', 'episode.deleted', 'episode.summarized'),
        text: fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
      })
      .map(({ n, at, episode, type, text }) => {
        const event = makeEvent(n, {
          episode_id: `e${episode}`,
          agent_id: 'a',
          source_ts: timeAt(at),
          event_type: type,
        })
        return { ...event, payload: { ...event.payload, summary: text, metadata: { text, n } } }
      }),
    { minLength: 1, maxLength: 40 },
  )

  it('equals live traffic byte for byte, for shuffled, repeated, late and deleted events', async () => {
    const { database, run, project } = await bench()
    await fc.assert(
      fc.asyncProperty(arbitraryEvents, async (events) => {
        await database.query('TRUNCATE arqonbus_continuum_projection, arqonbus_continuum_projection_events')
        for (let i = 0; i < events.length; i += 7) await project(events.slice(i, i + 7))
        const live = await bytesOf(database)
        await database.query(
          `${spoil} WHERE episode_id < 'e2'; DELETE FROM arqonbus_continuum_projection WHERE episode_id = 'e3'`,
        )
        await run({ piece: 2 })
        expect(await bytesOf(database)).toEqual(live)
        expect(await rowsOf(database)).toEqual(modelRows(events))
      }),
      { numRuns: 30 },
    )
  })

  it('says before exactly what it would change, without writing, and changes nothing the second time', async () => {
    const { database, run, project } = await bench()
    const events = Array.from({ length: 3_000 }, (_, n) => makeEvent(n, { episode_id: `e${n % 600}` }))
    await project(events)
    const live = await rowsOf(database)
    await database.query(`${spoil} WHERE episode_id < 'e2'`)
    await database.query("DELETE FROM arqonbus_continuum_projection WHERE episode_id LIKE 'e3%'")
    await database.query(
      `INSERT INTO arqonbus_continuum_projection SELECT 'ghost', agent_id, episode_id, event_type, content_ref, summary, tags,
        embedding_ref, metadata, last_event_id, last_event_ts FROM arqonbus_continuum_projection LIMIT 3`,
    )
    await database.query('VACUUM ANALYZE')
    const wal = async () => (await database.query('SELECT pg_current_wal_insert_lsn()::text AS at'))[0]!['at']
    const said = await run({ dryRun: true })
    // The server writes a line of its own now and then: one run without any proves that ours are none.
    let isSilent = false
    for (let tries = 0; tries < 5 && !isSilent; tries++) {
      const before = await wal()
      expect(await run({ dryRun: true })).toEqual(said)
      isSilent = (await wal()) === before
    }
    expect(isSilent).toBe(true)
    expect(said).toMatchObject({ dryRun: true, events: 3_000, removed: 3 })
    expect(said.inserted).toBeGreaterThan(100)
    expect(said.updated).toBeGreaterThan(100)
    expect(await run()).toEqual({ ...said, dryRun: false })
    expect(await rowsOf(database)).toEqual(live)
    expect(await run()).toMatchObject({ inserted: 0, updated: 0, removed: 0, events: 3_000 })
  })

  it('with a filter rebuilds whole the episodes that it touches, and no other', async () => {
    const { database, run, project } = await bench()
    const events = Array.from({ length: 400 }, (_, n) =>
      makeEvent(n, { tenant_id: n % 2 === 0 ? 'acme' : 'other', agent_id: `a${n % 3}`, episode_id: `e${n % 20}` }),
    )
    await project(events)
    const live = await rowsOf(database)
    await database.query(spoil)
    // Events of this range are not the newest of their episodes: those are outside of it.
    const filter = { tenant: 'acme', agent: 'a1', from: timeAt(10), to: timeAt(40) }
    const touched = new Set(
      events
        .filter((e, n) => e.tenant_id === 'acme' && e.agent_id === 'a1' && n >= 10 && n <= 40)
        .map((e) => e.episode_id),
    )
    const said = await run({ filter, dryRun: true })
    expect(said).toMatchObject({ episodes: touched.size, updated: touched.size, inserted: 0, removed: 0 })
    expect(await run({ filter })).toEqual({ ...said, dryRun: false })
    for (const row of await rowsOf(database)) {
      const isTouched =
        row['tenant_id'] === 'acme' && row['agent_id'] === 'a1' && touched.has(row['episode_id'] as string)
      if (isTouched) expect(live).toContainEqual(row)
      else expect(row['summary']).toBe('wrong')
    }
  })

  it('goes on where it was stopped, and counts what was done before', async () => {
    const { database, run, project } = await bench()
    const events = Array.from({ length: 1_000 }, (_, n) => makeEvent(n, { episode_id: `e${n}` }))
    await project(events)
    const live = await rowsOf(database)
    await database.query(spoil)
    for (let stops = 1; stops <= 3; stops++) {
      const stop = new AbortController()
      const stopped = run({
        piece: 50,
        signal: stop.signal,
        onProgress: ({ events: done }) => done >= stops * 200 && stop.abort(),
      })
      await expect(stopped).rejects.toMatchObject({ code: 'DRAINING' })
      expect((await rowsOf(database)).every(({ summary }) => summary === 'wrong')).toBe(true)
    }
    expect(await run({ piece: 50 })).toMatchObject({ resumed: true, events: 1_000, updated: 1_000 })
    expect(await rowsOf(database)).toEqual(live)
  })

  it('goes on when Postgres was killed in the middle of it, again and again', async () => {
    const { database, run, project } = await bench()
    const events = Array.from({ length: 1_000 }, (_, n) => makeEvent(n, { episode_id: `e${n}` }))
    await project(events)
    const live = await rowsOf(database)
    await database.query(spoil)
    let done = 0
    for (let kills = 1; kills <= 3; kills++) {
      let killed: Promise<void> | undefined
      const cut = run({
        piece: 20,
        maxEventsPerSecond: 2_000,
        onProgress({ events: so }) {
          done = so
          if (so >= kills * 200) killed ??= lab.server.kill()
        },
      })
      await expect(cut).rejects.toMatchObject({ code: expect.stringMatching(/^STORE_/) })
      await killed
      await lab.server.restart()
      // Nothing but what was committed counts, and nothing of that is lost.
      const [place] = await database.query('SELECT events FROM arqonbus_continuum_projection_backfill')
      expect(Number(place!['events'])).toBeGreaterThanOrEqual(done)
    }
    expect(await run({ piece: 20 })).toMatchObject({ resumed: true, events: 1_000, updated: 1_000 })
    expect(await rowsOf(database)).toEqual(live)
  })

  it('lets live events flow, and misses none that came while it ran', async () => {
    const { database, run, project } = await bench()
    const events = Array.from({ length: 2_000 }, (_, n) => makeEvent(n, { episode_id: `e${n % 500}` }))
    await project(events)
    await database.query(spoil.replace(/, last_event_ts.*/, ''))
    const later: TestEvent[] = []
    let isDone = false
    const traffic = (async () => {
      for (let n = 5_000; !isDone; n++) {
        const event = makeEvent(n, { episode_id: `e${n % 700}` })
        later.push(event)
        await project([event])
      }
    })()
    await run({ piece: 20 })
    isDone = true
    await traffic
    expect(later.length).toBeGreaterThan(10)
    expect(await rowsOf(database)).toEqual(modelRows([...events, ...later]))
  })

  it('runs alone: a second one is told so', async () => {
    const { run, project } = await bench()
    await project(Array.from({ length: 100 }, (_, n) => makeEvent(n, { episode_id: `e${n}` })))
    const stop = new AbortController()
    let second: Promise<unknown> | undefined
    const first = run({
      piece: 1,
      signal: stop.signal,
      maxEventsPerSecond: 200,
      onProgress() {
        if (second !== undefined) return
        second = run().finally(() => stop.abort())
        second.catch(() => undefined)
      },
    })
    await expect(first).rejects.toMatchObject({ code: 'DRAINING' })
    await expect(second).rejects.toMatchObject({ code: 'CAPACITY', details: { reason: 'BACKFILL_RUNNING' } })
  })

  it('keeps to its pace, and tells how far it is', async () => {
    const { run, project } = await bench()
    await project(Array.from({ length: 100 }, (_, n) => makeEvent(n, { episode_id: `e${n}` })))
    const told: number[] = []
    const begun = performance.now()
    await run({ piece: 10, maxEventsPerSecond: 200, onProgress: ({ events }) => told.push(events) })
    expect(performance.now() - begun).toBeGreaterThan(450)
    expect(told).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
  })
})
