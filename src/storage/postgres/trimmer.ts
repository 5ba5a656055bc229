// Removes what retention does not keep and ids past their window, in small steps on a connection of its own: no append
// waits for more than one step, and none of these commits waits for the disk, since what a crash undoes is done again.
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { KeptConnection, PostgresConnection, Row } from '../../postgres/connection.ts'
import { createFollower, type Follower } from '../follower.ts'
import type { DedupWindow, Retention } from '../store.ts'
import { int8Array, readIntegers } from './binary-arrays.ts'

const recordsPerStep = 512
const streamsPerStep = 128
const idsPerStep = 1_000

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

/** Streams by their rows. */
export function createTrimmer({ connection, retention, dedup, clock, logger }: TrimmerOptions): Follower<number> {
  /** Gives the streams that may have more. */
  async function trim(rows: readonly number[]): Promise<readonly number[]> {
    const { maxRecords, maxBytes, maxAgeMs } = retention
    const [answer] = await connection.query({
      name: 'arqonbus_trim',
      text: 'SELECT unfinished FROM arqonbus_trim($1, $2, $3, $4, $5)',
      values: [int8Array(rows), maxRecords, maxBytes, Math.ceil(clock.now() - maxAgeMs), recordsPerStep],
    })
    return readIntegers(answer?.['unfinished'])
  }

  async function* sweep(): AsyncGenerator<readonly number[]> {
    for (let after: number | undefined = 0; after !== undefined; ) {
      const rows: readonly Row[] = await connection.query({
        name: 'arqonbus_sweep',
        text: `SELECT stream_row FROM arqonbus_streams WHERE stream_row > $1 AND last >= first
               ORDER BY stream_row LIMIT ${streamsPerStep}`,
        values: [after],
      })
      const found = rows.map((row) => Number(row['stream_row']))
      yield found
      after = found.at(-1)
    }
    yield* sweepIds()
  }

  /** Finds no stream. Yields, so that a stop is not kept waiting. */
  async function* sweepIds(): AsyncGenerator<readonly number[]> {
    const cutoffMs = Math.floor(clock.now() - dedup.maxAgeMs)
    const tenants = await connection.query({
      name: 'arqonbus_expired',
      text: `SELECT tenant_row FROM arqonbus_tenants t WHERE remembered > 0 AND EXISTS (
               SELECT FROM arqonbus_remembered r WHERE r.tenant_row = t.tenant_row AND r.at_ms <= $1)`,
      values: [cutoffMs],
    })
    for (const tenant of tenants) {
      for (let gone = idsPerStep; gone === idsPerStep; yield []) {
        const [row] = await connection.query({
          name: 'arqonbus_forget',
          text: 'SELECT arqonbus_forget_some($1, $2, $3) AS gone',
          values: [tenant['tenant_row'], cutoffMs, idsPerStep],
        })
        gone = Number(row?.['gone'])
      }
    }
  }

  return createFollower<number>({
    name: 'trim',
    gatherMs: 50,
    sweepEveryMs: 5_000,
    streamsPerStep,
    step: trim,
    sweep,
    clock,
    logger,
  })
}
