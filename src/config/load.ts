// From a resolution to the frozen objects the programs take. Nothing here has a default of its own.
import { BusError } from '../base/errors.ts'
import type { Program } from './keys.ts'
import { edgeLimitFields, limitFields as limitFieldNames } from './limits.ts'
import { describeProblem, type Environment, type Problem, type Resolution } from './resolution.ts'
import { type ResolveOptions, resolveKeys } from './resolve.ts'
import { Secret } from './secret.ts'
import type {
  AuthConfig,
  BusConfig,
  EdgeLimits,
  HotStateConfig,
  PolicyConfig,
  Limits,
  ProjectorConfig,
  ShieldConfig,
  StorageConfig,
  WireConfig,
} from './shapes.ts'

/** Throws CONFIG_INVALID with every problem of the bus: `details.problems`, one line each. */
export function loadBusConfig(
  env: Environment,
  overlay?: Readonly<Record<string, string>>,
  options?: ResolveOptions,
): BusConfig {
  return toBusConfig(resolveKeys(env, { ...options, ...(overlay !== undefined && { overlay }) }))
}

/** Throws CONFIG_INVALID with every problem of Shield: `details.problems`, one line each. */
export function loadShieldConfig(
  env: Environment,
  overlay?: Readonly<Record<string, string>>,
  options?: ResolveOptions,
): ShieldConfig {
  return toShieldConfig(resolveKeys(env, { ...options, ...(overlay !== undefined && { overlay }) }))
}

/** The problems that stop one program. */
export function problemsOf(resolution: Resolution, program: Program): readonly Problem[] {
  return resolution.problems.filter(({ programs }) => programs.includes(program))
}

function refuseProblems(resolution: Resolution, program: Program): void {
  const lines = problemsOf(resolution, program).map(describeProblem)
  if (lines.length === 0) return
  throw new BusError('CONFIG_INVALID', `The configuration has errors:\n${lines.join('\n')}`, { problems: lines })
}

export function toBusConfig(resolution: Resolution): BusConfig {
  refuseProblems(resolution, 'bus')
  const { values, profile, limits, sources } = resolution
  const secret = values.busJwtSecret ?? values.jwtSecret
  return freeze<BusConfig>({
    profile,
    server: { host: values.serverHost, port: values.serverPort },
    http: {
      host: values.httpHost,
      port: values.httpPort,
      ...(values.httpApiKey !== undefined && { apiKey: values.httpApiKey }),
    },
    telemetry: { host: values.telemetryHost, port: values.telemetryPort, enabled: values.telemetryEnabled },
    auth: {
      ...authBase(resolution),
      enabled: values.enableAuth,
      ...(secret !== undefined && { secret }),
      allowQueryToken: values.allowQueryToken,
    },
    wire: wireOf(resolution),
    storage: storageOf(resolution),
    hotState: hotStateOf(resolution),
    projector: projectorOf(resolution),
    limits: limitsOf(limits.bus),
    allowedOrigins: values.allowedOrigins,
    logLevel: values.logLevel,
    ...(sources.get('natsUrl')?.kind !== 'default' && { natsUrl: values.natsUrl }),
  })
}

export function toShieldConfig(resolution: Resolution): ShieldConfig {
  refuseProblems(resolution, 'shield')
  const { values, profile } = resolution
  const { shieldTlsCertFile: certFile, shieldTlsKeyFile: keyFile } = values
  return freeze<ShieldConfig>({
    profile,
    server: { host: values.shieldHost, port: values.shieldPort },
    metrics: { host: values.shieldMetricsHost, port: values.shieldMetricsPort },
    auth: {
      ...authBase(resolution),
      enabled: true,
      ...(values.jwtSecret !== undefined && { secret: values.jwtSecret }),
      allowQueryToken: false,
    },
    wire: wireOf(resolution),
    schemaStrict: values.schemaStrict,
    ...(values.shieldSchemaFile !== undefined && { schemaFile: values.shieldSchemaFile }),
    ...(values.shieldSchemaSha256 !== undefined && { schemaSha256: values.shieldSchemaSha256 }),
    policies: policiesOf(resolution),
    ...schemasOf(resolution),
    ...(values.mirrorRules.length > 0 && {
      mirror: {
        rules: values.mirrorRules,
        secretFields: values.mirrorSecretFields,
        ...(values.mirrorNatsUrl !== undefined && { natsUrl: values.mirrorNatsUrl }),
      },
    }),
    ...(values.otlpEndpoint !== undefined && { otlpEndpoint: values.otlpEndpoint }),
    natsUrl: values.natsUrl,
    ...(certFile !== undefined && keyFile !== undefined && { tls: { certFile, keyFile } }),
    limits: shieldLimitsOf(resolution),
    trustedProxyHops: values.trustedProxyHops,
    allowedOrigins: values.allowedOrigins,
    logLevel: values.logLevel,
  })
}

