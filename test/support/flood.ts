// A tenant that floods through many connections, in a process of its own.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { compiled } from './compiled.ts'
import { messageOf } from './system-process.ts'

export interface FloodReport {
  readonly sent: number
  readonly closes: number
  readonly acknowledged: number
  readonly codes: Readonly<Record<string, number>>
}

export interface Flood {
  report(): Promise<FloodReport>
  stop(): Promise<void>
}

const child = fileURLToPath(new URL('flood-child.ts', import.meta.url))

/** One connection for each token, all together sending `perSecond` frames a second. Resolves when all are open. */
export async function startFlood(url: string, tokens: readonly string[], perSecond: number): Promise<Flood> {
  const started = fork(child, [JSON.stringify({ url, tokens, perSecond })], {
    env: { NODE_COMPILE_CACHE: compiled },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let log = ''
  started.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  await messageOf(started, () => log)
  return {
    report() {
      const answer = messageOf<FloodReport>(started, () => log)
      started.send('report')
      return answer
    },
    async stop() {
      const exited = once(started, 'exit')
      started.disconnect()
      await exited
    },
  }
}
