// Events into Postgres: at least once in, once in effect. A batch is one transaction: the log, the projection, the dead
// letters and the checkpoint move together or not at all. What Postgres refuses for its values is found by halving the
// batch and set aside; what fails for the server's own reasons is thrown, and nothing of it counts.
import type { Clock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import type { Row, Statement } from '../postgres/connection.ts'
import { type EpisodeEvent, isRefusal, judgeEvent, type Refusal } from './event.ts'
import {
  buryStatement,
  type Checkpoint,
  checkpointStatement,
  type DeadLetter,
  deadLetterId,
  projectStatement,
} from './statements.ts'

export interface Incoming {
  readonly raw: Uint8Array
  /** Where it came from: `nats`, `command`, or the name of a channel. */
  readonly source: string
  /** The only tenant it may name; absent where the source may speak for all. */
  readonly tenant?: string
}

export type Outcome =
  | { readonly status: 'projected' | 'duplicate' | 'stale_rejected'; readonly event: EpisodeEvent }
  | { readonly status: 'dlq_queued'; readonly refusal: Refusal; readonly deadLetterId: string }

export interface Projector {
  /**
   * Outcomes in the order of the items. An event that another of the same call supersedes counts as if they had come
   * one after the other. Rejects with STORE_UNAVAILABLE or STORE_TIMEOUT where the same items are to be given again,
   * and with LIMIT_EXCEEDED / DEAD_LETTERS_FULL when the dead letters have no more room.
   */
  project(items: readonly Incoming[], checkpoint?: Checkpoint): Promise<readonly Outcome[]>
}

export interface ProjectorOptions {
  /** Statements given in one turn must go out together on one connection, and belong to nobody else between. */
  readonly query: (statement: Statement) => Promise<readonly Row[]>
  readonly clock: Clock
  readonly maxDeadLetters: number
  /** Told of each call that took effect. */
  readonly onOutcomes?: (outcomes: readonly Outcome[]) => void
}

/** An event of which Postgres says that its values are wrong is tried this often before it is believed. */
const dataAttempts = 3
/** While there is more room than all workers fill in this time, dead letters are counted again only after it. */
const recountMs = 1_000
const slack = 10_000

interface Work {
  readonly item: Incoming
  readonly index: number
  readonly event: EpisodeEvent
}

export function createProjector({ query, clock, maxDeadLetters, onOutcomes }: ProjectorOptions): Projector {
  let counted = { atMs: -Infinity, letters: 0 }

  /** Letters that are there already take no room. */
  async function requireRoom(letters: readonly DeadLetter[]): Promise<void> {
    const isFresh = clock.monotonic() - counted.atMs < recountMs
    let more = letters.length
    if (!isFresh || counted.letters + more > maxDeadLetters - slack) {
      const [row] = await query({
        text: `SELECT (SELECT count(*) FROM (SELECT FROM arqonbus_continuum_projection_dlq LIMIT $1) few) AS n,
          (SELECT count(*) FROM unnest($2::text[]) id
             WHERE NOT EXISTS (SELECT FROM arqonbus_continuum_projection_dlq WHERE dlq_id = id)) AS more`,
        values: [maxDeadLetters + 1, letters.map(({ id }) => id)],
      })
      counted = { atMs: clock.monotonic(), letters: Number(row?.['n'] ?? 0) }
      more = Number(row?.['more'] ?? 0)
    }
    if (more > 0 && counted.letters + more > maxDeadLetters) {
      const message = `${maxDeadLetters} dead letters wait for somebody; nothing is taken in until some are replayed or discarded (arqonbus projector dlq)`
      throw new BusError('LIMIT_EXCEEDED', message, { reason: 'DEAD_LETTERS_FULL', limit: maxDeadLetters })
    }
    counted = { ...counted, letters: counted.letters + more }
  }

  /** One transaction. Rejects with the failure of the first statement that failed. */
  async function commit(
    events: readonly EpisodeEvent[],
    letters: readonly DeadLetter[],
    checkpoint: Checkpoint | undefined,
  ): Promise<readonly Row[]> {
    if (letters.length > 0) await requireRoom(letters)
    if (letters.length === 0 && checkpoint === undefined) {
      return events.length === 0 ? [] : await query(projectStatement(events))
    }
    const statements: Statement[] = [{ text: 'BEGIN' }]
    const projecting = events.length > 0 ? statements.push(projectStatement(events)) - 1 : -1
    const burying = letters.length > 0 ? statements.push(buryStatement(letters)) - 1 : -1
    if (checkpoint !== undefined) statements.push(checkpointStatement(checkpoint))
    // Of a transaction that failed this makes nothing, and says so only in its tag: hence all results are looked at.
    statements.push({ text: 'COMMIT' })
    const results = await Promise.allSettled(statements.map((statement) => query(statement)))
    const failedAt = results.findIndex(({ status }) => status === 'rejected')
    const failed = results[failedAt]
    if (failed?.status === 'rejected') {
      // A dead letter must not make an event of the same batch look like one: its bytes are enough.
      const isParsedFormWrong = failedAt === burying && isDataError(failed.reason)
      if (!isParsedFormWrong || letters.every(({ event }) => event === '{}')) throw failed.reason
      return await commit(
        events,
        letters.map((letter) => ({ ...letter, event: '{}' })),
        checkpoint,
      )
    }
    const result = results[projecting]
    return result?.status === 'fulfilled' ? result.value : []
  }

  return {
    async project(items, checkpoint) {
      const outcomes: Outcome[] = []
      const works: Work[] = []
      const letters = new Map<string, DeadLetter>()

      function bury(index: number, refusal: Refusal, attempts: number): void {
        const { raw, source, tenant = refusal.tenant ?? '' } = items[index]!
        const id = deadLetterId(tenant, raw)
        const { code, message, text = '{}' } = refusal
        const before = letters.get(id)?.attempts ?? 0
        const reason = `projection_failed:${code}: ${message}`
        letters.set(id, { id, reason, code, raw, event: text, tenant, source, attempts: before + attempts })
        outcomes[index] = { status: 'dlq_queued', refusal, deadLetterId: id }
      }

      const nowMs = clock.now()
      const seen = new Set<string>()
      for (const [index, item] of items.entries()) {
        const judged = judgeEvent(item.raw, { nowMs, tenant: item.tenant })
        if (isRefusal(judged)) {
          bury(index, judged, 1)
          continue
        }
        const key = keyOf(judged.tenant, judged.agent, judged.id)
        if (seen.has(key)) outcomes[index] = { status: 'duplicate', event: judged }
        else works.push({ item, index, event: judged })
        seen.add(key)
      }

      /** Commits what can be committed; what Postgres refuses for its values is set aside for the last commit. */
      async function sift(part: readonly Work[], isLast: boolean): Promise<void> {
        for (let attempt = 1; ; attempt++) {
          try {
            const events = part.map(({ event }) => event)
            const rows = await commit(events, isLast ? [...letters.values()] : [], isLast ? checkpoint : undefined)
            settle(part, rows, outcomes)
            return
          } catch (error) {
            if (!isDataError(error) || part.length === 0) throw error
            if (part.length > 1) break
            if (attempt < dataAttempts) continue
            const [{ index, event }] = part as [Work]
            bury(index, { ...refusalOf(error), tenant: event.tenant }, dataAttempts)
            if (isLast) await sift([], true)
            return
          }
        }
        const half = part.length >> 1
        await sift(part.slice(0, half), false)
        await sift(part.slice(half), isLast)
      }
      await sift(works, true)
      onOutcomes?.(outcomes)
      return outcomes
    },
  }
}

const keyOf = (...parts: readonly unknown[]): string => parts.join('\0') // no id holds one

/** Postgres refused the values themselves: it will again. */
export const isDataError = (error: unknown): boolean => isBusError(error) && error.details['reason'] === 'BAD_DATA'

export function refusalOf(error: unknown): Refusal {
  const state = isBusError(error) ? error.details['sqlstate'] : undefined
  return { code: 'BAD_DATA', message: `Postgres does not take its values (SQLSTATE ${String(state)})` }
}

function settle(part: readonly Work[], rows: readonly Row[], outcomes: Outcome[]): void {
  const fresh = new Map<string, boolean>()
  for (const row of rows) {
    fresh.set(keyOf(row['tenant_id'], row['agent_id'], row['event_id']), row['is_applied'] === true)
  }
  /** The newest so far of each episode of this call. */
  const newest = new Map<string, EpisodeEvent>()
  for (const { index, event } of part) {
    const isApplied = fresh.get(keyOf(event.tenant, event.agent, event.id))
    if (isApplied === undefined) {
      outcomes[index] = { status: 'duplicate', event }
      continue
    }
    const episode = keyOf(event.tenant, event.agent, event.episode)
    const before = newest.get(episode)
    const isAhead = before === undefined || isAfter(event, before)
    if (isAhead) newest.set(episode, event)
    outcomes[index] = { status: isApplied && isAhead ? 'projected' : 'stale_rejected', event }
  }
}

/** The order that decides which event an episode shows; the same as `isNewer` in Postgres. */
export function isAfter(a: EpisodeEvent, b: EpisodeEvent): boolean {
  if (a.sourceTime.micros !== b.sourceTime.micros) return a.sourceTime.micros > b.sourceTime.micros
  return Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)) > 0
}
