// The loop that never gives up: takes events from a source, projects them, and only then tells the source. While
// Postgres is away, or the dead letters are full, it takes in nothing more and tries again, slower and slower.
import { setTimeout as pause } from 'node:timers/promises'
import { backoffMs } from '../base/backoff.ts'
import { isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { Outcome, Projector } from './projector.ts'

export interface SourceMessage {
  readonly data: Uint8Array
  /** It has taken effect: the source need not give it again. */
  ack(): void
}

/** Gives what was not acknowledged again, after a while of its own. */
export interface EventSource {
  /** Up to `atMost`, waiting a moment for the first; none when there are none. Rejects while it is away. */
  next(atMost: number): Promise<readonly SourceMessage[]>
}

export type LaneState = 'running' | 'waiting' | 'dead_letters_full' | 'stopped'

export interface Lane {
  readonly state: LaneState
  /** Why it waits. */
  readonly trouble: string | undefined
  /** Ends after the batch at hand. */
  close(): Promise<void>
}

export interface LaneOptions {
  readonly source: EventSource
  readonly name: string
  readonly projector: Projector
  readonly batch: number
  readonly logger: Logger
  readonly random?: () => number
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number }
  readonly onBatch?: (outcomes: readonly Outcome[]) => void
}

const fullMs = 2_000
const standardBackoff = { baseMs: 100, maxMs: 30_000 }

export function startLane(options: LaneOptions): Lane {
  const { source, name, projector, batch, logger, random = Math.random, backoff = standardBackoff } = options
  const ended = new AbortController()
  let state: LaneState = 'running'
  let trouble: string | undefined

  function enter(next: LaneState, error?: unknown): void {
    const failure = error === undefined ? undefined : describeError(error)
    trouble = failure === undefined ? undefined : String(failure['message'])
    if (state === next) return
    state = next
    if (next === 'running') logger.info('projector.running', { lane: name })
    else logger[next === 'dead_letters_full' ? 'error' : 'warn'](`projector.${next}`, { lane: name, ...failure })
  }

  /** Until it succeeds or the lane ends. */
  async function insist<T>(work: () => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; !ended.signal.aborted; attempt++) {
      try {
        const result = await work()
        enter('running')
        return result
      } catch (error) {
        if (!isBusError(error)) logger.error('projector.unexpected', { lane: name, ...describeError(error) })
        const isFull = isBusError(error) && error.details['reason'] === 'DEAD_LETTERS_FULL'
        enter(isFull ? 'dead_letters_full' : 'waiting', error)
        // Somebody may be at work on the letters: that is looked at often, for it costs little.
        const maxMs = isFull ? Math.min(backoff.maxMs, fullMs) : backoff.maxMs
        const waitMs = backoff.baseMs / 2 + backoffMs(attempt, random(), backoff.baseMs, maxMs)
        await pause(waitMs, undefined, { signal: ended.signal }).catch(() => undefined)
      }
    }
    return undefined
  }

  async function run(): Promise<void> {
    while (!ended.signal.aborted) {
      const messages = await insist(() => source.next(batch))
      if (messages === undefined || messages.length === 0) continue
      const items = messages.map(({ data }) => ({ raw: data, source: name }))
      const outcomes = await insist(() => projector.project(items))
      if (outcomes === undefined) continue // it ends: the source gives them again
      for (const message of messages) message.ack()
      options.onBatch?.(outcomes)
    }
  }

  const running = run()
  return {
    get state() {
      return state
    },
    get trouble() {
      return trouble
    },
    async close() {
      ended.abort()
      await running
      state = 'stopped'
    },
  }
}
