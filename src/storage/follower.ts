// Work in the background that follows streams as they grow: what appends tell of is done soon, and now and then all
// streams are looked through for what nobody told of. One step at a time; a step that failed is made again.
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { describeError, type Logger } from '../base/logger.ts'

export interface Follower<T> {
  /** Streams that have grown; never waits. */
  noteGrown(streams: readonly T[]): void
  /** As far as this process knows. */
  readonly state: FollowerState
  /** Begins nothing more; resolves when the step that runs has ended. */
  stop(): Promise<void>
}

export interface FollowerState {
  /** Streams whose growth has not been followed to its end. */
  readonly waiting: number
  /** For how long the first of them has waited, ms; 0 where none waits. */
  readonly lagMs: number
  /** Steps that failed since the start. */
  readonly failures: number
}

export interface FollowerOptions<T> {
  /** Of the work, in the log: `store.<name>.failed`. */
  readonly name: string
  /** Streams that grow within this time share a step, ms. */
  readonly gatherMs: number
  readonly sweepEveryMs: number
  readonly streamsPerStep: number
  /** Does some of the work of these streams; gives those with more to do. */
  readonly step: (streams: readonly T[]) => Promise<readonly T[]>
  /** Looks through all streams, and gives those with something to do, some at a time. */
  readonly sweep: () => AsyncIterable<readonly T[]>
  /** Equal for one stream. Default: the value itself. */
  readonly idOf?: (stream: T) => unknown
  readonly clock: Pick<Clock, 'monotonic'>
  readonly logger: Logger
}

/** The wait after a step that failed, for instance while the server is away. */
const afterFailureMs = 1_000

interface Grown<T> {
  readonly stream: T
  readonly sinceMs: number
}

/** Sweeps at once. */
export function createFollower<T>(options: FollowerOptions<T>): Follower<T> {
  const { name, gatherMs, step, sweep, idOf = (stream) => stream, clock, logger } = options
  const ended = new AbortController()
  /** By id; the longest waiting first, but for those whose step failed. */
  const waiting = new Map<unknown, Grown<T>>()
  /** In the step under way. */
  let taken: readonly Grown<T>[] = []
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let sweeping: Promise<void> | undefined
  let failures = 0
  let isFailing = false

  function note(stream: T, sinceMs: number): void {
    const id = idOf(stream)
    const known = waiting.get(id)
    if (known === undefined || known.sinceMs > sinceMs) waiting.set(id, { stream, sinceMs })
  }

  function wake(afterMs: number): void {
    if (ended.signal.aborted || timer !== undefined || running !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      running = run().finally(() => {
        running = undefined
        if (waiting.size > 0) wake(gatherMs)
      })
    }, afterMs).unref()
  }

  async function run(): Promise<void> {
    try {
      while (waiting.size > 0 && !ended.signal.aborted) await takeSome()
      isFailing = false
    } catch (error) {
      await failed(error)
    }
  }

  async function takeSome(): Promise<void> {
    const some: Grown<T>[] = []
    for (const [id, grown] of waiting) {
      if (some.length === options.streamsPerStep) break
      some.push(grown)
      waiting.delete(id)
    }
    taken = some
    let unfinished: readonly T[] = some.map(({ stream }) => stream)
    try {
      unfinished = await step(unfinished)
    } finally {
      const since = new Map(some.map(({ stream, sinceMs }) => [idOf(stream), sinceMs]))
      taken = []
      for (const stream of unfinished) note(stream, since.get(idOf(stream)) ?? clock.monotonic())
    }
  }

  async function failed(error: unknown): Promise<void> {
    if (ended.signal.aborted) return
    failures++
    // An outage is one line of the log, however often its work is tried.
    logger[isFailing ? 'debug' : 'warn'](`store.${name}.failed`, describeError(error))
    isFailing = true
    await pause(afterFailureMs, undefined, { ref: false, signal: ended.signal }).catch(() => undefined)
  }

  async function sweepOnce(): Promise<void> {
    try {
      for await (const streams of sweep()) {
        if (ended.signal.aborted) return
        noteGrown(streams, 0)
      }
    } catch (error) {
      await failed(error)
    }
  }

  function sweepNow(): void {
    sweeping ??= sweepOnce().finally(() => {
      sweeping = undefined
    })
  }

  function noteGrown(streams: readonly T[], afterMs = gatherMs): void {
    const now = clock.monotonic()
    for (const stream of streams) note(stream, now)
    if (waiting.size > 0) wake(afterMs)
  }

  const sweeps = setInterval(sweepNow, options.sweepEveryMs).unref()
  sweepNow()

  return {
    noteGrown: (streams) => noteGrown(streams),
    get state() {
      const since = [...waiting.values(), ...taken].map(({ sinceMs }) => sinceMs)
      const first = since.reduce((least, ms) => Math.min(least, ms), Number.POSITIVE_INFINITY)
      const lagMs = since.length === 0 ? 0 : clock.monotonic() - first
      return { waiting: since.length, lagMs, failures }
    },
    async stop() {
      ended.abort()
      clearInterval(sweeps)
      clearTimeout(timer)
      await Promise.all([running, sweeping])
    },
  }
}
