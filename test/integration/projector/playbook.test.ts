// The playbook's commands on a real Postgres with its own pg_dump and pg_restore: what a backup holds, what a restore
// may touch, what is found, and that a fault changes nothing.
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { openConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { type Manifest, manifestOf } from '../../../src/projector/playbook/backup.ts'
import { createProjector } from '../../../src/projector/projector.ts'
import { type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { makeEvent, projectionRows, toBytes } from '../../support/projector-model.ts'
import { runCommand } from '../../support/run-command.ts'
import { findProgram, skipWithout } from '../../support/servers/neighbours.ts'

const isAbsent = skipWithout('postgres') || findProgram(['pg_dump']) === undefined
const main = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))

describe.skipIf(isAbsent)('the playbook', () => {
  let lab: PostgresLab
  let folder: string
  let names = 0
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
    folder = await mkdtemp(join(tmpdir(), 'arqonbus-playbook-'))
  })
  afterAll(async () => {
    await lab.close()
    await rm(folder, { recursive: true })
  })

  const newName = (): string => `scratch_${++names}`

  async function setUp(count = 500) {
    const database = await lab.newDatabase()
    const connection = await openConnection({ address: parsePostgresAddress(database.url), limits: slowLimits })
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock: systemClock,
      maxDeadLetters: 1_000,
    })
    const raws = Array.from({ length: count }, (_, n) => toBytes(makeEvent(n)))
    raws.push(new Uint8Array([0xff, 0, 1]), toBytes({ ...makeEvent(1), source_ts: 'then' }))
    await projector.project(
      raws.map((raw) => ({ raw, source: 'nats' })),
      { source: 's', epoch: 1, sequence: 7 },
    )
    await connection.close()
    const env = { ARQONBUS_POSTGRES_URL: database.url, PATH: process.env['PATH'] }
    const run = (...args: string[]) => runCommand(['projector', ...args], env)
    const file = join(folder, `${newName()}.dump`)
    return { database, env, run, file, shown: parsePostgresAddress(database.url).shown }
  }

  const other = (database: LabDatabase, name: string): string => database.url.replace(/[^/]+$/, name)
  const rowsIn = async (name: string) =>
    (await lab.server.query(`${projectionRows} ORDER BY 1, 2, 3`, [], name)).rows as unknown[]
  const databases = async (): Promise<string[]> =>
    (await lab.server.query('SELECT datname FROM pg_database ORDER BY 1')).rows.map((row) => row.datname as string)
  const filesLike = async (file: string) =>
    (await readdir(folder)).filter((name) => join(folder, name).startsWith(file))

  it('a backup comes back whole into a scratch database, and its manifest says what it holds', async () => {
    const { run, file, database } = await setUp()
    const backup = await run('backup', file)
    expect(backup).toMatchObject({ exitCode: 0 })
    const manifest = JSON.parse(await readFile(manifestOf(file), 'utf8')) as Manifest
    expect(manifest.tables).toMatchObject({
      arqonbus_continuum_projection: { rows: 350 },
      arqonbus_continuum_projection_events: { rows: 500 },
      arqonbus_continuum_projection_dlq: { rows: 2 },
      arqonbus_continuum_projection_dlq_raw: { rows: 2 },
      arqonbus_continuum_projection_checkpoint: { rows: 1 },
    })
    const name = newName()
    const restored = await run('restore', file, '--database', name)
    expect(restored.out.at(-1)).toMatch(/counts and digests are those of the manifest$/)
    expect(await rowsIn(name)).toEqual(await rowsIn(database.name))
    expect(await run('verify', '--database', name, '--manifest', file)).toMatchObject({ exitCode: 0 })
    // The tables are the lane's: it takes them as its own.
    const migrated = await runCommand(['projector', 'migrate'], { ARQONBUS_POSTGRES_URL: other(database, name) })
    expect(migrated.exitCode).toBe(0)
    expect(await run('backup', file)).toMatchObject({
      exitCode: 64,
      notes: [expect.stringContaining('is there already')],
    })
    expect(await filesLike(file)).toHaveLength(2)
  })

  it('shows no password to anybody who lists processes', async () => {
    const { database } = await setUp(10)
    await lab.server.query("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'hush-hush'")
    const bin = await mkdtemp(join(folder, 'bin-'))
    const seen = join(bin, 'seen')
    await writeFile(
      join(bin, 'pg_dump'),
      `#!/bin/sh\necho "$0 $*" > ${seen}\nexec ${findProgram(['pg_dump'])} "$@"\n`,
      { mode: 0o755 },
    )
    const url = database.url.replace('arqonbus@', 'keeper:hush-hush@')
    const env = { ARQONBUS_POSTGRES_URL: url, PATH: `${bin}:${process.env['PATH']}` }
    const { exitCode, out, notes } = await runCommand(['projector', 'backup', join(folder, 'secret.dump')], env)
    expect(exitCode).toBe(0)
    expect(await readFile(seen, 'utf8')).toContain('--no-password')
    const manifest = await readFile(manifestOf(join(folder, 'secret.dump')), 'utf8')
    for (const text of [await readFile(seen, 'utf8'), manifest, ...out, ...notes]) expect(text).not.toContain('hush')
  })

  it('a restore does not touch what holds something, nor the live database without its name typed', async () => {
    const { run, file, database, shown } = await setUp()
    await run('backup', file)
    await database.query("UPDATE arqonbus_continuum_projection SET summary = 'after the backup'")
    const second = await setUp(20)
    const before = await rowsIn(second.database.name)
    const wrong = await run('restore', file, '--database', second.database.name)
    expect(wrong).toMatchObject({ exitCode: 64 })
    expect(wrong.notes.at(-1)).toContain('TARGET_NOT_EMPTY')
    expect(await rowsIn(second.database.name)).toEqual(before)
    for (const args of [
      [],
      ['--into-live'],
      ['--into-live', '--confirm', 'yes'],
      ['--database', database.name],
      ['--into-live', '--database', 'x'],
      ['--database', 'X; DROP'],
    ]) {
      expect((await run('restore', file, ...args)).exitCode, args.join(' ')).toBe(64)
    }
    expect((await run('verify')).exitCode).toBe(1)
    await database.query('CREATE ROLE reader; GRANT SELECT ON arqonbus_continuum_projection TO reader')
    expect((await run('restore', file, '--into-live', '--confirm', shown)).exitCode).toBe(0)
    expect((await run('verify', '--manifest', file)).exitCode).toBe(0)
  })

  it('a damaged, cut or absent dump is told before anything is touched', async () => {
    const { run, file, database, shown } = await setUp()
    await run('backup', file)
    const good = await readFile(file)
    const before = await rowsIn(database.name)
    const known = await databases()
    const restores = async () => [
      await run('restore', file, '--database', newName()),
      await run('restore', file, '--into-live', '--confirm', shown),
    ]
    const bad = Buffer.from(good)
    bad[bad.length >> 1]! ^= 1
    await writeFile(file, bad)
    for (const result of await restores()) {
      expect(result).toMatchObject({
        exitCode: 78,
        notes: expect.arrayContaining([expect.stringContaining('DUMP_DAMAGED')]),
      })
    }
    await writeFile(file, good)
    await truncate(file, good.length - 10)
    for (const result of await restores()) expect(result.exitCode).toBe(78)
    await rm(file)
    for (const result of await restores()) expect(result.exitCode).toBe(64)
    await writeFile(file, good)
    await writeFile(manifestOf(file), '{}')
    for (const result of await restores()) expect(result.notes.join()).toContain('BAD_MANIFEST')
    expect(await rowsIn(database.name)).toEqual(before)
    expect(await databases()).toEqual(known)
  })

  it('a restore that is cut off in the middle leaves its target as it was', async () => {
    const { run, file, database, shown, env } = await setUp()
    await run('backup', file)
    await database.query("UPDATE arqonbus_continuum_projection SET summary = 'live'")
    const before = await rowsIn(database.name)
    const known = await databases()
    // pg_restore that gets half of the dump, and then its connection is ended.
    const bin = await mkdtemp(join(folder, 'bin-'))
    const cut = `#!/bin/sh\nhead -c ${(((await readFile(file)).length * 2) / 3) | 0} | ${findProgram(['pg_restore'])} "$@"\n`
    await writeFile(join(bin, 'pg_restore'), cut, { mode: 0o755 })
    const cutEnv = { ...env, PATH: `${bin}:${process.env['PATH']}` }
    for (const target of [
      ['--database', newName()],
      ['--into-live', '--confirm', shown],
    ]) {
      const result = await runCommand(['projector', 'restore', file, ...target], cutEnv)
      expect(result).toMatchObject({
        exitCode: 1,
        notes: expect.arrayContaining([expect.stringContaining('TOOL_FAILED')]),
      })
    }
    expect(await rowsIn(database.name)).toEqual(before)
    expect(await databases()).toEqual(known)
  })

  it('a lost connection, a full disk, an absent tool and a wrong database each have their words, and leave no file', async () => {
    const { run, file, database, env } = await setUp(3_000)
    const gone = await runCommand(['projector', 'backup', file], {
      ...env,
      ARQONBUS_POSTGRES_URL: 'postgresql://me@127.0.0.1:1/x',
    })
    expect(gone.exitCode).toBe(69)
    const bin = await mkdtemp(join(folder, 'bin-'))
    const kill = `psql -q "${lab.server.urlOf('postgres')}" -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database.name}'" >/dev/null`
    await writeFile(join(bin, 'pg_dump'), `#!/bin/sh\nPGPASSWORD= ${kill}\nexec ${findProgram(['pg_dump'])} "$@"\n`, {
      mode: 0o755,
    })
    const lost = await runCommand(['projector', 'backup', file], { ...env, PATH: `${bin}:${process.env['PATH']}` })
    expect(lost.exitCode).toBe(69)
    expect(lost.notes.at(-1)).toContain('CONNECTION_LOST')
    const absent = await runCommand(['projector', 'backup', file], { ...env, PATH: '/nonexistent' })
    expect(absent).toMatchObject({
      exitCode: 1,
      notes: expect.arrayContaining([expect.stringContaining('TOOL_ABSENT')]),
    })
    const empty = await lab.server.createDatabase()
    const wrong = await runCommand(['projector', 'backup', file], { ...env, ARQONBUS_POSTGRES_URL: empty })
    expect(wrong).toMatchObject({ exitCode: 78, notes: [expect.stringContaining('SCHEMA_MISSING')] })
    const full = await runLimited(file, env)
    expect(full).toMatchObject({ code: 1, stderr: expect.stringContaining('DISK_FULL') })
    expect(await filesLike(file)).toEqual([])
    expect((await run('verify')).exitCode).toBe(0)
  })

  it('verify finds rows that are stale, missing, without events, or ahead of the clock', async () => {
    const { run, database } = await setUp()
    expect((await run('verify')).exitCode).toBe(0)
    await database.query(
      "UPDATE arqonbus_continuum_projection SET last_event_ts = now() + interval '1 year' WHERE agent_id = 'agent-1' AND episode_id = 'episode-1'",
    )
    await database.query(
      "DELETE FROM arqonbus_continuum_projection WHERE agent_id = 'agent-2' AND episode_id = 'episode-2'",
    )
    await database.query(
      "UPDATE arqonbus_continuum_projection SET episode_id = 'ghost' WHERE agent_id = 'agent-3' AND episode_id = 'episode-3'",
    )
    const found = await run('verify', '--json')
    expect(found.exitCode).toBe(1)
    expect(JSON.parse(found.out[0]!)).toMatchObject({
      ok: false,
      staleRows: 1,
      frozenRows: 1,
      orphanEpisodes: 2,
      rowsWithoutEvents: 1,
    })
    expect((await run('backfill')).exitCode).toBe(0)
    expect((await run('verify')).exitCode).toBe(0)
  })

  it('a drill goes through all of it, and leaves the backup and a record', async () => {
    const { run, file, database } = await setUp()
    const known = await databases()
    const passed = await run('drill', file)
    expect(passed).toMatchObject({ exitCode: 0 })
    expect(passed.out.at(-1)).toBe('the drill passed')
    expect(await databases()).toEqual(known)
    expect((await filesLike(file)).sort()).toEqual(
      ['', '.drill.json', '.manifest.json'].map((end) => basename(file) + end),
    )
    expect(JSON.parse(await readFile(`${file}.drill.json`, 'utf8'))).toMatchObject({ format: 1, ok: true })
    await database.query("UPDATE arqonbus_continuum_projection SET summary = 'by hand'")
    const failed = await run('drill', `${file}-2`, '--json')
    expect(failed.exitCode).toBe(1)
    expect(JSON.parse(failed.out[0]!)).toMatchObject({ ok: false, verification: { staleRows: 350, differing: [] } })
    expect(JSON.parse(await readFile(`${file}-2.drill.json`, 'utf8'))).toMatchObject({ ok: false })
    expect(await databases()).toEqual(known)
  })

  /** The command where no file may grow beyond 8 KiB. */
  function runLimited(
    file: string,
    env: Record<string, string | undefined>,
  ): Promise<{ code: number | null; stderr: string }> {
    const child = spawn(
      'bash',
      ['-c', 'ulimit -f 8; exec "$0" "$@"', process.execPath, main, 'projector', 'backup', file],
      {
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    return new Promise((resolve) => child.once('close', (code) => resolve({ code, stderr })))
  }
})
