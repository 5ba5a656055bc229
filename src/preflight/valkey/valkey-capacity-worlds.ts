// The worlds in which the checks of valkey-capacity-checks.ts have to pass, and to fail.
import type { JsonObject, Worlds } from '../check.ts'

const loading = {
  name: 'loading',
  stopped: { code: 'LOADING', step: 'read', observed: 'INFO says that it is loading' },
  expect: { code: 'LOADING', class: 'dependency' },
} as const

export const evictionWorlds: Worlds<{ readonly policy?: string; readonly maxMemory?: number }> = {
  passes: [{ name: 'noeviction under a limit', facts: { policy: 'noeviction', maxMemory: 1_000_000 } }],
  fails: [
    {
      name: 'allkeys-lru',
      facts: { policy: 'allkeys-lru', maxMemory: 1_000_000 },
      expect: { code: 'EVICTS', findings: ['maxmemory-policy EVICTS'] },
    },
    { name: 'allkeys-lfu, no limit yet', facts: { policy: 'allkeys-lfu', maxMemory: 0 }, expect: { code: 'EVICTS' } },
    {
      name: 'volatile-ttl under a limit',
      facts: { policy: 'volatile-ttl', maxMemory: 1_000_000 },
      expect: { code: 'EVICTS_VOLATILE', findings: ['maxmemory-policy EVICTS_VOLATILE'] },
    },
    {
      name: 'INFO without the policy',
      facts: { maxMemory: 1_000_000 },
      expect: { status: 'error', code: 'POLICY_NOT_TOLD', class: 'dependency' },
    },
    loading,
  ],
  ignores: [
    { name: 'no limit', facts: { policy: 'noeviction', maxMemory: 0 } },
    { name: 'the limit is not told', facts: { policy: 'noeviction' } },
  ],
}

const kept = { isAofOn: true, isAofWriting: true, snapshots: 'on', isSnapshotWell: true }
const nothing = { ...kept, isAofOn: false, snapshots: 'off' }
const degraded = { ARQONBUS_STORAGE_MODE: 'degraded' }

export const persistenceWorlds: Worlds<typeof kept & { readonly sinceSaveS?: number }> = {
  passes: [
    { name: 'both', facts: { ...kept, sinceSaveS: 60 } },
    { name: 'append-only file alone', facts: { ...kept, snapshots: 'off' } },
    { name: 'snapshots alone', facts: { ...kept, isAofOn: false } },
    { name: 'append-only file, snapshots untold', facts: { ...kept, snapshots: 'untold' } },
  ],
  fails: [
    {
      name: 'neither, strict',
      facts: nothing,
      expect: { code: 'NOTHING_KEPT', findings: ['appendonly NOTHING_KEPT'] },
    },
    {
      name: 'no append-only file, snapshots untold, strict',
      facts: { ...nothing, snapshots: 'untold' },
      expect: { status: 'error', code: 'PERSISTENCE_NOT_TOLD', class: 'dependency' },
    },
    {
      name: 'the append-only file fails',
      facts: { ...kept, isAofWriting: false },
      expect: { code: 'AOF_FAILS', findings: ['appendonly AOF_FAILS'] },
    },
    {
      name: 'the append-only file fails, degraded',
      env: degraded,
      facts: { ...kept, isAofWriting: false },
      expect: { code: 'AOF_FAILS' },
    },
    {
      name: 'the last snapshot failed',
      facts: { ...kept, isSnapshotWell: false },
      expect: { code: 'SNAPSHOT_FAILS', findings: ['save SNAPSHOT_FAILS'] },
    },
    loading,
  ],
  ignores: [
    { name: 'neither, degraded', env: degraded, facts: nothing },
    { name: 'untold, degraded', env: degraded, facts: { ...nothing, snapshots: 'untold' } },
    { name: 'a failure of a file that is off', facts: { ...kept, isAofOn: false, isAofWriting: false } },
    { name: 'a failed snapshot by hand, none planned', facts: { ...kept, snapshots: 'off', isSnapshotWell: false } },
  ],
}

interface Room {
  readonly usedMemory?: number
  readonly maxMemory?: number
  readonly clients?: number
  readonly maxClients?: number
  readonly replicas: readonly JsonObject[]
}

const roomy = { usedMemory: 10, maxMemory: 100, clients: 10, maxClients: 10_000, replicas: [] as JsonObject[] }
const replica = (lagS: number, isOnline = true): JsonObject => ({ isOnline, lagS })

