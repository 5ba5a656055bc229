// Starting the servers that are measured: pinned to core 0, in temporary folders, stopped by process id.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface MeasuredProcess {
  readonly pid: number
  /** CPU seconds used so far, user and system. */
  cpuSeconds(): number
  /** Resident bytes now. */
  residentBytes(): number
  stop(): Promise<void>
}

/** Where servers of ours leave a CPU profile of their main thread, if that was asked for (`--profile`). */
const profiles = process.env['ARQONBUS_BENCH_PROFILES']

export function isOnPath(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0
}

export interface StartOptions {
  readonly core: number
  /** Resolves when something listens there. */
  readonly port: number
  readonly env?: Readonly<Record<string, string>>
  /** Written to the folder it runs in, by name. */
  readonly files?: Readonly<Record<string, string>>
}

export async function startPinned(
  command: string,
  args: readonly string[],
  options: StartOptions,
): Promise<MeasuredProcess> {
  if (await isListening(options.port)) {
    throw new Error(`port ${options.port} is taken: does another bench run? Set ARQONBUS_BENCH_PORT`)
  }
  const folder = await mkdtemp(join(tmpdir(), 'arqonbus-bench-'))
  for (const [name, text] of Object.entries(options.files ?? {})) await writeFile(join(folder, name), text)
  const profiled = profiles !== undefined && command === process.execPath
  const nodeOptions = profiled ? ['--cpu-prof', '--cpu-prof-dir', profiles] : []
  const child = spawn('taskset', ['-c', String(options.core), command, ...nodeOptions, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...options.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4_000)
  })
  await untilListening(child, options.port, () => errors)
  const pid = child.pid!
  return {
    pid,
    cpuSeconds: () => {
      const fields = read(`/proc/${pid}/stat`).split(') ')[1]!.split(' ')
      return (Number(fields[11]) + Number(fields[12])) / 100
    },
    residentBytes: () => Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = new Promise((resolve) => child.once('exit', resolve))
        child.kill(profiled ? 'SIGTERM' : 'SIGKILL') // a profile is written by a process that ends of its own accord
        await exited
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function read(path: string): string {
  return spawnSync('cat', [path]).stdout.toString()
}

async function untilListening(child: ChildProcess, port: number, errors: () => string): Promise<void> {
  const deadline = Date.now() + 15_000
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the server exited with ${child.exitCode}: ${errors()}`)
    if (await isListening(port)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on port ${port}: ${errors()}`)
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
