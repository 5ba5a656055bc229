// Bytes in and out of all clients' sockets, read off the sockets a few times a second instead of counted per frame.
import type { ShieldMetrics } from './metrics.ts'

interface Socketed {
  readonly traffic: { readonly read: number; readonly written: number }
}

export interface Traffic {
  /** Returns a function that counts the rest and stops. */
  watch(connection: Socketed): () => void
  tick(): void
}

export function createTraffic(metrics: ShieldMetrics): Traffic {
  const seen = new Map<Socketed, Socketed['traffic']>()

  function note(connection: Socketed): void {
    const before = seen.get(connection)!
    const now = connection.traffic
    // A socket that is gone may tell nothing any more.
    if (now.read > before.read) metrics.count('shield_bytes_total', 'in', now.read - before.read)
    if (now.written > before.written) metrics.count('shield_bytes_total', 'out', now.written - before.written)
    seen.set(connection, now)
  }

  return {
    watch(connection) {
      seen.set(connection, { read: 0, written: 0 })
      return () => {
        note(connection)
        seen.delete(connection)
      }
    },
    tick() {
      for (const connection of seen.keys()) note(connection)
    },
  }
}
