// A real Postgres server for tests: a cluster of its own in a temporary folder, superuser `arqonbus`.
import { execFile } from 'node:child_process'
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { findProgram, requireProgram } from './neighbours.ts'
import { type ServerProcess, startServer } from './server-process.ts'

export interface PostgresServerProcess extends ServerProcess {
  /** Of the database `arqonbus`, as superuser. */
  readonly url: string
  urlOf(database: string): string
  /** Runs one statement in a database, over a connection of its own. */
  query(sql: string, values?: readonly unknown[], database?: string): Promise<pg.QueryResult>
  /** A new database, a copy of `template`; returns its address. Nobody may be connected to the template. */
  createDatabase(template?: string): Promise<string>
}

const run = promisify(execFile)

/** Postgres refuses to be root: as root the user that its package made is taken. */
async function serverUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const id = async (flag: string): Promise<number> => Number((await run('id', [flag, 'postgres'])).stdout)
  return { uid: await id('-u'), gid: await id('-g') }
}

export interface PostgresServerOptions {
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>
  /** A line put before those of pg_hba.conf, which trust everybody. */
  readonly hba?: string
  /** Port of a running primary on this machine: a copy of it that follows, instead of a cluster of its own. */
  readonly standbyOf?: number
}

export async function startPostgresServer({
  settings = {},
  hba,
  standbyOf,
}: PostgresServerOptions = {}): Promise<PostgresServerProcess> {
  const program = requireProgram('postgres')
  const user = await serverUser()
  const server = await startServer({
    program,
    ...(user !== undefined && { user }),
    async prepare({ dir, port }) {
      const data = ['-D', join(dir, 'data'), '-U', 'arqonbus', '--no-sync']
      const made =
        standbyOf === undefined
          ? (['initdb', [...data, '-A', 'trust', '-E', 'UTF8', '--locale=C']] as const)
          : (['pg_basebackup', [...data, '-R', '-h', '127.0.0.1', '-p', `${standbyOf}`, '--checkpoint=fast']] as const)
      const beside = join(dirname(program), made[0])
      await run(findProgram([made[0]]) ?? beside, [...made[1]], { ...user, cwd: dir })
      const lines = { listen_addresses: '127.0.0.1', port, unix_socket_directories: dir, ...settings }
      const text = Object.entries(lines).map(([name, value]) => `${name} = '${value}'\n`)
      await appendFile(join(dir, 'data', 'postgresql.conf'), text.join(''))
      if (hba === undefined) return
      const file = join(dir, 'data', 'pg_hba.conf')
      await writeFile(file, `${hba}\n${await readFile(file, 'utf8')}`)
    },
    args: ({ dir }) => ['-D', join(dir, 'data')],
    isReady: async ({ port }) => {
      const client = new pg.Client({ ...local(port, 'postgres'), connectionTimeoutMillis: 1_000 })
      client.on('error', () => undefined)
      try {
        await client.connect()
        return true
      } catch {
        return false
      } finally {
        await client.end().catch(() => undefined)
      }
    },
  })
  const { port } = server
  const urlOf = (database: string): string => `postgresql://arqonbus@127.0.0.1:${port}/${database}`
  let databases = 0

  async function query(sql: string, values: readonly unknown[] = [], database = 'postgres'): Promise<pg.QueryResult> {
    const client = new pg.Client(local(port, database))
    await client.connect()
    try {
      return await client.query(sql, [...values])
    } finally {
      await client.end()
    }
  }

  async function createDatabase(template = 'template1'): Promise<string> {
    const name = `test_${++databases}`
    await query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
    return urlOf(name)
  }

  if (standbyOf === undefined) await query('CREATE DATABASE arqonbus')
  return Object.assign(server, { url: urlOf('arqonbus'), urlOf, query, createDatabase })
}

function local(port: number, database: string): pg.ClientConfig {
  return { host: '127.0.0.1', port, user: 'arqonbus', database }
}
