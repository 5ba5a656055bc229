// Opening the store at the start of a bus, as reliability 5.2 has it: what strict refuses, what degraded goes on
// without, and why, in words an operator can act on.
import type { Clock } from '../../base/clock.ts'
import { BusError, isBusError } from '../../base/errors.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import { isAway as isOutage, openRepeatedly } from '../../base/open-repeatedly.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { HistoryStore, StoreCapabilities, StoreFaultCode, StoreReport } from '../store.ts'
import { createGuardedStore, type GuardedStore, type ReturnRates } from './guarded-store.ts'
import { createIdentityRecord } from './identity-record.ts'

export interface StartStoreOptions {
  readonly mode: 'strict' | 'degraded'
  /** Production: degraded does not excuse a store that is not there, and strict wants level `disk`. */
  readonly isProduction: boolean
  readonly backend: StoreCapabilities['backend']
  readonly dataDir: string
  /** The identity of another store that the operator has accepted. */
  readonly acceptedIdentity?: string
  readonly rates?: ReturnRates
  /** As the guard's. */
  readonly uncounted?: StreamKey
  readonly isShared?: () => boolean
  readonly open: () => Promise<HistoryStore>
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Rejects with STORE_UNAVAILABLE or STORE_TIMEOUT (not there: exit 69), STORE_OPEN_FAILED reason DENIED (exit 77), and
 * STORE_OPEN_FAILED or START_REFUSED otherwise (exit 78).
 */
export async function startStore(options: StartStoreOptions): Promise<GuardedStore> {
  const { mode, backend, logger } = options
  let inner: HistoryStore | undefined
  let isAway = false
  try {
    inner = await openRepeatedly(options.open, backend, logger)
  } catch (error) {
    excuse(error)
  }

  /** Goes on without the store, or throws. */
  function excuse(error: unknown): void {
    if (isDenied(error)) throw new BusError('STORE_OPEN_FAILED', error.message, error.details, error)
    if (mode === 'strict' || !isExcused(error)) throw error
    if (options.isProduction) throw notWithoutStore(error)
    logger.error('store.absent_at_start', { backend, ...describeError(error) })
    isAway = true
  }

  const record = createIdentityRecord(options.dataDir, backend)
  const isRecorded = backend === 'valkey' || backend === 'postgres'

  /** Remembers the identity, unless strict has to ask for it first. */
  async function accepts({ identity }: StoreReport): Promise<boolean> {
    if (!isRecorded) return true
    const known = await record.read()
    if (known === identity) return true
    const isKnownOther = known !== undefined && identity !== options.acceptedIdentity
    if (isKnownOther) logger.error('store.replaced', { backend, before: known, now: identity })
    if (isKnownOther && mode === 'strict') return false
    await record.write(identity)
    return true
  }

  try {
    if (inner !== undefined) judge(inner.report(), options)
    await inner?.probe().catch(excuse) // full, or read-only: the guard sees when it takes writes
    const isReplaced = inner !== undefined && !isAway && !(await accepts(inner.report()))
    return createGuardedStore({ ...options, inner, accepts, isAway, isReplaced })
  } catch (error) {
    await inner?.close()
    throw error
  }
}

/** Refused for want of a right: waiting mends nothing, whichever command met it first. */
const isDenied = (error: unknown): error is BusError =>
  isBusError(error, 'STORE_UNAVAILABLE') && error.details['reason'] === 'DENIED'

/** An outage, or tables that are still to be made; never a wrong password or a damaged file. */
const isExcused = (error: unknown): boolean =>
  isOutage(error) || (isBusError(error, 'STORE_OPEN_FAILED') && error.details['reason'] === 'SCHEMA_MISSING')

function notWithoutStore(cause: unknown): BusError {
  if (isBusError(cause, 'STORE_OPEN_FAILED')) return cause
  const text = cause instanceof Error ? cause.message : 'no answer'
  return new BusError(
    'STORE_UNAVAILABLE',
    `${text}. In production a bus does not start without its store, in degraded mode neither.`,
    isBusError(cause) ? cause.details : {},
    cause,
  )
}

/** Strict refuses what breaks its promises; degraded says it and goes on, for its acknowledgements tell the true level. */
function judge({ level, faults }: StoreReport, { mode, isProduction, backend, logger }: StartStoreOptions): void {
  const reasons: { code: StoreFaultCode | 'LEVEL_TOO_LOW'; text: string }[] = faults.map(({ code, found, fix }) => ({
    code,
    text: `${found}: ${fix}`,
  }))
  if (mode === 'strict' && isProduction && level !== 'disk' && level !== 'replica' && reasons.length === 0) {
    reasons.push({
      code: 'LEVEL_TOO_LOW',
      text: `acknowledged messages survive only at level ${level}: set appendfsync always (Valkey) or synchronous_commit on (Postgres)`,
    })
  }
  for (const { code, text } of reasons) logger.warn('store.unsuitable', { backend, code, text })
  if (mode === 'degraded' || reasons.length === 0) return
  const lines = reasons.map(({ code, text }) => `  ${code} ${text}`).join('\n')
  const message = `The store (${backend}) cannot keep what strict mode promises:\n${lines}`
  throw new BusError('START_REFUSED', message, { reason: 'STORE_UNSUITABLE', faults: reasons.map(({ code }) => code) })
}
