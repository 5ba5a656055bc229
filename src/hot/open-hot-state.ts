// Opens hot state: in Valkey where an address is given, else in this process.
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { HotState, KnownRevocations, ValueLimits } from './hot-state.ts'
import { createMemoryHotState } from './memory/memory-hot-state.ts'
import { openValkeyHotState } from './valkey/valkey-hot-state.ts'

export interface HotStateConfig {
  readonly valkeyUrl?: string
  /** `strict`: Valkey must be there. `degraded`: it is looked for in the background. */
  readonly mode: 'strict' | 'degraded'
  readonly limits: ValueLimits
}

export interface HotStatePorts {
  readonly clock: Clock
  readonly logger: Logger
  /** Fed with what is kept, before this resolves, and with whatever comes later. */
  readonly revocations: KnownRevocations
}

/** Rejects as the Valkey adapter's opening does. */
export async function openHotState(
  { valkeyUrl, mode, limits }: HotStateConfig,
  ports: HotStatePorts,
): Promise<HotState> {
  const { clock, logger, revocations } = ports
  if (valkeyUrl === undefined) return createMemoryHotState({ clock, limits, revocations })
  return await openValkeyHotState({
    url: valkeyUrl,
    clock,
    logger,
    limits,
    revocations,
    mustConnect: mode === 'strict',
  })
}
