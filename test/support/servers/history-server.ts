// A real server with what a bus needs to keep history on it, and the variables that name it.
import { createConnection } from 'node:net'
import { runCommand } from '../launch/launch-linked.ts'
import { startPostgresServer } from './postgres-server.ts'
import type { ServerProcess } from './server-process.ts'
import { startValkeyServer } from './valkey-server.ts'

export interface HistoryServer extends ServerProcess {
  /** Valkey: one inline command, over a connection of its own. */
  command(line: string): Promise<string>
}

export async function startHistoryServer(
  backend: 'valkey' | 'postgres',
  settings: Readonly<Record<string, string>> = {},
): Promise<{ readonly server: HistoryServer; readonly env: Readonly<Record<string, string>> }> {
  if (backend === 'valkey') {
    const server = await startValkeyServer({ settings })
    const command = (line: string): Promise<string> => sendLine(server.port, line)
    return { server: Object.assign(server, { command }), env: { ARQONBUS_VALKEY_URL: server.url } }
  }
  const server = await startPostgresServer({ settings })
  const env = { ARQONBUS_POSTGRES_URL: server.url }
  const { code, stderr } = await runCommand(['migrate', 'up'], env)
  if (code !== 0) throw new Error(`migrate up ended with ${code}:\n${stderr}`)
  const command = (): Promise<string> => Promise.reject(new Error('Postgres takes queries'))
  return { server: Object.assign(server, { command }), env }
}

function sendLine(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port })
    socket.write(`${line}\r\n`)
    socket.once('data', (data) => {
      socket.destroy()
      resolve(data.toString())
    })
    socket.once('error', reject)
  })
}
