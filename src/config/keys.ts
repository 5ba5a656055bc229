// The one table of configuration: every variable the programs read, how its text is read, what holds without it, who
// reads it and what it means. Parser, defaults, docs/config.md, `config --print` and the preflight all come from here.
import { logLevels } from '../base/logger.ts'
import {
  edgeLimitTable,
  hotLimitTable,
  type LimitSpec,
  limitFields,
  limitTable,
  limitVariable,
  policyLimitTable,
  storageLimitTable,
  technicalMax,
} from './limits.ts'
import {
  address,
  boolean,
  fieldName,
  headerName,
  host,
  integer,
  keysAddress,
  list,
  mirrorRule,
  oneOf,
  origin,
  path,
  policyPin,
  port,
  publicKey,
  type Reader,
  secret,
  sha256,
  someOf,
  text,
} from './readers.ts'
import { Secret } from './secret.ts'
import type { Profile } from './shapes.ts'

export type Program = 'bus' | 'shield'

export interface KeySpec<T> {
  /** The variable, then its aliases of equal standing. */
  readonly names: readonly [string, ...string[]]
  readonly reader: Reader<NonNullable<T>>
  readonly fallback: (profile: Profile) => T
  readonly programs: readonly Program[]
  readonly meaning: string
  /** `hidden`: never shown; `url`: shown without user information, path and query. */
  readonly secret?: 'hidden' | 'url'
  /** An endpoint that production has to set itself, and that no runbook line names (rule `bus.no-defaults`). */
  readonly endpoint?: true
}

type Rest = Partial<Pick<KeySpec<unknown>, 'secret' | 'endpoint'>>
type Names = string | readonly [string, ...string[]]
const both: readonly Program[] = ['bus', 'shield']
const bus: readonly Program[] = ['bus']
const shield: readonly Program[] = ['shield']
const namesOf = (names: Names): readonly [string, ...string[]] => (typeof names === 'string' ? [names] : names)

/** A key that always has a value. */
function key<T extends NonNullable<unknown>>(
  names: Names,
  reader: Reader<T>,
  fallback: NoInfer<T | Readonly<Record<Profile, T>>>,
  programs: readonly Program[],
  { meaning, ...rest }: Rest & { meaning: string },
): KeySpec<T> {
  return { names: namesOf(names), reader, fallback: (profile) => at<T>(fallback, profile), programs, meaning, ...rest }
}

function at<T>(fallback: T | Readonly<Record<Profile, T>>, profile: Profile): T {
  return isByProfile(fallback) ? fallback[profile] : fallback
}

function isByProfile<T>(value: T | Readonly<Record<Profile, T>>): value is Readonly<Record<Profile, T>> {
  return typeof value === 'object' && value !== null && 'dev' in value && 'staging' in value && 'prod' in value
}

/** A key that may be absent. */
function optional<T extends NonNullable<unknown>>(
  names: Names,
  reader: Reader<T>,
  programs: readonly Program[],
  rest: Rest & { meaning: string },
): KeySpec<T | undefined> {
  return { names: namesOf(names), reader, fallback: () => undefined, programs, ...rest }
}

const pair = (tail: string): readonly [string, string] => [`ARQONBUS_VALKEY_${tail}`, `ARQONBUS_REDIS_${tail}`]

export const profileWords = {
  dev: 'dev',
  development: 'dev',
  staging: 'staging',
  prod: 'prod',
  production: 'prod',
} as const satisfies Record<string, Profile>

const backendWords = {
  memory: 'memory',
  memory_storage: 'memory',
  embedded: 'embedded',
  valkey: 'valkey',
  valkey_streams: 'valkey',
  redis: 'valkey',
  redis_streams: 'valkey',
  postgres: 'postgres',
  postgresql: 'postgres',
} as const

const algorithmWords = { HS256: 'HS256', RS256: 'RS256', ES256: 'ES256', EdDSA: 'EdDSA' } as const

