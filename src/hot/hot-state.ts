// The port of hot state: what changes quickly, is small, and may be shared by several buses. In process, or in Valkey.
//
// What every adapter promises:
// - Everything lies inside a tenant; no two names ever meet in one place, and nothing of a tenant is read by another.
// - Nothing hangs: every promise settles within 2 seconds. A rejected one is a BusError: STORE_UNAVAILABLE when certainly
//   nothing was changed, STORE_TIMEOUT when a change may or may not have been made (each may be asked for again).
// - What has no promise returns at once and never throws: publishing never waits for hot state.
// - Losing the backend loses no session: presence knows this process only and says so, revocations known here stay in
//   force, counters count this process only; all of it is made good by itself when the backend is back.
//
// Nothing here is ever part of the dedup window: that is the history store's.
import type { StreamKey } from '../envelope/envelope.ts'

/** Small values by namespace and key, for clients (`op.store.*`). */
export interface Values {
  /**
   * `text` is kept as it is. `updated`: there was a value before. Rejects with LIMIT_EXCEEDED when the tenant has its
   * keys or its bytes.
   */
  set(name: ValueName, text: string): Promise<{ readonly updated: boolean }>
  get(name: ValueName): Promise<string | undefined>
  /** False when there was none. */
  delete(name: ValueName): Promise<boolean>
  /** Keys of a namespace, in code-unit order. */
  list(tenant: string, namespace: string): Promise<readonly string[]>
}

export interface ValueName {
  readonly tenant: string
  readonly namespace: string
  readonly key: string
}

/** Bounds of one tenant's values. */
export interface ValueLimits {
  readonly maxKeys: number
  /** Of all its names and values together, in bytes of UTF-8. */
  readonly maxBytes: number
}

/** A client that joined a channel by name, or a whole room. */
export interface PresentMember {
  readonly clientId: string
  readonly subject: string
  readonly joinedAtMs: number
}

/** One at another process. */
export interface ShownMember extends PresentMember {
  /** Joined the whole room, not this channel by name. */
  readonly byRoom: boolean
}

/** The memberships of this process as they are now: the one truth, which hot state only shows to others. */
export interface LocalPresence {
  /** The membership, or undefined when there is none (any more). The channel `*` is the whole room. */
  find(key: StreamKey, clientId: string): PresentMember | undefined
  /** Has anybody of this process joined by that name? */
  isUsed(key: StreamKey): boolean
  all(): Iterable<{ readonly key: StreamKey; readonly clientId: string }>
}

export interface Presence {
  /** From now on others see what `local` shows. Called once. */
  follow(local: LocalPresence): void
  /** A membership began or ended. Written soon, with others; never waits. */
  changed(key: StreamKey, clientId: string): void
  /**
   * Other processes on the same hot state, as of the last time they were looked for (every 3 seconds). Those that were
   * there when the backend was lost count on.
   */
  readonly others: number
  /**
   * Who is there at other processes: joined the channel, or its whole room. A process that is gone is not shown for
   * longer than its lease of 10 seconds. `isPartial`: others cannot be asked now. Never rejects.
   */
  elsewhere(key: StreamKey): Promise<{ readonly members: readonly ShownMember[]; readonly isPartial: boolean }>
}

/** As auth's own: everybody of a tenant, or one subject of it, until then. */
export interface KeptRevocation {
  readonly tenant: string
  readonly subject?: string
  readonly untilMs: number
}

/** The set that checks are made against, in this process. Fed by hot state, never shrunk by it. */
export interface KnownRevocations {
  revoke(revocation: KeptRevocation): void
  inForce(): Iterable<KeptRevocation>
}

export interface RevocationLog {
  /**
   * Resolves when it is kept; every process then learns of it within 1 second, this one without waiting for that. What
   * is known here and was lost by the backend is written to it again.
   */
  add(revocation: KeptRevocation): Promise<void>
}

export interface Counters {
  /**
   * Counts one more use in the window, which begins with its first use. Shared by all processes; while the backend
   * cannot be asked, this process counts alone. Never rejects.
   */
  take(use: CountedUse): Promise<{ readonly isAllowed: boolean; readonly retryAfterMs: number }>
}

export interface CountedUse {
  readonly tenant: string
  /** Absent: the whole tenant. */
  readonly subject?: string
  /** What is counted. */
  readonly name: string
  readonly max: number
  readonly windowMs: number
}

export interface HotStateReport {
  readonly state: 'up' | 'degraded'
  /** What is missing, never a secret. */
  readonly detail?: string
  /** Operations that failed, by kind, since the start. */
  readonly failures: Readonly<Record<HotOperation, number>>
}

export const hotOperations = ['values', 'presence', 'revocations', 'counters'] as const
export type HotOperation = (typeof hotOperations)[number]

export interface HotState {
  readonly backend: 'memory' | 'valkey'
  readonly values: Values
  readonly presence: Presence
  readonly revocations: RevocationLog
  readonly counters: Counters
  /** As known; never asks the backend. */
  report(): HotStateReport
  /** Its members stop being seen by others, where they can be told; then connections are released. Safe to call twice. */
  close(): Promise<void>
}
