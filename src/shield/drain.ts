// How a gateway goes: all clients are told at once, each with its own time to come back; then they are closed some at a
// time, each once what it sent is answered. Whoever listens to the goodbye and whoever only sees the close come back
// equally spread: everyone at once would be the next outage.
import { systemClock } from '../base/clock.ts'
import type { Envelope } from '../envelope/envelope.ts'
import type { EdgeSession } from './edge-session.ts'

export interface DrainLimits {
  readonly closesPerSecond: number
  /** For all of it. With more clients than that many closes a second can end in it, they are closed faster. */
  readonly drainTimeoutMs: number
  readonly closeTimeoutMs: number
}

export interface DrainPorts {
  /** Those that are still there. */
  readonly sessions: ReadonlyMap<string, EdgeSession>
  readonly goaway: (reconnectAfterMs: number) => Envelope
  /** How long an answer of the bus is waited for. */
  readonly answerMs: number
}

/** Longest hint; SDKs that were told to wait are gone for that long. */
const maxHintMs = 10_000
const stepMs = 20

export async function drainSessions(limits: DrainLimits, ports: DrainPorts): Promise<void> {
  const { sessions, goaway, answerMs } = ports
  const startMs = systemClock.monotonic() // what is waited for here is real time
  const leaving = [...sessions.values()]
  const closingMs = Math.max(1, limits.drainTimeoutMs - answerMs - limits.closeTimeoutMs)
  const perMs = Math.max(limits.closesPerSecond / 1_000, leaving.length / closingMs)
  const turnMs = (index: number): number => Math.round(index / perMs)
  for (const [index, { session }] of leaving.entries()) session.send(goaway(Math.min(maxHintMs, turnMs(index))))

  const ending: Promise<void>[] = []
  for (const [index, edge] of leaving.entries()) {
    while (systemClock.monotonic() - startMs < turnMs(index) && sessions.size > 0) await pause(stepMs)
    if (!edge.session.isClosed) ending.push(edge.leave(answerMs))
  }
  await Promise.all(ending)
  const untilMs = systemClock.monotonic() + limits.closeTimeoutMs
  while (sessions.size > 0 && systemClock.monotonic() < untilMs) await pause(stepMs)
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
