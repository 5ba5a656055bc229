// Hot state in process with wide bounds, for tests that put a bus together themselves.
import { createRevocations } from '../../src/auth/revocations.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { HotState } from '../../src/hot/hot-state.ts'
import { createMemoryHotState } from '../../src/hot/memory/memory-hot-state.ts'

export function createLabHotState(): HotState {
  return createMemoryHotState({
    clock: systemClock,
    limits: { maxKeys: 10_000, maxBytes: 2 ** 26 },
    revocations: createRevocations(systemClock),
  })
}