/** Only the bounds: for tools that need no secret. Throws CONFIG_INVALID as `toShieldConfig` does. */
export function toShieldLimits(resolution: Resolution): Pick<ShieldConfig, 'limits' | 'policies'> {
  refuseProblems(resolution, 'shield')
  return { limits: shieldLimitsOf(resolution), policies: policiesOf(resolution) }
}

function schemasOf({ values }: Resolution): Pick<ShieldConfig, 'schemas'> {
  const { schemaSource, schemaDir } = values
  if (schemaSource === 'nats') return { schemas: { kind: 'nats', natsUrl: values.natsUrl } }
  return schemaSource === 'folder' && schemaDir !== undefined ? { schemas: { kind: 'folder', folder: schemaDir } } : {}
}

function authBase({ values }: Resolution): Omit<AuthConfig, 'enabled' | 'secret' | 'allowQueryToken'> {
  const { jwtAlgorithm, jwtKeyFile, jwksUrl, jwksMaxStaleS, jwtIssuer, jwtAudience } = values
  return {
    algorithm: jwtAlgorithm,
    ...(jwksUrl !== undefined && { keysUrl: jwksUrl.reveal() }),
    keysMaxStaleMs: jwksMaxStaleS * 1_000,
    ...(jwtKeyFile !== undefined && { keyFile: jwtKeyFile }),
    ...(jwtIssuer !== undefined && { issuer: jwtIssuer }),
    ...(jwtAudience !== undefined && { audience: jwtAudience }),
  }
}

function wireOf({ values }: Resolution): WireConfig {
  // A bus whose infrastructure speaks JSON takes it whatever the second switch says (original-contract 1.2).
  return {
    infraProtocol: values.infraProtocol,
    allowJson: values.allowJsonInfra || values.infraProtocol === 'json',
  }
}

function policiesOf({ values, limits: { shield } }: Resolution): PolicyConfig {
  return {
    files: values.policyWasmPath,
    pins: values.policySha256,
    headers: values.policyHeaders,
    policyFuel: shield['policyFuel']!,
    policyDeadlineMs: shield['policyDeadlineMs']!,
    policyMemoryPages: shield['policyMemoryPages']!,
    policyInstances: shield['policyInstances']!,
    policyThreads: shield['policyThreads']!,
    policyQueue: shield['policyQueue']!,
    policyReloadMs: shield['policyReloadMs']!,
  }
}

function storageOf({ values, limits }: Resolution): StorageConfig {
  const limit = (name: keyof StorageConfig): number => limits.bus[name]!
  return {
    mode: values.storageMode,
    backend: values.storageBackend,
    enabled: values.enablePersistence,
    requiresBoth: values.requireDualDataStack,
    dataDir: values.dataDir,
    ...(values.storageBackend === 'valkey' && { valkeyUrl: values.valkeyUrl ?? builtValkeyUrl({ values }) }),
    ...(values.storageBackend === 'postgres' && { postgresUrl: values.postgresUrl ?? builtPostgresUrl({ values }) }),
    ...(values.storageBackend !== 'valkey' && values.valkeyUrl !== undefined && { valkeyUrl: values.valkeyUrl }),
    ...(values.storageBackend !== 'postgres' &&
      values.postgresUrl !== undefined && { postgresUrl: values.postgresUrl }),
    isMirrored:
      (values.storageBackend === 'valkey' && values.valkeyMirror) ||
      (values.storageBackend === 'postgres' && values.postgresMirror),
    maxMirrorEntries: limit('maxMirrorEntries'),
    maxRecordsPerStream: limit('maxRecordsPerStream'),
    maxBytesPerStream: limit('maxBytesPerStream'),
    maxAgeMs: limit('maxAgeMs'),
    dedupWindowMs: limit('dedupWindowMs'),
    dedupMaxIds: limit('dedupMaxIds'),
    maxPendingBytes: limit('maxPendingBytes'),
    flushPerSecond: limit('flushPerSecond'),
    rampPerSecond: limit('rampPerSecond'),
    readyRequiresStore: values.readyRequiresStore,
    exitAfterS: values.strictExitAfterS,
    ...(values.acceptedStore !== undefined && { acceptedIdentity: values.acceptedStore }),
  }
}

