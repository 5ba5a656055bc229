// What is known of the store behind the guard:
//
//   ready → suspect      a call failed
//   suspect → ready      a call succeeded
//   suspect → unavailable  three calls failed, or one second passed without a success
//   unavailable → recovering  a probe succeeded
//   recovering → ready   three probes in a row succeeded, and what was held has been written
//   recovering → unavailable  a probe failed
//   any → replaced       the store answers and is not the one whose positions were given out (strict: an operator decides)
import type { Clock } from '../../base/clock.ts'

export const storeStates = ['ready', 'suspect', 'unavailable', 'recovering', 'replaced'] as const
export type StoreState = (typeof storeStates)[number]

const failuresUntilUnavailable = 3
const suspicionMs = 1_000
export const probesUntilReady = 3

export interface StateMachine {
  readonly state: StoreState
  /** A call of the store failed for the store's sake; returns the state now. */
  failed(): StoreState
  /** A call or probe succeeded; returns the state now. `recovering` becomes `ready` only by `returned`. */
  succeeded(): StoreState
  /** Have enough probes in a row succeeded? */
  readonly isSteady: boolean
  returned(): void
  /** Goes there at once, whatever was known. */
  force(state: 'unavailable' | 'replaced'): void
  onChange(listener: (state: StoreState, before: StoreState) => void): () => void
}

export function createStateMachine(clock: Clock, initial: StoreState): StateMachine {
  const listeners = new Set<(state: StoreState, before: StoreState) => void>()
  let state = initial
  let failures = 0
  let suspectSinceMs = 0
  let successes = 0

  function become(next: StoreState): void {
    if (next === state) return
    const before = state
    state = next
    failures = 0
    successes = 0
    if (next === 'suspect') suspectSinceMs = clock.monotonic()
    for (const listener of listeners) listener(next, before)
  }

  return {
    get state() {
      return state
    },
    get isSteady() {
      return state === 'recovering' && successes >= probesUntilReady
    },
    failed() {
      if (state === 'recovering') become('unavailable')
      if (state === 'ready') become('suspect')
      failures++
      const isOverdue = clock.monotonic() - suspectSinceMs >= suspicionMs
      if (state === 'suspect' && (failures >= failuresUntilUnavailable || isOverdue)) become('unavailable')
      return state
    },
    succeeded() {
      if (state === 'suspect') become('ready')
      if (state === 'unavailable') become('recovering')
      successes++
      return state
    },
    returned: () => become('ready'),
    force: become,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
