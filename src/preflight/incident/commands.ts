// What was spawned: argv, where, how it ended, and everything it wrote, spooled to files as it came. No pipe buffer
// bounds it, and nothing is cut without saying so.
import { spawn, type StdioOptions } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
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
  /** Runs a program to its end, its streams straight into files. Never rejects. */
  run(
    spec: CommandSpec,
    options: { readonly env: Readonly<Record<string, string>>; readonly deadlineMs: number },
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
    async run(spec, { env, deadlineMs }) {
      const { index, folder } = enter(spec)
      const startedMs = clock.monotonic()
      const files = [open(folder, 'stdout'), open(folder, 'stderr')]
      const ended = await runToEnd(spec, { env, deadlineMs, stdio: ['ignore', ...files] as StdioOptions })
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

function runToEnd(
  { argv: [program = '', ...args], cwd }: CommandSpec,
  { env, deadlineMs, stdio }: { env: Readonly<Record<string, string>>; deadlineMs: number; stdio: StdioOptions },
): Promise<Omit<CommandEnd, 'ms'>> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio })
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      child.kill('SIGKILL')
    }, deadlineMs)
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      resolve({ exit: null, signal: null, failure: error.code ?? 'unknown error' })
    })
    child.on('close', (exit, signal) => {
      clearTimeout(timer)
      resolve({ exit, signal, ...(isLate && { isLate: true as const }) })
    })
  })
}
