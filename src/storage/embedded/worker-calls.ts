// What may be asked of a storage worker, and what it answers.
import type { ErrorCode, ErrorDetails } from '../../base/errors.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { DedupWindow, ReadBySequence, ReadByTime, Retention, StoreStats, StreamHead } from '../store.ts'
import type { PackedAppends, PackedResults } from './packed-appends.ts'
import type { PackedRecords } from './packed-records.ts'

/** A worker is opened once, as the writer or as the reader, and answers the calls of its role. */
export interface WorkerCalls {
  openWriter: { ask: OpenWriter; answer: { readonly epoch: number } }
  openReader: { ask: { readonly dataDir: string }; answer: null }
  append: { ask: { readonly batch: PackedAppends; readonly nowMs: number }; answer: PackedResults }
  /** Begins to trim what is past its age everywhere; answers at once. */
  tidy: { ask: { readonly nowMs: number }; answer: null }
  probe: { ask: null; answer: null }
  head: { ask: StreamKey; answer: Omit<StreamHead, 'epoch'> }
  readBySequence: { ask: ReadBySequence; answer: PackedRecords }
  readByTime: { ask: ReadByTime; answer: PackedRecords }
  streams: { ask: { readonly tenant: string; readonly room?: string }; answer: readonly StreamKey[] }
  stats: { ask: { readonly tenant?: string }; answer: Omit<StoreStats, 'backend'> }
  close: { ask: null; answer: null }
}

export type WorkerCall = keyof WorkerCalls

export interface OpenWriter {
  readonly dataDir: string
  readonly newEpoch: number
  readonly retention: Retention
  readonly dedup: DedupWindow
  readonly maxFileBytes?: number
}

/** A BusError on its way out of a worker. */
export interface WorkerFailure {
  readonly code: ErrorCode
  readonly message: string
  readonly details: ErrorDetails
  readonly cause?: string
}

export interface AskMessage {
  readonly number: number
  readonly call: WorkerCall
  readonly ask: unknown
}

export type AnswerMessage =
  | { readonly number: number; readonly answer: unknown }
  | { readonly number: number; readonly failure: WorkerFailure }
  /** Something went wrong that nobody waits for. */
  | { readonly number: undefined; readonly failure: WorkerFailure }
