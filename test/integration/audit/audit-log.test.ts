// The audit log in a real Postgres: what is written, that several may write, and that tampering is found.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AuditLog, createAuditLog } from '../../../src/audit/audit-log.ts'
import { type AuditRow, firstHash, hashOf } from '../../../src/audit/chain.ts'
import { listAudit, verifyAudit } from '../../../src/audit/verify.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { eventually, type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { createRecordLogger } from '../../support/record-logger.ts'
import { runCommand } from '../../support/run-command.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const entry = (n: number) => ({
  tenant: 'acme',
  subject: `subject-${n}`,
  clientId: 'arq_client_1',
  action: 'command.create_channel',
  outcome: 'done',
  details: { room: 'lab', channel: `c${n}` },
})

it('writes lines of the log alone where no Postgres is given', async () => {
  const logger = createRecordLogger()
  const log = createAuditLog({ clock: systemClock, logger })
  log.record(entry(1))
  expect(logger.lines).toEqual([
    {
      level: 'info',
      event: 'audit.recorded',
      fields: {
        tenant: 'acme',
        subject: 'subject-1',
        clientId: 'arq_client_1',
        action: 'command.create_channel',
        outcome: 'done',
        details: '{"channel":"c1","room":"lab"}',
      },
    },
  ])
  expect(log.state).toEqual({ isKept: false, written: 0, queued: 0, lost: 0 })
  await log.close()
})

