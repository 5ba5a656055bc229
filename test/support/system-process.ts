// Starts bus and Shield in a child process for tests that attack it, and asks it how it is.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { mintToken } from '../../src/auth/mint.ts'
import { compiled } from './compiled.ts'

export interface SystemStats {
  readonly rss: number
  /** Bytes in use after a collection. */
  readonly held: number
  /** Open TCP sockets of the process, listeners not counted. */
  readonly sockets: number
  /** Sessions of the bus, those behind Shield included. */
  readonly clients: number
}

export interface SystemProcess {
  readonly busPort: number
  readonly shieldPort: number
  /** For Shield, tenant `acme`, one hour. */
  readonly token: string
  readonly isAlive: boolean
  /** All of standard error so far. */
  readonly log: string
  stats(): Promise<SystemStats>
  /** Stops it in good order; resolves with its exit code. */
  stop(): Promise<number | null>
}

export const systemSecret = 'kL3vXw8QzR1mTn6YbH4sGd9JpF2cUeA7oVi5KxZq'
const child = fileURLToPath(new URL('system-child.ts', import.meta.url))

/** `env`: variables of bus and Shield; ports are free ones, and nothing is written to disk. */
export async function startSystem(env: Readonly<Record<string, string>> = {}): Promise<SystemProcess> {
  const variables = {
    JWT_SECRET: systemSecret,
    ARQONBUS_SERVER_PORT: '0',
    ARQONBUS_HTTP_PORT: '0',
    ARQONBUS_ENABLE_TELEMETRY: 'false',
    SHIELD_PORT: '0',
    SHIELD_METRICS_PORT: '0',
    ARQONBUS_LOG_LEVEL: 'warn',
    ...env,
  }
  const started = fork(child, [JSON.stringify(variables)], {
    // A small young generation: what grows is then what is held, not what the collector keeps in reserve.
    execArgv: ['--expose-gc', '--max-semi-space-size=8'],
    env: { NODE_COMPILE_CACHE: compiled },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let log = ''
  started.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const ports = await messageOf<{ bus: number; shield: number }>(started, () => log)
  const token = await mintToken({ secret: systemSecret, subject: 'tester', tenant: 'acme', ttlSeconds: 3_600 })
  return {
    busPort: ports.bus,
    shieldPort: ports.shield,
    token,
    get isAlive() {
      return started.exitCode === null && started.signalCode === null
    },
    get log() {
      return log
    },
    stats() {
      const answer = messageOf<SystemStats>(started, () => log)
      started.send('stats')
      return answer
    },
    async stop() {
      if (started.exitCode !== null || started.signalCode !== null) return started.exitCode
      const exited = once(started, 'exit') as Promise<[number | null]>
      started.send('stop')
      const timer = setTimeout(() => started.kill('SIGKILL'), 15_000)
      const [code] = await exited
      clearTimeout(timer)
      return code
    },
  }
}

/** The child's next message; rejects with its log when it ends instead. */
export function messageOf<Message>(from: ChildProcess, log: () => string): Promise<Message> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the child ended with ${code}: ${log()}`))
    from.once('exit', onExit)
    from.once('message', (message) => {
      from.removeListener('exit', onExit)
      resolve(message as Message)
    })
  })
}
