// The history store as the bus uses it: one that may go away. Strict refuses at once what the store cannot take;
// degraded holds it in memory, in order and bounded, and writes it under the same ids when the store is back
// (reliability 5.3, 5.4). No answer here claims more than what happened.
import { backoffMs } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import { BusError, isBusError } from '../../base/errors.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { requireBatch } from '../append-rules.ts'
import type { AppendRequest, AppendResult, HistoryStore, StoreCapabilities, StoreReport, StreamHead } from '../store.ts'
import { createHeldAppends, type HoldLimits } from './held-appends.ts'
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
  /** Strict started with another store than the recorded one. */
  readonly isReplaced?: boolean
  readonly limits?: HoldLimits
  readonly probeEveryMs?: number
}

/** Written at once; when no more than this is held, appends wait for it. */
const lastBatch = 500
const maxFlushBytes = 1024 * 1024
const maxBatch = 1_024

/** Does the error speak of the store, rather than of what was asked? */
function isStoreFailure(error: unknown): boolean {
  return isBusError(error, 'STORE_UNAVAILABLE') || isBusError(error, 'STORE_TIMEOUT')
}

export function createGuardedStore(options: GuardOptions): GuardedStore {
  const { mode, backend, clock, logger, probeEveryMs = 500 } = options
  const initial: StoreState = options.isReplaced ? 'replaced' : options.inner === undefined ? 'unavailable' : 'ready'
  const machine = createStateMachine(clock, initial)
  const held = createHeldAppends(clock, options.limits)
  const returnListeners = new Set<(heads: readonly { key: StreamKey; head: StreamHead }[]) => void>()
  /** Degraded: appends under way, in the order of the calls. */
  const appends = new Set<Promise<unknown>>()
  let inner = options.inner
  /** Degraded: from the first append that was held until all of it is stored. */
  let isHolding = mode === 'degraded' && inner === undefined
  /** Appends wait for it while the last of what was held is written. */
  let gate: PromiseWithResolvers<void> | undefined
  let probing: NodeJS.Timeout | undefined
  let openings = 0
  let isClosed = false

  machine.onChange((state, before) => {
    const level = state === 'ready' || state === 'recovering' ? 'info' : 'warn'
    logger[level](`store.${state}`, { backend, mode, before, held: held.size })
    if (state !== 'ready') probeSoon()
  })

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

  function hold(requests: readonly AppendRequest[]): AppendResult[] {
    isHolding = true
    if (machine.state !== 'recovering') machine.force('unavailable')
    return requests.map((request) => held.hold(request))
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
    try {
      return await ask((store) => store.append(requests), true)
    } catch (error) {
      if (!isStoreFailure(error)) throw error
      // Unknown outcomes are held too: they are written again under the same ids, and the store knows those.
      return holdAfter(earlier, requests)
    }
  }

  /** Holds behind the appends made earlier, which may yet have to be held: the order of the calls is kept. */
  async function holdAfter(
    earlier: readonly Promise<unknown>[],
    requests: readonly AppendRequest[],
  ): Promise<readonly AppendResult[]> {
    isHolding = true
    if (earlier.length > 0) await Promise.allSettled(earlier)
    return hold(requests)
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
    while (held.size > lastBatch) await writeOldest(store)
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
      machine.returned()
    } finally {
      gate.resolve()
      // Behind those that wait: an append made meanwhile still comes after them.
      void gate.promise.then(() => {
        gate = undefined
      })
    }
  }

  async function writeOldest(store: HistoryStore): Promise<void> {
    const requests = held.oldest(Math.min(lastBatch, store.capabilities.maxBatch), maxFlushBytes)
    const results = await store.append(requests)
    if (results.some(({ kind }) => kind === 'dedup-full'))
      throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'DEDUP_FULL' })
    const lost = results.filter(({ kind }) => kind !== 'stored' && kind !== 'duplicate').length
    if (lost > 0) logger.error('store.held_conflicts', { lost }) // their ids were used with other payloads before
    held.release(requests.length)
  }

  const capabilities: StoreCapabilities = {
    backend,
    get level() {
      return inner?.capabilities.level ?? 'memory'
    },
    get maxBatch() {
      return inner?.capabilities.maxBatch ?? maxBatch
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
      return { records: held.size, bytes: held.bytes }
    },
    get isHolding() {
      return mode === 'degraded' && (isHolding || machine.state === 'unavailable' || machine.state === 'recovering')
    },
    capabilities,
    onState: (listener) => machine.onChange(listener),
    onReturned(listener) {
      returnListeners.add(listener)
      return () => returnListeners.delete(listener)
    },
    append,
    head: (key) => ask((store) => store.head(key)),
    get raiseEpoch() {
      const raise = inner?.raiseEpoch?.bind(inner)
      return raise && ((key: StreamKey) => ask(() => raise(key)))
    },
    readBySequence: (query) => ask((store) => store.readBySequence(query)),
    readByTime: (query) => ask((store) => store.readByTime(query)),
    streams: (tenant, room) => ask((store) => store.streams(tenant, room)),
    stats: (tenant) => ask((store) => store.stats(tenant)),
    report: () => inner?.report() ?? nothing,
    probe: () => ask((store) => store.probe(), true),
    noteUnplaced: (key) => held.note(key),
    async close() {
      isClosed = true
      clearTimeout(probing)
      if (held.size > 0) logger.error('store.held_lost', { records: held.size, bytes: held.bytes })
      await inner?.close()
    },
  }
}

const replacedMessage =
  'History storage is another one than before; nothing was stored until the operator accepts it (docs/storage.md)'
