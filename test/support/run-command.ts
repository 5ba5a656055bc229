// Runs one command line in this process, as bin does, and keeps what it printed and would have exited with.
import { tmpdir } from 'node:os'
import { runProgram } from '../../src/bin/program.ts'

export interface CommandRun {
  readonly exitCode: number
  readonly out: readonly string[]
  readonly notes: readonly string[]
  /** Lines for machines, on standard error too. */
  readonly log: readonly string[]
}

export async function runCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<CommandRun> {
  const out: string[] = []
  const notes: string[] = []
  const log: string[] = []
  let exitCode = 0
  await runProgram(args, {
    env,
    argv: ['node', 'arqonbus', ...args],
    cwd: tmpdir(), // what a command leaves where it was called does not land in the repository
    stdin: (async function* () {})(),
    out: (line) => void out.push(line),
    note: (line) => void notes.push(line),
    log: (line) => void log.push(line),
    exitWith(code) {
      exitCode = code
    },
    stop: new AbortController().signal,
  })
  return { exitCode, out, notes, log }
}
