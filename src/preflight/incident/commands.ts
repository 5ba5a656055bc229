// What was spawned: argv, where, how it ended, and everything it wrote, spooled to files as it came. No pipe buffer
// bounds it, and nothing is cut without saying so.
import { spawn, type StdioOptions } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'

export interface CommandEnd {
  readonly exit: number | null
  readonly signal: string | null
  readonly ms: number
  /** It could not be started: the code of the system call. */
  readonly failure?: string
  /** It was ended at its deadline. */
  readonly isLate?: true
}

export interface RecordedCommand extends Partial<CommandEnd> {
  /** `000-preflight`: in the order of their starts. */
  readonly folder: string
  readonly argv: readonly string[]
  readonly cwd: string
  /** What was done with its streams, where they were not spooled. */
  readonly streams?: string
}

export interface StartedCommand {
  write(stream: 'stdout' | 'stderr', chunk: Uint8Array | string): void
  end(end: CommandEnd): void
}

export interface CommandSpec {
  /** Letters, digits and dashes; names its folder. */
  readonly id: string
  /** The program first. */
  readonly argv: readonly string[]
  readonly cwd: string
  readonly streams?: string
}

export interface CommandSpool {
  /** For what somebody else spawns, or what was never spawned: the run itself. */
  begin(spec: CommandSpec): StartedCommand
  /**
   * Runs a program to its end, its streams straight into files. Never rejects. At the deadline, or when the signal is
   * aborted, the program is killed with all that it started.
   */
  run(
    spec: CommandSpec,
    options: {
      readonly env: Readonly<Record<string, string>>
      readonly deadlineMs: number
      readonly signal?: AbortSignal
    },
  ): Promise<CommandEnd & { readonly stdout: Buffer; readonly stderr: Buffer }>
  commands(): readonly RecordedCommand[]
  /** At most `maxBytes`; `size` is what there is. */
  read(command: RecordedCommand, stream: 'stdout' | 'stderr', maxBytes: number): { bytes: Buffer; size: number }
  /** Takes the files away. */
  close(): void
}

const maxResultBytes = 16 * 1024 * 1024

/** Its folder is one of the system's temporary ones, 0700. */
export function openCommandSpool(clock: Clock): CommandSpool {
  const root = mkdtempSync(join(tmpdir(), 'arqonbus-preflight-'))
  const commands: RecordedCommand[] = []

  function enter({ id, argv, cwd, streams }: CommandSpec): { index: number; folder: string } {
    const index = commands.length
    const folder = `${String(index).padStart(3, '0')}-${id}`
    mkdirSync(join(root, folder), { mode: 0o700 })
    commands.push({ folder, argv, cwd, ...(streams !== undefined && { streams }) })
    return { index, folder }
  }

  function finish(index: number, end: CommandEnd): void {
    commands[index] = { ...commands[index]!, ...end }
  }

  const open = (folder: string, stream: string): number => openSync(join(root, folder, stream), 'a', 0o600)

  function read({ folder }: RecordedCommand, stream: 'stdout' | 'stderr', maxBytes: number) {
    const path = join(root, folder, stream)
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (size === 0) return { bytes: Buffer.alloc(0), size }
    const file = openSync(path, 'r')
    try {
      const bytes = Buffer.alloc(Math.min(size, maxBytes))
      return { bytes: bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0)), size }
    } finally {
      closeSync(file)
    }
  }

  return {
    begin(spec) {
      const { index, folder } = enter(spec)
      return {
        write(stream, chunk) {
          const file = open(folder, stream)
          writeSync(file, typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk)
          closeSync(file)
        },
        end: (end) => finish(index, end),
      }
    },
    async run(spec, { env, deadlineMs, signal }) {
      const { index, folder } = enter(spec)
      const startedMs = clock.monotonic()
      const files = [open(folder, 'stdout'), open(folder, 'stderr')]
      const ended = await runToEnd(spec, {
        env,
        deadlineMs,
        signal,
        stdio: ['ignore', ...files] as StdioOptions,
      })
      for (const file of files) closeSync(file)
      const end = { ...ended, ms: Math.round(clock.monotonic() - startedMs) }
      finish(index, end)
      const command = commands[index]!
      return {
        ...end,
        stdout: read(command, 'stdout', maxResultBytes).bytes,
        stderr: read(command, 'stderr', maxResultBytes).bytes,
      }
    },
    commands: () => commands,
    read,
    close: () => rmSync(root, { recursive: true, force: true }),
  }
}

interface Running {
  readonly env: Readonly<Record<string, string>>
  readonly deadlineMs: number
  readonly signal: AbortSignal | undefined
  readonly stdio: StdioOptions
}

function runToEnd(
  { argv: [program = '', ...args], cwd }: CommandSpec,
  { env, deadlineMs, signal, stdio }: Running,
): Promise<Omit<CommandEnd, 'ms'>> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio })
    let isLate = false
    const end = (): void => {
      isLate = true
      killTree(child.pid)
    }
    const settle = (ended: Omit<CommandEnd, 'ms'>): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve(ended)
    }
    const timer = setTimeout(end, deadlineMs)
    signal?.addEventListener('abort', end)
    child.on('error', (error: NodeJS.ErrnoException) => {
      settle({ exit: null, signal: null, failure: error.code ?? 'unknown error' })
    })
    child.on('close', (exit, by) => settle({ exit, signal: by, ...(isLate && { isLate: true as const }) }))
    if (signal?.aborted === true) end()
  })
}

/** With everything below it, where procfs tells what that is: the workers of a test runner, the servers of a suite. */
function killTree(pid: number | undefined): void {
  if (pid === undefined) return
  for (const one of [...descendantsOf(pid), pid]) {
    try {
      process.kill(one, 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
}

function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readProcesses()) {
    try {
      // After the name of the program, which may hold anything: state, then the parent.
      const parent = Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // It has ended meanwhile.
    }
  }
  const found: number[] = []
  for (const queue = [pid]; queue.length > 0; ) {
    const below = children.get(queue.pop()!) ?? []
    found.push(...below)
    queue.push(...below)
  }
  return found
}

function readProcesses(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}