function hotStateOf(resolution: Resolution): HotStateConfig {
  const { bus } = resolution.limits
  const { valkeyUrl, mode } = storageOf(resolution)
  return {
    ...(valkeyUrl !== undefined && { valkeyUrl }),
    mode,
    maxStoreKeys: bus['maxStoreKeys']!,
    maxStoreValueBytes: bus['maxStoreValueBytes']!,
    maxStoreBytes: bus['maxStoreBytes']!,
    handshakesPerSecondPerTenant: bus['handshakesPerSecondPerTenant']!,
  }
}

function projectorOf(resolution: Resolution): ProjectorConfig {
  const { values } = resolution
  const postgresUrl = postgresUrlOf(resolution)
  return {
    enabled: values.projectorEnabled,
    room: values.projectorRoom,
    metrics: { host: values.projectorMetricsHost, port: values.projectorMetricsPort },
    workers: values.projectorWorkers,
    batch: values.projectorBatch,
    ackWaitMs: values.projectorAckWaitMs,
    maxDeadLetters: values.projectorMaxDeadLetters,
    ...(postgresUrl !== undefined && { postgresUrl }),
  }
}

function builtValkeyUrl({ values }: Pick<Resolution, 'values'>): Secret {
  const { valkeySsl, valkeyPassword, valkeyHost, valkeyPort } = values
  const user = valkeyPassword === undefined ? '' : `:${encodeURIComponent(valkeyPassword.reveal())}@`
  const url = `${valkeySsl ? 'rediss' : 'redis'}://${user}${bracketed(valkeyHost)}:${valkeyPort}/0`
  return new Secret('ARQONBUS_VALKEY_HOST', url)
}

function builtPostgresUrl({ values }: Pick<Resolution, 'values'>): Secret {
  const { postgresUser, postgresPassword, postgresHost, postgresPort, postgresDatabase, postgresSsl } = values
  const password = postgresPassword === undefined ? '' : `:${encodeURIComponent(postgresPassword.reveal())}`
  const user = `${encodeURIComponent(postgresUser)}${password}`
  const where = `${bracketed(postgresHost)}:${postgresPort}/${encodeURIComponent(postgresDatabase)}`
  return new Secret('ARQONBUS_POSTGRES_HOST', `postgresql://${user}@${where}${postgresSsl ? '?ssl=require' : ''}`)
}

/**
 * The Postgres that the configuration names, whatever keeps history; undefined where none is named. Throws
 * CONFIG_INVALID as `toBusConfig` does.
 */
export function postgresUrlOf(resolution: Resolution): Secret | undefined {
  refuseProblems(resolution, 'bus')
  return findPostgresUrl(resolution)
}

/** The same of a configuration that may have errors: a key with one holds its default. */
export function findPostgresUrl(resolution: Resolution): Secret | undefined {
  const { values, sources } = resolution
  const parts = ['postgresHost', 'postgresPort', 'postgresDatabase', 'postgresUser', 'postgresPassword'] as const
  const isNamed = parts.some((name) => sources.get(name)?.kind !== 'default') || values.storageBackend === 'postgres'
  return values.postgresUrl ?? (isNamed ? builtPostgresUrl(resolution) : undefined)
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

function limitsOf(values: Readonly<Record<string, number>>): Limits {
  const limits: Record<string, number> = {}
  for (const field of limitFieldNames) limits[field] = values[field]!
  return limits as unknown as Limits // built from the table whose keys are those of Limits
}

function shieldLimitsOf({ limits: { shield } }: Resolution): Limits & EdgeLimits {
  return { ...limitsOf(shield), ...edgeLimitsOf(shield) }
}

function edgeLimitsOf(values: Readonly<Record<string, number>>): EdgeLimits {
  const limits: Record<string, number> = {}
  for (const field of edgeLimitFields) limits[field] = values[field]!
  return limits as unknown as EdgeLimits // as above
}

/** Freezes the object and the plain objects and lists inside; a Secret has no state to freeze. */
function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null && !(inner instanceof Secret)) freeze(inner)
  }
  return Object.freeze(value)
}