export const headroomWorlds: Worlds<Room> = {
  passes: [
    { name: 'room everywhere', facts: roomy },
    { name: '84.9 % of the memory', facts: { ...roomy, usedMemory: 849, maxMemory: 1_000 } },
    { name: '79 % of the connections', facts: { ...roomy, clients: 7_999 } },
    { name: 'room for the last bus', policy: { instances: 4_995 }, facts: roomy },
    {
      name: 'a bus without history here takes one',
      policy: { instances: 9_990 },
      env: { ARQONBUS_STORAGE_BACKEND: 'embedded' },
      facts: roomy,
    },
    { name: 'the replica that is wanted', policy: { valkeyReplicas: 1 }, facts: { ...roomy, replicas: [replica(10)] } },
    {
      name: 'one lags, and enough do not',
      policy: { valkeyReplicas: 1 },
      facts: { ...roomy, replicas: [replica(11), replica(0)] },
    },
  ],
  fails: [
    {
      name: '85 % of the memory',
      facts: { ...roomy, usedMemory: 85 },
      expect: { code: 'MEMORY_SHORT', findings: ['maxmemory MEMORY_SHORT'] },
    },
    {
      name: '80 % of the connections',
      facts: { ...roomy, clients: 8_000 },
      expect: { code: 'CONNECTIONS_SHORT', findings: ['maxclients CONNECTIONS_SHORT'] },
    },
    {
      name: 'no room for the last bus',
      policy: { instances: 4_996 },
      facts: roomy,
      expect: { code: 'CONNECTIONS_SHORT' },
    },
    {
      name: 'no room for the last bus without history here',
      policy: { instances: 9_991 },
      env: { ARQONBUS_STORAGE_BACKEND: 'embedded' },
      facts: roomy,
      expect: { code: 'CONNECTIONS_SHORT' },
    },
    {
      name: 'no replica',
      policy: { valkeyReplicas: 1 },
      facts: roomy,
      expect: { code: 'REPLICAS_MISSING', findings: ['valkeyReplicas REPLICAS_MISSING'] },
    },
    {
      name: 'a replica that is still copying',
      policy: { valkeyReplicas: 1 },
      facts: { ...roomy, replicas: [replica(0, false)] },
      expect: { code: 'REPLICAS_MISSING' },
    },
    {
      name: 'a replica behind',
      policy: { valkeyReplicas: 1 },
      facts: { ...roomy, replicas: [replica(11)] },
      expect: { code: 'REPLICAS_LAG', findings: ['valkeyReplicas REPLICAS_LAG'] },
    },
    ...(['usedMemory', 'maxMemory', 'clients', 'maxClients'] as const).map((name) => ({
      name: `${name} is not told`,
      facts: Object.fromEntries(Object.entries(roomy).filter(([field]) => field !== name)) as unknown as Room,
      expect: { status: 'error', code: 'HEADROOM_NOT_TOLD', class: 'dependency' } as const,
    })),
    loading,
  ],
  ignores: [
    { name: 'no limit of memory', facts: { ...roomy, usedMemory: 1_000_000, maxMemory: 0 } },
    { name: 'more replicas than wanted, behind', facts: { ...roomy, replicas: [replica(99)] } },
  ],
}

export const skewWorlds: Worlds<{ readonly offsetMs: number; readonly uncertaintyMs: number }> = {
  passes: [
    { name: 'together', facts: { offsetMs: 3, uncertaintyMs: 0.5 } },
    { name: '2 s ahead, beyond what can be known', facts: { offsetMs: 2_010, uncertaintyMs: 10 } },
    { name: '2 s behind', facts: { offsetMs: -2_010, uncertaintyMs: 10 } },
  ],
  fails: [
    {
      name: 'more than 2 s ahead',
      facts: { offsetMs: 2_011, uncertaintyMs: 10 },
      expect: { code: 'SKEWED', findings: ['clock SKEWED'] },
    },
    { name: 'more than 2 s behind', facts: { offsetMs: -2_011, uncertaintyMs: 10 }, expect: { code: 'SKEWED' } },
    { name: 'in a day of its own', facts: { offsetMs: 86_400_000, uncertaintyMs: 1 }, expect: { code: 'SKEWED' } },
    loading,
  ],
  ignores: [{ name: 'a slow way, the same time', facts: { offsetMs: 900, uncertaintyMs: 900 } }],
}

export interface Latency {
  readonly samples: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** `p50Ms` and `p99Ms` of the last green run. */
  readonly green?: JsonObject
}

export const latencyWorlds: Worlds<Latency> = {
  passes: [
    { name: 'quick', facts: { samples: 50, p50Ms: 0.3, p99Ms: 1.2 } },
    { name: '50 ms at most', facts: { samples: 50, p50Ms: 5, p99Ms: 50 } },
  ],
  fails: [
    {
      name: 'a slow hundredth',
      facts: { samples: 50, p50Ms: 1, p99Ms: 50.1 },
      expect: { code: 'SLOW', findings: ['ARQONBUS_VALKEY_URL SLOW'] },
    },
    loading,
  ],
  ignores: [
    { name: 'a slow median below the bound', facts: { samples: 50, p50Ms: 45, p99Ms: 49 } },
    {
      name: 'many times slower than when it was green, below the bound',
      facts: { samples: 50, p50Ms: 9, p99Ms: 49, green: { p50Ms: 0.1, p99Ms: 0.2 } },
    },
  ],
}
