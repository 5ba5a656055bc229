// Preflights of a running bus: each in a process of its own with a lower priority, so that what it does costs the bus
// nothing; one at a time, and not too often. The last report is kept in memory and, where there is a data folder, in it.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Clock, toIsoTime } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import { isJsonObject } from '../base/json.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { lowerPriority } from './lower-priority.ts'
import { openPreflightDiffs } from './preflight-diff.ts'
import type { LastPreflight, PreflightSink, PreflightStart, PreflightView } from '../transport/http-preflight.ts'

export interface PreflightRunsOptions {
  /** The program and the arguments before those of a run: `node arqonbus`. */
  readonly command: readonly [string, ...string[]]
  /** What this program was started with: that is what is judged. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Keeps the last report; absent: it is gone with the process. */
  readonly dataDir?: string
  readonly clock: Clock
  readonly logger: Logger
}

export interface PreflightRuns extends PreflightView {
  /** Ends a run that is going on, and every stream. */
  close(): Promise<void>
}

/** From the end of a run to the start of the next. */
const pauseMs = 10_000
/** More than a run may take by itself. */
const killMs = 6 * 60_000
const mostListeners = 8
/** What it checks itself is taken by us while we run. */
const skipped = ['bus.server-port-free']

interface Run {
  readonly id: string
  readonly child: ChildProcess
  readonly folder: string
  /** All it has shown, for who comes later. */
  readonly events: [name: string, data: string][]
  /** Kept back until the report can be read. */
  verdict?: string
  readonly over: Promise<void>
}

export function openPreflightRuns(options: PreflightRunsOptions): PreflightRuns {
  const { clock, logger, dataDir } = options
  const file = dataDir === undefined ? undefined : join(dataDir, 'preflight', 'last-report.json')
  const sinks = new Set<PreflightSink>()
  const diffs = openPreflightDiffs(options)
  let last = file === undefined ? undefined : readLast(file)
  let current: Run | undefined
  let mayStartAtMs = Number.NEGATIVE_INFINITY

  function publish(run: Run, name: string, data: string): void {
    run.events.push([name, data])
    for (const sink of sinks) sink.event(name, data)
  }

  function begin(effects: 'read' | 'write'): Run {
    const folder = mkdtempSync(join(tmpdir(), 'arqonbus-preflight-'))
    const [program, ...args] = options.command
    const id = randomHex(8)
    const child = spawn(program, [...args, ...argumentsOf(effects, id, reportIn(folder))], {
      env: { ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    lowerPriority(child)
    const { promise: over, resolve } = Promise.withResolvers<void>()
    const run: Run = { id, child, folder, events: [], over }
    publish(run, 'run', JSON.stringify({ run: run.id, effects, at: toIsoTime(clock.now()) }))
    createInterface({ input: child.stdout! }).on('line', (line) => take(run, line))
    let words = ''
    child.stderr!.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString('utf8')).slice(-500)
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), killMs)
    let hasEnded = false // `close` follows `error`
    const end = (why: string): void => {
      if (hasEnded) return
      hasEnded = true
      clearTimeout(timer)
      void finish(run, why, words).then(resolve)
    }
    child.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'it could not be started'))
    child.once('close', (code, signal) => end(signal === null ? `exit code ${code}` : signal))
    return run
  }

  function take(run: Run, line: string): void {
    const name = typeOf(line)
    if (name === 'verdict') run.verdict = line
    else if (name === 'check') publish(run, name, line)
  }

  /** Never rejects. */
  async function finish(run: Run, why: string, words: string): Promise<void> {
    const text = await readFile(reportIn(run.folder), 'utf8').catch(() => '')
    const found = parseLast(text)
    await rm(run.folder, { recursive: true, force: true }).catch((error) =>
      logger.warn('preflight.folder_left', describeError(error)),
    )
    mayStartAtMs = clock.monotonic() + pauseMs
    if (found === undefined || run.verdict === undefined) {
      current = undefined
      logger.warn('preflight.run_failed', { run: run.id, why, words })
      publish(run, 'failed', JSON.stringify({ run: run.id, why }))
      return
    }
    await keep(text)
    last = found
    current = undefined
    logger.info('preflight.run_completed', { run: run.id, verdict: found.verdict, digest: found.digest })
    publish(run, 'verdict', run.verdict)
  }

  async function keep(text: string): Promise<void> {
    if (file === undefined) return
    try {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      await writeFile(`${file}.new`, text, { mode: 0o600 })
      await rename(`${file}.new`, file)
    } catch (error) {
      logger.warn('preflight.report_not_kept', describeError(error))
    }
  }

  return {
    last: () => last,
    start(effects): PreflightStart {
      if (current !== undefined) return { refused: 'running', run: current.id }
      const leftMs = mayStartAtMs - clock.monotonic()
      if (leftMs > 0) return { refused: 'too-soon', retryAfterSeconds: Math.ceil(leftMs / 1_000) }
      current = begin(effects)
      return { run: current.id }
    },
    diff: (before, after) => diffs.diff(before, after),
    hasRoom: () => sinks.size < mostListeners,
    follow(sink) {
      for (const [name, data] of current?.events ?? []) sink.event(name, data)
      sinks.add(sink)
      return () => void sinks.delete(sink)
    },
    async close() {
      const run = current
      run?.child.kill('SIGKILL')
      await Promise.all([run?.over, diffs.close()])
      for (const sink of sinks) sink.end()
      sinks.clear()
    },
  }
}

const reportIn = (folder: string): string => join(folder, 'report.json')

/** What can be asked of a running system without starting another: the rules, and the services. */
const argumentsOf = (effects: 'read' | 'write', id: string, report: string): string[] => [
  ...'preflight run --env-from process --phase static deps'.split(' '),
  ...skipped.flatMap((id) => ['--skip', id]),
  ...'--output ndjson --bundle never --timeout 5m'.split(' '),
  '--run-id',
  id,
  '--report',
  `json=${report}`,
  ...(effects === 'read' ? ['--read-only'] : []),
]

function typeOf(line: string): unknown {
  const value = parsed(line)
  return isJsonObject(value) ? value['type'] : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The one that was kept; undefined where there is none, or none that can be read. */
function readLast(path: string): LastPreflight | undefined {
  try {
    return parseLast(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

function parseLast(text: string): LastPreflight | undefined {
  const report = parsed(text)
  if (!isJsonObject(report)) return undefined
  const { canonical, digest, observations } = report as Partial<Record<string, unknown>>
  if (!isJsonObject(canonical) || !isJsonObject(observations) || typeof digest !== 'string') return undefined
  const { verdict } = canonical as Partial<Record<string, unknown>>
  const { startedAt, ms } = observations as Partial<Record<string, unknown>>
  const startedMs = typeof startedAt === 'string' ? Date.parse(startedAt) : Number.NaN
  if (typeof verdict !== 'string' || typeof ms !== 'number' || Number.isNaN(startedMs)) return undefined
  return { verdict, digest, at: toIsoTime(startedMs + ms), report }
}
