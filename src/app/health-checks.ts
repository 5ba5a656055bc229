// Keeps health true: the canary, the store's own probe and the link's state, looked at again and again.
import type { AuditLog } from '../audit/audit-log.ts'
import type { Clock } from '../base/clock.ts'
import { createMessageIds } from '../base/ids.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { HotState } from '../hot/hot-state.ts'
import type { Link } from '../link/link.ts'
import { loadStream } from '../router/load-stream.ts'
import type { GuardedStore } from '../storage/guard/guarded-store.ts'
import type { ComponentReport, Health } from '../telemetry/health.ts'
import type { BusCore } from './bus-core.ts'
import { reportHotState } from './bus-hot-state.ts'
import { createCanary } from './canary.ts'
import { reportLink } from './link-health.ts'
import { reportStore } from './open-history.ts'

/** Twice a failed canary, or one that is older than this, and the bus is not ready. */
const intervalMs = 2_000
const timeoutMs = 2_000

export interface HealthChecks {
  /** Resolves after the first round. */
  readonly first: Promise<void>
  close(): void
}

export function startHealthChecks(ports: {
  core: BusCore
  store: GuardedStore | undefined
  readyRequiresStore: boolean
  hot: HotState
  health: Health
  clock: Clock
  logger: Logger
  link?: Link
  audit?: AuditLog
  /** How the keys of tokens are, where they can change. */
  keys?: () => ComponentReport | undefined
}): HealthChecks {
  const { core, store, hot, health, clock, logger, link, audit } = ports
  const canary = createCanary({
    rooms: core.rooms,
    publisher: core.publisher,
    clock,
    nextId: createMessageIds(clock.now()),
    open: async (key, recipient) => {
      const stream = core.rooms.open(key)
      await loadStream(core.rooms, store, stream)
      core.rooms.join(stream, recipient, stream.head)
    },
  })
  let isClosed = false
  let timer: NodeJS.Timeout | undefined

  async function round(): Promise<void> {
    const delivered = await canary.check(timeoutMs)
    health.report({
      name: 'delivery',
      state: delivered ? 'up' : 'down',
      ...(!delivered && { detail: `a message published here was not received within ${timeoutMs} ms` }),
    })
    if (store !== undefined) await probeStore(store)
    health.report(reportHotState(hot))
    if (link !== undefined) health.report(reportLink(link))
    const keys = ports.keys?.()
    if (keys !== undefined) health.report(keys)
    if (audit?.state.isKept === true) reportAudit(audit)
    if (!isClosed) timer = setTimeout(() => void round(), intervalMs)
  }

  /** Serves on without it, and says so until a restart once entries are in no row. */
  function reportAudit({ state: { lost, queued, failure } }: AuditLog): void {
    const isGood = lost === 0 && failure === undefined
    const detail = `${lost} entries lost, ${queued} waiting${failure === undefined ? '' : `: ${failure}`}`
    health.report({ name: 'audit', state: isGood ? 'up' : 'degraded', ...(!isGood && { detail }) })
  }

  /** A store that nobody writes to is looked at too; what was learned is the guard's to say. */
  async function probeStore(log: GuardedStore): Promise<void> {
    try {
      await log.probe()
    } catch (error) {
      logger.error('store.probe_failed', describeError(error))
    }
    health.report(reportStore(log, ports.readyRequiresStore))
  }

  return {
    first: round(),
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}
