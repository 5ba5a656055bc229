// The history store as the bus uses it: one that may go away. Strict refuses at once what the store cannot take;
// degraded holds it in memory, in order and bounded, and writes it under the same ids when the store is back
// (reliability 5.3, 5.4). No answer here claims more than what happened.
import { backoffMs } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import { BusError, isBusError } from '../../base/errors.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { requireBatch } from '../append-rules.ts'
import type {
  AppendRequest,
  AppendResult,
  FlushedRecord,
  HistoryStore,
  StoreCapabilities,
  StoreReport,
  StreamHead,
} from '../store.ts'
import { createHeldAppends, type HoldLimits } from './held-appends.ts'
import { createHeldLog } from './held-log.ts'
import { createStateMachine, type StoreState } from './store-state.ts'

export type { StoreState } from './store-state.ts'

export interface GuardedStore extends HistoryStore {
  readonly mode: 'strict' | 'degraded'
  readonly state: StoreState
  /** Acknowledged with level `memory` and not yet stored; all of it is lost if this process ends now. */
  readonly held: { readonly records: number; readonly bytes: number }
  onState(listener: (state: StoreState, before: StoreState) => void): () => void
  /**
   * Told when what was held has been stored, before later appends reach the store: where each of those streams stands.
   * Called synchronously; appends made after the call are answered after it.
   */
  onReturned(listener: (heads: readonly { key: StreamKey; head: StreamHead }[]) => void): () => void
  /** Told of what was held and now is stored, some of it at a time, in its order. */
  onFlushed(listener: (records: readonly FlushedRecord[]) => void): () => void
}

export interface GuardOptions {
  readonly mode: 'strict' | 'degraded'
  readonly backend: StoreCapabilities['backend']
  readonly clock: Clock
  readonly logger: Logger
  /** Opened already; absent where degraded mode starts without its store. */
  readonly inner: HistoryStore | undefined
  /** Opens the store when it was absent at the start. */
  readonly open: () => Promise<HistoryStore>
  /**
   * Is this the store whose positions were given out? Asked when the store was opened late or came back. False keeps
   * a strict bus from using it.
   */
  readonly accepts: (report: StoreReport) => Promise<boolean>
  /** Degraded started with a store that is open and takes no writes now. */
  readonly isAway?: boolean
  /** Strict started with another store than the recorded one. */
  readonly isReplaced?: boolean
  readonly limits?: HoldLimits
  readonly rates?: ReturnRates
  /** Can another process append to the same streams? On Postgres that is always so. */
  readonly isShared?: () => boolean
  /** A stream of the bus's own: what is held of it is no loss, and not in the `records` of `held`. */
  readonly uncounted?: StreamKey
  readonly probeEveryMs?: number
}

/** A store that is back is not given everything at once (reliability 5.4). */
export interface ReturnRates {
  /** Degraded: records a second of what was held. */
  readonly flushPerSecond: number
  /** Appends a second at the end of the ramp, which begins at a quarter of it; afterwards there is no bound. */
  readonly rampPerSecond: number
}

const defaultRates: ReturnRates = { flushPerSecond: 1_000, rampPerSecond: 20_000 }
export const rampMs = 10_000
const rampFrom = 0.25
const maxFlushBytes = 1024 * 1024
const maxBatch = 1_024

/** Any number of buses write to one database: what others stored during an outage cannot be known here. */
const sharedBackends: ReadonlySet<StoreCapabilities['backend']> = new Set(['postgres'])

/** Does the error speak of the store, rather than of what was asked? */
function isStoreFailure(error: unknown): boolean {
  return isBusError(error, 'STORE_UNAVAILABLE') || isBusError(error, 'STORE_TIMEOUT')
}

