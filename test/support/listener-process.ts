// Starts the listener of listener-child.ts in a process of its own, and tells whether it lives.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { compiled } from './compiled.ts'
import { openRawWebSocket, type RawOptions, type RawWebSocket, rawFrame } from './raw-websocket.ts'

/** A line the listener logged, or what its owner was told. */
export type Told = Readonly<Record<string, unknown>>

export interface ListenerProcess {
  readonly port: number
  readonly told: readonly Told[]
  /** Resolves when it has told something with these fields, past or to come. */
  untilTold(fields: Told): Promise<void>
  open(options?: Omit<RawOptions, 'port'>): Promise<RawWebSocket>
  /** A new client is welcomed and answered: the process lives and serves. */
  expectServing(): Promise<void>
  /** Closes the server; resolves with the exit code once nothing keeps the process. */
  stop(): Promise<number | null>
}

const child = fileURLToPath(new URL('listener-child.ts', import.meta.url))

/** `env`: limits of the bus, as variables. */
export async function startListener(env: Readonly<Record<string, string>> = {}): Promise<ListenerProcess> {
  const started = fork(child, [JSON.stringify(env)], {
    env: { NODE_COMPILE_CACHE: compiled },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let log = ''
  started.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const exited = once(started, 'exit') as Promise<[number | null]>
  const told: Told[] = []
  started.on('message', (message) => told.push(message as Told))
  const untilTold = async (fields: Told): Promise<void> => {
    await expect.poll(() => told, { timeout: 5_000, interval: 10 }).toContainEqual(expect.objectContaining(fields))
  }
  await Promise.race([once(started, 'message'), exited.then(() => Promise.reject(new Error(log)))])
  const port = told[0]!['port'] as number

  const open: ListenerProcess['open'] = (options = {}) => openRawWebSocket({ port, ...options })
  return {
    port,
    told,
    untilTold,
    open,
    async expectServing() {
      const raw = await open().catch((error: unknown) => {
        throw new Error(`the listener does not serve: ${log}`, { cause: error })
      })
      await raw.until(/^welcome$/)
      raw.socket.write(say('echo hello'))
      await raw.until(/^echo hello$/)
      raw.destroy()
    },
    async stop() {
      if (started.exitCode !== null || started.signalCode !== null) return started.exitCode
      started.send('stop')
      const timer = setTimeout(() => started.kill('SIGKILL'), 5_000)
      const [code] = await exited
      clearTimeout(timer)
      return code
    },
  }
}

/** The frame of a command to the owner. */
export const say = (command: string): Buffer => rawFrame({ opcode: 1, payload: command })
