// A real Valkey or Redis server for tests.
import { findFreePorts } from '../launch/free-ports.ts'
import { requireProgram } from './neighbours.ts'
import { answers, type ServerProcess, startServer } from './server-process.ts'

export interface ValkeyServerProcess extends ServerProcess {
  /** With the password, where there is one. */
  readonly url: string
}

export interface ValkeyServerOptions {
  /** Settings of its configuration file, over: AOF on, fsync at every write. */
  readonly settings?: Readonly<Record<string, string>>
  readonly password?: string
}

export async function startValkeyServer(options: ValkeyServerOptions = {}): Promise<ValkeyServerProcess> {
  const { password } = options
  const settings: Record<string, string> = { appendonly: 'yes', appendfsync: 'always', ...options.settings }
  if (password !== undefined) settings['requirepass'] = password
  // Otherwise 10,000 above the other, where somebody else may be.
  if (settings['cluster-enabled'] === 'yes') settings['cluster-port'] = String((await findFreePorts(1))[0])
  const server = await startServer({
    program: requireProgram('valkey'),
    args: ({ dir, port }) => [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      dir,
      '--save',
      '',
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ],
    // NOAUTH is an answer of a server that is up; LOADING is not.
    isReady: ({ port }) => answers(port, 'PING\r\n', (text) => text.startsWith('+PONG') || text.startsWith('-NOAUTH')),
  })
  const user = password === undefined ? '' : `:${encodeURIComponent(password)}@`
  return Object.assign(server, { url: `redis://${user}127.0.0.1:${server.port}` })
}
