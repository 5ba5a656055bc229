// Follows the channel of episode events in the bus's own log, for every tenant, into the projector. What is done is a
// position in Postgres, moved with the effects; so a bus that was away goes on where it was, from the log.
import { setTimeout as pause } from 'node:timers/promises'
import { backoffMs } from '../base/backoff.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { StreamKey } from '../envelope/envelope.ts'
import type { KeptConnection } from '../postgres/connection.ts'
import type { Outcome, Projector } from '../projector/projector.ts'
import { readCheckpoint } from '../projector/statements.ts'
import type { HistoryStore, StoredRecord } from '../storage/store.ts'
import { envelopeOfFrame } from '../wire/message-frame.ts'

export const episodeChannel = 'continuum.episode.v1'

export interface HistoryFollower {
  /** Something may have been stored in a channel of this tenant, or somebody of it has come. Returns at once. */
  notice(tenant: string): void
  /** Why it waits; absent while it does not. */
  readonly trouble: string | undefined
  close(): Promise<void>
}

export interface HistoryFollowerOptions {
  readonly store: HistoryStore
  readonly room: string
  readonly connection: Pick<KeptConnection, 'query'>
  readonly projector: Projector
  readonly batch: number
  readonly logger: Logger
  readonly onBatch?: (outcomes: readonly Outcome[]) => void
}

const maxPageBytes = 4 * 1024 * 1024
/** Everything known is looked at again this often, whatever was noticed: an append may land late. */
const lookAgainMs = 10_000

export function followHistory(options: HistoryFollowerOptions): HistoryFollower {
  const { store, room, connection, projector, batch, logger } = options
  const ended = new AbortController()
  const known = new Set<string>()
  const waiting = new Set<string>()
  let wake = (): void => undefined
  let trouble: string | undefined

  const sourceOf = (tenant: string): string => `channel:${tenant}:${room}`

  function notice(tenant: string): void {
    known.add(tenant)
    waiting.add(tenant)
    wake()
  }

  async function follow(tenant: string): Promise<void> {
    const key: StreamKey = { tenant, room, channel: episodeChannel }
    const source = sourceOf(tenant)
    const head = await store.head(key)
    if (head.last === 0) {
      known.delete(tenant) // not looked at again before it is noticed
      return
    }
    const done = await readCheckpoint((statement) => connection.query(statement), source)
    // Positions of another life of the channel say nothing: it is read from its beginning, and repetitions are known.
    let after = done?.epoch === head.epoch ? done.sequence : 0
    if (after > 0 && head.first > after + 1) {
      logger.error('projector.history_trimmed', { tenant, lost: head.first - after - 1 })
    }
    while (!ended.signal.aborted) {
      const records = await store.readBySequence({ key, after, limit: batch, maxBytes: maxPageBytes })
      const last = records.at(-1)
      if (last === undefined) return
      const { epoch, sequence } = last.position
      const outcomes = await projector.project(
        records.map((record) => ({ raw: eventOf(record), source, tenant })),
        { source, epoch, sequence },
      )
      options.onBatch?.(outcomes)
      after = sequence
    }
  }

  async function knowEarlier(): Promise<void> {
    const rows = await connection.query({
      text: `SELECT source FROM arqonbus_continuum_projection_checkpoint WHERE source LIKE 'channel:%'`,
    })
    for (const row of rows) {
      const [, tenant, ...rest] = String(row['source']).split(':')
      if (tenant !== undefined && rest.join(':') === room) notice(tenant)
    }
  }

  async function run(): Promise<void> {
    let isStarted = false
    for (let attempt = 0; !ended.signal.aborted; ) {
      const tenant = waiting.values().next().value
      if (isStarted && tenant === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      try {
        if (!isStarted) await knowEarlier()
        isStarted = true
        if (tenant !== undefined) {
          waiting.delete(tenant) // before: what is stored meanwhile is noticed again
          await follow(tenant)
        }
        attempt = 0
        trouble = undefined
      } catch (error) {
        if (tenant !== undefined) waiting.add(tenant)
        const failure = describeError(error)
        if (trouble === undefined) logger.warn('projector.waiting', { lane: 'channel', ...failure })
        trouble = String(failure['message'])
        const waitMs = 50 + backoffMs(attempt++, Math.random(), 100, 30_000)
        await pause(waitMs, undefined, { signal: ended.signal }).catch(() => undefined)
      }
    }
  }

  const timer = setInterval(() => {
    for (const tenant of known) notice(tenant)
  }, lookAgainMs)
  const running = run()
  return {
    notice,
    get trouble() {
      return trouble
    },
    async close() {
      clearInterval(timer)
      ended.abort()
      wake()
      await running
    },
  }
}

/** The event is the payload of the message. */
function eventOf({ frame, position }: StoredRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(envelopeOfFrame(frame, position).payload ?? null))
}
