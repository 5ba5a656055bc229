// What every backend asks of an append, whatever it stores it in.
import { BusError } from '../base/errors.ts'
import type { AppendRequest } from './store.ts'

/** Refuses a batch the caller should have split; nothing of it is stored. */
export function requireBatch(requests: readonly AppendRequest[], maxBatch: number): void {
  if (requests.length <= maxBatch) return
  throw new BusError('STORE_UNAVAILABLE', `More than ${maxBatch} appends in one batch`, { reason: 'BATCH_TOO_LARGE' })
}

export function isSameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
