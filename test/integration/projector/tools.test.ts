// `arqonbus projector dlq` and `backfill` as their users run them.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { openConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { createProjector } from '../../../src/projector/projector.ts'
import { type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { makeEvent, timeAt, toBytes } from '../../support/projector-model.ts'
import { runCommand } from '../../support/run-command.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

interface Letter {
  readonly id: string
  readonly code: string
  readonly raw: string
  readonly event: string
}

describe.skipIf(skipWithout('postgres'))('the tools of the projector', () => {
  let lab: PostgresLab
  let folder: string
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
    folder = await mkdtemp(join(tmpdir(), 'arqonbus-projector-'))
  })
  afterAll(async () => {
    await lab.close()
    await rm(folder, { recursive: true })
  })

  async function setUp(raws: readonly Uint8Array[]) {
    const database = await lab.newDatabase()
    const connection = await openConnection({ address: parsePostgresAddress(database.url), limits: slowLimits })
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock: systemClock,
      maxDeadLetters: 1_000,
    })
    await projector.project(raws.map((raw) => ({ raw, source: 'nats' })))
    await connection.close()
    const run = (...args: string[]) => runCommand(['projector', ...args], { ARQONBUS_POSTGRES_URL: database.url })
    const letters = async (...args: string[]): Promise<Letter[]> =>
      (await run('dlq', 'list', '--json', ...args)).out.map((line) => JSON.parse(line) as Letter)
    return { database, run, letters }
  }

  const bad = (n: number, more: object = {}) => toBytes({ ...makeEvent(n), event_type: 'nonsense', ...more })
  const episodes = async (database: LabDatabase) =>
    (await database.query('SELECT last_event_id FROM arqonbus_continuum_projection')).map((row) => row['last_event_id'])

  it('list, show and export give back every byte', async () => {
    const broken = new Uint8Array([0xff, 0, 0x1b, 0x5b])
    const { run, letters } = await setUp([bad(1), bad(2, { tenant_id: 'other' }), broken])
    expect((await letters()).map(({ code }) => code).sort()).toEqual(['BAD_EVENT_TYPE', 'BAD_EVENT_TYPE', 'NOT_UTF8'])
    expect(await letters('--tenant', 'other')).toHaveLength(1)
    expect(await letters('--since', '2999-01-01T00:00:00Z')).toEqual([])
    const [letter] = await letters('--code', 'NOT_UTF8')
    const shown = JSON.parse((await run('dlq', 'show', letter!.id)).out[0]!) as Letter
    expect(Buffer.from(shown.raw, 'base64')).toEqual(Buffer.from(broken))
    const exported = (await run('dlq', 'export')).out.map((line) => (JSON.parse(line) as Letter).raw)
    expect(exported.sort()).toEqual(
      [bad(1), bad(2, { tenant_id: 'other' }), broken].map((raw) => Buffer.from(raw).toString('base64')).sort(),
    )
    const lines = (await run('dlq', 'list', '--limit', '2')).out
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatch(/^dlq_[0-9a-f]{32} {2}\d{4}-.*Z {2}\S+ {2}[A-Z_0-9]+ {2}x1 {2}"projection_failed:/)
    expect(await run('dlq', 'show', 'dlq_nothing')).toMatchObject({
      exitCode: 1,
      notes: [expect.stringContaining('NOT_FOUND')],
    })
  })

  it('a mended event takes the place of the letter; by a filter all that are fit by now', async () => {
    const soon = new Date(Date.now() + 6 * 60_000).toISOString()
    const { run, letters, database } = await setUp([bad(1), toBytes({ ...makeEvent(2), source_ts: soon }), bad(3)])
    const [letter] = (await letters('--code', 'BAD_EVENT_TYPE')).filter(({ event }) => event.includes('event-1"'))
    const file = join(folder, 'event.json')
    await writeFile(file, toBytes(makeEvent(1)))
    expect((await run('dlq', 'replay', letter!.id, '--event', file)).out).toEqual([
      '1 projected, 0 known already, 0 older than what is there, 0 refused',
    ])
    expect(await episodes(database)).toEqual(['event-1'])
    const rest = await run('dlq', 'replay', '--all')
    expect(rest).toMatchObject({ exitCode: 1, out: [expect.stringMatching(/^0 projected, .* 2 refused$/)] })
    expect(rest.notes).toHaveLength(2)
    expect((await run('dlq', 'discard', '--code', 'BAD_EVENT_TYPE')).out).toEqual(['1 discarded'])
    expect(await letters()).toMatchObject([{ code: 'TIME_IN_FUTURE' }])
  })

  it('do nothing when nothing is named, and refuse what is no time or file', async () => {
    const { run, letters } = await setUp([bad(1)])
    for (const args of [
      ['dlq', 'discard'],
      ['dlq', 'replay'],
      ['dlq', 'discard', '--all', '--code', 'X'],
      ['dlq', 'replay', 'dlq_1', '--event', join(folder, 'absent')],
      ['dlq', 'list', '--since', 'yesterday'],
      ['dlq', 'list', '--limit', '0'],
      ['backfill', '--from', '2026-02-30T00:00:00Z'],
      ['backfill', '--rate', '-1'],
      ['nonsense'],
    ]) {
      expect((await run(...args)).exitCode, args.join(' ')).toBe(64)
    }
    expect(await letters()).toHaveLength(1)
  })

  it('backfill says what it would change, then does it', async () => {
    const { run, database } = await setUp(Array.from({ length: 100 }, (_, n) => toBytes(makeEvent(n))))
    await database.query("UPDATE arqonbus_continuum_projection SET summary = 'wrong' WHERE episode_id = 'episode-7'")
    const said = await run('backfill', '--dry-run', '--from', timeAt(0), '--to', timeAt(1_000))
    expect(said.out[0]).toMatch(
      /^100 events of 100 episodes; 0 rows would be added, [12] would be replaced, 0 would be removed$/,
    )
    const done = await run('backfill', '--json')
    expect(JSON.parse(done.out[0]!)).toMatchObject({ dryRun: false, events: 100, inserted: 0, removed: 0 })
    expect((await run('backfill')).out[0]).toMatch(/; 0 rows were added, 0 were replaced, 0 were removed$/)
    const empty = await lab.server.createDatabase()
    expect(await runCommand(['projector', 'backfill'], { ARQONBUS_POSTGRES_URL: empty })).toMatchObject({
      exitCode: 78,
    })
  })
})
