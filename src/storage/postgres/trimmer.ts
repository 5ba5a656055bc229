// Removes what retention does not keep and ids past their window, in small steps on a connection of its own: no append
// waits for more than one step, and none of these commits waits for the disk, since what a crash undoes is done again.
import type { Clock } from '../../base/clock.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { KeptConnection, PostgresConnection } from '../../postgres/connection.ts'
import type { DedupWindow, Retention } from '../store.ts'
import { int8Array, readIntegers } from './binary-arrays.ts'

const recordsPerStep = 512
const streamsPerStep = 128
const idsPerStep = 1_000
/** Streams that grow within this time share a step. */
const gatherMs = 50
/** How often idle streams and remembered ids are looked at for age. */
const sweepEveryMs = 5_000
/** The wait after a step that failed, for instance while the server is away. */
const afterFailureMs = 1_000

export interface Trimmer {
  /** Streams that have grown: looked at soon. */
  noteGrown(rows: readonly number[]): void
  /** Begins nothing more; resolves when the step that runs has ended. */
  stop(): Promise<void>
}

export async function prepareTrimmer(connection: PostgresConnection): Promise<void> {
  await connection.query({ text: 'SET synchronous_commit = off; SET enable_seqscan = off; SET jit = off' })
}

export interface TrimmerOptions {
  readonly connection: KeptConnection
  readonly retention: Retention
  readonly dedup: DedupWindow
  readonly clock: Clock
  readonly logger: Logger
}

export function createTrimmer({ connection, retention, dedup, clock, logger }: TrimmerOptions): Trimmer {
  const grown = new Set<number>()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let isStopped = false

  function wake(afterMs: number): void {
    if (isStopped || timer !== undefined || running !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      running = run().finally(() => {
        running = undefined
        if (grown.size > 0) wake(gatherMs)
      })
    }, afterMs)
  }

  async function run(): Promise<void> {
    try {
      while (grown.size > 0 && !isStopped) await trimSome()
    } catch (error) {
      await pauseAfter(error)
    }
  }

  async function pauseAfter(error: unknown): Promise<void> {
    if (isStopped) return
    logger.debug('store.trim.failed', describeError(error))
    await new Promise((resolve) => setTimeout(resolve, afterFailureMs).unref())
  }

  async function trimSome(): Promise<void> {
    const rows = [...grown].slice(0, streamsPerStep)
    for (const row of rows) grown.delete(row)
    try {
      for (const row of await trim(rows)) grown.add(row)
    } catch (error) {
      for (const row of rows) grown.add(row)
      throw error
    }
  }

  /** One step; gives the streams that may have more. */
  async function trim(rows: readonly number[]): Promise<readonly number[]> {
    const { maxRecords, maxBytes, maxAgeMs } = retention
    const [answer] = await connection.query({
      name: 'arqonbus_trim',
      text: 'SELECT unfinished FROM arqonbus_trim($1, $2, $3, $4, $5)',
      values: [int8Array(rows), maxRecords, maxBytes, Math.ceil(clock.now() - maxAgeMs), recordsPerStep],
    })
    return readIntegers(answer?.['unfinished'])
  }

  async function sweepStreams(): Promise<void> {
    for (let after = 0; !isStopped; ) {
      const rows = await connection.query({
        name: 'arqonbus_sweep',
        text: `SELECT stream_row FROM arqonbus_streams WHERE stream_row > $1 AND last >= first
               ORDER BY stream_row LIMIT ${streamsPerStep}`,
        values: [after],
      })
      const found = rows.map((row) => Number(row['stream_row']))
      if (found.length === 0) return
      for (const row of await trim(found)) grown.add(row)
      after = found.at(-1)!
    }
  }

  async function sweepIds(): Promise<void> {
    const cutoffMs = Math.floor(clock.now() - dedup.maxAgeMs)
    const tenants = await connection.query({
      name: 'arqonbus_expired',
      text: `SELECT tenant_row FROM arqonbus_tenants t WHERE remembered > 0 AND EXISTS (
               SELECT FROM arqonbus_remembered r WHERE r.tenant_row = t.tenant_row AND r.at_ms <= $1)`,
      values: [cutoffMs],
    })
    for (const tenant of tenants) {
      for (let gone = idsPerStep; gone === idsPerStep && !isStopped; ) {
        const [row] = await connection.query({
          name: 'arqonbus_forget',
          text: 'SELECT arqonbus_forget_some($1, $2, $3) AS gone',
          values: [tenant['tenant_row'], cutoffMs, idsPerStep],
        })
        gone = Number(row?.['gone'])
      }
    }
  }

  let sweeping: Promise<void> | undefined
  async function sweep(): Promise<void> {
    try {
      await sweepStreams()
      await sweepIds()
    } catch (error) {
      await pauseAfter(error)
    }
    if (grown.size > 0) wake(0)
  }
  const sweeps = setInterval(() => {
    sweeping ??= sweep().finally(() => {
      sweeping = undefined
    })
  }, sweepEveryMs).unref()

  return {
    noteGrown(rows) {
      for (const row of rows) grown.add(row)
      wake(gatherMs)
    },
    async stop() {
      isStopped = true
      clearInterval(sweeps)
      clearTimeout(timer)
      await Promise.all([running, sweeping])
    },
  }
}
