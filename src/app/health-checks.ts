// Keeps health true: the canary, the store's own probe and the link's state, looked at again and again.
import type { Clock } from '../base/clock.ts'
import { createMessageIds } from '../base/ids.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { Link } from '../link/link.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { Health } from '../telemetry/health.ts'
import type { BusCore } from './bus-core.ts'
import { createCanary } from './canary.ts'
import { reportLink } from './link-health.ts'

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
  store: HistoryStore | undefined
  health: Health
  clock: Clock
  logger: Logger
  link?: Link
}): HealthChecks {
  const { core, store, health, clock, logger, link } = ports
  const canary = createCanary({
    rooms: core.rooms,
    publisher: core.publisher,
    clock,
    nextId: createMessageIds(clock.now()),
    open: async (key, recipient) => {
      const stream = core.rooms.open(key)
      if (store !== undefined && !stream.isLoaded) {
        const head = await store.head(key)
        stream.epoch = head.epoch
        stream.head = Math.max(stream.head, head.last)
        stream.isLoaded = true
      }
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
    if (link !== undefined) health.report(reportLink(link))
    if (!isClosed) timer = setTimeout(() => void round(), intervalMs)
  }

  async function probeStore(log: HistoryStore): Promise<void> {
    try {
      await log.probe()
      health.report({
        name: 'store',
        state: 'up',
        detail: `${log.capabilities.backend}, level ${log.capabilities.level}`,
      })
    } catch (error) {
      logger.error('store.probe_failed', describeError(error))
      health.report({ name: 'store', state: 'down', detail: `${log.capabilities.backend}: write, read, delete failed` })
    }
  }

  return {
    first: round(),
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}
