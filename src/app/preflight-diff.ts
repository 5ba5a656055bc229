// Two preflights of the history side by side, for who asks over HTTP: worked out by the command in a process of its own,
// one at a time, since it asks judges again and the bus has other things to do.
import { type ChildProcess, spawn } from 'node:child_process'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import type { Logger } from '../base/logger.ts'
import type { PreflightDiff } from '../transport/http-preflight.ts'
import { lowerPriority } from './lower-priority.ts'

export interface PreflightDiffs {
  /** `before`, `after`: a run's id, `last`, and as `before` also `last-green`. */
  diff(before: string, after: string): Promise<PreflightDiff>
  /** Ends one that is being worked out. */
  close(): Promise<void>
}

/** Far more than it takes. */
const killMs = 20_000
const mostBytes = 16 * 1_024 * 1_024
/** As `preflight diff` ends: the same, not the same, no such run. */
const ends: Readonly<Record<number, 'done' | 'no-run'>> = { 0: 'done', 50: 'done', 65: 'no-run' }

export function openPreflightDiffs({
  command,
  env,
  logger,
}: {
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly logger: Logger
}): PreflightDiffs {
  let current: { readonly child: ChildProcess; readonly over: Promise<unknown> } | undefined

  function begin(before: string, after: string): { child: ChildProcess; over: Promise<PreflightDiff> } {
    const [program, ...args] = command
    const sides = before === 'last-green' ? ['--since', before, after] : [before, after]
    const child = spawn(program, [...args, 'preflight', 'diff', '--json', '--of-history', ...sides], {
      env: { ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    lowerPriority(child)
    const timer = setTimeout(() => child.kill('SIGKILL'), killMs)
    const out: Buffer[] = []
    let bytes = 0
    child.stdout!.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > mostBytes) child.kill('SIGKILL')
      else out.push(chunk)
    })
    let words = ''
    child.stderr!.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString('utf8')).slice(-500)
    })
    const over = new Promise<PreflightDiff>((resolve) => {
      const fail = (why: string): void => {
        logger.warn('preflight.diff_failed', { why, words })
        resolve({ refused: 'failed' })
      }
      child.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'it could not be started'))
      child.once('close', (code, signal) => {
        clearTimeout(timer)
        const end = ends[code ?? -1]
        if (end === 'no-run') return resolve({ refused: 'no-run' })
        const diff = end === 'done' ? parsed(Buffer.concat(out).toString('utf8')) : undefined
        return diff === undefined ? fail(signal ?? `exit code ${code}`) : resolve({ diff })
      })
    })
    return { child, over }
  }

  return {
    async diff(before, after) {
      if (current !== undefined) return { refused: 'running' }
      const begun = begin(before, after)
      current = begun
      try {
        return await begun.over
      } finally {
        current = undefined
      }
    },
    async close() {
      current?.child.kill('SIGKILL')
      await current?.over
    },
  }
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
