// The real command as a child process with exactly the environment given, noting whether it ever listens.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compiled } from '../compiled.ts'

const command = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
const noteListen = fileURLToPath(new URL('note-listen.mjs', import.meta.url))

export type Variables = Readonly<Record<string, string | undefined>>

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  /** Without the note of listening. */
  readonly stderr: string
  readonly hasListened: boolean
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when standard output matches; rejects when the command ends first. */
  until(form: RegExp): Promise<void>
}

/** `folder`: where it runs; its default data folder is inside. A command that does not end is killed after 20 s. */
export function start(program: 'bus' | 'shield' | 'projector', env: Variables, folder: string): Started {
  const { PATH } = process.env
  const child = spawn(process.execPath, ['--import', noteListen, command, program], {
    cwd: folder,
    env: { PATH, NODE_COMPILE_CACHE: compiled, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer)
      const lines = stderr.split('\n').filter((line) => line !== 'NOTE: listens')
      resolve({ code, stdout, stderr: lines.join('\n'), hasListened: stderr.includes('NOTE: listens') })
    })
  })
  return {
    child,
    ended,
    until(form) {
      return new Promise((resolve, reject) => {
        const check = (): void => {
          if (form.test(stdout)) resolve()
        }
        child.stdout!.on('data', check)
        child.on('close', () => reject(new Error(`ended before ${form}: ${stdout}${stderr}`)))
        check()
      })
    },
  }
}