describe.skipIf(skipWithout('postgres'))('in Postgres', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterAll(() => lab.close())

  const open = (url: string, maxQueued = 10_000): AuditLog =>
    createAuditLog({ clock: systemClock, logger: silentLogger, address: parsePostgresAddress(url), maxQueued })

  /** A database with a log of `rows` entries. */
  async function written(rows: number) {
    const database = await lab.newDatabase()
    const address = parsePostgresAddress(database.url)
    const log = open(database.url)
    for (let n = 1; n <= rows; n++) log.record(entry(n))
    await eventually(async () => log.state.written === rows)
    await log.close()
    return { database, address, log }
  }

  /** As a superuser who has switched off what forbids it. */
  const tamper = (database: LabDatabase, sql: string) =>
    database.query(`SET session_replication_role = replica; ${sql}; SET session_replication_role = origin`)

  it('adds one row for each entry, in order, chained from the first', async () => {
    const { address } = await written(3)
    const rows = await listAudit(address, 10)
    expect(rows.map(({ sequence, subject }) => [sequence, subject])).toEqual([
      [1, 'subject-1'],
      [2, 'subject-2'],
      [3, 'subject-3'],
    ])
    expect(rows[0]!.previousHash).toBe(firstHash)
    expect(rows[2]!.previousHash).toBe(rows[1]!.hash)
    expect(await verifyAudit(address)).toEqual({ intact: 3, head: { sequence: 3, hash: rows[2]!.hash } })
    expect((await listAudit(address, 1)).map(({ sequence }) => sequence)).toEqual([3])
  })

  it('is one chain, whoever writes, with every entry in it once', async () => {
    const database = await lab.newDatabase()
    const logs = Array.from({ length: 4 }, () => open(database.url))
    for (let n = 0; n < 1_500; n++) logs[n % 4]!.record(entry(n))
    await eventually(async () => logs.every(({ state }) => state.queued === 0))
    await Promise.all(logs.map((log) => log.close()))
    expect(logs.map(({ state }) => [state.written, state.lost])).toEqual(Array(4).fill([375, 0]))
    const address = parsePostgresAddress(database.url)
    expect((await verifyAudit(address)).intact).toBe(1_500)
    expect(new Set((await listAudit(address, 2_000)).map(({ subject }) => subject)).size).toBe(1_500)
  })

  it('holds whatever text an entry has', async () => {
    const database = await lab.newDatabase()
    const log = open(database.url)
    const nasty = 'a\0b\ud800"\\{},\n\u2028é'
    log.record({ ...entry(1), subject: nasty, action: nasty, details: { [nasty]: nasty } })
    await eventually(async () => log.state.written === 1)
    await log.close()
    expect((await verifyAudit(parsePostgresAddress(database.url))).broken).toBeUndefined()
  })

  it.each(['UPDATE arqonbus_audit SET outcome = $$x$$', 'DELETE FROM arqonbus_audit', 'TRUNCATE arqonbus_audit'])(
    'refuses %s, and what would turn back its head, even to a superuser',
    async (sql) => {
      const { database } = await written(2)
      await expect(database.query(sql)).rejects.toMatchObject({ code: '42501' })
      const headSql = sql.replace('arqonbus_audit', 'arqonbus_audit_head').replace('outcome = $$x$$', 'sequence = 1')
      await expect(database.query(headSql)).rejects.toMatchObject({ code: '42501' })
    },
  )

  const copy = `entry_id || 'x', at_ms, tenant, subject, client_id, action, outcome, details, previous_hash, hash`
  it.each([
    ['a changed field', "UPDATE arqonbus_audit SET subject = 'other' WHERE sequence = 4", 4, 'CHANGED'],
    ['a changed time', 'UPDATE arqonbus_audit SET at_ms = at_ms + 1 WHERE sequence = 1', 1, 'CHANGED'],
    ['a deleted row', 'DELETE FROM arqonbus_audit WHERE sequence = 5', 5, 'MISSING'],
    ['a tail that was cut off', 'DELETE FROM arqonbus_audit WHERE sequence > 7', 8, 'MISSING'],
    ['everything gone', 'DELETE FROM arqonbus_audit', 1, 'MISSING'],
    [
      'a row added at the end',
      `INSERT INTO arqonbus_audit SELECT 11, ${copy} FROM arqonbus_audit WHERE sequence = 10`,
      11,
      'CHANGED',
    ],
    [
      'a row put in the middle',
      `UPDATE arqonbus_audit SET sequence = -sequence - 1 WHERE sequence > 3; UPDATE arqonbus_audit SET sequence = -sequence WHERE sequence < 0;
       INSERT INTO arqonbus_audit SELECT 4, ${copy} FROM arqonbus_audit WHERE sequence = 3`,
      4,
      'CHANGED',
    ],
    [
      'a head turned back with its tail',
      `DELETE FROM arqonbus_audit WHERE sequence > 7; UPDATE arqonbus_audit_head SET sequence = 7`,
      7,
      'HEAD_DIFFERS',
    ],
  ])('names the first broken row after %s', async (_what, sql, sequence, reason) => {
    const { database, address } = await written(10)
    await tamper(database, sql)
    expect((await verifyAudit(address)).broken).toEqual({ sequence, reason })
    const { exitCode, notes } = await runCommand(['audit', 'verify'], { ARQONBUS_POSTGRES_URL: database.url })
    expect([exitCode, notes[0]]).toEqual([1, `row ${sequence} of the audit log: ${reason}`])
  })

  it('finds rows with right hashes that do not follow the row before, or that the head does not count', async () => {
    const { database, address } = await written(4)
    const rows = await listAudit(address, 10)
    const forge = (row: AuditRow, previousHash: string): string => {
      const hash = hashOf(previousHash, row)
      return `UPDATE arqonbus_audit SET previous_hash = '${previousHash}', hash = '${hash}' WHERE sequence = ${row.sequence}`
    }
    await tamper(database, forge(rows[2]!, firstHash))
    expect((await verifyAudit(address)).broken).toEqual({ sequence: 3, reason: 'NOT_LINKED' })
    await tamper(database, forge(rows[2]!, rows[1]!.hash))
    const next = { ...rows[3]!, sequence: 5, entryId: 'forged' }
    await tamper(
      database,
      `INSERT INTO arqonbus_audit SELECT 5, 'forged', at_ms, tenant, subject, client_id, action, outcome, details,
         hash, '${hashOf(rows[3]!.hash, next)}' FROM arqonbus_audit WHERE sequence = 4`,
    )
    expect((await verifyAudit(address)).broken).toEqual({ sequence: 5, reason: 'BEYOND_HEAD' })
  })

  it('holds against a whole chain made anew only what was noted elsewhere', async () => {
    const { database, address } = await written(5)
    const { head } = await verifyAudit(address)
    let previous = firstHash
    const statements = (await listAudit(address, 10)).map((row) => {
      const changed = { ...row, subject: 'forger' }
      const hash = hashOf(previous, changed)
      const sql = `UPDATE arqonbus_audit SET subject = 'forger', previous_hash = '${previous}', hash = '${hash}' WHERE sequence = ${row.sequence}`
      previous = hash
      return sql
    })
    await tamper(database, [...statements, `UPDATE arqonbus_audit_head SET hash = '${previous}'`].join('; '))
    expect((await verifyAudit(address)).broken).toBeUndefined()
    expect((await verifyAudit(address, head)).broken).toEqual({ sequence: 5, reason: 'NOT_EXPECTED' })
    const verify = ['audit', 'verify', '--json', '--expect', `${head.sequence}:${head.hash}`]
    const { exitCode, out } = await runCommand(verify, { ARQONBUS_POSTGRES_URL: database.url })
    expect(exitCode).toBe(1)
    expect(JSON.parse(out[0]!)).toMatchObject({ ok: false, broken: { sequence: 5, reason: 'NOT_EXPECTED' } })
  })

  it('keeps nobody waiting while the server stands still, and loses only what its queue cannot hold', async () => {
    const database = await lab.newDatabase()
    const log = open(database.url, 100)
    log.record(entry(0))
    await eventually(async () => log.state.written === 1)
    await lab.server.freeze()
    const startedAt = performance.now()
    for (let n = 1; n <= 150; n++) log.record(entry(n))
    expect(performance.now() - startedAt).toBeLessThan(50)
    expect(log.state).toMatchObject({ queued: 100, lost: 50 })
    await eventually(async () => log.state.failure !== undefined)
    lab.server.thaw()
    await eventually(async () => log.state.queued === 0)
    expect(log.state).toEqual({ isKept: true, written: 101, queued: 0, lost: 50 })
    await log.close()
    // The attempt that was not answered may have been written all the same: each entry is there once.
    const rows = await listAudit(parsePostgresAddress(database.url), 1_000)
    expect(rows.map(({ subject }) => subject)).toEqual(Array.from({ length: 101 }, (_, n) => `subject-${n}`))
  })

  it('is listed by the command, as lines and as JSON', async () => {
    const { database } = await written(3)
    const env = { ARQONBUS_POSTGRES_URL: database.url }
    const { out } = await runCommand(['audit', 'list', '--limit', '2'], env)
    expect(out).toHaveLength(2)
    expect(out[1]).toMatch(
      /^3 {2}\d{4}-.*Z {2}acme {2}subject-3 {2}arq_client_1 {2}command\.create_channel {2}done {2}/,
    )
    const json = await runCommand(['audit', 'list', '--json'], env)
    expect(json.out.map((line) => (JSON.parse(line) as AuditRow).sequence)).toEqual([1, 2, 3])
    const verified = await runCommand(['audit', 'verify'], env)
    expect(verified).toMatchObject({ exitCode: 0, out: [expect.stringMatching(/^3 rows are as they were written/)] })
  })
})
