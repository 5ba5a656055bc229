// A real nats-server for tests: on a free port, in a temporary folder, stopped by its process id. Where none is
// installed, tests that need one are skipped and say why; with ARQONBUS_REQUIRE_NEIGHBOURS=1 they fail instead.
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { findFreePorts } from './launch/free-ports.ts'

export interface NatsServerProcess {
  readonly port: number
  readonly pid: number
  /** Without credentials. */
  readonly url: string
  /** What it wrote to its log. */
  log(): string
  /** SIGSTOP: the sockets stay open and nothing is read. Resolves when it stands still. */
  freeze(): Promise<void>
  thaw(): void
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>
  /** Starts it again on the same port, when it was killed. */
  restart(): Promise<void>
  /** Stops it and removes its folder. */
  close(): Promise<void>
}

const program = 'nats-server'
const readyWithinMs = 10_000

function isInstalled(): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Why tests against NATS cannot run here; undefined when they can. */
export const natsAbsence: string | undefined = isInstalled() ? undefined : `no ${program} on PATH`

/** For `describe.skipIf`: true where NATS is absent and need not be there. Says so, for nobody reads skipped titles. */
export function skipWithoutNats(): boolean {
  if (natsAbsence === undefined || process.env['ARQONBUS_REQUIRE_NEIGHBOURS'] === '1') return false
  process.stderr.write(`SKIPPED: ${natsAbsence}; tests against a real NATS server do not run\n`)
  return true
}

/** `config` is text in the server's own form, beside the address. */
export async function startNatsServer(options: { config?: string } = {}): Promise<NatsServerProcess> {
  if (natsAbsence !== undefined) throw new Error(`${natsAbsence}: install it, or unset ARQONBUS_REQUIRE_NEIGHBOURS`)
  const dir = await mkdtemp(join(tmpdir(), 'arqonbus-nats-'))
  const [port] = (await findFreePorts(1)) as [number]
  const configFile = join(dir, 'nats.conf')
  await writeFile(configFile, `listen: "127.0.0.1:${port}"\n${options.config ?? ''}\n`)
  let log = ''
  let child: ChildProcess
  let ended: Promise<void>

  async function start(): Promise<void> {
    child = spawn(program, ['-c', configFile], { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] })
    const started = child
    started.stderr!.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-20_000)
    })
    const killOnExit = (): void => void started.kill('SIGKILL')
    process.once('exit', killOnExit)
    ended = new Promise((resolve) => {
      started.once('close', () => {
        process.off('exit', killOnExit)
        resolve()
      })
    })
    const untilMs = performance.now() + readyWithinMs
    while (!(await greets(port))) {
      if (started.exitCode !== null || performance.now() > untilMs) throw new Error(`${program} did not start:\n${log}`)
      await pause(10)
    }
  }

  async function kill(): Promise<void> {
    child.kill('SIGCONT')
    child.kill('SIGKILL')
    await ended
  }

  await start()
  return {
    port,
    get pid() {
      return child.pid!
    },
    url: `nats://127.0.0.1:${port}`,
    log: () => log,
    async freeze() {
      child.kill('SIGSTOP')
      // The signal reaches one thread after the other; elsewhere than on Linux a moment has to do.
      for (let waited = 0; waited < 200 && (await processState(child.pid!)) !== 'T'; waited++) await pause(5)
    },
    thaw: () => void child.kill('SIGCONT'),
    kill,
    restart: start,
    async close() {
      await kill()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** One letter of proc(5); undefined where there is no /proc. */
async function processState(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)[0]
  } catch {
    return undefined
  }
}

function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port })
    socket.once('data', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
