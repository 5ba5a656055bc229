// A server program under test: started in a temporary folder on a free port, frozen, killed and restarted by its
// process id, gone with the test process however that ends.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { findFreePorts } from '../launch/free-ports.ts'

export interface ServerProcess {
  readonly port: number
  readonly pid: number
  /** Its own folder, with data and configuration. */
  readonly dir: string
  /** The last of what it wrote. */
  log(): string
  /** SIGSTOP: the sockets stay open and nothing is read. Resolves when it stands still. */
  freeze(): Promise<void>
  thaw(): void
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>
  /** Starts it again on the same port and data, when it was killed. */
  restart(): Promise<void>
  /** Stops it and removes its folder. */
  close(): Promise<void>
}

export interface ServerSpec {
  readonly program: string
  /** Called once the folder is there, before the first start. */
  readonly prepare?: (place: { dir: string; port: number }) => Promise<void>
  readonly args: (place: { dir: string; port: number }) => readonly string[]
  /** Does it answer as it should? Asked again and again. */
  readonly isReady: (place: { dir: string; port: number }) => Promise<boolean>
  /** Run as this user, who then owns the folder; for programs that refuse to be root. */
  readonly user?: { readonly uid: number; readonly gid: number }
  readonly env?: Readonly<Record<string, string>>
}

const readyWithinMs = 20_000

export async function startServer(spec: ServerSpec): Promise<ServerProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'arqonbus-server-'))
  const { user } = spec
  if (user !== undefined) await chown(dir, user.uid, user.gid)
  const [port] = (await findFreePorts(1)) as [number]
  const place = { dir, port }
  let log = ''
  let child: ChildProcess
  let ended: Promise<void>
  let frozen: readonly number[] = []

  async function start(): Promise<void> {
    child = spawn(spec.program, [...spec.args(place)], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...spec.env },
      ...user,
    })
    const started = child
    const remember = (chunk: Buffer): void => {
      log = (log + chunk.toString()).slice(-20_000)
    }
    started.stdout!.on('data', remember)
    started.stderr!.on('data', remember)
    const killOnExit = (): void => void started.kill('SIGKILL')
    process.once('exit', killOnExit)
    ended = new Promise((resolve) => {
      started.once('close', () => {
        process.off('exit', killOnExit)
        resolve()
      })
    })
    const untilMs = performance.now() + readyWithinMs
    while (!(await spec.isReady(place))) {
      if (started.exitCode !== null || performance.now() > untilMs) {
        started.kill('SIGKILL')
        throw new Error(`${spec.program} did not start:\n${log}`)
      }
      await pause(10)
    }
  }

  async function kill(): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      for (const pid of family(child.pid!)) signal(pid, 'SIGKILL')
    }
    await ended
  }

  try {
    await spec.prepare?.(place)
    await start()
  } catch (error) {
    await rm(dir, { recursive: true, force: true })
    throw error
  }
  return {
    port,
    dir,
    get pid() {
      return child.pid!
    },
    log: () => log,
    async freeze() {
      child.kill('SIGSTOP') // first, so that it starts no more children
      frozen = family(child.pid!)
      for (const pid of frozen) signal(pid, 'SIGSTOP')
      // The signal reaches one thread after the other; elsewhere than on Linux a moment has to do.
      for (const pid of frozen) {
        for (let waited = 0; waited < 200 && !isStill(await processState(pid)); waited++) await pause(5)
      }
    },
    thaw() {
      for (const pid of frozen.toReversed()) signal(pid, 'SIGCONT')
    },
    kill,
    restart: start,
    async close() {
      await kill()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** The process and its children, which for Postgres do the work; only itself where there is no /proc. */
function family(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return [pid, ...children.split(' ').filter(Boolean).map(Number)]
  } catch {
    return [pid]
  }
}

const isStill = (state: string | undefined): boolean => state === 'T' || state === 'Z' || state === undefined

/** One letter of proc(5); undefined where there is no /proc. */
async function processState(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)[0]
  } catch {
    return undefined
  }
}

/** Connects to a loopback port, says `hello` if there is any, and tests the first bytes that come. */
export function answers(port: number, hello: string, isExpected: (text: string) => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port })
    socket.setTimeout(1_000, () => socket.destroy())
    if (hello !== '') socket.write(hello)
    socket.once('data', (data) => {
      resolve(isExpected(data.toString('latin1')))
      socket.destroy()
    })
    socket.once('error', () => undefined)
    socket.once('close', () => resolve(false))
  })
}
