// Hot state in Valkey or Redis, shared by every process that uses the same server.
import type { Clock } from '../../base/clock.ts'
import { BusError, isBusError } from '../../base/errors.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { ServerFacts } from '../../valkey/facts.ts'
import type { ValkeyReply } from '../../valkey/replies.ts'
import type { HotOperation, HotState, HotStateReport, KnownRevocations, ValueLimits } from '../hot-state.ts'
import { openBackend } from './backend.ts'
import { createValkeyCounters } from './valkey-counters.ts'
import { createValkeyPresence, type PresenceTiming } from './valkey-presence.ts'
import { createValkeyRevocations } from './valkey-revocations.ts'
import { createValkeyValues } from './valkey-values.ts'

export interface ValkeyHotStateOptions {
  readonly url: string
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: ValueLimits
  readonly revocations: KnownRevocations
  /** Must the server be there now? Otherwise it is looked for in the background, and the report says `degraded`. */
  readonly mustConnect: boolean
  readonly presenceTiming?: Partial<PresenceTiming>
}

/**
 * Resolves with all kept revocations in force. Rejects with STORE_OPEN_FAILED, reason DENIED and others that waiting does
 * not mend; where it must connect also with STORE_UNAVAILABLE, and with STORE_OPEN_FAILED, reason READ_ONLY or EVICTS.
 */
export async function openValkeyHotState(options: ValkeyHotStateOptions): Promise<HotState> {
  const { clock, logger, limits, revocations: known, mustConnect } = options
  const backend = await openBackend({ url: options.url, logger, mustConnect })
  const failures: Record<HotOperation, number> = { values: 0, presence: 0, revocations: 0, counters: 0 }
  let closing: Promise<void> | undefined

  const failed = (operation: HotOperation) => (error: unknown) => {
    failures[operation]++
    if (closing !== undefined) return
    // While the server is away the client says so once; here it would be said for each operation.
    const level = isBusError(error, 'STORE_UNAVAILABLE') ? 'debug' : 'warn'
    logger[level]('hot_state.failed', { operation, ...describeError(error) })
  }
  const guard =
    (operation: HotOperation) =>
    async (change: 'read' | 'write', run: () => Promise<ValkeyReply>): Promise<ValkeyReply> => {
      try {
        return await run()
      } catch (error) {
        failed(operation)(error)
        throw forClients(error, change)
      }
    }

  const values = createValkeyValues({ backend, limits, guard: guard('values') })
  const counters = createValkeyCounters({ backend, clock, failed: failed('counters') })
  const revocations = createValkeyRevocations({
    backend,
    clock,
    known,
    failed: failed('revocations'),
    guard: guard('revocations'),
  })
  const { presenceTiming: timing } = options
  const presence = createValkeyPresence({
    backend,
    failed: failed('presence'),
    ...(timing !== undefined && { timing }),
  })

  async function close(): Promise<void> {
    revocations.close()
    await presence.close()
    await backend.close()
  }

  function report(): HotStateReport {
    if (!backend.isConnected) return { state: 'degraded', detail: 'valkey cannot be reached', failures }
    const trouble = backend.facts === undefined ? undefined : troubleOf(backend.facts)
    if (trouble !== undefined) return { state: 'degraded', detail: trouble.text, failures }
    if (!revocations.isCurrent) return { state: 'degraded', detail: 'revocations cannot be exchanged', failures }
    return { state: 'up', failures }
  }

  try {
    const trouble = backend.facts === undefined ? undefined : troubleOf(backend.facts)
    if (mustConnect && trouble !== undefined) {
      throw new BusError('STORE_OPEN_FAILED', `Hot state: ${trouble.text}`, { reason: trouble.reason })
    }
    if (backend.isConnected) await revocations.look()
  } catch (error) {
    if (mustConnect || !(isBusError(error, 'STORE_UNAVAILABLE') || isBusError(error, 'STORE_TIMEOUT'))) {
      closing = close()
      await closing
      throw error
    }
  }
  return {
    backend: 'valkey',
    values,
    presence,
    revocations,
    counters,
    report,
    close: () => (closing ??= close()),
  }
}

/** What the server does by its settings that breaks a promise: an evicted revocation is a token that works again. */
function troubleOf({ role, maxMemory, evictionPolicy }: ServerFacts): { reason: string; text: string } | undefined {
  if (role === 'replica') return { reason: 'READ_ONLY', text: 'valkey is a replica; give the address of the primary' }
  if (maxMemory === 0 || evictionPolicy === 'noeviction') return undefined
  return { reason: 'EVICTS', text: `valkey has maxmemory-policy ${evictionPolicy}; set noeviction` }
}

/** Without the server's address and words, which are the operator's: those are in the log. */
function forClients(error: unknown, change: 'read' | 'write'): unknown {
  if (!isBusError(error)) return error
  const reason = typeof error.details['reason'] === 'string' ? { reason: error.details['reason'] } : {}
  if (error.code === 'STORE_TIMEOUT' && change === 'write') {
    return new BusError('STORE_TIMEOUT', 'Hot state did not answer in time; ask again', reason, error)
  }
  return ofTheStore.includes(error.code) ? unavailable(reason, error) : error
}

const ofTheStore: readonly string[] = ['STORE_TIMEOUT', 'STORE_UNAVAILABLE', 'STORE_OPEN_FAILED', 'STORE_CORRUPT']

function unavailable(reason: { reason?: string }, cause: BusError): BusError {
  return new BusError('STORE_UNAVAILABLE', 'Hot state is unavailable; nothing was changed', reason, cause)
}
