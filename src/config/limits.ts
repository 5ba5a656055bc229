// Every bound of reliability.md 4 that the servers enforce, as one table. Each row is a variable of the bus
// (ARQONBUS_LIMIT_…) and of Shield (SHIELD_LIMIT_…). Above the cap a production start is refused.
import type { EdgeLimits, HotStateConfig, Limits, PolicyConfig, StorageConfig } from './shapes.ts'

export interface LimitSpec {
  readonly default: number
  /** Shield's own default, where it differs. */
  readonly shieldDefault?: number
  /** In development everyone is one anonymous subject on one machine: bounds on one subject or address are wider. */
  readonly devDefault?: number
  readonly min: number
  /** Largest value a production start accepts; absent where only the technical maximum bounds it. */
  readonly cap?: number
  readonly shieldCap?: number
  readonly meaning: string
}

const kib = 1_024
const mib = 1_024 * kib
const minute = 60_000

/** Node's timers take no more (2^31 - 1); no byte or count needs more than this either, except bytes per process. */
export const technicalMax = 2_147_483_647

export const limitTable = {
  maxMessageBytes: {
    default: mib,
    shieldDefault: 64 * kib,
    min: 1_024,
    cap: mib,
    shieldCap: 256 * kib,
    meaning: 'Largest frame taken in, bytes',
  },
  maxFragments: { default: 64, min: 1, cap: 256, meaning: 'Fragments of one message' },
  maxConnections: { default: 10_000, min: 1, cap: 50_000, meaning: 'Open connections of the process' },
  maxConnectionsPerTenant: { default: 2_000, min: 1, meaning: 'Open connections of one tenant' },
  maxConnectionsPerSubject: {
    default: 20,
    devDefault: 2_000,
    min: 1,
    meaning: 'Open connections of one token subject',
  },
  maxConnectionsPerAddress: {
    default: 50,
    devDefault: 2_000,
    min: 1,
    meaning: 'Open connections from one address (IPv6: one /64)',
  },
  handshakesPerSecond: { default: 1_000, min: 1, cap: 1_000, meaning: 'New connections a second, whole process' },
  handshakesPerSecondPerAddress: { default: 200, min: 1, cap: 1_000, meaning: 'New connections a second, one address' },
  maxHalfOpen: { default: 500, min: 1, cap: 2_000, meaning: 'Handshakes under way at once' },
  handshakeTimeoutMs: { default: 5_000, min: 100, cap: 10_000, meaning: 'Time for upgrade and authentication, ms' },
  headerTimeoutMs: { default: 10_000, min: 100, cap: 60_000, meaning: 'Time for the HTTP header, ms' },
  closeTimeoutMs: { default: 2_000, min: 100, cap: 5_000, meaning: 'Wait for the closing handshake, ms' },
  pingIntervalMs: { default: 20_000, min: 1_000, meaning: 'Time between pings, ms' },
  pongTimeoutMs: { default: 10_000, min: 500, meaning: 'Wait for a pong, ms' },
  messagesPerSecond: { default: 50, min: 1, cap: 1_000, meaning: 'Frames taken from one connection a second' },
  messagesBurst: { default: 100, min: 1, cap: 2_000, meaning: 'Frames one connection may send at once' },
  bytesPerSecond: { default: 512 * kib, min: 1_024, cap: 8 * mib, meaning: 'Bytes taken from one connection a second' },
  bytesBurst: { default: 2 * mib, min: 1_024, cap: 16 * mib, meaning: 'Bytes one connection may send at once' },
  messagesPerSecondPerTenant: {
    default: 2_000,
    devDefault: 1_000_000,
    min: 1,
    meaning: 'Frames taken from all connections of one tenant a second (half as many at once)',
  },
  bytesPerSecondPerTenant: {
    default: 16 * mib,
    devDefault: 1_024 * mib,
    min: 1_024,
    meaning: 'Bytes taken from all connections of one tenant a second (half as many at once)',
  },
  controlFramesPerSecond: {
    default: 5,
    min: 1,
    cap: 20,
    meaning: 'Pings and pongs taken from one connection a second',
  },
  controlFramesBurst: { default: 20, min: 1, cap: 80, meaning: 'Pings and pongs one connection may send at once' },
  maxStrikes: { default: 10, min: 1, meaning: 'Frames refused for rate within a minute before the socket is closed' },
  maxInflight: { default: 256, min: 1, meaning: 'Unacknowledged publishes of one connection' },
  maxJoins: { default: 100, min: 1, cap: 1_000, meaning: 'Channels one connection may join' },
  maxMembersPerChannel: { default: 10_000, min: 1, cap: 50_000, meaning: 'Members of one channel' },
  maxChannelsPerTenant: { default: 10_000, min: 1, meaning: 'Channels of one tenant' },
  maxQueuedBytesPerClient: {
    default: mib,
    min: 4_096,
    cap: 16 * mib,
    meaning: 'Unread bytes before a slow reader is closed',
  },
  maxQueuedBytesPerSubscription: {
    default: 256 * kib,
    min: 4_096,
    cap: 4 * mib,
    meaning:
      'Unread bytes from which subscriptions with overflow `drop_oldest` or `latest` are passed over (at most half of those per client), and the newest bytes held for them in each channel',
  },
  maxQueuedBytesPerProcess: { default: 256 * mib, min: mib, meaning: 'Unread bytes of all connections together' },
  maxHeldBytesPerProcess: {
    default: 64 * mib,
    min: 64 * kib,
    meaning: 'Newest messages held for subscriptions that are passed over, bytes of all channels together',
  },
  maxRecoverMessages: { default: 300, min: 1, cap: 5_000, meaning: 'Messages one recovery may bring back' },
  maxRecoverBytes: { default: 4 * mib, min: 4_096, meaning: 'Bytes one recovery may bring back' },
  maxHistoryPageBytes: { default: 768 * kib, min: 4_096, meaning: 'Bytes of one page of history' },
  maxJsonDepth: { default: 32, min: 4, cap: 100, meaning: 'Nesting of a payload' },
  maxJsonKeys: { default: 1_000, min: 16, meaning: 'Object keys in one frame' },
  maxTelemetryClients: { default: 50, min: 1, cap: 500, meaning: 'Telemetry connections' },
  drainTimeoutMs: { default: 25_000, min: 0, cap: 120_000, meaning: 'Time given to clients on shutdown, ms' },
} as const satisfies Readonly<Record<keyof Limits, LimitSpec>>

