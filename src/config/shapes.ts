// The frozen objects that configuration becomes. Plain data: no part's types, no environment names.
// `Secret` values are opened only where they are used.
import type { LogLevel } from '../base/logger.ts'
import type { Secret } from './secret.ts'

export type Profile = 'dev' | 'staging' | 'prod'

/** Host and port of one listener; port 0 picks a free one (tests). */
export interface Listener {
  readonly host: string
  readonly port: number
}

/** How bearer tokens are verified. */
export interface AuthConfig {
  readonly enabled: boolean
  /** HS256, or the one asymmetric algorithm whose public keys `keyFile` or `keysUrl` gives. */
  readonly algorithm: 'HS256' | 'RS256' | 'ES256' | 'EdDSA'
  readonly secret?: Secret
  /** A public key in PEM, or a JSON Web Key Set; for HS256 further keys beside `secret`. */
  readonly keyFile?: string
  /** Where an identity provider publishes its keys; never for HS256. */
  readonly keysUrl?: string
  readonly keysMaxStaleMs: number
  readonly issuer?: string
  readonly audience?: string
  /** Are the query keys token, access_token and auth_token read? (never at Shield) */
  readonly allowQueryToken: boolean
}

/** Bounds of reliability.md 4. Sizes in bytes, times in milliseconds, rates per second. */
export interface Limits {
  readonly maxMessageBytes: number
  readonly maxFragments: number
  readonly maxConnections: number
  readonly maxConnectionsPerTenant: number
  readonly maxConnectionsPerSubject: number
  readonly maxConnectionsPerAddress: number
  readonly handshakesPerSecond: number
  readonly handshakesPerSecondPerAddress: number
  readonly maxHalfOpen: number
  readonly handshakeTimeoutMs: number
  readonly headerTimeoutMs: number
  readonly closeTimeoutMs: number
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
  readonly messagesPerSecond: number
  readonly messagesBurst: number
  readonly bytesPerSecond: number
  readonly bytesBurst: number
  readonly messagesPerSecondPerTenant: number
  readonly bytesPerSecondPerTenant: number
  readonly controlFramesPerSecond: number
  readonly controlFramesBurst: number
  /** Refused-for-rate frames within a minute before the socket is closed. */
  readonly maxStrikes: number
  readonly maxInflight: number
  readonly maxJoins: number
  readonly maxMembersPerChannel: number
  readonly maxChannelsPerTenant: number
  readonly maxQueuedBytesPerClient: number
  readonly maxQueuedBytesPerSubscription: number
  readonly maxQueuedBytesPerProcess: number
  readonly maxHeldBytesPerProcess: number
  readonly maxRecoverMessages: number
  readonly maxRecoverBytes: number
  readonly maxHistoryPageBytes: number
  readonly maxJsonDepth: number
  readonly maxJsonKeys: number
  readonly maxTelemetryClients: number
  readonly drainTimeoutMs: number
}

/** Bounds that only the gateway has. */
export interface EdgeLimits {
  readonly handshakesPerSecondPerTenant: number
  readonly maxInflightPerTenant: number
  readonly maxInflightPerProcess: number
  readonly closesPerSecond: number
}

export interface StorageConfig {
  readonly mode: 'strict' | 'degraded'
  readonly backend: 'memory' | 'embedded' | 'valkey' | 'postgres'
  readonly enabled: boolean
  /** Strict: both data stores must be there at the start, whichever keeps history. */
  readonly requiresBoth: boolean
  readonly dataDir: string
  readonly valkeyUrl?: Secret
  readonly postgresUrl?: Secret
  /** Are records copied to the table, or the streams, of earlier systems? */
  readonly isMirrored: boolean
  /** Entries kept in each of those streams. */
  readonly maxMirrorEntries: number
  readonly maxRecordsPerStream: number
  readonly maxBytesPerStream: number
  readonly maxAgeMs: number
  readonly dedupWindowMs: number
  readonly dedupMaxIds: number
  readonly maxPendingBytes: number
  /** After an outage: records a second of what degraded mode held, and appends a second at the end of the ramp. */
  readonly flushPerSecond: number
  readonly rampPerSecond: number
  /** Degraded: is a bus without its store still ready? (`false` = yes) */
  readonly readyRequiresStore: boolean
  /** Strict: seconds without the store after which the bus ends; 0 = never. */
  readonly exitAfterS: number
  /** The identity of a store that may take the place of the one used before. */
  readonly acceptedIdentity?: string
}

