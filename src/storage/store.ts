// The port of history: an append-only log for each (tenant, room, channel), with dedup by message id.
//
// What every backend promises:
// - `append` gives sequences 1, 2, 3 … per stream, without holes, in the order of the requests of one batch and of
//   the calls; append, sequence and dedup are one atomic step.
// - The same id with the same hash inside the window is stored once: later appends answer `duplicate` with the
//   first position. The same id with another hash answers `conflict`.
// - A window that is full answers `dedup-full`; an id is never forgotten early.
// - A rejected promise is a BusError: STORE_UNAVAILABLE when certainly nothing of the batch was stored,
//   STORE_TIMEOUT when that is unknown (the same ids may be sent again).
// - `epoch` is 1 or more and rises whenever positions given out before may no longer hold.
// - A resolved append has reached `capabilities.level`.
import type { AckLevel, Position, StreamKey } from '../envelope/envelope.ts'

export interface AppendRequest {
  readonly key: StreamKey
  readonly id: string
  /** 16 bytes naming the payload; equal for equal payloads. */
  readonly hash: Uint8Array
  /** The client id of the sender, kept for reading by sender. */
  readonly sender: string
  /** The canonical binary frame, without position (wire/message-frame). Not to be changed until the append settles. */
  readonly frame: Uint8Array
  /** Milliseconds since the epoch at which the bus took it: `stored_at` of the record. */
  readonly atMs: number
}

export type AppendResult =
  | { readonly kind: 'stored'; readonly position: Position }
  | { readonly kind: 'duplicate'; readonly position: Position }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'dedup-full' }
  /** Kept in memory for a store that is away (degraded mode only): no position yet, level `memory`. */
  | {
      readonly kind: 'held'
      readonly isDuplicate: boolean
      /** It was with the store when that failed, and may stand there already: not to be acknowledged. */
      readonly isUnknown?: true
    }
  /** As above, and no more fits. */
  | { readonly kind: 'hold-full' }

/** Was held, and is stored now. */
export interface FlushedRecord {
  readonly key: StreamKey
  readonly id: string
  readonly position: Position
}

export interface StoredRecord {
  readonly key: StreamKey
  readonly position: Position
  readonly id: string
  readonly sender: string
  readonly atMs: number
  /** Not to be changed: it may be the store's own. */
  readonly frame: Uint8Array
}

/** The extent of a stream. An empty or unknown stream has `last` 0 and `first` 1. */
export interface StreamHead {
  readonly epoch: number
  /** The oldest sequence still kept; `last + 1` when all were trimmed. */
  readonly first: number
  readonly last: number
}

export interface ReadBySequence {
  readonly key: StreamKey
  /** Records with a sequence above this, ascending. */
  readonly after: number
  readonly limit: number
  /** Stop before the frames' bytes together exceed this; at least one record is given. */
  readonly maxBytes: number
}

export interface ReadByTime {
  readonly tenant: string
  /** Absent: every room of the tenant. */
  readonly room?: string
  /** Absent: every channel of the room. */
  readonly channel?: string
  /** Inclusive bounds on `atMs`. */
  readonly sinceMs?: number
  readonly untilMs?: number
  /** `newest` gives the last `limit` records, newest first; `oldest` the first ones, oldest first. */
  readonly order: 'newest' | 'oldest'
  readonly limit: number
  readonly maxBytes: number
}

export interface StoreStats {
  readonly backend: string
  readonly streams: number
  readonly records: number
  readonly bytes: number
}

export interface StoreCapabilities {
  readonly backend: 'memory' | 'embedded' | 'valkey' | 'postgres'
  /** What a resolved append survives: the level of the last report. */
  readonly level: AckLevel
  /** Appends of more than this are split by the caller. */
  readonly maxBatch: number
  /** So many are worth a call of their own before more are read; absent where a call costs more than it gains. */
  readonly fullBatch?: number | undefined
}

/** Of stores in a process of their own, which work on one batch while the next is read. */
export const fullBatchOfServers = 256