export const limitFields: readonly (keyof Limits)[] = Object.keys(limitTable) as (keyof Limits)[]

type StorageLimit =
  | 'maxRecordsPerStream'
  | 'maxBytesPerStream'
  | 'maxAgeMs'
  | 'dedupWindowMs'
  | 'dedupMaxIds'
  | 'maxPendingBytes'
  | 'flushPerSecond'
  | 'rampPerSecond'
  | 'maxMirrorEntries'

/** The bounds of history; the bus only. */
export const storageLimitTable = {
  maxRecordsPerStream: { default: 10_000, min: 1, meaning: 'Messages kept for each room and channel' },
  maxBytesPerStream: { default: 64 * mib, min: 4_096, meaning: 'Bytes kept for each room and channel' },
  maxAgeMs: { default: 24 * 60 * minute, min: 1_000, meaning: 'Age at which history is dropped, ms' },
  dedupWindowMs: {
    default: 10 * minute,
    min: 1_000,
    cap: 24 * 60 * minute,
    meaning: 'Time for which message ids are remembered, ms',
  },
  dedupMaxIds: {
    default: 100_000,
    min: 100,
    meaning: 'Message ids of one tenant remembered at once; more are refused (DEDUP_FULL)',
  },
  maxPendingBytes: {
    default: 128 * mib,
    min: mib,
    meaning: 'Bytes waiting for the store; above it publishers are not read until half of it is answered',
  },
  flushPerSecond: {
    default: 1_000,
    min: 100,
    meaning: 'Messages a second that degraded mode, having held them, writes to a store that is back',
  },
  rampPerSecond: {
    default: 20_000,
    min: 1_000,
    meaning:
      'Messages a second for a store that is back, reached within 10 s from a quarter of it; then there is no bound',
  },
  maxMirrorEntries: {
    default: 1_000,
    min: 1,
    cap: 1_000_000,
    meaning: 'Entries kept in each stream of ARQONBUS_VALKEY_MIRROR',
  },
} as const satisfies Readonly<Record<StorageLimit & keyof StorageConfig, LimitSpec>>