/** Those of the original (`password`, `token`, `secret`) and others that mean the same. */
const defaultSecretFields: readonly string[] = [
  'password',
  'passwd',
  'passphrase',
  'secret',
  'client_secret',
  'token',
  'access_token',
  'refresh_token',
  'id_token',
  'api_key',
  'private_key',
  'authorization',
  'cookie',
  'credentials',
]

const defaultPolicyHeaders: readonly string[] = [
  'host',
  'origin',
  'user-agent',
  'accept-language',
  'x-request-id',
  'traceparent',
]
const logWords = Object.fromEntries(logLevels.map((level) => [level, level])) as {
  [L in (typeof logLevels)[number]]: L
}

export const keys = {
  environment: key('ARQONBUS_ENVIRONMENT', oneOf(profileWords), 'dev' as Profile, both, {
    meaning: 'Profile: which defaults hold, and whether the production rules are enforced',
  }),
  preflightStrict: key('ARQONBUS_PREFLIGHT_STRICT', boolean, false, both, {
    meaning: 'Enforce the production rules in development too',
  }),
  preflightWaivers: optional('ARQONBUS_PREFLIGHT_WAIVERS', path, both, {
    meaning:
      'File of approved exceptions to the production rules (docs/waivers.md); read by the preflight and at each start',
  }),
  preflightPolicy: optional('ARQONBUS_PREFLIGHT_POLICY', path, both, {
    meaning: 'File of the preflight policy: who may approve exceptions, and what the services have to offer',
  }),
  preflightPublicKey: optional('ARQONBUS_PREFLIGHT_PUBLIC_KEY', publicKey, both, {
    meaning:
      'Key whose GO certificates count (docs/certificate.md); in staging and production nothing starts without one then',
  }),
  preflightCertificate: optional('ARQONBUS_PREFLIGHT_CERTIFICATE', path, both, {
    meaning: 'File of the GO certificate of this build and environment',
  }),
  preflightBreakGlass: optional('ARQONBUS_PREFLIGHT_BREAK_GLASS', path, both, {
    meaning: 'File of a signed permission for one start without a certificate',
  }),
  preflightPermitFd: optional('ARQONBUS_PREFLIGHT_PERMIT_FD', integer(3, 1_023), both, {
    meaning: 'Set by the preflight for candidates that it starts on loopback: the descriptor of their permit',
  }),
  logLevel: key('ARQONBUS_LOG_LEVEL', oneOf(logWords), 'info', both, { meaning: 'Least severe log line written' }),

  serverHost: key('ARQONBUS_SERVER_HOST', host, '127.0.0.1', bus, { meaning: 'Address of the WebSocket listener' }),
  serverPort: key('ARQONBUS_SERVER_PORT', port, 9100, bus, { meaning: 'Port of the WebSocket listener' }),
  httpHost: key('ARQONBUS_HTTP_HOST', host, '127.0.0.1', bus, {
    meaning: 'Address of the HTTP listener (health, metrics, admin)',
    endpoint: true,
  }),
  httpPort: key('ARQONBUS_HTTP_PORT', port, 8080, bus, { meaning: 'Port of the HTTP listener', endpoint: true }),
  httpApiKey: optional('ARQONBUS_HTTP_API_KEY', secret, bus, {
    meaning: 'Key that opens the admin endpoints of the HTTP listener',
    secret: 'hidden',
  }),
  telemetryEnabled: key(['ARQONBUS_ENABLE_TELEMETRY', 'ARQONBUS_TELEMETRY_ENABLED'], boolean, true, bus, {
    meaning: 'Open the telemetry listener',
  }),
  telemetryHost: key('ARQONBUS_TELEMETRY_HOST', host, '127.0.0.1', bus, {
    meaning: 'Address of the telemetry listener',
  }),
  telemetryPort: key('ARQONBUS_TELEMETRY_PORT', port, 8081, bus, { meaning: 'Port of the telemetry listener' }),
  allowedOrigins: key('ARQONBUS_ALLOWED_ORIGINS', list(origin), [] as readonly string[], both, {
    meaning: 'Origins from which browsers may connect, compared exactly',
  }),

  enableAuth: key('ARQONBUS_ENABLE_AUTH', boolean, { dev: false, staging: true, prod: true }, bus, {
    meaning: 'Ask for a bearer token at the bus',
  }),
  busJwtSecret: optional('ARQONBUS_AUTH_JWT_SECRET', secret, bus, {
    meaning: "Secret of the bus's tokens (HS256); JWT_SECRET when absent",
    secret: 'hidden',
  }),
  jwtSecret: optional('JWT_SECRET', secret, both, { meaning: "Secret of Shield's tokens (HS256)", secret: 'hidden' }),
  jwtAlgorithm: key('ARQONBUS_AUTH_JWT_ALGORITHM', oneOf(algorithmWords), 'HS256', both, {
    meaning: 'The one algorithm tokens may be signed with',
  }),
  jwtKeyFile: optional('ARQONBUS_AUTH_JWT_KEY_FILE', path, both, {
    meaning: 'Public key in PEM, or a JSON Web Key Set of up to 16 keys; for HS256 further keys beside the secret',
  }),
  jwksUrl: optional('ARQONBUS_AUTH_JWKS_URL', keysAddress, both, {
    meaning: 'Where an identity provider publishes its keys (JWKS), in place of the key file; never for HS256',
    secret: 'url',
  }),
  jwksMaxStaleS: key('ARQONBUS_AUTH_JWKS_MAX_STALE_S', integer(60, 86_400), 3_600, both, {
    meaning: 'Seconds for which the last keys hold while the provider does not answer; then tokens are refused',
  }),
  jwtIssuer: optional('ARQONBUS_AUTH_JWT_ISSUER', text, both, { meaning: 'Required `iss` of tokens' }),
  jwtAudience: optional('ARQONBUS_AUTH_JWT_AUDIENCE', text, both, { meaning: 'Required `aud` of tokens' }),
  allowQueryToken: key('ARQONBUS_ALLOW_QUERY_TOKEN', boolean, true, bus, {
    meaning: 'Read tokens from the query string too (never at Shield)',
  }),

  infraProtocol: key('ARQONBUS_INFRA_PROTOCOL', oneOf({ protobuf: 'protobuf', json: 'json' }), 'protobuf', both, {
    meaning: 'Wire format that clients start with',
  }),
  allowJsonInfra: key('ARQONBUS_ALLOW_JSON_INFRA', boolean, { dev: true, staging: false, prod: false }, both, {
    meaning: 'Take and send JSON text frames',
  }),

  storageMode: key('ARQONBUS_STORAGE_MODE', oneOf({ strict: 'strict', degraded: 'degraded' }), 'degraded', bus, {
    meaning: 'What holds without the store: strict refuses, degraded goes on in memory and says so',
  }),
  storageBackend: key('ARQONBUS_STORAGE_BACKEND', oneOf(backendWords), 'memory', bus, {
    meaning: 'Where history is kept',
  }),
  enablePersistence: key('ARQONBUS_ENABLE_PERSISTENCE', boolean, false, bus, {
    meaning: 'Keep history; without it there is none, and no positions',
  }),
  readyRequiresStore: key('ARQONBUS_READY_REQUIRES_STORE', boolean, false, bus, {
    meaning: 'Degraded mode: not ready while the store is away',
  }),
  strictExitAfterS: key('ARQONBUS_STRICT_EXIT_AFTER_S', integer(0, 86_400), 0, bus, {
    meaning: 'Strict mode: seconds without the store after which the bus ends; 0 = never',
  }),
  acceptedStore: optional('ARQONBUS_STORAGE_ACCEPT_IDENTITY', text, bus, {
    meaning: 'Identity of another store than the one used before, to begin with it',
  }),
  dataDir: key('ARQONBUS_DATA_DIR', path, 'data', bus, {
    meaning: 'Folder of the embedded store, and of what the bus remembers of other stores',
  }),
  requireDualDataStack: key(
    'ARQONBUS_REQUIRE_DUAL_DATA_STACK',
    boolean,
    { dev: false, staging: false, prod: true },
    bus,
    { meaning: 'Valkey and Postgres must both be configured' },
  ),
  valkeyUrl: optional(pair('URL'), address, bus, {
    meaning: 'Address of Valkey or Redis; hot state is there when it is set, wherever history is',
    secret: 'url',
  }),
  valkeyHost: key(pair('HOST'), host, 'localhost', bus, { meaning: 'Its host, where no address is given' }),
  valkeyPort: key(pair('PORT'), integer(1, 65_535), 6379, bus, { meaning: 'Its port, where no address is given' }),
  valkeyPassword: optional(pair('PASSWORD'), secret, bus, {
    meaning: 'Its password, where no address is given',
    secret: 'hidden',
  }),
  valkeySsl: key(pair('SSL'), boolean, false, bus, { meaning: 'TLS to it, where no address is given' }),
  valkeyMirror: key(pair('MIRROR'), boolean, false, bus, {
    meaning: 'History in Valkey is copied to arqonbus:messages and the streams beside it too, for readers of those',
  }),
  postgresUrl: optional('ARQONBUS_POSTGRES_URL', address, bus, { meaning: 'Address of Postgres', secret: 'url' }),
  postgresHost: key('ARQONBUS_POSTGRES_HOST', host, 'localhost', bus, {
    meaning: 'Its host, where no address is given',
  }),
  postgresPort: key('ARQONBUS_POSTGRES_PORT', integer(1, 65_535), 5432, bus, {
    meaning: 'Its port, where no address is given',
  }),
  postgresDatabase: key('ARQONBUS_POSTGRES_DATABASE', text, 'arqonbus', bus, {
    meaning: 'Its database, where no address is given',
  }),
  postgresUser: key('ARQONBUS_POSTGRES_USER', text, 'arqonbus', bus, {
    meaning: 'Its user, where no address is given',
  }),
  postgresPassword: optional('ARQONBUS_POSTGRES_PASSWORD', secret, bus, {
    meaning: 'Its password, where no address is given',
    secret: 'hidden',
  }),
  postgresSsl: key('ARQONBUS_POSTGRES_SSL', boolean, false, bus, { meaning: 'TLS to it, where no address is given' }),
  postgresMirror: key('ARQONBUS_POSTGRES_MIRROR', boolean, false, bus, {
    meaning: 'History in Postgres is copied to arqonbus_message_history too, for readers of that table',
  }),

  projectorEnabled: key('ARQONBUS_PROJECTOR_ENABLED', boolean, false, bus, {
    meaning: 'At the bus: follow the channel continuum.episode.v1 into Postgres, and answer op.continuum.projector.*',
  }),
  projectorAcceptedEnvironment: optional('ARQONBUS_PROJECTOR_ACCEPT_ENVIRONMENT', text, bus, {
    meaning: 'Identity of a Postgres that no preflight has said GO for, to begin with it (projector.new-environment)',
  }),
  projectorRoom: key('ARQONBUS_PROJECTOR_ROOM', text, 'continuum', bus, {
    meaning: 'Room in which that channel is, for every tenant',
  }),
  projectorMetricsHost: key('ARQONBUS_PROJECTOR_METRICS_HOST', host, '127.0.0.1', bus, {
    meaning: '`arqonbus projector`: address of its listener for health and metrics',
  }),
  projectorMetricsPort: key('ARQONBUS_PROJECTOR_METRICS_PORT', port, 9091, bus, {
    meaning: '`arqonbus projector`: port of that listener',
  }),
  projectorWorkers: key('ARQONBUS_PROJECTOR_WORKERS', integer(1, 16), 2, bus, {
    meaning: '`arqonbus projector`: batches under way at once, each on a connection of its own',
  }),
  projectorBatch: key('ARQONBUS_PROJECTOR_BATCH', integer(1, 2_000), 100, bus, {
    meaning: 'Events that the projector takes into one transaction',
  }),
  projectorAckWaitMs: key('ARQONBUS_PROJECTOR_ACK_WAIT_MS', integer(1_000, 600_000), 30_000, bus, {
    meaning: '`arqonbus projector`: what it has not acknowledged after this, NATS gives again, ms',
  }),
  projectorMaxDeadLetters: key('ARQONBUS_PROJECTOR_MAX_DEAD_LETTERS', integer(1, 10_000_000), 100_000, bus, {
    meaning: 'Dead letters at which the projector takes in nothing more until somebody has looked at them',
  }),

  ollamaEnabled: key('ARQONBUS_OLLAMA_ENABLED', boolean, false, bus, {
    meaning: 'Operators of this site use Ollama: the preflight asks whether it is there. The servers never call it',
  }),
  ollamaUrl: key('ARQONBUS_OLLAMA_URL', address, new Secret('ARQONBUS_OLLAMA_URL', 'http://127.0.0.1:11434'), bus, {
    meaning: 'Address of Ollama',
    secret: 'url',
  }),
  ollamaModel: optional('ARQONBUS_OLLAMA_MODEL', text, bus, {
    meaning:
      'The model that has to be there, as name or name:tag; with @sha256:<hex> behind it that version of it only',
  }),

  shieldHost: key('SHIELD_HOST', host, '127.0.0.1', shield, {
    meaning: 'Address of the WebSocket listener',
    endpoint: true,
  }),
  shieldPort: key('SHIELD_PORT', port, 4000, shield, {
    meaning: 'Port of the WebSocket listener (/ws)',
    endpoint: true,
  }),
  shieldMetricsHost: key('SHIELD_METRICS_HOST', host, '127.0.0.1', shield, {
    meaning: 'Address of the metrics listener',
    endpoint: true,
  }),
  shieldMetricsPort: key('SHIELD_METRICS_PORT', port, 9090, shield, {
    meaning: 'Port of the metrics listener',
    endpoint: true,
  }),
  trustedProxyHops: key('SHIELD_TRUSTED_PROXY_HOPS', integer(0, 8), 0, shield, {
    meaning: "Proxies of your own before it, each appending to X-Forwarded-For; 0: the socket's address counts",
  }),
  shieldTlsCertFile: optional('SHIELD_TLS_CERT_FILE', path, shield, { meaning: 'PEM certificate chain; TLS when set' }),
  shieldTlsKeyFile: optional('SHIELD_TLS_KEY_FILE', path, shield, { meaning: 'PEM private key of that certificate' }),
  natsUrl: key('NATS_URL', address, new Secret('NATS_URL', 'nats://127.0.0.1:4222'), both, {
    meaning: 'NATS servers between Shield and the bus, comma separated; the bus joins them only when it is set',
    secret: 'url',
  }),
  schemaStrict: key('ARQON_SCHEMA_STRICT', boolean, true, shield, { meaning: 'Refuse frames that no schema accepts' }),
  policyWasmPath: key('POLICY_WASM_PATH', list(path), [] as readonly string[], shield, {
    meaning: 'Policies (Wasm modules) that every frame is put to, comma separated, asked in this order',
  }),
  policySha256: key('SHIELD_POLICY_SHA256', someOf(policyPin), [] as readonly string[], shield, {
    meaning: 'What policies may be, as arqonbus policy hash prints it; when set, nothing else is loaded',
  }),
  policyHeaders: key('SHIELD_POLICY_HEADERS', list(headerName), defaultPolicyHeaders, shield, {
    meaning: 'Headers of the upgrade request that policies may read; never those that hold credentials',
  }),
  shieldSchemaFile: optional('SHIELD_SCHEMA_FILE', path, shield, {
    meaning: 'Serialised FileDescriptorSet in place of the shipped one',
  }),
  shieldSchemaSha256: optional('SHIELD_SCHEMA_SHA256', sha256, shield, {
    meaning: 'SHA-256 of SHIELD_SCHEMA_FILE; when set, another one refuses the start',
  }),
  schemaSource: key('SHIELD_SCHEMA_SOURCE', oneOf({ none: 'none', folder: 'folder', nats: 'nats' }), 'none', shield, {
    meaning: 'Where the schemas of payloads are: SHIELD_SCHEMA_DIR, or the bucket ARQON_SCHEMAS of NATS_URL',
  }),
  schemaDir: optional('SHIELD_SCHEMA_DIR', path, shield, {
    meaning: 'Folder with schemas.json and the descriptor sets of payloads',
  }),
  mirrorRules: key('SHIELD_MIRROR_RULES', list(mirrorRule), [] as readonly string[], shield, {
    meaning: 'Copies of accepted frames for shadow consumers: subject patterns, each with the share of traces',
  }),
  mirrorSecretFields: key(
    ['SHIELD_MIRROR_SECRET_FIELDS', 'ARQONBUS_CASIL_REDACTION_PATHS'],
    list(fieldName),
    defaultSecretFields,
    shield,
    { meaning: 'Keys whose values are in no copy, at any depth; case, - and _ do not count' },
  ),
  mirrorNatsUrl: optional('SHIELD_MIRROR_NATS_URL', address, shield, {
    meaning: 'NATS servers of the shadow consumers; those of NATS_URL when absent',
    secret: 'url',
  }),
  otlpEndpoint: optional('OTEL_EXPORTER_OTLP_ENDPOINT', address, shield, {
    meaning: 'OpenTelemetry collector that takes OTLP over HTTP as JSON; no spans are made without it',
    secret: 'url',
  }),
} as const satisfies Readonly<Record<string, KeySpec<unknown>>>

