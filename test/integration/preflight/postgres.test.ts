// The Postgres chain against real servers: healthy ones, odd ones that are fine, and every fault it is there for.
import { execFile } from 'node:child_process'
import { chmod, chown, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { lockKey, migrateUp } from '../../../src/postgres/migrations.ts'
import { openConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { postgresChecks } from '../../../src/preflight/postgres/postgres-checks.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { startClockProxy } from '../../support/clock-proxy.ts'
import { eventually, type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { fixesOf, resultOf, runChecks, troubles, wordOf } from '../../support/preflight-run.ts'
import { findProgram, skipWithout } from '../../support/servers/neighbours.ts'
import { type PostgresServerProcess, startPostgresServer } from '../../support/servers/postgres-server.ts'

const chain = ['dep.postgres']
const withHistory = { ARQONBUS_STORAGE_BACKEND: 'postgres', ARQONBUS_POSTGRES_MIRROR: 'true' }

/** Staging: prod takes no loopback address. */
const envOf = (url: string, more: Environment = {}): Environment => ({
  ...productionEnvironment,
  ARQONBUS_ENVIRONMENT: 'staging',
  ARQONBUS_POSTGRES_URL: url,
  ...more,
})

describe.skipIf(skipWithout('postgres'))('the Postgres chain', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
    const { server } = lab
    await server.query("CREATE ROLE bus LOGIN PASSWORD 'hush-hush'")
    await server.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC', [], 'arqonbus')
  })
  afterAll(async () => {
    await lab.close()
  })

  const as = (url: string, user: string): string => url.replace('//arqonbus@', `//${user}@`)
  const everything =
    'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bus; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bus'

  describe('is content with', () => {
    it('a healthy, migrated server, and leaves nothing there', async () => {
      const database = await lab.newDatabase()
      const report = await runChecks(envOf(database.url, withHistory), chain)
      expect(troubles(report)).toEqual({})
      for (const id of report.canonical.planned.filter((one) => one.startsWith('dep.postgres.'))) {
        expect(wordOf(report, id), id).toBe('pass')
      }
      expect(resultOf(report, 'dep.postgres.roundtrip')).toMatchObject({ facts: { mode: 'committed' } })
      expect(await database.query('SELECT * FROM arqonbus_probe')).toEqual([])
      const { answer } = report.observations.results['dep.postgres.connect']!
      expect(answer).toMatchObject({ facts: { answeredBy: `127.0.0.1:${lab.server.port}` } })
    })

    it('the same twice: one digest', async () => {
      const database = await lab.newDatabase()
      const first = await runChecks(envOf(database.url, withHistory), chain)
      const second = await runChecks(envOf(database.url, withHistory), chain)
      expect(second.digest).toBe(first.digest)
    })

    it('a user without CREATE, superuser or pg_monitor, and tables, columns and broken indexes of others', async () => {
      const database = await lab.newDatabase()
      await database.query(everything)
      await database.query('CREATE TABLE theirs (n int); INSERT INTO theirs VALUES (1), (1)')
      await database.query('CREATE UNIQUE INDEX CONCURRENTLY theirs_once ON theirs (n)').catch(() => undefined)
      await database.query('ALTER TABLE arqonbus_audit ADD COLUMN note text')
      const report = await runChecks(envOf(as(database.url, 'bus'), withHistory), chain)
      expect(troubles(report)).toEqual({})
    })

    it('another schema, by search_path, and only the tables that are needed', async () => {
      await lab.server.query('CREATE DATABASE elsewhere')
      await lab.server.query('CREATE SCHEMA arqon; ALTER DATABASE elsewhere SET search_path = arqon', [], 'elsewhere')
      const url = lab.server.urlOf('elsewhere')
      await migrateUp({ address: parsePostgresAddress(url), only: (name) => name.includes('audit') })
      const report = await runChecks(envOf(url), chain)
      expect(troubles(report)).toEqual({})
      expect(resultOf(report, 'dep.postgres.roundtrip')).toMatchObject({ facts: { mode: 'rolled back' } })
      const left = await lab.server.query("SELECT FROM pg_class WHERE relname LIKE '%preflight%'", [], 'elsewhere')
      expect(left.rowCount).toBe(0)
    })

    it('another collation, and a Unix socket', async () => {
      await lab.server.query("CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'")
      await migrateUp({ address: parsePostgresAddress(lab.server.urlOf('icu')) })
      const { port, dir } = lab.server
      const url = `postgresql://arqonbus@localhost:${port}/icu?host=${encodeURIComponent(dir)}`
      const report = await runChecks(envOf(url, withHistory), ['dep.postgres'])
      expect(troubles(report)).toEqual({})
      expect(resultOf(report, 'dep.postgres.tls')).toMatchObject({ facts: { way: 'unix socket' } })
    })
  })

  describe('sees that', () => {
    const faultOf = async (url: string, id: string, more: Environment = {}) => {
      const report = await runChecks(envOf(url, more), [id])
      return { word: wordOf(report, id), fixes: fixesOf(report, id) }
    }
    const allOf = async (url: string, more: Environment = {}) => await runChecks(envOf(url, more), chain)

    it('the database is not there, nor the server', async () => {
      expect((await faultOf(lab.server.urlOf('nowhere'), 'dep.postgres.connect')).word).toBe('fail NO_DATABASE config')
      const refused = await allOf('postgresql://arqonbus@127.0.0.1:1/arqonbus')
      expect(troubles(refused)).toEqual({ 'dep.postgres.connect': 'fail ECONNREFUSED dependency' })
      expect(refused.canonical.rootCauses).toEqual(['dep.postgres.connect'])
      expect(wordOf(refused, 'dep.postgres.roundtrip')).toBe('blocked-by dep.postgres.connect')
    })

    it('the host is not known, and several hosts are more than we can', async () => {
      expect((await faultOf('postgresql://a@nowhere.invalid/b', 'dep.postgres.connect')).word).toMatch(
        /ENOTFOUND|EAI_AGAIN/,
      )
      const id = 'bus.postgres-url-configured'
      for (const url of ['postgresql://a@localhost/b?host=one,two', 'postgresql://a@one:5432,two:5433/b']) {
        const report = await runChecks(envOf(url), [id, 'dep.postgres.connect'])
        expect(wordOf(report, id)).toBe('fail SEVERAL_HOSTS config')
        expect(fixesOf(report, id)).toEqual([expect.stringContaining('name one host that always leads to the writer')])
        expect(report.canonical.rootCauses).toEqual([id])
        expect(wordOf(report, 'dep.postgres.connect')).toBe(`blocked-by ${id}`)
      }
    })

    it('something takes the connection and never answers', async () => {
      const hole = createServer(() => undefined)
      const port = await listen(hole)
      try {
        const { word } = await faultOf(`postgresql://a@127.0.0.1:${port}/b`, 'dep.postgres.connect')
        expect(word).toBe('error NO_ANSWER dependency')
      } finally {
        hole.close()
      }
    })

    it('something else answers there, or hangs up', async () => {
      const other = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      const port = await listen(other)
      try {
        const { word } = await faultOf(`postgresql://a@127.0.0.1:${port}/b`, 'dep.postgres.connect')
        expect(word).toBe('fail HUNG_UP dependency')
      } finally {
        other.close()
      }
    })

    it('each right that is missing, with the GRANT that gives it', async () => {
      const database = await lab.newDatabase()
      await database.query(everything)
      await database.query(`REVOKE INSERT ON arqonbus_audit FROM bus; REVOKE UPDATE, DELETE ON arqonbus_streams FROM bus;
        REVOKE SELECT ON arqonbus_probe FROM bus; REVOKE USAGE ON SEQUENCE arqonbus_message_history_id_seq FROM bus;
        REVOKE EXECUTE ON FUNCTION arqonbus_read FROM PUBLIC`)
      const url = as(database.url, 'bus')
      const report = await allOf(url, withHistory)
      const fixes = fixesOf(report, 'dep.postgres.privileges')
      const word = wordOf(report, 'dep.postgres.privileges')
      expect(word).toBe('fail MISSING_GRANT,MISSING_GRANT,MISSING_GRANT,MISSING_GRANT,MISSING_GRANT config')
      expect([...fixes].sort()).toEqual([
        'GRANT EXECUTE ON FUNCTION arqonbus_read TO <the user of ARQONBUS_POSTGRES_URL>',
        'GRANT INSERT ON arqonbus_audit TO <the user of ARQONBUS_POSTGRES_URL>',
        'GRANT SELECT ON arqonbus_probe TO <the user of ARQONBUS_POSTGRES_URL>',
        'GRANT UPDATE, DELETE ON arqonbus_streams TO <the user of ARQONBUS_POSTGRES_URL>',
        'GRANT USAGE ON SEQUENCE arqonbus_message_history_id_seq TO <the user of ARQONBUS_POSTGRES_URL>',
      ])
      expect(wordOf(report, 'dep.postgres.roundtrip')).toBe('blocked-by dep.postgres.privileges')
      // The command that is printed is the one that helps.
      for (const fix of fixes) await database.query(fix.replace(/<.*>/, 'bus'))
      expect(troubles(await runChecks(envOf(url, withHistory), chain))).toEqual({})
    })

    it('the schema or the ledger may not be used', async () => {
      const database = await lab.newDatabase()
      await database.query('REVOKE USAGE ON SCHEMA public FROM PUBLIC')
      expect((await faultOf(as(database.url, 'bus'), 'dep.postgres.migrations')).word).toBe('fail NO_PERMISSION config')
      await database.query('GRANT USAGE ON SCHEMA public TO bus')
      expect((await faultOf(as(database.url, 'bus'), 'dep.postgres.migrations')).word).toBe('fail NO_PERMISSION config')
    })

    it('a migration is pending, altered, unknown, or running', async () => {
      const id = 'dep.postgres.migrations'
      await lab.server.query('CREATE DATABASE bare')
      const bare = await allOf(lab.server.urlOf('bare'), withHistory)
      expect(troubles(bare)).toEqual({ [id]: 'fail PENDING,PENDING,PENDING dependency' })
      expect(fixesOf(bare, id)[0]).toBe('arqonbus migrate up')

      const altered = await lab.newDatabase()
      await altered.query("UPDATE arqonbus_migrations SET checksum = 'x' WHERE name = '20260216_audit.sql'")
      expect((await faultOf(altered.url, id)).word).toBe('fail ALTERED dependency')

      const ahead = await lab.newDatabase()
      await ahead.query("INSERT INTO arqonbus_migrations VALUES ('20270101_more.sql', 'x')")
      expect((await faultOf(ahead.url, id)).word).toBe('fail AHEAD dependency')

      const locked = await lab.newDatabase()
      const holder = await openConnection({ address: parsePostgresAddress(locked.url), limits: slowLimits })
      await holder.query({ text: `SELECT pg_advisory_lock(${lockKey})` })
      expect((await faultOf(locked.url, id)).word).toBe('fail LOCKED dependency')
      // Of another database it is none of our business.
      expect((await faultOf(altered.url, id)).word).toBe('fail ALTERED dependency')
      await holder.close()
    })

    it('the tables are not as this version made them', async () => {
      const database = await lab.newDatabase()
      await database.query('DROP INDEX arqonbus_records_by_time')
      expect((await faultOf(database.url, 'dep.postgres.migrations', withHistory)).word).toBe('fail DRIFT dependency')
      expect((await faultOf(database.url, 'dep.postgres.migrations')).word).toBe('pass')
      await database.query('DROP TRIGGER arqonbus_audit_only_grows ON arqonbus_audit')
      expect((await faultOf(database.url, 'dep.postgres.migrations')).word).toBe('fail DRIFT dependency')
    })

    it('an index of ours is not valid', async () => {
      const database = await lab.newDatabase()
      await database.query("INSERT INTO arqonbus_probe VALUES ('a', 1), ('b', 1)")
      await database
        .query('CREATE UNIQUE INDEX CONCURRENTLY arqonbus_twice ON arqonbus_probe (at_ms)')
        .catch(() => undefined)
      const { word, fixes } = await faultOf(database.url, 'dep.postgres.headroom')
      expect(word).toBe('fail INVALID_INDEX dependency')
      expect(fixes).toEqual(['REINDEX INDEX CONCURRENTLY arqonbus_twice'])
    })

    it('this user or this database may only read', async () => {
      const database = await lab.newDatabase()
      await database.query(`ALTER DATABASE ${database.name} SET default_transaction_read_only = on`)
      expect(troubles(await allOf(database.url))).toEqual({ 'dep.postgres.writable': 'fail READ_ONLY dependency' })
    })

    it('the clocks are apart', async () => {
      const database = await lab.newDatabase()
      const ahead = await startClockProxy(lab.server.port, 5_000)
      const near = await startClockProxy(lab.server.port, 1_000)
      try {
        const at = (port: number) => database.url.replace(/:\d+\//, `:${port}/`)
        expect((await faultOf(at(ahead.port), 'dep.postgres.skew')).word).toBe('fail CLOCKS_APART dependency')
        expect((await faultOf(at(near.port), 'dep.postgres.skew')).word).toBe('pass')
      } finally {
        ahead.close()
        near.close()
      }
    })

    it('rows of runs that came to no end are swept after a day, and no other row', async () => {
      const database: LabDatabase = await lab.newDatabase()
      const now = Date.now()
      await database.query(`INSERT INTO arqonbus_probe VALUES ('preflight-old', ${now - 90_000_000}),
        ('preflight-new', ${now - 80_000_000}), ('probe-old', ${now - 90_000_000})`)
      expect((await faultOf(database.url, 'dep.postgres.roundtrip', withHistory)).word).toBe('pass')
      expect(await database.query('SELECT name FROM arqonbus_probe ORDER BY 1')).toEqual([
        { name: 'preflight-new' },
        { name: 'probe-old' },
      ])
    })

    it('what it needs is held by somebody else', async () => {
      const database = await lab.newDatabase()
      const holder = await openConnection({ address: parsePostgresAddress(database.url), limits: slowLimits })
      await holder.query({ text: 'SET idle_in_transaction_session_timeout = 0' })
      await holder.query({ text: 'BEGIN' })
      await holder.query({ text: 'LOCK TABLE arqonbus_probe IN SHARE MODE' })
      expect((await faultOf(database.url, 'dep.postgres.roundtrip', withHistory)).word).toBe('fail LOCKED dependency')
      await holder.query({ text: 'LOCK TABLE arqonbus_migrations IN ACCESS EXCLUSIVE MODE' })
      expect((await faultOf(database.url, 'dep.postgres.migrations')).word).toBe('fail LOCKED dependency')
      await holder.close()
    })
  })
})

describe.skipIf(skipWithout('postgres'))('a Postgres of its own', () => {
  it('with passwords: the wrong one, none, and the right one', async () => {
    const server = await startPostgresServer({
      settings: { fsync: 'off' },
      hba: 'host all bus 127.0.0.1/32 scram-sha-256',
    })
    try {
      await server.query("CREATE ROLE bus LOGIN PASSWORD 'hush-hush'")
      const word = async (login: string) => {
        const report = await runChecks(envOf(server.url.replace('arqonbus@', `${login}@`)), ['dep.postgres.connect'])
        expect(JSON.stringify(report)).not.toContain('hush')
        return wordOf(report, 'dep.postgres.connect')
      }
      expect(await word('bus:hush')).toBe('fail AUTH_REFUSED config')
      expect(await word('bus')).toBe('fail AUTH_REQUIRED config')
      expect(await word('bus:hush-hush')).toBe('pass')
    } finally {
      await server.close()
    }
  })

  const openssl = findProgram(['openssl'])
  it.skipIf(openssl === undefined)('with TLS: the name, the authority, and a certificate that ends soon', async () => {
    const server = await startPostgresServer({ settings: { fsync: 'off' } })
    try {
      const data = join(server.dir, 'data')
      const { uid, gid } = await stat(data)
      /** A certificate of its own authority for 127.0.0.1, which the server shows from now on; its path. */
      async function certify(name: string, days: number): Promise<string> {
        const [key, cert] = [join(data, `${name}.key`), join(server.dir, `${name}.crt`)]
        const names = ['-subj', '/CN=db', '-addext', 'subjectAltName=IP:127.0.0.1']
        const made = ['-newkey', 'rsa:2048', '-nodes', '-days', `${days}`, ...names, '-keyout', key, '-out', cert]
        await promisify(execFile)(openssl!, ['req', '-x509', ...made])
        await chown(key, uid, gid)
        await chmod(key, 0o600)
        for (const setting of [`ssl_key_file = '${key}'`, `ssl_cert_file = '${cert}'`, 'ssl = on']) {
          await server.query(`ALTER SYSTEM SET ${setting}`)
        }
        await server.kill()
        await server.restart()
        return cert
      }
      const tls = async (query: string) => await runChecks(envOf(`${server.url}${query}`), ['dep.postgres.tls'])
      const none = await tls('?sslmode=require')
      expect(troubles(none)).toEqual({ 'dep.postgres.connect': 'fail TLS_REFUSED config' })
      expect(resultOf(await tls(''), 'dep.postgres.tls')).toMatchObject({ status: 'pass', facts: { way: 'plain' } })

      const long = await certify('long', 32)
      const trusting = (cert: string): string => `&sslrootcert=${encodeURIComponent(cert)}`
      const verified = await tls(`?sslmode=verify-full${trusting(long)}`)
      expect(resultOf(verified, 'dep.postgres.tls')).toMatchObject({ status: 'pass', facts: { way: 'tls' } })
      expect(wordOf(await tls('?sslmode=require'), 'dep.postgres.tls')).toBe('pass')
      const stranger = await tls('?sslmode=verify-full')
      expect(troubles(stranger)).toEqual({ 'dep.postgres.connect': 'fail TLS_UNTRUSTED config' })
      const named = server.url.replace('127.0.0.1', 'localhost')
      const other = await runChecks(envOf(`${named}?sslmode=verify-full${trusting(long)}`), ['dep.postgres.tls'])
      expect(troubles(other)).toEqual({ 'dep.postgres.connect': 'fail TLS_NAME config' })

      const short = await certify('short', 29)
      const ending = await tls(`?sslmode=verify-full${trusting(short)}`)
      expect(troubles(ending)).toEqual({ 'dep.postgres.tls': 'fail EXPIRES_SOON dependency' })
    } finally {
      await server.close()
    }
  })

  it('without a free connection, and with too few', async () => {
    const server = await startPostgresServer({ settings: { fsync: 'off', max_connections: '8' } })
    const held: Awaited<ReturnType<typeof openConnection>>[] = []
    try {
      await server.query('CREATE ROLE bus LOGIN; CREATE ROLE other LOGIN')
      const url = server.url.replace('arqonbus@', 'bus@')
      const hold = async () => {
        const address = parsePostgresAddress(server.url.replace('arqonbus@', 'other@'))
        held.push(await openConnection({ address, limits: slowLimits }))
      }
      const headroom = async (policy = {}) =>
        wordOf(await runChecks(envOf(url), ['dep.postgres.headroom'], policy), 'dep.postgres.headroom')
      // 8, of which 3 are reserved; a process with the audit log needs 2.
      expect(await headroom({ instances: 2 })).toBe('pass')
      expect(await headroom({ instances: 3 })).toBe('fail TOO_FEW_CONNECTIONS dependency')
      await hold()
      expect(await headroom({ instances: 2 })).toBe('pass')
      await hold()
      expect(await headroom({ instances: 2 })).toBe('fail TOO_FEW_CONNECTIONS dependency')
      while (held.length < 5) await hold()
      const report = await runChecks(envOf(url), ['dep.postgres'])
      expect(troubles(report)).toEqual({ 'dep.postgres.connect': 'fail TOO_MANY_CONNECTIONS dependency' })
    } finally {
      await Promise.all(held.map((connection) => connection.close()))
      await server.close()
    }
  })

  it('while it stops: it says so, and waiting is allowed to help', async () => {
    const server = await startPostgresServer({ settings: { fsync: 'off' } })
    const held = await openConnection({ address: parsePostgresAddress(server.url), limits: slowLimits })
    try {
      process.kill(server.pid, 'SIGTERM') // takes nobody new while somebody is there
      await eventually(async () => {
        const word = wordOf(await runChecks(envOf(server.url), ['dep.postgres.connect']), 'dep.postgres.connect')
        return word === 'fail STARTING dependency'
      })
      const connect = postgresChecks.find(({ id }) => id === 'dep.postgres.connect')
      expect(connect?.retryOn).toContain('STARTING')
    } finally {
      await held.close()
      await server.close()
    }
  })

  it('whose commits nobody confirms: the round trip has no answer', async () => {
    const server = await startPostgresServer({ settings: { fsync: 'off' } })
    try {
      await migrateUp({ address: parsePostgresAddress(server.url) })
      await server.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
      await server.query('SELECT pg_reload_conf()')
      await eventually(
        async () =>
          (await server.query('SHOW synchronous_standby_names')).rows[0].synchronous_standby_names === 'nobody',
      )
      const report = await runChecks(envOf(server.url), ['dep.postgres'])
      expect(troubles(report)).toEqual({ 'dep.postgres.roundtrip': 'error NO_ANSWER dependency' })
    } finally {
      await server.close()
    }
  })

  it('with a standby: the primary has it, the standby takes no writes', async () => {
    const primary = await startPostgresServer({ settings: { fsync: 'off', wal_level: 'replica' } })
    let standby: PostgresServerProcess | undefined
    try {
      await migrateUp({ address: parsePostgresAddress(primary.url) })
      const replication = async (url: string, policy: object) => {
        const report = await runChecks(envOf(url), ['dep.postgres.replication'], policy)
        return wordOf(report, 'dep.postgres.replication')
      }
      expect(await replication(primary.url, { postgresStandbys: 1 })).toBe('fail TOO_FEW_STANDBYS dependency')
      standby = await startPostgresServer({ standbyOf: primary.port })
      expect(await replication(primary.url, { postgresStandbys: 1 })).toBe('pass')
      expect(await replication(primary.url, { postgresStandbys: 2 })).toBe('fail TOO_FEW_STANDBYS dependency')
      await primary.query('CREATE ROLE bus LOGIN')
      const bus = primary.url.replace('arqonbus@', 'bus@')
      expect(await replication(bus, { postgresStandbys: 1 })).toBe('fail NO_PERMISSION config')
      expect(await replication(bus, {})).toBe('pass')
      await primary.query('GRANT pg_monitor TO bus')
      expect(await replication(bus, { postgresStandbys: 1 })).toBe('pass')

      const report = await runChecks(envOf(standby.url, withHistory), ['dep.postgres'])
      expect(troubles(report)).toEqual({ 'dep.postgres.writable': 'fail STANDBY dependency' })
    } finally {
      await standby?.close()
      await primary.close()
    }
  })
})

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return (server.address() as { port: number }).port
}
