// Data safety of the projector against a real Postgres, real dumps and real drills: healthy, new, drifted, and without
// a way back.
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import type { Environment } from '../../../src/config/resolution.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { openConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { isProjectorMigration, migrateUp } from '../../../src/postgres/migrations.ts'
import { rememberGreen } from '../../../src/preflight/projector/known-environments.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { manifestOf } from '../../../src/projector/playbook/backup.ts'
import { createProjector } from '../../../src/projector/projector.ts'
import type { PreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { runChecks, troubles, wordOf } from '../../support/preflight-run.ts'
import { makeEvent, toBytes } from '../../support/projector-model.ts'
import { runCommand } from '../../support/run-command.ts'
import { findProgram, skipWithout } from '../../support/servers/neighbours.ts'

const isAbsent = skipWithout('postgres') || findProgram(['pg_dump']) === undefined
const dayMs = 86_400_000

describe.skipIf(isAbsent)('data safety of the projector', () => {
  let lab: PostgresLab
  let folder: string
  let folders = 0
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
    folder = await mkdtemp(join(tmpdir(), 'arqonbus-safety-'))
  })
  afterAll(async () => {
    await lab.close()
    await rm(folder, { recursive: true })
  })

  async function newFolder(): Promise<string> {
    const name = join(folder, `${++folders}`)
    await mkdir(name)
    return name
  }

  const envOf = (url: string, more: Environment = {}): Environment => ({
    ...productionEnvironment,
    ARQONBUS_ENVIRONMENT: 'staging',
    ARQONBUS_POSTGRES_URL: url,
    ARQONBUS_PROJECTOR_ENABLED: 'true',
    ARQONBUS_DATA_DIR: folder,
    PATH: process.env['PATH'],
    ...more,
  })

  async function fill(url: string): Promise<void> {
    const connection = await openConnection({ address: parsePostgresAddress(url), limits: slowLimits })
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock: systemClock,
      maxDeadLetters: 100,
    })
    await projector.project(Array.from({ length: 20 }, (_, n) => ({ raw: toBytes(makeEvent(n)), source: 'nats' })))
    await connection.close()
  }

  /** A migrated lane with some rows, and a folder for its backups. */
  async function setUp() {
    const database = await lab.newDatabase()
    await fill(database.url)
    const backupFolder = await newFolder()
    const env = envOf(database.url)
    const run = (...args: string[]) => runCommand(['projector', ...args], env)
    const dump = join(backupFolder, 'monday.dump')
    const look = (policy: Partial<PreflightPolicy> = {}, more: Environment = {}) =>
      runChecks({ ...env, ...more }, ['projector', 'dep.postgres'], { backupFolder, ...policy })
    return { database, backupFolder, dump, env, run, look }
  }

  const identityOf = (report: Report): string => {
    const answer = report.observations.results['projector.new-environment']?.answer
    return answer !== undefined && 'facts' in answer ? String(answer.facts['identity'] as string) : ''
  }

  it('is content with a lane that was migrated, is known, and was backed up and drilled', async () => {
    const { run, dump, look } = await setUp()
    expect((await run('drill', dump)).exitCode).toBe(0)
    const first = await look()
    expect(troubles(first)).toEqual({ 'projector.new-environment': 'fail NEW_ENVIRONMENT config' })
    const accepted = await look({}, { ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT: identityOf(first) })
    expect(troubles(accepted)).toEqual({})
    // A GO of the whole run makes it known; here only a part of one was run.
    await rememberGreen({ ...accepted, canonical: { ...accepted.canonical, verdict: 'GO' } }, folder)
    const known = await look()
    expect(troubles(known)).toEqual({})
    for (const id of known.canonical.planned.filter((one) => /^(projector|dep.postgres)\./.test(one))) {
      expect(wordOf(known, id), id).toBe('pass')
    }
    expect((await look()).digest).toBe(known.digest)
  })

  it('knows servers and databases apart', async () => {
    const [one, other] = [await setUp(), await setUp()]
    const identities = [identityOf(await one.look()), identityOf(await one.look()), identityOf(await other.look())]
    expect(identities[0]).toMatch(/^[0-9a-f]{16}$/)
    expect(identities[1]).toBe(identities[0])
    expect(identities[2]).not.toBe(identities[0])
  })

  it('asks nothing of a lane that is off, nor backups of one that holds nothing', async () => {
    await lab.server.query('CREATE DATABASE empty_lane')
    const url = lab.server.urlOf('empty_lane')
    const off = await runChecks(envOf(url, { ARQONBUS_PROJECTOR_ENABLED: 'false' }), ['projector.lane-gated'])
    expect(wordOf(off, 'projector.lane-gated')).toBe('not-applicable')
    await migrateUp({ address: parsePostgresAddress(url), only: (name) => !name.includes('history') })
    const report = await runChecks(envOf(url), ['projector.backup-fresh', 'projector.restore-drill'])
    expect(troubles(report)).toEqual({})
    expect(wordOf(report, 'projector.backup-fresh')).toBe('pass')
  })

  it('stops a lane that is on before its tables are there: one cause, and all that waits on it', async () => {
    await lab.server.query('CREATE DATABASE unmigrated')
    const url = lab.server.urlOf('unmigrated')
    await migrateUp({ address: parsePostgresAddress(url), only: (name) => !isProjectorMigration(name) })
    const report = await runChecks(envOf(url), ['projector', 'dep.postgres'])
    expect(troubles(report)).toEqual({ 'projector.migration-applied': 'fail NOT_APPLIED config' })
    for (const id of ['projector.lane-gated', 'dep.postgres.privileges', 'dep.postgres.roundtrip']) {
      expect(wordOf(report, id), id).toBe('blocked-by projector.migration-applied')
    }
    expect(report.canonical.route?.label).toBe('blocker')
    // The command that is printed is the one that helps.
    expect((await runCommand(['projector', 'migrate'], envOf(url))).exitCode).toBe(0)
    expect(wordOf(await runChecks(envOf(url), ['projector.lane-gated']), 'projector.lane-gated')).toBe('pass')
  })

  it.each([
    ['a dropped index', 'DROP INDEX idx_arqonbus_cont_proj_events_source_ts', 'DRIFT'],
    ['another type', 'ALTER TABLE arqonbus_continuum_projection ALTER COLUMN summary TYPE varchar(10)', 'DRIFT'],
    [
      'a lost key',
      'ALTER TABLE arqonbus_continuum_projection DROP CONSTRAINT arqonbus_continuum_projection_pkey',
      'DRIFT',
    ],
    [
      'a column of somebody else that must not be empty',
      'ALTER TABLE arqonbus_continuum_projection ADD x int NOT NULL DEFAULT 1',
      'DRIFT',
    ],
    ['a lost table', 'DROP TABLE arqonbus_continuum_projection_checkpoint', 'DRIFT'],
    ['no row in the ledger', "DELETE FROM arqonbus_migrations WHERE name LIKE '%continuum%'", 'NOT_RECORDED'],
  ])('sees %s', async (_name, sql, codes) => {
    const database = await lab.newDatabase()
    await database.query(sql)
    const report = await runChecks(envOf(database.url), ['projector.migration-applied'])
    expect(wordOf(report, 'projector.migration-applied')).toBe(`fail ${codes} config`)
  })

  it('sees an edited migration, as one of the ledger', async () => {
    const database = await lab.newDatabase()
    await database.query("UPDATE arqonbus_migrations SET checksum = 'x' WHERE name LIKE '%continuum%'")
    const report = await runChecks(envOf(database.url), ['projector.migration-applied'])
    expect(troubles(report)).toEqual({ 'dep.postgres.migrations': 'fail ALTERED dependency' })
  })

  it('sees an index that is not valid', async () => {
    const { database } = await setUp()
    await database
      .query('CREATE UNIQUE INDEX CONCURRENTLY twice ON arqonbus_continuum_projection_events (event_type)')
      .catch(() => undefined)
    const report = await runChecks(envOf(database.url), ['projector.migration-applied', 'dep.postgres.headroom'])
    expect(troubles(report)).toMatchObject({
      'projector.migration-applied': expect.stringContaining('INVALID_INDEX'),
    })
    expect(wordOf(report, 'dep.postgres.headroom')).toBe('pass')
  })

  it('ignores an index and a column of others that do no harm', async () => {
    const database = await lab.newDatabase()
    await database.query(
      'ALTER TABLE arqonbus_continuum_projection ADD note text; CREATE INDEX theirs ON arqonbus_continuum_projection (note)',
    )
    const report = await runChecks(envOf(database.url), ['projector.lane-gated'])
    expect(troubles(report)).toEqual({})
  })

  it('sees that there is no way back: no folder, no backup, one of another database, a stale or a damaged one', async () => {
    const { look, run, dump, backupFolder } = await setUp()
    const id = 'projector.backup-fresh'
    const word = async (policy: Partial<PreflightPolicy> = {}, more: Environment = {}) =>
      wordOf(await look(policy, more), id)
    const bare = await runChecks(envOf((await setUp()).database.url), [id])
    expect(wordOf(bare, id)).toBe('fail NO_FOLDER config')
    expect(await word({ backupFolder: join(folder, 'nowhere') })).toBe('fail FOLDER_UNREADABLE config')
    expect(await word()).toBe('fail NO_BACKUP dependency')
    const other = await setUp()
    await other.run('backup', join(backupFolder, 'other.dump'))
    expect(await word()).toBe('fail NO_BACKUP dependency')

    expect((await run('backup', dump)).exitCode).toBe(0)
    expect(await word()).toBe('pass')
    expect(await word({}, { PATH: folder })).toBe('fail TOOL_ABSENT config')

    const manifest = JSON.parse(await readFile(manifestOf(dump), 'utf8')) as Record<string, unknown>
    const dated = async (atMs: number) =>
      await writeFile(manifestOf(dump), JSON.stringify({ ...manifest, createdAt: new Date(atMs).toISOString() }))
    await dated(Date.now() - 27 * 3_600_000)
    expect(await word()).toBe('fail STALE dependency')
    expect(await word({ backupMaxAge: 28 })).toBe('pass')
    await dated(Date.now() + dayMs)
    expect(await word()).toBe('fail FROM_THE_FUTURE dependency')
    await writeFile(manifestOf(dump), JSON.stringify(manifest))

    const good = await readFile(dump)
    const bad = Buffer.from(good)
    bad[bad.length >> 1]! ^= 1
    await writeFile(dump, bad)
    expect(await word()).toBe('fail DAMAGED dependency')
    await writeFile(dump, good)
    await truncate(dump, good.length - 1)
    expect(await word()).toBe('fail DAMAGED dependency')
    await rm(dump)
    expect(await word()).toBe('fail DAMAGED dependency')
    // What pg_restore does not read, although the manifest is content with it.
    const { createHash } = await import('node:crypto')
    const text = 'not a dump'
    await writeFile(dump, text)
    const described = {
      file: 'monday.dump',
      bytes: text.length,
      sha256: createHash('sha256').update(text).digest('hex'),
    }
    await writeFile(manifestOf(dump), JSON.stringify({ ...manifest, dump: described }))
    expect(await word()).toBe('fail NOT_LISTABLE dependency')
  })

  it('sees that no drill was made, that the last one is long ago, and that it failed', async () => {
    const { look, run, dump, database, backupFolder } = await setUp()
    const word = async (policy: Partial<PreflightPolicy> = {}) => wordOf(await look(policy), 'projector.restore-drill')
    expect(await word()).toBe('pass') // young: advice only
    await database.query("UPDATE arqonbus_migrations SET applied_at = now() - interval '91 days'")
    expect(await word()).toBe('fail OVERDUE dependency')
    expect((await run('drill', dump)).exitCode).toBe(0)
    expect(await word()).toBe('pass')
    const record = `${dump}.drill.json`
    const written = JSON.parse(await readFile(record, 'utf8')) as Record<string, unknown>
    await writeFile(record, JSON.stringify({ ...written, at: new Date(Date.now() - 91 * dayMs).toISOString() }))
    expect(await word()).toBe('fail OVERDUE dependency')
    expect(await word({ restoreDrillMaxAge: 92 })).toBe('pass')
    await database.query("UPDATE arqonbus_continuum_projection SET summary = 'by hand'")
    expect((await run('drill', join(backupFolder, 'tuesday.dump'))).exitCode).toBe(1)
    expect(await word()).toBe('fail DRILL_FAILED dependency')
    expect((await readdir(backupFolder)).filter((name) => name.endsWith('.drill.json'))).toHaveLength(2)
  })
})
