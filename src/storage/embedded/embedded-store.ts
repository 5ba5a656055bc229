// History in a folder of this machine: SQLite in a writing and a reading worker thread, level `disk`.
// One process at a time; nothing acknowledged is lost to kill -9 or to a loss of power.
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import { requireBatch } from '../append-rules.ts'
import { newEpoch } from '../epoch.ts'
import type { DedupWindow, HistoryStore, Retention } from '../store.ts'
import { createAppendQueue } from '../append-queue.ts'
import { packAppends, unpackResults } from './packed-appends.ts'
import { unpackRecords } from './packed-records.ts'
import type { WorkerCall, WorkerCalls } from './worker-calls.ts'
import { createWorkerChannel, type WorkerChannel } from './worker-channel.ts'

const maxBatch = 1024
/** An append, and a probe, has settled after this. */
const appendTimeoutMs = 2_000
const readTimeoutMs = 5_000
/** How often idle streams are looked at for records past their age. */
const tidyEveryMs = 10_000

export interface EmbeddedStoreOptions {
  /** The store's files are in its sub-folder `history`, made when it is not there. */
  readonly dataDir: string
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
  readonly logger: Logger
  /** The largest the history file may grow, in bytes; beyond it appends fail as on a full disk. Default: no bound. */
  readonly maxFileBytes?: number
}

function startWorker(name: string, logger: Logger): WorkerChannel {
  // The same file under its own suffix: TypeScript in the source tree, JavaScript in the built package.
  const file = import.meta.url.endsWith('.ts') ? './sqlite-worker.ts' : './sqlite-worker.js'
  const worker = new Worker(new URL(file, import.meta.url), { name })
  return createWorkerChannel(worker, {
    died: (cause) => logger.error('store.worker.died', { worker: name, ...describeError(cause) }),
    failed: (error) => logger.error('store.tidy.failed', { worker: name, ...describeError(error) }),
  })
}

/**
 * Rejects with STORE_OPEN_FAILED (reasons LOCKED: another process has the folder, NEWER_SCHEMA, NOT_ACCESSIBLE) or
 * STORE_CORRUPT (reason DAMAGED); both name the file and what to do.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<HistoryStore> {
  const { dataDir, clock, retention, dedup, logger, maxFileBytes } = options
  const writer = startWorker('history-writer', logger)
  const reader = startWorker('history-reader', logger)
  const stopWorkers = () => Promise.all([writer.terminate(), reader.terminate()])
  let epoch: number
  try {
    const limits = maxFileBytes === undefined ? {} : { maxFileBytes }
    ;({ epoch } = await writer.call('openWriter', { dataDir, newEpoch: newEpoch(clock), retention, dedup, ...limits }))
    await reader.call('openReader', { dataDir })
  } catch (error) {
    await stopWorkers()
    throw error
  }

  const queue = createAppendQueue({
    timeoutMs: appendTimeoutMs,
    async send(group) {
      const batch = packAppends(group)
      const transfer = [batch.frames.buffer] // the one that all columns share
      return unpackResults(await writer.call('append', { batch, nowMs: clock.now() }, { transfer }), epoch)
    },
  })
  const tidying = setInterval(() => {
    const tidied = writer.call('tidy', { nowMs: clock.now() }, { timeoutMs: tidyEveryMs })
    tidied.catch((error: unknown) => logger.warn('store.tidy.failed', describeError(error)))
  }, tidyEveryMs).unref()
  let closing: Promise<void> | undefined

  function requireOpen(): void {
    if (closing !== undefined)
      throw new BusError('STORE_UNAVAILABLE', 'History storage is closed', { reason: 'CLOSED' })
  }

  async function read<C extends WorkerCall>(call: C, ask: WorkerCalls[C]['ask']): Promise<WorkerCalls[C]['answer']> {
    requireOpen()
    return await reader.call(call, ask, { timeoutMs: readTimeoutMs })
  }

  async function finish(): Promise<void> {
    clearInterval(tidying)
    await queue.drain()
    try {
      // The reader first: the last connection to close folds the log into the file.
      await reader.call('close', null, { timeoutMs: readTimeoutMs })
      await writer.call('close', null, { timeoutMs: readTimeoutMs })
    } catch (error) {
      logger.error('store.close.failed', describeError(error)) // nothing acknowledged is at stake: it is on disk
    } finally {
      await stopWorkers()
    }
  }

  return {
    capabilities: { backend: 'embedded', level: 'disk', maxBatch },
    async append(requests) {
      requireOpen()
      requireBatch(requests, maxBatch)
      return requests.length === 0 ? [] : await queue.append(requests)
    },
    head: async (key) => ({ epoch, ...(await read('head', key)) }),
    readBySequence: async (query) => unpackRecords(await read('readBySequence', query), epoch),
    readByTime: async (query) => unpackRecords(await read('readByTime', query), epoch),
    streams: async (tenant, room) => await read('streams', room === undefined ? { tenant } : { tenant, room }),
    stats: async (tenant) => ({
      backend: 'embedded',
      ...(await read('stats', tenant === undefined ? {} : { tenant })),
    }),
    report: () => ({ level: 'disk', identity: `embedded:${epoch}`, faults: [] }),
    async probe() {
      requireOpen()
      await writer.call('probe', null, { timeoutMs: appendTimeoutMs })
    },
    close() {
      closing ??= finish()
      return closing
    },
  }
}
