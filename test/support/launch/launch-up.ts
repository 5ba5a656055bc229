// Starts `arqonbus up` as a child process, as an operator does, and ends it in good order or by kill -9. Started again
// with the same folder and ports it is the same system after a restart.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { devSecretFile } from '../../../src/app/up.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { compiled } from '../compiled.ts'
import { findFreePorts } from './free-ports.ts'

export interface UpPorts {
  readonly bus: number
  readonly http: number
  readonly telemetry: number
  readonly shield: number
  readonly shieldMetrics: number
}

export interface LaunchOptions {
  readonly dataDir: string
  /** Variables of docs/config.md; nothing of this process's own environment is passed on but PATH. */
  readonly env?: Readonly<Record<string, string>>
  /** Found when absent. */
  readonly ports?: UpPorts
}

export interface LaunchedUp {
  readonly pid: number
  readonly ports: UpPorts
  readonly busUrl: string
  readonly shieldUrl: string
  readonly httpUrl: string
  /** For Shield: tenant `default`, 12 hours. */
  readonly token: string
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves with the exit code after the drain. */
  stop(): Promise<number | null>
}

const command = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
const readyWithinMs = 30_000

export const createTempDir = (): Promise<string> => mkdtemp(join(tmpdir(), 'arqonbus-e2e-'))
export const removeTempDir = (dir: string): Promise<void> => rm(dir, { recursive: true, force: true })

export async function findUpPorts(): Promise<UpPorts> {
  const [bus, http, telemetry, shield, shieldMetrics] = (await findFreePorts(5)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  return { bus, http, telemetry, shield, shieldMetrics }
}

/** Resolves when bus and Shield answer that they are ready; rejects, with the output, when the process ends first. */
export async function launchUp({ dataDir, env = {}, ports }: LaunchOptions): Promise<LaunchedUp> {
  // Below 24 the launcher starts another process, and kill -9 would not reach the system itself.
  if (Number(process.versions.node.split('.')[0]) < 24) throw new Error('these tests need Node 24, as the program does')
  const chosen = ports ?? (await findUpPorts())
  const child = spawn(process.execPath, [command, 'up', '--data-dir', dataDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '',
      NODE_COMPILE_CACHE: compiled,
      ARQONBUS_LOG_LEVEL: 'warn',
      ARQONBUS_SERVER_PORT: String(chosen.bus),
      ARQONBUS_HTTP_PORT: String(chosen.http),
      ARQONBUS_TELEMETRY_PORT: String(chosen.telemetry),
      SHIELD_PORT: String(chosen.shield),
      SHIELD_METRICS_PORT: String(chosen.shieldMetrics),
      ...env,
    },
  })
  const killOnExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killOnExit)
  const ended = new Promise<number | null>((done) => child.once('close', done))
  void ended.then(() => process.off('exit', killOnExit))
  const output = keepOutput(child)
  try {
    await Promise.all([chosen.http, chosen.shieldMetrics].map((port) => waitAnswer(port, child, output)))
    // The WebSocket ports open last, a moment after the system calls itself ready.
    await Promise.all([chosen.bus, chosen.shield].map((port) => waitAnswer(port, child, output, () => true)))
    const secret = env['JWT_SECRET'] ?? (await readFile(join(dataDir, devSecretFile), 'utf8'))
    return {
      pid: child.pid!,
      ports: chosen,
      busUrl: `ws://127.0.0.1:${chosen.bus}`,
      shieldUrl: `ws://127.0.0.1:${chosen.shield}/ws`,
      httpUrl: `http://127.0.0.1:${chosen.http}`,
      token: await mintToken({ secret, subject: 'tester', tenant: 'default', ttlSeconds: 12 * 3_600 }),
      async kill() {
        child.kill('SIGKILL')
        await ended
      },
      stop() {
        child.kill('SIGTERM')
        return ended
      },
    }
  } catch (error) {
    child.kill('SIGKILL')
    await ended
    throw error
  }
}

/** The last of what a process has printed. */
function keepOutput(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-8_000)
    })
  }
  return () => text
}

async function waitAnswer(
  port: number,
  child: ChildProcess,
  output: () => string,
  isGood: (answer: Response) => boolean = (answer) => answer.ok,
): Promise<void> {
  const untilMs = performance.now() + readyWithinMs
  while (performance.now() < untilMs && child.exitCode === null && child.signalCode === null) {
    // Not listening yet is the same as not ready: asked again until the time is up.
    const answer = await fetch(`http://127.0.0.1:${port}/ready`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer !== undefined && isGood(answer)) return
    await pause(20)
  }
  const end = child.exitCode === null ? `not ready within ${readyWithinMs} ms` : `ended with ${child.exitCode}`
  throw new Error(`up with port ${port}: ${end}\n${output()}`)
}
