// The metrics of the projector, by the names of the original (original-contract 8.7).
import type { Clock } from '../base/clock.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { BackfillResult } from '../projector/backfill.ts'
import type { Outcome } from '../projector/projector.ts'
import { createReads } from '../projector/reads.ts'
import type { Sql } from '../projector/sql.ts'
import type { Metrics } from '../telemetry/metrics.ts'

const name = (tail: string): string => `arqonbus_continuum_projector_${tail}`
const backend = 'postgres'
const lagBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600]
/** Tables are counted this often: a scrape must not walk over them. */
const countEveryMs = 15_000

export interface ProjectorMetrics {
  readonly outcomes: (outcomes: readonly Outcome[]) => void
  readonly replayed: (isReplayed: boolean, reason: 'accepted' | 'rejected' | 'not_found') => void
  readonly backfilled: (result: BackfillResult, seconds: number) => void
  /** Counts the tables now and from time to time; returns what stops it. */
  countTables(sql: Sql, logger: Logger): () => void
  /** Is a lane held up? By lane: 1 while it takes events in. */
  lanes(read: () => Readonly<Record<string, number>>): void
}

export function createProjectorMetrics(metrics: Metrics, clock: Clock, maxDeadLetters: number): ProjectorMetrics {
  metrics.gauge(name('dlq_cap'), 'Dead letters at which the lane stops', () => maxDeadLetters)
  const events = metrics.counter(name('events_total'), 'Events, by what became of them', [
    'status',
    'event_type',
    'backend',
  ])
  const dlq = metrics.counter(name('dlq_events_total'), 'Dead letters put in and taken out', ['action', 'backend'])
  const replays = metrics.counter(name('dlq_replay_total'), 'Replays of dead letters', [
    'replayed',
    'reason',
    'backend',
  ])
  const backfills = metrics.counter(name('backfill_total'), 'Backfills that came to their end', ['dry_run', 'backend'])
  const backfilled = metrics.counter(name('backfill_events_total'), 'Events of backfills', ['outcome'])
  const lag = metrics.histogram(
    name('event_lag_seconds'),
    'From source_ts to the commit, of events that took effect',
    lagBuckets,
    ['event_type'],
  )
  const duration = metrics.histogram(name('backfill_duration_seconds'), 'Time of backfills', lagBuckets, ['backend'])
  const gauges = {
    projections: metrics.gauge(name('projection_count'), 'Episodes in the projection'),
    events: metrics.gauge(name('seen_event_count'), 'Events that took effect once'),
    log: metrics.gauge(name('event_log_count'), 'Events in the log'),
    deadLetters: metrics.gauge(name('dlq_depth'), 'Dead letters that wait for somebody'),
  }
  return {
    outcomes(outcomes) {
      const nowMs = clock.now()
      for (const outcome of outcomes) {
        const { status } = outcome
        const type = outcome.status === 'dlq_queued' ? 'unknown' : outcome.event.type
        events.inc({ status, event_type: type, backend })
        if (outcome.status === 'dlq_queued') dlq.inc({ action: 'push', backend })
        else if (outcome.status === 'projected') {
          lag.observe(Math.max(0, nowMs - outcome.event.sourceTime.micros / 1_000) / 1_000, { event_type: type })
        }
      }
    },
    replayed(isReplayed, reason) {
      replays.inc({ replayed: String(isReplayed), reason, backend })
      if (isReplayed) dlq.inc({ action: 'remove', backend })
    },
    backfilled(result, seconds) {
      const { dryRun, events: all, inserted, updated } = result
      backfills.inc({ dry_run: String(dryRun), backend })
      duration.observe(seconds, { backend })
      if (dryRun) return
      backfilled.inc({ outcome: 'projected' }, inserted + updated)
      backfilled.inc({ outcome: 'duplicate' }, all - inserted - updated)
    },
    countTables(sql, logger) {
      const reads = createReads(sql)
      let isBusy = false
      async function count(): Promise<void> {
        if (isBusy) return
        isBusy = true
        try {
          const counts = await reads.counts()
          gauges.projections.set(counts.projections)
          gauges.events.set(counts.events)
          gauges.log.set(counts.events)
          gauges.deadLetters.set(counts.deadLetters)
        } catch (error) {
          logger.debug('projector.count_failed', describeError(error))
        } finally {
          isBusy = false
        }
      }
      void count()
      const timer = setInterval(() => void count(), countEveryMs)
      return () => clearInterval(timer)
    },
    lanes(read) {
      metrics.gaugesFrom(name('lane_running'), 'Does the lane take events in? 1 or 0', 'lane', read)
    },
  }
}
