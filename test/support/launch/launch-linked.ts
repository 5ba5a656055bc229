// Starts `arqonbus bus` and `arqonbus shield` as the two processes they are in production, over a NATS server that is
// there already. Started again with the same ports and folder each is the same program after a restart.
import { spawn } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { compiled } from '../compiled.ts'
import { findFreePorts } from './free-ports.ts'

export interface LaunchedProgram {
  readonly url: string
  readonly httpUrl: string
  readonly pid: number
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
}

export interface EndedProgram {
  readonly code: number | null
  readonly stderr: string
}

export type Variables = Readonly<Record<string, string>>

const command = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
const readyWithinMs = 20_000

/** Resolves when the bus is ready; rejects, with what it wrote, when it ends first. */
export async function launchBus(env: Variables, ports?: readonly number[]): Promise<LaunchedProgram> {
  const [ws, http] = ports ?? (await findFreePorts(2))
  const variables = {
    ARQONBUS_SERVER_PORT: String(ws),
    ARQONBUS_HTTP_PORT: String(http),
    ARQONBUS_ENABLE_TELEMETRY: 'false',
  }
  return launch('bus', { ...variables, ...env }, `ws://127.0.0.1:${ws}`, `http://127.0.0.1:${http}`)
}

/** Resolves when the gateway is ready, which takes a bus that answers. */
export async function launchShield(env: Variables): Promise<LaunchedProgram> {
  const [ws, http] = await findFreePorts(2)
  const variables = { SHIELD_PORT: String(ws), SHIELD_METRICS_PORT: String(http) }
  return launch('shield', { ...variables, ...env }, `ws://127.0.0.1:${ws}/ws`, `http://127.0.0.1:${http}`)
}

/** For starts that are to fail. */
export function runToEnd(program: 'bus' | 'shield', env: Variables): Promise<EndedProgram> {
  return runCommand([program], env)
}

/** Any sub-command with its arguments, until it ends. */
export function runCommand(args: readonly string[], env: Variables): Promise<EndedProgram> {
  return start(args, env).ended
}

async function launch(
  program: 'bus' | 'shield',
  env: Variables,
  url: string,
  httpUrl: string,
): Promise<LaunchedProgram> {
  const { child, ended } = start([program], env)
  const untilMs = performance.now() + readyWithinMs
  // The WebSocket port opens last, a moment after the program calls itself ready.
  while (!((await isReady(httpUrl)) && (await answers(url)))) {
    const isLate = performance.now() > untilMs
    if (isLate) child.kill('SIGKILL')
    if (isLate || child.exitCode !== null) {
      const { code, stderr } = await ended
      throw new Error(`${program} ended with ${code} before it was ready:\n${stderr}`)
    }
    await pause(20)
  }
  return {
    url,
    httpUrl,
    pid: child.pid!,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    async stop() {
      child.kill('SIGTERM')
      return (await ended).code
    },
  }
}

function start(args: readonly string[], env: Variables) {
  const child = spawn(process.execPath, [command, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: compiled, ARQONBUS_LOG_LEVEL: 'warn', ...env },
  })
  const killOnExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killOnExit)
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-8_000)
  })
  const ended = new Promise<EndedProgram>((resolve) => {
    child.once('close', (code) => {
      process.off('exit', killOnExit)
      resolve({ code, stderr })
    })
  })
  return { child, ended }
}

async function answers(url: string): Promise<boolean> {
  const answer = await fetch(url.replace('ws:', 'http:')).catch(() => undefined)
  await answer?.arrayBuffer()
  return answer !== undefined
}

/** Not listening yet is the same as not ready. */
export async function isReady(httpUrl: string): Promise<boolean> {
  const answer = await fetch(`${httpUrl}/ready`).catch(() => undefined)
  await answer?.arrayBuffer()
  return answer?.ok === true
}