export function createGuardedStore(options: GuardOptions): GuardedStore {
  const { mode, backend, clock, logger, probeEveryMs = 500, rates = defaultRates } = options
  // Written at once. When no more than twice as much is held appends wait for it: a quarter of a second.
  const flushBatch = Math.max(1, Math.floor(rates.flushPerSecond / 4))
  const startsAway = options.inner === undefined || options.isAway === true
  const initial: StoreState = options.isReplaced ? 'replaced' : startsAway ? 'unavailable' : 'ready'
  const machine = createStateMachine(clock, initial)
  const held = createHeldAppends(clock, options.limits)
  const heldLog = createHeldLog(held, clock.now())
  const returnListeners = new Set<(heads: readonly { key: StreamKey; head: StreamHead }[]) => void>()
  const flushListeners = new Set<(records: readonly FlushedRecord[]) => void>()
  /** Degraded: appends under way, in the order of the calls. */
  const appends = new Set<Promise<unknown>>()
  let inner = options.inner
  /** Degraded: from the first append that was held until all of it is stored. */
  let isHolding = mode === 'degraded' && startsAway
  /** Appends wait for it while the last of what was held is written. */
  let gate: PromiseWithResolvers<void> | undefined
  let probing: NodeJS.Timeout | undefined
  let openings = 0
  let isFlushing = false
  /** When the next of what was held may be written, and since when the store is back: monotonic. */
  let nextFlushMs = 0
  let returnedAtMs: number | undefined
  let isClosed = false

  machine.onChange((state, before) => {
    const level = state === 'ready' || state === 'recovering' ? 'info' : 'warn'
    logger[level](`store.${state}`, { backend, mode, before, held: countHeld() })
    if (state !== 'ready') probeSoon()
  })

  function countHeld(): number {
    const { uncounted } = options
    return held.size - (uncounted === undefined ? 0 : held.sizeOf(uncounted))
  }

  function isHoldingNow(): boolean {
    return mode === 'degraded' && (isHolding || machine.state === 'unavailable' || machine.state === 'recovering')
  }

  function away(): BusError {
    if (isClosed) return new BusError('STORE_UNAVAILABLE', 'History storage is closed', { reason: 'CLOSED' })
    const reason = machine.state === 'replaced' ? 'STORE_REPLACED' : 'STORE_AWAY'
    const message = machine.state === 'replaced' ? replacedMessage : undefined
    return new BusError('STORE_UNAVAILABLE', message, { reason, backend })
  }

  /** Runs a call of the store and learns from how it ends. Only writes prove that it takes writes. */
  async function ask<T>(call: (store: HistoryStore) => Promise<T>, isWrite = false): Promise<T> {
    const isAway = machine.state === 'unavailable' || machine.state === 'replaced'
    if (inner === undefined || isAway || isClosed) throw away()
    try {
      const result = await call(inner)
      if (isWrite && machine.state === 'suspect') machine.succeeded()
      return result
    } catch (error) {
      if (isStoreFailure(error)) machine.failed()
      throw error
    }
  }

  function hold(requests: readonly AppendRequest[], isUnknown: boolean): AppendResult[] {
    isHolding = true
    if (machine.state !== 'recovering') machine.force('unavailable')
    return requests.map((request) => {
      // What may be stored cannot be refused as too much: it is in memory already, bounded where it was taken.
      const result = held.hold(request, isUnknown)
      return isUnknown && result.kind === 'held' ? { ...result, isUnknown } : result
    })
  }

  async function append(requests: readonly AppendRequest[]): Promise<readonly AppendResult[]> {
    if (isClosed) throw away()
    requireBatch(requests, capabilities.maxBatch)
    if (mode === 'strict') return appendOrRefuse(requests)
    const earlier = [...appends]
    const appending = gate === undefined ? begin(earlier, requests) : gate.promise.then(() => begin(earlier, requests))
    appends.add(appending)
    const settled = (): void => void appends.delete(appending)
    appending.then(settled, settled)
    return appending
  }

  async function appendOrRefuse(requests: readonly AppendRequest[]): Promise<readonly AppendResult[]> {
    if (machine.state === 'recovering') throw away()
    return ask((store) => store.append(requests), true)
  }

  function begin(
    earlier: readonly Promise<unknown>[],
    requests: readonly AppendRequest[],
  ): Promise<readonly AppendResult[]> {
    const isAway = machine.state === 'recovering' || machine.state === 'unavailable'
    return isHolding || isAway ? holdAfter(earlier, requests) : appendOrHold(earlier, requests)
  }

  async function appendOrHold(
    earlier: readonly Promise<unknown>[],
    requests: readonly AppendRequest[],
  ): Promise<readonly AppendResult[]> {
    heldLog.gave(requests)
    try {
      return await ask((store) => store.append(requests), true)
    } catch (error) {
      if (!isStoreFailure(error)) throw error
      // Unknown outcomes are held too: they are written again under the same ids, and the store knows those.
      return holdAfter(earlier, requests, isBusError(error, 'STORE_TIMEOUT'))
    }
  }

  /** Holds behind the appends made earlier, which may yet have to be held: the order of the calls is kept. */
  async function holdAfter(
    earlier: readonly Promise<unknown>[],
    requests: readonly AppendRequest[],
    isUnknown = false,
  ): Promise<readonly AppendResult[]> {
    isHolding = true
    if (earlier.length > 0) await Promise.allSettled(earlier)
    return hold(requests, isUnknown)
  }

  function probeSoon(): void {
    if (probing !== undefined || isClosed || machine.state === 'ready') return
    const waitMs = inner === undefined ? backoffMs(openings++, Math.random(), 200, 2_000) : probeEveryMs
    probing = setTimeout(() => {
      void round().finally(() => {
        probing = undefined
        probeSoon()
      })
    }, waitMs)
  }

  async function round(): Promise<void> {
    try {
      inner ??= await openLate()
      await inner.probe()
      if (machine.state === 'unavailable' || machine.state === 'replaced') {
        if (!(await options.accepts(inner.report())) && mode === 'strict') {
          machine.force('replaced')
          return
        }
        if (machine.state === 'replaced') machine.force('unavailable')
      }
      machine.succeeded()
      if (machine.isSteady) await comeBack(inner)
    } catch (error) {
      if (!isStoreFailure(error)) logger.error('store.probe_failed', describeError(error))
      machine.failed()
    }
  }

  async function openLate(): Promise<HistoryStore> {
    const opened = await options.open()
    if (!isClosed) return opened
    await opened.close()
    throw away()
  }

  /** Writes what was held, in its order, then lets appends through again. */
  async function comeBack(store: HistoryStore): Promise<void> {
    await Promise.allSettled(appends) // what was sent before must be known before anything goes behind it
    const before = held.size
    isFlushing = before > 0
    try {
      while (held.size > 2 * flushBatch) await writeOldest(store)
      await untilNextFlush()
      await writeLast(store, before)
    } finally {
      isFlushing = false
    }
  }

  async function writeLast(store: HistoryStore, before: number): Promise<void> {
    // For the rest appends wait: while they went on being held, there would be no end to it.
    const open = [...appends]
    gate = Promise.withResolvers<void>()
    try {
      await Promise.allSettled(open)
      while (held.size > 0) await writeOldest(store)
      const heads = await Promise.all(held.streams.map(async (key) => ({ key, head: await store.head(key) })))
      held.forgetStreams()
      isHolding = false
      for (const listener of returnListeners) listener(heads)
      if (before > 0) logger.warn('store.held_written', { records: before })
      returnedAtMs = clock.monotonic()
      machine.returned()
    } finally {
      gate.resolve()
      // Behind those that wait: an append made meanwhile still comes after them.
      void gate.promise.then(() => {
        gate = undefined
      })
    }
  }

  async function untilNextFlush(): Promise<void> {
    const waitMs = Math.ceil(nextFlushMs - clock.monotonic()) // a timer cuts fractions off
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    if (isClosed) throw away()
  }

  async function writeOldest(store: HistoryStore): Promise<void> {
    await untilNextFlush()
    const requests = held.oldest(Math.min(flushBatch, store.capabilities.maxBatch), maxFlushBytes)
    nextFlushMs = clock.monotonic() + (requests.length / rates.flushPerSecond) * 1_000
    const results = await store.append(requests)
    if (results.some(({ kind }) => kind === 'dedup-full'))
      throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'DEDUP_FULL' })
    const lost = results.filter(({ kind }) => kind !== 'stored' && kind !== 'duplicate').length
    if (lost > 0) logger.error('store.held_conflicts', { lost }) // their ids were used with other payloads before
    heldLog.gave(requests)
    held.release(results)
    const flushed = requests.flatMap(({ key, id }, i) => {
      const result = results[i]!
      return 'position' in result ? [{ key, id, position: result.position }] : []
    })
    for (const listener of flushListeners) listener(flushed)
  }

  function appendsPerSecond(): number | undefined {
    // Half of what leaves the memory, so that it empties whatever is published.
    if (isFlushing) return Math.max(1, rates.flushPerSecond / 2)
    const isTaking = machine.state === 'ready' || machine.state === 'suspect'
    if (returnedAtMs === undefined || !isTaking) return undefined // what is refused or held is so at once
    const part = (clock.monotonic() - returnedAtMs) / rampMs
    if (part < 1) return rates.rampPerSecond * (rampFrom + (1 - rampFrom) * part)
    returnedAtMs = undefined
    return undefined
  }

  const capabilities: StoreCapabilities = {
    backend,
    get level() {
      return inner?.capabilities.level ?? 'memory'
    },
    get maxBatch() {
      return inner?.capabilities.maxBatch ?? maxBatch
    },
    get fullBatch() {
      return inner?.capabilities.fullBatch
    },
  }
  const nothing: StoreReport = { level: 'memory', identity: '', faults: [] }
  probeSoon()

  return {
    mode,
    get state() {
      return machine.state
    },
    get held() {
      return { records: countHeld(), bytes: held.bytes }
    },
    get isHolding() {
      return isHoldingNow()
    },
    get heldLog() {
      const isShared = sharedBackends.has(backend) || options.isShared?.() === true
      return isHoldingNow() && !isShared ? heldLog : undefined
    },
    capabilities,
    onState: (listener) => machine.onChange(listener),
    onReturned(listener) {
      returnListeners.add(listener)
      return () => returnListeners.delete(listener)
    },
    onFlushed(listener) {
      flushListeners.add(listener)
      return () => flushListeners.delete(listener)
    },
    get appendsPerSecond() {
      return appendsPerSecond()
    },
    append,
    head: (key) => ask((store) => store.head(key)),
    get raiseEpoch() {
      const raise = inner?.raiseEpoch?.bind(inner)
      return raise && ((key: StreamKey) => ask(() => raise(key)))
    },
    readBySequence: (query) => ask((store) => store.readBySequence(query)),
    // Without what is still held of it a page would not be whole.
    readByTime: async (query) => {
      if (held.hasAny(query)) throw away()
      return ask((store) => store.readByTime(query))
    },
    streams: (tenant, room) => ask((store) => store.streams(tenant, room)),
    stats: (tenant) => ask((store) => store.stats(tenant)),
    report: () => inner?.report() ?? nothing,
    get mirror() {
      return inner?.mirror
    },
    probe: () => ask((store) => store.probe(), true),
    noteUnplaced: (key) => held.note(key),
    async close() {
      isClosed = true
      clearTimeout(probing)
      const records = countHeld()
      if (records > 0) logger.warn('store.lost_on_exit', { records, bytes: held.bytes })
      await inner?.close()
    },
  }
}

const replacedMessage =
  'History storage is another one than before; nothing was stored until the operator accepts it (docs/storage.md)'
