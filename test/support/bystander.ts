// A pair of honest clients beside an attack: that they go on working is what most attacks are judged by.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compiled } from './compiled.ts'
import { messageOf } from './system-process.ts'

/** Latencies in ms from publish to delivery, since the last report. */
export interface BystanderReport {
  readonly sent: number
  readonly delivered: number
  /** Connections that ended. */
  readonly closes: number
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export interface Bystander {
  report(): Promise<BystanderReport>
  /** Waits for what is still under way, reports, and ends. */
  finish(): Promise<BystanderReport>
}

const child = fileURLToPath(new URL('bystander-child.ts', import.meta.url))

/** Publishes 40 messages a second from its start to its end. */
export async function startBystander(url: string, token = ''): Promise<Bystander> {
  const started = fork(child, [url, token], {
    env: { NODE_COMPILE_CACHE: compiled },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let log = ''
  started.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const ask = (question: string): Promise<BystanderReport> => {
    const answer = messageOf<BystanderReport>(started, () => log)
    started.send(question)
    return answer
  }
  await messageOf(started, () => log)
  return { report: () => ask('report'), finish: () => ask('finish') }
}

export const figures = ({ count, p50, p99, max }: BystanderReport): string =>
  `p50 ${p50}, p99 ${p99}, max ${max} ms over ${count} messages`
