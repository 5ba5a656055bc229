// The audit log of a process: every entry is a line of the log, and where Postgres is given a row of the chain there.
// Nobody waits for it: entries gather in a bounded queue; what does not fit is counted as lost and told.
import type { Clock } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { PostgresAddress } from '../postgres/address.ts'
import { type AuditEntry, toContent } from './chain.ts'
import { createChainWriter } from './chain-writer.ts'

export interface AuditLog {
  /** Never throws, never waits. */
  record(entry: AuditEntry): void
  readonly state: AuditState
  /** Gives what is queued a last chance, for at most `closeWithinMs`. */
  close(): Promise<void>
}

export interface AuditState {
  /** Are rows written to Postgres? */
  readonly isKept: boolean
  readonly written: number
  readonly queued: number
  /** Entries that are in no row: the queue was full, or the process ended first. */
  readonly lost: number
  /** Why the last attempt to write failed; absent when it did not. */
  readonly failure?: string
}

export interface AuditLogOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Absent: lines of the log only. */
  readonly address?: PostgresAddress
  /** Default 10,000. */
  readonly maxQueued?: number
}

type Queued = ReturnType<typeof toContent>

const entriesPerWrite = 500
const closeWithinMs = 2_000
const retryMs = 1_000

export function createAuditLog({ clock, logger, address, maxQueued = 10_000 }: AuditLogOptions): AuditLog {
  const writer = address === undefined ? undefined : createChainWriter(address)
  const process = randomHex(8)
  let recorded = 0
  let queue: Queued[] = []
  let written = 0
  let lost = 0
  let failure: string | undefined
  let running: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let isClosing = false

  function wake(afterMs: number): void {
    if (writer === undefined || timer !== undefined || running !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      running = drain().finally(() => {
        running = undefined
        if (queue.length > 0 && !isClosing) wake(retryMs)
      })
    }, afterMs)
    timer.unref()
  }

  /** Writes until the queue is empty or an attempt fails; the entries of a failed one stay, under their ids. */
  async function drain(): Promise<void> {
    while (queue.length > 0) {
      const group = queue.slice(0, entriesPerWrite)
      try {
        const head = await writer!.write(group)
        queue = queue.slice(group.length)
        written += group.length
        failure = undefined
        // An anchor outside of the database: `arqonbus audit verify --expect` takes it.
        logger.debug('audit.written', { sequence: head.sequence, hash: head.hash })
      } catch (error) {
        if (failure === undefined) logger.error('audit.write_failed', describeError(error))
        failure = describeError(error)['message'] as string
        return
      }
    }
  }

  return {
    record(entry) {
      const content = toContent(entry, `${process}-${++recorded}`, clock.now())
      const { tenant, subject, clientId, action, outcome, details } = content
      logger.info('audit.recorded', { tenant, subject, clientId, action, outcome, details })
      if (writer === undefined) return
      if (queue.length >= maxQueued || isClosing) {
        lost++
        return
      }
      queue.push(content)
      wake(0)
    },
    get state() {
      const isKept = writer !== undefined
      return { isKept, written, queued: queue.length, lost, ...(failure !== undefined && { failure }) }
    },
    async close() {
      isClosing = true
      clearTimeout(timer)
      const last = (running ?? Promise.resolve()).then(drain)
      await Promise.race([last, new Promise((resolve) => setTimeout(resolve, closeWithinMs))])
      lost += queue.length
      if (queue.length > 0) logger.error('audit.lost_at_close', { entries: queue.length })
      await writer?.close()
    },
  }
}
