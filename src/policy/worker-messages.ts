// What goes between the pool and the threads in which modules run that could not be metered.
import { systemClock } from '../base/clock.ts'
import type { LogLine, Outcome } from './instance.ts'
import type { ModuleSettings } from './tenants.ts'

/** Everything a module may ask for, sent along: the other side cannot be asked while a call runs. */
export interface Job {
  readonly tenant: string
  readonly frame: Uint8Array
  /** The payload is `[start, end)` of the frame. */
  readonly payload: readonly [number, number] | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly claims: Readonly<Record<string, string>>
}

export type ToWorker =
  | { readonly do: 'load'; readonly id: number; readonly settings: ModuleSettings }
  | { readonly do: 'unload'; readonly id: number }
  | { readonly do: 'judge'; readonly id: number; readonly number: number; readonly job: Job }

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'log'; readonly id: number; readonly tenant: string; readonly line: LogLine }
  | { readonly kind: 'judged'; readonly number: number; readonly outcome: Outcome }

export interface WorkerStart {
  readonly progress: SharedArrayBuffer
}

/** The Int32s of `progress`. */
export const progressAt = {
  /** Number of the last job that was begun, and when: a busy machine may begin it late. */
  begun: 0,
  begunAtMs: 1,
  /** Number of the last job that came to an end, written before its answer is sent. */
  done: 2,
} as const
export const progressBytes = 12

/** A time that fits in an Int32, of the one clock that threads have in common. Differences of some days are right. */
export const shortTime = (): number => systemClock.now() & 0x7fff_ffff
