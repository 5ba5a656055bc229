// pg_dump and pg_restore as child processes: the password goes by their environment only, never by an argument, and
// what they complain of comes back as one of our errors without it.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BusError } from '../../base/errors.ts'
import type { PostgresAddress } from '../../postgres/address.ts'

export interface ToolOptions {
  readonly address: PostgresAddress
  /** Where the programs are looked for. */
  readonly searchPath: string | undefined
  readonly signal?: AbortSignal
}

export interface RunningTool {
  readonly child: ChildProcess
  /** Resolves when it ended well; rejects with STORE_UNAVAILABLE, EXECUTION_ERROR or DRAINING. */
  readonly ended: Promise<void>
}

export type ToolName = 'pg_dump' | 'pg_restore'

/** Runs `work` with the tool begun; what was made for it is gone afterwards, however it ends. */
export async function withTool<T>(
  name: ToolName,
  args: readonly string[],
  { address, searchPath, signal }: ToolOptions,
  work: (tool: RunningTool) => Promise<T>,
): Promise<T> {
  const { host, port, user, password, database, tls } = address.reveal()
  const folder = await mkdtemp(join(tmpdir(), 'arqonbus-pg-'))
  try {
    const files: Record<string, string> = {}
    async function put(variable: string, text: string | undefined): Promise<void> {
      if (text === undefined) return
      files[variable] = join(folder, variable)
      await writeFile(files[variable], text, { mode: 0o600 })
    }
    if (tls !== false) {
      await put('PGSSLROOTCERT', tls.ca)
      await put('PGSSLCERT', tls.cert)
      await put('PGSSLKEY', tls.key)
    }
    const chain = tls !== false && tls.checkServerIdentity !== undefined ? 'verify-ca' : 'verify-full'
    const mode = tls === false ? 'disable' : tls.rejectUnauthorized ? chain : 'require'
    const child = spawn(name, [...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...(searchPath !== undefined && { PATH: searchPath }),
        PGHOST: host,
        PGPORT: String(port),
        PGUSER: user,
        PGDATABASE: database,
        PGPASSWORD: password,
        PGSSLMODE: mode,
        PGCONNECT_TIMEOUT: '5',
        PGAPPNAME: 'arqonbus',
        LC_ALL: 'C',
        ...files,
      },
    })
    const onAbort = (): void => void child.kill('SIGTERM')
    signal?.addEventListener('abort', onAbort)
    try {
      return await work({ child, ended: endOf(name, child, signal) })
    } finally {
      signal?.removeEventListener('abort', onAbort)
      if (child.exitCode === null) child.kill('SIGKILL')
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function endOf(name: ToolName, child: ChildProcess, signal: AbortSignal | undefined): Promise<void> {
  let said = ''
  child.stderr!.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)))
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => reject(absent(name, error)))
    child.once('close', (code) => {
      if (code === 0) resolve()
      else if (signal?.aborted === true) reject(new BusError('DRAINING', 'It was stopped', { reason: 'STOPPED' }))
      else reject(failed(name, said))
    })
  })
  // Looked at when the data has been handled; until then a failure must not count as nobody's.
  ended.catch(() => undefined)
  return ended
}

function absent(name: ToolName, error: NodeJS.ErrnoException): BusError {
  const message = `${name} cannot be run (${error.code ?? 'unknown'}): install the client programs of PostgreSQL (Debian: postgresql-client)`
  return new BusError('EXECUTION_ERROR', message, { reason: 'TOOL_ABSENT' })
}

function failed(name: ToolName, said: string): BusError {
  const line = said.split('\n').find((one) => /error|fatal/i.test(one)) ?? said.split('\n')[0] ?? ''
  const text = line.slice(0, 400)
  if (/could not connect|connection to server|server closed the connection|terminating connection/i.test(said)) {
    return new BusError('STORE_UNAVAILABLE', `${name}: the connection failed or was lost: ${text}`, {
      reason: 'CONNECTION_LOST',
    })
  }
  if (/version mismatch/i.test(said)) {
    const message = `${name} is older than the server; install the client programs of the server's version`
    return new BusError('EXECUTION_ERROR', message, { reason: 'TOOL_TOO_OLD' })
  }
  return new BusError('EXECUTION_ERROR', `${name}: ${text}`, { reason: 'TOOL_FAILED' })
}