type HotLimit = 'maxStoreKeys' | 'maxStoreValueBytes' | 'maxStoreBytes' | 'handshakesPerSecondPerTenant'

/** The bounds of hot state; the bus only. */
export const hotLimitTable = {
  maxStoreKeys: { default: 10_000, min: 1, meaning: 'Keys one tenant may have in op.store' },
  maxStoreValueBytes: { default: 64 * kib, min: 1, cap: mib, meaning: 'Largest value in op.store, bytes of JSON' },
  maxStoreBytes: {
    default: 64 * mib,
    min: 1_024,
    meaning: 'Bytes of names and values that one tenant may have in op.store',
  },
  handshakesPerSecondPerTenant: {
    default: 0,
    min: 0,
    meaning: 'New connections a second of one tenant, at all buses with the same hot state; 0: no bound',
  },
} as const satisfies Readonly<Record<HotLimit & keyof HotStateConfig, LimitSpec>>

type PolicyLimit = Exclude<keyof PolicyConfig, 'files' | 'pins' | 'headers'>

/** The bounds of policies; Shield only. */
export const policyLimitTable = {
  policyFuel: {
    default: 2_000_000,
    min: 10_000,
    cap: 20_000_000,
    meaning: 'Fuel of one policy for one frame, about one for each instruction',
  },
  policyDeadlineMs: {
    default: 25,
    min: 5,
    cap: 100,
    meaning: 'Time of one frame in a policy that cannot be metered, ms; then its thread is ended',
  },
  policyMemoryPages: { default: 64, min: 1, cap: 256, meaning: 'Memory of one instance of a policy, pages of 64 KiB' },
  policyInstances: {
    default: 128,
    min: 1,
    cap: 1_000,
    meaning: 'Instances of one policy kept, one for each tenant; the least recently used makes room',
  },
  policyThreads: { default: 2, min: 1, cap: 32, meaning: 'Threads for policies that cannot be metered' },
  policyQueue: { default: 200, min: 1, cap: 10_000, meaning: 'Frames that wait for those threads' },
  policyReloadMs: {
    default: 1_000,
    min: 0,
    meaning: 'Time between looks at the files of policies, ms; 0: they are read once',
  },
} as const satisfies Readonly<Record<PolicyLimit, LimitSpec>>

/** The bounds that only the gateway has. */
export const edgeLimitTable = {
  handshakesPerSecondPerTenant: {
    default: 500,
    devDefault: 100_000,
    min: 1,
    meaning: 'New connections a second of one tenant (twice as many at once)',
  },
  maxInflightPerTenant: {
    default: 4_096,
    devDefault: 1_000_000,
    min: 1,
    meaning: 'Unanswered frames of all connections of one tenant',
  },
  maxInflightPerProcess: {
    default: 20_000,
    devDefault: 1_000_000,
    min: 1,
    meaning: 'Unanswered frames of all connections together',
  },
  closesPerSecond: { default: 500, min: 1, cap: 5_000, meaning: 'Connections closed a second on shutdown' },
} as const satisfies Readonly<Record<keyof EdgeLimits, LimitSpec>>

export const edgeLimitFields: readonly (keyof EdgeLimits)[] = Object.keys(edgeLimitTable) as (keyof EdgeLimits)[]

/** The contract's own names for limits it had already. */
const contractNames: Readonly<Record<string, string>> = {
  maxMessageBytes: 'ARQONBUS_MAX_MESSAGE_SIZE',
  maxConnections: 'ARQONBUS_MAX_CONNECTIONS',
  maxRecordsPerStream: 'ARQONBUS_MAX_HISTORY_SIZE',
}

/** The variable that sets a limit: the contract's name, else `ARQONBUS_LIMIT_` or `SHIELD_LIMIT_` and the field. */
export function limitVariable(program: 'bus' | 'shield', field: string): string {
  if (program === 'bus' && contractNames[field] !== undefined) return contractNames[field]
  const snake = field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
  return `${program === 'bus' ? 'ARQONBUS' : 'SHIELD'}_LIMIT_${snake}`
}
