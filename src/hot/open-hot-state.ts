// Opens hot state: in Valkey where an address is given, else in this process, with revocations in the data folder.
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { HotState, KnownRevocations, ValueLimits } from './hot-state.ts'
import { createMemoryHotState } from './memory/memory-hot-state.ts'
import { openRevocationFile } from './memory/revocation-file.ts'

export interface HotStateConfig {
  readonly valkeyUrl?: string
  /** `strict`: Valkey must be there. `degraded`: it is looked for in the background. */
  readonly mode: 'strict' | 'degraded'
  readonly limits: ValueLimits
  /** A folder that is this process's alone. Used where there is no Valkey. */
  readonly dataDir?: string
}

export interface HotStatePorts {
  readonly clock: Clock
  readonly logger: Logger
  /** Fed with what is kept, before this resolves, and with whatever comes later. */
  readonly revocations: KnownRevocations
}

/** Rejects as the opening of the Valkey adapter or of the file of revocations does. */
export async function openHotState(config: HotStateConfig, ports: HotStatePorts): Promise<HotState> {
  const { valkeyUrl: url, mode, limits, dataDir } = config
  const { clock, logger, revocations } = ports
  if (url !== undefined) {
    const { openValkeyHotState } = await import('./valkey/valkey-hot-state.ts')
    return await openValkeyHotState({ url, clock, logger, limits, revocations, mustConnect: mode === 'strict' })
  }
  const file = dataDir === undefined ? undefined : await openRevocationFile(dataDir, clock)
  for (const kept of file?.kept ?? []) revocations.revoke(kept)
  return createMemoryHotState({ clock, limits, revocations, ...(file !== undefined && { file }) })
}