/** What changes quickly and is small; in Valkey where an address is known. */
export interface HotStateConfig {
  readonly valkeyUrl?: Secret
  readonly mode: 'strict' | 'degraded'
  readonly maxStoreKeys: number
  readonly maxStoreValueBytes: number
  readonly maxStoreBytes: number
  /** 0: no bound. */
  readonly handshakesPerSecondPerTenant: number
}

/** The projector, at the bus and as a program of its own. */
export interface ProjectorConfig {
  /** At the bus. */
  readonly enabled: boolean
  readonly room: string
  readonly metrics: Listener
  readonly workers: number
  readonly batch: number
  readonly ackWaitMs: number
  readonly maxDeadLetters: number
  /** Absent where no Postgres is named. */
  readonly postgresUrl?: Secret
}

export interface WireConfig {
  readonly infraProtocol: 'protobuf' | 'json'
  /** May text frames of JSON enter and leave? */
  readonly allowJson: boolean
}

export interface BusConfig {
  readonly profile: Profile
  readonly server: Listener
  readonly http: Listener & { readonly apiKey?: Secret }
  readonly telemetry: Listener & { readonly enabled: boolean }
  readonly auth: AuthConfig
  readonly wire: WireConfig
  readonly storage: StorageConfig
  readonly hotState: HotStateConfig
  readonly projector: ProjectorConfig
  readonly limits: Limits
  readonly allowedOrigins: readonly string[]
  readonly logLevel: LogLevel
  /** Servers of the link to gateways in other processes; absent: the bus stands alone. */
  readonly natsUrl?: Secret
}

/** The policies every frame is put to at the edge. */
export interface PolicyConfig {
  /** Wasm modules in the order in which they are asked; none: everything is allowed. */
  readonly files: readonly string[]
  /** `<name>:<SHA-256>` each; none: whatever is in the files is loaded. */
  readonly pins: readonly string[]
  /** Names of the upgrade request's headers that they may read, in lower case. */
  readonly headers: readonly string[]
  readonly policyFuel: number
  readonly policyDeadlineMs: number
  readonly policyMemoryPages: number
  readonly policyInstances: number
  readonly policyThreads: number
  readonly policyQueue: number
  readonly policyReloadMs: number
}

/** Where the schemas of payloads are kept. */
export type SchemaRegistryConfig =
  | { readonly kind: 'folder'; readonly folder: string }
  | { readonly kind: 'nats'; readonly natsUrl: Secret }

/** Copies of frames for shadow consumers. */
export interface MirrorConfig {
  /** `<subject pattern>:<rate>` */
  readonly rules: readonly string[]
  /** Names of keys whose values are in no copy. */
  readonly secretFields: readonly string[]
  /** Its own servers; those of the link when absent. */
  readonly natsUrl?: Secret
}

export interface ShieldConfig {
  readonly profile: Profile
  readonly server: Listener
  readonly metrics: Listener
  readonly auth: AuthConfig
  readonly wire: WireConfig
  readonly schemaStrict: boolean
  /** A serialised FileDescriptorSet; the shipped one when absent. */
  readonly schemaFile?: string
  /** Of that file; another one refuses the start. */
  readonly schemaSha256?: string
  readonly policies: PolicyConfig
  /** Absent: payloads are not judged. */
  readonly schemas?: SchemaRegistryConfig
  /** Absent: nothing is mirrored. */
  readonly mirror?: MirrorConfig
  /** Base address of an OpenTelemetry collector (OTLP over HTTP, JSON); spans are sent only where it is set. */
  readonly otlpEndpoint?: Secret
  readonly natsUrl?: Secret
  readonly tls?: { readonly certFile: string; readonly keyFile: string }
  /** Shield's own: its frames are smaller than the bus's (reliability 4). */
  readonly limits: Limits & EdgeLimits
  /** Proxies before it that append to X-Forwarded-For; 0: the socket's address counts. */
  readonly trustedProxyHops: number
  readonly allowedOrigins: readonly string[]
  readonly logLevel: LogLevel
}