export type StoreFaultCode = 'EVICTS' | 'NOT_PERSISTED' | 'READ_ONLY' | 'NO_PROOF'

/** A setting or state of the store itself that breaks a promise; strict mode refuses it. */
export interface StoreFault {
  readonly code: StoreFaultCode
  /** What was read, never a secret: `maxmemory-policy allkeys-lru`. */
  readonly found: string
  /** What to change. */
  readonly fix: string
}

/** What the store says of itself: read when it is opened, after each reconnect, and every minute. */
export interface StoreReport {
  readonly level: AckLevel
  /** Names the data. A store with another identity never held what was acknowledged before. */
  readonly identity: string
  readonly faults: readonly StoreFault[]
}

/** How far the copy of the records is that is made, behind the appends, for readers of earlier systems. */
export interface MirrorState {
  /** Streams with records that are not copied, as far as this process knows. */
  readonly waiting: number
  /** For how long the first of them has waited, ms; 0 where none waits. */
  readonly lagMs: number
  /** Records that this process has handed to the copy, and steps that failed, since its start. */
  readonly copied: number
  readonly failures: number
}

/**
 * How much of each stream is kept. Whatever is over any bound is trimmed from the old end, soon after an append.
 * The newest record of a stream leaves only by age, so that what was just acknowledged can be read.
 */
export interface Retention {
  readonly maxRecords: number
  readonly maxBytes: number
  readonly maxAgeMs: number
}

/** The window in which an id is remembered (design 6). */
export interface DedupWindow {
  readonly maxAgeMs: number
  /** Remembered ids per tenant; above it `dedup-full`. */
  readonly maxIds: number
}

/**
 * What is held in memory for a store that is away, as the end of the log it will be. No answer is in part: it is all
 * that was asked for, or undefined.
 */
export interface HeldLog {
  /** Everything held of a stream since the store went away, in its order; undefined once any of it has been written. */
  ofStream(key: StreamKey): readonly AppendRequest[] | undefined
  /**
   * The page that `readByTime` would give, if its window lies behind all that may have reached the store.
   * `isWholeLog`: the caller knows that the log of the one channel asked for held nothing before.
   */
  byTime(query: ReadByTime, isWholeLog: boolean): readonly AppendRequest[] | undefined
}

export interface HistoryStore {
  /** Read it anew for each use: the level follows the report. */
  readonly capabilities: StoreCapabilities
  /** Results in the order of the requests. Never more than `capabilities.maxBatch` requests. */
  append(requests: readonly AppendRequest[]): Promise<readonly AppendResult[]>
  head(key: StreamKey): Promise<StreamHead>
  readBySequence(query: ReadBySequence): Promise<readonly StoredRecord[]>
  readByTime(query: ReadByTime): Promise<readonly StoredRecord[]>
  /** Names of streams with records, sorted by room, then channel, in code-unit order. */
  streams(tenant: string, room?: string): Promise<readonly StreamKey[]>
  /** Makes every position of the stream given out before invalid; returns where it stands. */
  readonly raiseEpoch?: ((key: StreamKey) => Promise<StreamHead>) | undefined
  /** Of one tenant, or of all. */
  stats(tenant?: string): Promise<StoreStats>
  /** As read last; never asks the store. */
  report(): StoreReport
  /** Undefined where no copy is made. */
  readonly mirror?: MirrorState | undefined
  /** True while appends are held in memory for a store that is away (degraded mode): positions are not known. */
  readonly isHolding?: boolean
  /** While it holds, and only where no other process can append to the same streams. */
  readonly heldLog?: HeldLog | undefined
  /** While it holds: the stream is used without its position, and where it stands is to be told when the store is back. */
  readonly noteUnplaced?: (key: StreamKey) => void
  /** Set for a while after the store was away: appends a second it should be given; publishers above it are slowed. */
  readonly appendsPerSecond?: number | undefined
  /** A real write, read and delete of a probe record; rejects as `append` does. */
  probe(): Promise<void>
  /** Waits for what was begun, then releases files, workers, connections. */
  close(): Promise<void>
}
