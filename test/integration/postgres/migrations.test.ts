import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { findDrift } from '../../../src/postgres/catalogue.ts'
import { type Migration, migrateUp, migrationStatus, readMigrations } from '../../../src/postgres/migrations.ts'
import { runCommand } from '../../support/run-command.ts'
import { findProgram, skipWithout } from '../../support/servers/neighbours.ts'
import { type PostgresServerProcess, startPostgresServer } from '../../support/servers/postgres-server.ts'

const make = (name: string, sql: string): Migration => ({
  name,
  sql,
  checksum: createHash('sha256').update(sql).digest('hex'),
})
const first = make('20260101_first.sql', 'CREATE TABLE t (a int);')
const second = make('20260102_second.sql', 'INSERT INTO t VALUES (1);')
const names = readMigrations().map(({ name }) => name)

describe.skipIf(skipWithout('postgres'))('migrations on a real Postgres server', () => {
  let server: PostgresServerProcess
  beforeAll(async () => {
    server = await startPostgresServer({ settings: { fsync: 'off' } })
  })
  afterAll(() => server.close())

  async function newDatabase() {
    const url = await server.createDatabase()
    const database = url.slice(url.lastIndexOf('/') + 1)
    const query = async (sql: string) => (await server.query(sql, [], database)).rows as Record<string, unknown>[]
    const run = (...args: string[]) => runCommand(['migrate', ...args], { ARQONBUS_POSTGRES_URL: url })
    return { url, address: parsePostgresAddress(url), database, query, run }
  }

  it('lead an empty database to the schema in the repository', async () => {
    const { address } = await newDatabase()
    expect((await findDrift(address)).missing).not.toEqual([])
    expect(await migrateUp({ address })).toEqual(names)
    expect(await findDrift(address)).toEqual({ missing: [], extra: [] })
  })

  it('are applied once, and each file in a transaction of its own', async () => {
    const { address, query } = await newDatabase()
    expect(await migrateUp({ address, migrations: [first] })).toEqual([first.name])
    const broken = make('20260103_broken.sql', 'INSERT INTO t VALUES (2); SELECT nonsense;')
    const failing = migrateUp({ address, migrations: [first, second, broken] })
    await expect(failing).rejects.toMatchObject({
      code: 'STORE_OPEN_FAILED',
      details: { reason: 'MIGRATION_FAILED', migration: broken.name },
    })
    expect(await query('SELECT a FROM t')).toEqual([{ a: 1 }])
    expect(await migrateUp({ address, migrations: [first, second] })).toEqual([])
    expect((await migrationStatus({ address, migrations: [first, second, broken] })).map(({ state }) => state)).toEqual(
      ['applied', 'applied', 'pending'],
    )
  })

  it('are applied by one of twenty that start at once, and none of them fails', async () => {
    const { address, query } = await newDatabase()
    const migrations = [first, second]
    const all = await Promise.all(Array.from({ length: 20 }, () => migrateUp({ address, migrations })))
    expect(all.filter((applied) => applied.length > 0)).toEqual([[first.name, second.name]])
    expect(await query('SELECT a FROM t')).toEqual([{ a: 1 }])
  })

  it('refuse a file that was edited after it was applied, and a database that a newer version changed', async () => {
    const { address, query } = await newDatabase()
    await migrateUp({ address, migrations: [first] })
    const edited = make(first.name, `${first.sql} -- changed`)
    await expect(migrateUp({ address, migrations: [edited, second] })).rejects.toMatchObject({
      code: 'STORE_OPEN_FAILED',
      details: { reason: 'EDITED_MIGRATION', migration: first.name },
    })
    await migrateUp({ address, migrations: [first, second] })
    await expect(migrateUp({ address, migrations: [first] })).rejects.toMatchObject({
      code: 'STORE_OPEN_FAILED',
      details: { reason: 'NEWER_SCHEMA', migration: second.name },
    })
    expect(await query('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 1 }])
  })

  const psql = findProgram(['psql'])
  it.skipIf(psql === undefined)('can be applied by psql, twice, and afterwards by the command', async () => {
    const { url, address, run } = await newDatabase()
    for (const name of [...names, ...names]) {
      const file = fileURLToPath(new URL(`../../../scripts/migrations/${name}`, import.meta.url))
      await promisify(execFile)(psql!, ['-q', '-v', 'ON_ERROR_STOP=1', '-f', file, url])
    }
    expect((await findDrift(address)).extra).toEqual([])
    expect((await run('up')).out).toEqual(names.map((name) => `applied ${name}`))
    expect((await run('verify')).exitCode).toBe(0)
  })

  it('are told of by the command, in words and as JSON, with an exit code', async () => {
    const { run, query } = await newDatabase()
    expect((await run('status')).out).toEqual(names.map((name) => `pending   ${name}`))
    expect(await run('verify')).toMatchObject({ exitCode: 78 })
    const up = await run('up', '--json')
    expect([up.exitCode, JSON.parse(up.out[0]!)]).toEqual([0, { applied: names }])
    expect((await run('up')).out).toEqual(['nothing to apply: the database is up to date'])
    expect(await run('verify')).toMatchObject({ exitCode: 0, notes: [] })
    await query('DROP INDEX arqonbus_records_by_time')
    const drifted = await run('verify')
    expect(drifted.exitCode).toBe(78)
    expect(drifted.out).toEqual([expect.stringMatching(/^missing {2}index .*arqonbus_records_by_time/)])
    await query("UPDATE arqonbus_migrations SET checksum = 'other'")
    expect(await run('up')).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('EDITED_MIGRATION')] })
    await query("INSERT INTO arqonbus_migrations (name, checksum) VALUES ('29990101_later.sql', 'x')")
    expect(await run('up')).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('NEWER_SCHEMA')] })
    const status = JSON.parse((await run('status', '--json')).out[0]!) as { migrations: { state: string }[] }
    expect(status.migrations.map(({ state }) => state)).toEqual([...names.map(() => 'edited'), 'unknown'])
  })

  it('exit with 69 where nothing answers, 77 where the user may not, 78 where nothing is configured', async () => {
    const { url, query } = await newDatabase()
    const run = (env: Record<string, string>) => runCommand(['migrate', 'up'], env)
    const away = await run({ ARQONBUS_POSTGRES_URL: 'postgresql://me:hush@127.0.0.1:1/db' })
    expect(away.exitCode).toBe(69)
    await query('CREATE ROLE guest LOGIN')
    const denied = await run({ ARQONBUS_POSTGRES_URL: url.replace('arqonbus@', 'guest:hush@') })
    expect(denied).toMatchObject({ exitCode: 77, notes: [expect.stringContaining('DENIED')] })
    expect((await run({})).exitCode).toBe(78)
    const none = await run({ ARQONBUS_POSTGRES_URL: url.replace(/[^/]+$/, 'nowhere') })
    expect(none).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('NO_DATABASE')] })
    expect([away, denied, none].flatMap(({ notes }) => notes).join()).not.toContain('hush')
  })

  it('answer within 2 s on a server that stands still', async () => {
    const { address } = await newDatabase()
    await server.freeze()
    try {
      const startedAt = performance.now()
      await expect(migrateUp({ address })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - startedAt).toBeLessThan(2_000)
    } finally {
      server.thaw()
    }
  })
})
