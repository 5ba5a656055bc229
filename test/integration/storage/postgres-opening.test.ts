// What a Postgres store says when it is opened: who may, on what, and how durable it is; and when positions given out
// before no longer hold.
import { execFile } from 'node:child_process'
import { chmod, chown, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect, promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BusError } from '../../../src/base/errors.ts'
import { describeFailure } from '../../../src/bin/exit-codes.ts'
import {
  eventually,
  labKey,
  labRequest,
  type LabDatabase,
  openPostgresLab,
  type PostgresLab,
} from '../../support/postgres-lab.ts'
import { findProgram, skipWithout } from '../../support/servers/neighbours.ts'

const run = promisify(execFile)

describe.skipIf(skipWithout('postgres'))('opening the Postgres store', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab()
    const rules = join(lab.server.dir, 'data', 'pg_hba.conf')
    await writeFile(rules, `host all locked 127.0.0.1/32 scram-sha-256\n${await readFile(rules, 'utf8')}`)
    await lab.server.query("CREATE ROLE locked LOGIN PASSWORD 'right-hush'")
    await lab.server.query('SELECT pg_reload_conf()')
  })
  afterAll(() => lab.close())

  const as = ({ url }: LabDatabase, user: string): string => url.replace('arqonbus@', `${user}@`)

  async function refusal(database: LabDatabase, url = database.url): Promise<BusError> {
    const error: unknown = await database.open({ url }).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    if (!(error instanceof BusError)) throw new Error(`expected a BusError, not ${inspect(error)}`)
    return error
  }

  function expectRefusal(error: BusError, code: string, reason: string, exitCode: number): void {
    expect([error.code, error.details['reason'], describeFailure(error).exitCode]).toEqual([code, reason, exitCode])
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('hush')
    expect(JSON.stringify([error.message, error.details, String(error.cause)])).not.toContain('hush')
  }

  it('refuses a wrong or absent password as denied, without repeating it', async () => {
    const database = await lab.newDatabase()
    expectRefusal(await refusal(database, as(database, 'locked:wrong-hush')), 'STORE_OPEN_FAILED', 'DENIED', 77)
    expectRefusal(await refusal(database, as(database, 'locked')), 'STORE_OPEN_FAILED', 'DENIED', 77)
    expectRefusal(await refusal(database, as(database, 'nobody:hush')), 'STORE_OPEN_FAILED', 'DENIED', 77)
    const store = await database.open()
    expect(inspect(store, { depth: 20, showHidden: true })).not.toContain('hush')
  })

  it('refuses a user without the privileges it needs, and takes one that has just those', async () => {
    const database = await lab.newDatabase()
    const url = as(database, 'locked:right-hush')
    expectRefusal(await refusal(database, url), 'STORE_OPEN_FAILED', 'DENIED', 77)
    await database.query('GRANT SELECT ON ALL TABLES IN SCHEMA public TO locked')
    const error = await refusal(database, url)
    expectRefusal(error, 'STORE_OPEN_FAILED', 'DENIED', 77)
    expect(error.message).toContain('arqonbus_records')
    await database.query('GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO locked')
    const store = await database.open({ url, retention: { maxRecords: 1 } })
    expect(await store.append([labRequest('a'), labRequest('b')])).toMatchObject([
      { kind: 'stored' },
      { kind: 'stored' },
    ])
    await store.probe()
    await eventually(async () => (await store.head(labKey)).first === 2)
  })

  it('names the command where the tables are missing, and refuses an edited and a newer schema', async () => {
    const database = await lab.newDatabase()
    const empty = await lab.server.createDatabase()
    const missing = await refusal(database, empty)
    expectRefusal(missing, 'STORE_OPEN_FAILED', 'SCHEMA_MISSING', 78)
    expect(missing.message).toContain('arqonbus migrate up')
    await database.query('DROP TABLE arqonbus_probe')
    expectRefusal(await refusal(database), 'STORE_OPEN_FAILED', 'SCHEMA_MISSING', 78)
    await database.query("UPDATE arqonbus_migrations SET checksum = 'other'")
    expectRefusal(await refusal(database), 'STORE_OPEN_FAILED', 'EDITED_MIGRATION', 78)
    await database.query("INSERT INTO arqonbus_migrations (name, checksum) VALUES ('29990101_later.sql', 'x')")
    expectRefusal(await refusal(database), 'STORE_OPEN_FAILED', 'NEWER_SCHEMA', 78)
    expectRefusal(await refusal(database, `${database.url}x`), 'STORE_OPEN_FAILED', 'NO_DATABASE', 78)
  })

  it('is told that nothing answers, or that no connection is left, as an outage', async () => {
    const database = await lab.newDatabase()
    const away = database.url.replace(/:\d+\//, ':1/').replace('arqonbus@', 'arqonbus:hush@')
    expectRefusal(await refusal(database, away), 'STORE_UNAVAILABLE', 'UNREACHABLE', 69)
    await lab.server.query('CREATE ROLE crowded LOGIN SUPERUSER')
    await lab.server.query('ALTER ROLE crowded NOSUPERUSER CONNECTION LIMIT 2')
    await database.query('GRANT ALL ON ALL TABLES IN SCHEMA public TO crowded')
    expectRefusal(await refusal(database, as(database, 'crowded')), 'STORE_UNAVAILABLE', 'TOO_MANY_CONNECTIONS', 69)
    await eventually(async () => {
      const [row] = await database.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = 'crowded'")
      return row?.['n'] === 0
    })
    await lab.server.query('ALTER ROLE crowded CONNECTION LIMIT 4')
    await database.open({ url: as(database, 'crowded') })
  })

  it('reports what the server vouches for, and makes its own session durable', async () => {
    const database = await lab.newDatabase()
    await database.query(`ALTER DATABASE ${database.name} SET synchronous_commit = off`)
    const store = await database.open()
    const identity = expect.stringMatching(/^postgres:[0-9a-f-]{36}$/)
    expect(store.report()).toEqual({ level: 'disk', identity, faults: [] })
    expect(store.capabilities).toMatchObject({ backend: 'postgres', level: 'disk', maxBatch: 1024 })

    await lab.server.query('ALTER SYSTEM SET full_page_writes = off')
    await lab.server.query('SELECT pg_reload_conf()')
    try {
      await eventually(async () => {
        const opened = await database.open()
        return opened.report().level === 'process' && opened.report().faults[0]?.found === 'full_page_writes off'
      })
    } finally {
      await lab.server.query('ALTER SYSTEM RESET full_page_writes')
      await lab.server.query('SELECT pg_reload_conf()')
    }
  })

  const openssl = findProgram(['openssl'])
  it.skipIf(openssl === undefined)(
    'talks TLS as sslmode says, and gives up frozen TLS connections as well',
    async () => {
      const { dir } = lab.server
      const [key, cert] = [join(dir, 'data', 'tls.key'), join(dir, 'tls.crt')]
      const subject = ['-subj', '/CN=db', '-addext', 'subjectAltName=IP:127.0.0.1']
      await run(openssl!, [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        ...subject,
        '-keyout',
        key,
        '-out',
        cert,
      ])
      const { uid, gid } = await stat(join(dir, 'data'))
      await chown(key, uid, gid)
      await chmod(key, 0o600)
      for (const setting of [`ssl_key_file = '${key}'`, `ssl_cert_file = '${cert}'`, 'ssl = on']) {
        await lab.server.query(`ALTER SYSTEM SET ${setting}`)
      }
      await lab.server.query('SELECT pg_reload_conf()')
      const database = await lab.newDatabase()
      await eventually(async () => {
        await (await database.open({ url: `${database.url}?sslmode=require` })).close()
        return true
      })
      expectRefusal(
        await refusal(database, `${database.url}?sslmode=verify-full`),
        'STORE_UNAVAILABLE',
        'UNREACHABLE',
        69,
      )
      const verified = `${database.url}?sslmode=verify-full&sslrootcert=${encodeURIComponent(cert)}`
      const store = await database.open({ url: verified })
      const [row] = await database.query(
        "SELECT count(*)::int AS n FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'arqonbus'",
      )
      expect(row).toEqual({ n: 4 })
      await lab.server.freeze()
      try {
        await expect(store.append([labRequest('a')])).rejects.toMatchObject({ code: 'STORE_TIMEOUT' })
        await store.close()
      } finally {
        lab.server.thaw()
      }
    },
  )

  describe('the epoch', () => {
    it('stays over restarts of bus and server, and rises when the data comes from elsewhere', async () => {
      const database = await lab.newDatabase()
      const before = await database.open()
      await before.append([labRequest('a')])
      const { epoch } = await before.head(labKey)
      await before.close()
      await lab.server.kill()
      await lab.server.restart()
      const after = await database.open()
      expect((await after.head(labKey)).epoch).toBe(epoch)
      await after.close()

      // A dump restored into another cluster brings the life of the first one along.
      await database.query("UPDATE arqonbus_history SET life = '1 ' || substr(life, strpos(life, ' ') + 1)")
      const restored = await database.open()
      const raised = (await restored.head(labKey)).epoch
      expect(raised).toBeGreaterThan(epoch)
      expect(await restored.append([labRequest('b')])).toMatchObject([{ position: { epoch: raised, sequence: 2 } }])
      expect(await restored.append([labRequest('a')])).toMatchObject([
        { kind: 'duplicate', position: { epoch: raised } },
      ])
      const again = await database.open()
      expect((await again.head(labKey)).epoch).toBe(raised)
    })

    it.each([
      ['was rolled back', 'UPDATE arqonbus_streams SET last = 2; DELETE FROM arqonbus_records WHERE sequence > 2'],
      ['is gone', 'TRUNCATE arqonbus_streams, arqonbus_records, arqonbus_remembered'],
    ])(
      'rises for a stream that %s behind what was acknowledged, for appends and for joins',
      async (_what, rollBack) => {
        for (const first of ['append', 'head'] as const) {
          const database = await lab.newDatabase()
          const store = await database.open()
          const ids = ['a', 'b', 'c', 'd']
          for (const id of ids) await store.append([labRequest(id)])
          const { epoch } = await store.head(labKey)
          await database.query(rollBack)
          if (first === 'append') {
            const [result] = await store.append([labRequest('e')])
            expect(result).toMatchObject({ kind: 'stored', position: { epoch: epoch + 1 } })
          }
          const head = await store.head(labKey)
          expect(head.epoch).toBe(epoch + 1)
          await store.append([labRequest('f')])
          expect(await store.head(labKey)).toMatchObject({ epoch: epoch + 1, last: head.last + 1 })
        }
      },
    )

    it('is that of a stream which will begin, before and after it began', async () => {
      const database = await lab.newDatabase()
      const store = await database.open()
      const { epoch, last } = await store.head(labKey)
      expect(last).toBe(0)
      expect(await store.append([labRequest('a')])).toMatchObject([{ position: { epoch, sequence: 1 } }])
    })
  })
})
