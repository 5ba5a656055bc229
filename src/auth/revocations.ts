// Subjects and tenants whose tokens no longer count, kept in this process until those tokens would have ended anyway.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Identity } from './identity.ts'

export interface Revocation {
  readonly tenant: string
  /** Absent: everybody of the tenant. */
  readonly subject?: string
  /** Milliseconds since the epoch; no token lives longer than 24 hours, so a day from now covers all. */
  readonly untilMs: number
}

export interface Revocations {
  /** In force at once; throws `LIMIT_EXCEEDED` when 100,000 are in force. A later end wins over an earlier one. */
  revoke(revocation: Revocation): void
  isRevoked(identity: Pick<Identity, 'tenant' | 'subject'>): boolean
  /** Those whose end has not come; in no order. */
  inForce(): Iterable<Revocation>
  /** How many are remembered; some of them may have ended. */
  readonly size: number
  /** Told of each `revoke` that says something new; returns the way to stop listening. */
  onRevoked(listener: (revocation: Revocation) => void): () => void
}

const maxRevocations = 100_000

export function createRevocations(clock: Clock): Revocations {
  const ends = new Map<string, Revocation>()
  const listeners = new Set<(revocation: Revocation) => void>()

  function isInForce(key: string): boolean {
    const revocation = ends.get(key)
    if (revocation === undefined) return false
    if (revocation.untilMs > clock.now()) return true
    ends.delete(key)
    return false
  }

  function makeRoom(): void {
    if (ends.size < maxRevocations) return
    for (const key of ends.keys()) isInForce(key)
    if (ends.size >= maxRevocations)
      throw new BusError('LIMIT_EXCEEDED', 'Too many revocations', { limit: 'revocations', max: maxRevocations })
  }

  return {
    revoke(revocation) {
      const key = keyOf(revocation.tenant, revocation.subject)
      if (!ends.has(key)) makeRoom()
      if (revocation.untilMs <= (ends.get(key)?.untilMs ?? 0)) return
      ends.set(key, revocation)
      for (const listener of listeners) listener(revocation)
    },
    isRevoked: ({ tenant, subject }) => isInForce(keyOf(tenant, undefined)) || isInForce(keyOf(tenant, subject)),
    *inForce() {
      for (const [key, revocation] of ends) if (isInForce(key)) yield revocation
    },
    get size() {
      return ends.size
    },
    onRevoked(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** A tenant has no space and a subject is never empty, so keys cannot collide. */
function keyOf(tenant: string, subject: string | undefined): string {
  return `${tenant} ${subject ?? ''}`
}