export type KeyName = keyof typeof keys
export type Values = { readonly [K in KeyName]: ReturnType<(typeof keys)[K]['fallback']> }

/** A limit as a key: found by program and field. */
export interface LimitKey extends KeySpec<number> {
  readonly field: string
  readonly spec: LimitSpec
  /** Largest value a production start accepts. */
  readonly cap?: number
}

function limitKey(program: Program, field: string, spec: LimitSpec): LimitKey {
  const cap = (program === 'shield' ? spec.shieldCap : undefined) ?? spec.cap
  const usual = (program === 'shield' ? spec.shieldDefault : undefined) ?? spec.default
  const fallback = { dev: spec.devDefault ?? usual, staging: usual, prod: usual }
  return {
    ...key(limitVariable(program, field), integer(spec.min, technicalMax), fallback, [program], {
      meaning: spec.meaning,
    }),
    field,
    spec,
    ...(cap !== undefined && { cap }),
  }
}

export const limitKeys: readonly LimitKey[] = [
  ...limitFields.map((field) => limitKey('bus', field, limitTable[field])),
  ...Object.entries(storageLimitTable).map(([field, spec]) => limitKey('bus', field, spec)),
  ...Object.entries(hotLimitTable).map(([field, spec]) => limitKey('bus', field, spec)),
  ...limitFields.map((field) => limitKey('shield', field, limitTable[field])),
  ...Object.entries(policyLimitTable).map(([field, spec]) => limitKey('shield', field, spec)),
  ...Object.entries(edgeLimitTable).map(([field, spec]) => limitKey('shield', field, spec)),
]

/** Every key there is, in the order of the docs. */
export const allKeys: readonly KeySpec<unknown>[] = [...(Object.values(keys) as KeySpec<unknown>[]), ...limitKeys]
