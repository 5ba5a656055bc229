// Environments and what has to be said of each: five healthy ones and every runbook line broken in each way we know.
// The unit tests judge them by rules and preflight; the e2e tests start the real commands with them.
import type { Environment } from '../../src/config/resolution.ts'
import type { FaultClass, Severity } from '../../src/rules/rule.ts'

export interface ExpectedFinding {
  readonly id: string
  readonly code: string
  readonly variable: string
  readonly severity: Severity
  readonly class: FaultClass
}

export interface EnvironmentCase {
  readonly name: string
  /** The runbook line it breaks; absent for healthy ones and for rules beyond the runbook. */
  readonly line?: string
  readonly env: Environment
  /** Exactly these, in any order. */
  readonly findings: readonly ExpectedFinding[]
  /** Programs whose start is refused with exit code 78. */
  readonly refuses: readonly ('bus' | 'shield')[]
  /** Of `preflight` without targets: 20, 21, 22, or 30 where nothing failed and not all could be proved. */
  readonly exitCode: number
}

/** Random, 48 bytes; used nowhere else. */
export const strongSecret = 'q7VnT0x3mKpL9rWc5ZsYb2HdJf8GuEa1RoQiNtBvXyM4wPlC6kSzUhDgAjFe'
const otherStrongSecret = 'Zr5tWq9LmXc2VbN7pKj4HsGf8DyUa1OiEe3Rw6TzQx0YkMnBvCdSgJhPlFu'

/** What the runbook asks for, and nothing missing. */
export const productionEnvironment = {
  ARQONBUS_ENVIRONMENT: 'production',
  ARQONBUS_SERVER_HOST: '127.0.0.1',
  ARQONBUS_SERVER_PORT: '19100',
  ARQONBUS_HTTP_HOST: '127.0.0.1',
  ARQONBUS_HTTP_PORT: '18080',
  ARQONBUS_TELEMETRY_HOST: '127.0.0.1',
  ARQONBUS_TELEMETRY_PORT: '18081',
  ARQONBUS_STORAGE_MODE: 'strict',
  ARQONBUS_STORAGE_BACKEND: 'embedded',
  ARQONBUS_ENABLE_PERSISTENCE: 'true',
  ARQONBUS_VALKEY_URL: 'rediss://arqon:hunter-two@valkey.internal:6379/0',
  ARQONBUS_POSTGRES_URL: 'postgresql://arqon:hunter-two@db.internal:5432/arqonbus?sslmode=verify-full',
  ARQONBUS_INFRA_PROTOCOL: 'protobuf',
  ARQONBUS_ALLOW_JSON_INFRA: 'false',
  JWT_SECRET: strongSecret,
  NATS_URL: 'tls://nats.internal:4222',
  ARQON_SCHEMA_STRICT: 'true',
  SHIELD_HOST: '127.0.0.1',
  SHIELD_PORT: '14000',
  SHIELD_METRICS_HOST: '127.0.0.1',
  SHIELD_METRICS_PORT: '19090',
} as const satisfies Environment

type Name = keyof typeof productionEnvironment

const production = (changes: Environment = {}): Environment => ({ ...productionEnvironment, ...changes })

function without(...names: readonly Name[]): Environment {
  return Object.fromEntries(Object.entries(productionEnvironment).filter(([name]) => !names.includes(name as Name)))
}

const finding =
  (severity: Severity) =>
  (id: string, code: string, variable: string): ExpectedFinding => ({ id, code, variable, severity, class: 'config' })
const blocker = finding('blocker')
const critical = finding('critical')
const high = finding('high')
const advisory = finding('advisory')
const invalidConfig = (code: string, variable: string): ExpectedFinding => high('meta.config-valid', code, variable)

const exitCodes: Readonly<Record<Severity, number>> = { blocker: 20, critical: 21, high: 22, advisory: 30 }
const bus = ['bus'] as const
const shield = ['shield'] as const
const both = ['bus', 'shield'] as const

function broken(
  line: string | undefined,
  name: string,
  env: Environment,
  refuses: EnvironmentCase['refuses'],
  ...findings: readonly ExpectedFinding[]
): EnvironmentCase {
  const exitCode = Math.min(30, ...findings.map(({ severity }) => exitCodes[severity]))
  return { name, ...(line !== undefined && { line }), env, findings, refuses, exitCode }
}

const healthy = (name: string, env: Environment): EnvironmentCase => broken(undefined, name, env, [])

export const healthyEnvironments: readonly EnvironmentCase[] = [
  healthy('production as the runbook has it', production()),
  healthy('production with the other spelling of everything', {
    ...without('ARQONBUS_VALKEY_URL'),
    ARQONBUS_ENVIRONMENT: 'Prod',
    ARQONBUS_REDIS_URL: 'redis://cache.internal',
    ARQONBUS_STORAGE_MODE: 'STRICT',
    ARQONBUS_STORAGE_BACKEND: 'postgresql',
    ARQONBUS_ALLOW_JSON_INFRA: '0',
    ARQON_SCHEMA_STRICT: '1',
    ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'True',
    ARQONBUS_SERVER_HOST: '0.0.0.0',
  }),
  healthy('production with many NATS servers and a secret of the bus', {
    ...production(),
    ARQONBUS_AUTH_JWT_SECRET: otherStrongSecret,
    ARQONBUS_POSTGRES_URL: 'postgres://arqon:p%40ss@db.internal/arqonbus?target_session_attrs=read-write',
    NATS_URL: 'tls://u:p@nats-1.internal:4222,tls://u:p@nats-2.internal:4222',
    ARQONBUS_VALKEY_URL: 'valkeys://:p%40ss@[2001:db8::7]:6379/0',
  }),
  healthy('staging on services of this machine', {
    ...production(),
    ARQONBUS_ENVIRONMENT: 'staging',
    ARQONBUS_VALKEY_URL: 'redis://127.0.0.1:6379',
    NATS_URL: 'nats://nats.staging:4222',
  }),
  healthy('production with the keys of a provider', {
    ...without('JWT_SECRET'),
    ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256',
    ARQONBUS_AUTH_JWKS_URL: 'https://id.example/.well-known/jwks.json',
  }),
  healthy('development with nothing but a secret', { JWT_SECRET: strongSecret }),
  healthy('development under the production rules', {
    ...production(),
    ARQONBUS_ENVIRONMENT: 'dev',
    ARQONBUS_PREFLIGHT_STRICT: 'true',
    ARQONBUS_ENABLE_AUTH: 'true',
  }),
]

export const brokenEnvironments: readonly EnvironmentCase[] = [
  broken(
    'L19',
    'no server host',
    without('ARQONBUS_SERVER_HOST'),
    bus,
    critical('bus.server-host-explicit', 'NOT_SET', 'ARQONBUS_SERVER_HOST'),
  ),
  broken(
    'L19',
    'an empty server host',
    production({ ARQONBUS_SERVER_HOST: '' }),
    bus,
    critical('bus.server-host-explicit', 'BLANK', 'ARQONBUS_SERVER_HOST'),
    invalidConfig('BLANK', 'ARQONBUS_SERVER_HOST'),
  ),
  broken(
    'L19',
    'a server host of another machine',
    production({ ARQONBUS_SERVER_HOST: '203.0.113.7' }),
    bus,
    critical('bus.server-host-explicit', 'NOT_LOCAL', 'ARQONBUS_SERVER_HOST'),
  ),
  broken(
    'L19',
    'a server host with its port',
    production({ ARQONBUS_SERVER_HOST: 'bus.internal:9100' }),
    bus,
    critical('bus.server-host-explicit', 'NOT_A_HOST', 'ARQONBUS_SERVER_HOST'),
    invalidConfig('NOT_A_HOST', 'ARQONBUS_SERVER_HOST'),
  ),

  broken(
    'L20',
    'no server port',
    without('ARQONBUS_SERVER_PORT'),
    bus,
    critical('bus.server-port-explicit', 'NOT_SET', 'ARQONBUS_SERVER_PORT'),
  ),
  broken(
    'L20',
    'an empty server port',
    production({ ARQONBUS_SERVER_PORT: '' }),
    bus,
    critical('bus.server-port-explicit', 'BLANK', 'ARQONBUS_SERVER_PORT'),
    invalidConfig('BLANK', 'ARQONBUS_SERVER_PORT'),
  ),
  broken(
    'L20',
    'a server port with a tail',
    production({ ARQONBUS_SERVER_PORT: '9100abc' }),
    bus,
    critical('bus.server-port-explicit', 'NOT_AN_INTEGER', 'ARQONBUS_SERVER_PORT'),
    invalidConfig('NOT_AN_INTEGER', 'ARQONBUS_SERVER_PORT'),
  ),
  broken(
    'L20',
    'a server port in hex',
    production({ ARQONBUS_SERVER_PORT: '0x1F90' }),
    bus,
    critical('bus.server-port-explicit', 'NOT_AN_INTEGER', 'ARQONBUS_SERVER_PORT'),
    invalidConfig('NOT_AN_INTEGER', 'ARQONBUS_SERVER_PORT'),
  ),
  broken(
    'L20',
    'a server port out of range',
    production({ ARQONBUS_SERVER_PORT: '70000' }),
    bus,
    critical('bus.server-port-explicit', 'OUT_OF_RANGE', 'ARQONBUS_SERVER_PORT'),
    invalidConfig('OUT_OF_RANGE', 'ARQONBUS_SERVER_PORT'),
  ),
  broken(
    'L20',
    'a server port that the system chooses',
    production({ ARQONBUS_SERVER_PORT: '0' }),
    bus,
    critical('bus.server-port-explicit', 'FREE_PORT', 'ARQONBUS_SERVER_PORT'),
  ),
  broken(
    'L20',
    'an HTTP port left to its default',
    without('ARQONBUS_HTTP_PORT'),
    bus,
    critical('bus.no-defaults', 'NOT_SET', 'ARQONBUS_HTTP_PORT'),
  ),
  broken(
    'L20',
    'a Shield port left to its default',
    without('SHIELD_PORT'),
    shield,
    critical('shield.no-defaults', 'NOT_SET', 'SHIELD_PORT'),
  ),

  broken(
    'L21',
    'no storage mode',
    without('ARQONBUS_STORAGE_MODE'),
    bus,
    critical('bus.storage-mode-explicit', 'NOT_SET', 'ARQONBUS_STORAGE_MODE'),
    advisory('bus.storage-mode-strict', 'NOT_STRICT', 'ARQONBUS_STORAGE_MODE'),
  ),
  broken(
    'L21',
    'an unknown storage mode',
    production({ ARQONBUS_STORAGE_MODE: 'safe' }),
    bus,
    critical('bus.storage-mode-explicit', 'NOT_ONE_OF', 'ARQONBUS_STORAGE_MODE'),
    advisory('bus.storage-mode-strict', 'NOT_STRICT', 'ARQONBUS_STORAGE_MODE'),
    invalidConfig('NOT_ONE_OF', 'ARQONBUS_STORAGE_MODE'),
  ),
  broken(
    'L21',
    'degraded storage, which is only advised against',
    production({ ARQONBUS_STORAGE_MODE: 'degraded' }),
    [],
    advisory('bus.storage-mode-strict', 'NOT_STRICT', 'ARQONBUS_STORAGE_MODE'),
  ),
  broken(
    'L64',
    'strict storage in memory',
    production({ ARQONBUS_STORAGE_BACKEND: 'memory' }),
    bus,
    critical('bus.storage-backend-durable', 'MEMORY_IN_STRICT', 'ARQONBUS_STORAGE_BACKEND'),
  ),

  broken(
    'L22',
    'a Valkey address without a scheme',
    production({ ARQONBUS_VALKEY_URL: 'valkey.internal:6379' }),
    bus,
    blocker('bus.valkey-url-configured', 'MALFORMED', 'ARQONBUS_VALKEY_URL'),
  ),
  broken(
    'L22',
    'a Valkey address of another protocol',
    production({ ARQONBUS_VALKEY_URL: 'http://valkey.internal:6379' }),
    bus,
    blocker('bus.valkey-url-configured', 'WRONG_SCHEME', 'ARQONBUS_VALKEY_URL'),
  ),
  broken(
    'L22',
    'Valkey on this machine',
    production({ ARQONBUS_VALKEY_URL: 'redis://localhost:6379' }),
    bus,
    blocker('bus.valkey-url-configured', 'LOOPBACK_HOST', 'ARQONBUS_VALKEY_URL'),
  ),
  broken(
    'L22',
    'two names that differ',
    production({ ARQONBUS_REDIS_URL: 'redis://cache.internal:6379' }),
    bus,
    invalidConfig('AMBIGUOUS', 'ARQONBUS_VALKEY_URL'),
  ),
  broken(
    'L63',
    'no Valkey address',
    without('ARQONBUS_VALKEY_URL'),
    bus,
    blocker('bus.valkey-url-configured', 'NOT_SET', 'ARQONBUS_VALKEY_URL'),
  ),
  broken(
    'L63',
    'an empty Redis address',
    { ...without('ARQONBUS_VALKEY_URL'), ARQONBUS_REDIS_URL: '' },
    bus,
    blocker('bus.valkey-url-configured', 'BLANK', 'ARQONBUS_REDIS_URL'),
    invalidConfig('BLANK', 'ARQONBUS_REDIS_URL'),
  ),

  broken(
    'L23',
    'a Postgres address without a database',
    production({ ARQONBUS_POSTGRES_URL: 'postgresql://arqon:hunter-two@db.internal:5432' }),
    bus,
    blocker('bus.postgres-url-configured', 'INCOMPLETE', 'ARQONBUS_POSTGRES_URL'),
  ),
  broken(
    'L23',
    'a Postgres address without a user',
    production({ ARQONBUS_POSTGRES_URL: 'postgresql://db.internal:5432/arqonbus' }),
    bus,
    blocker('bus.postgres-url-configured', 'INCOMPLETE', 'ARQONBUS_POSTGRES_URL'),
  ),
  broken(
    'L23',
    'a Postgres address of another protocol',
    production({ ARQONBUS_POSTGRES_URL: 'mysql://arqon:hunter-two@db.internal/arqonbus' }),
    bus,
    blocker('bus.postgres-url-configured', 'WRONG_SCHEME', 'ARQONBUS_POSTGRES_URL'),
  ),
  broken(
    'L23',
    'Postgres address with several hosts',
    production({ ARQONBUS_POSTGRES_URL: 'postgresql://arqon:hunter-two@db-1.internal:5432,db-2.internal/arqonbus' }),
    bus,
    blocker('bus.postgres-url-configured', 'SEVERAL_HOSTS', 'ARQONBUS_POSTGRES_URL'),
  ),
  broken(
    'L23',
    'a Postgres password with a bare slash',
    production({ ARQONBUS_POSTGRES_URL: 'postgresql://arqon:hunter/two@db.internal/arqonbus' }),
    bus,
    blocker('bus.postgres-url-configured', 'MALFORMED', 'ARQONBUS_POSTGRES_URL'),
  ),
  broken(
    'L63',
    'no Postgres address',
    without('ARQONBUS_POSTGRES_URL'),
    bus,
    blocker('bus.postgres-url-configured', 'NOT_SET', 'ARQONBUS_POSTGRES_URL'),
  ),
  broken(
    'L63',
    'neither data store',
    without('ARQONBUS_VALKEY_URL', 'ARQONBUS_POSTGRES_URL'),
    bus,
    blocker('bus.valkey-url-configured', 'NOT_SET', 'ARQONBUS_VALKEY_URL'),
    blocker('bus.postgres-url-configured', 'NOT_SET', 'ARQONBUS_POSTGRES_URL'),
  ),

  broken(
    'L24',
    'the dual stack switched off',
    production({ ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false' }),
    bus,
    critical('bus.dual-stack-required', 'SWITCHED_OFF', 'ARQONBUS_REQUIRE_DUAL_DATA_STACK'),
  ),
  broken(
    'L24',
    'the dual stack set to a word',
    production({ ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'maybe' }),
    bus,
    invalidConfig('NOT_A_BOOLEAN', 'ARQONBUS_REQUIRE_DUAL_DATA_STACK'),
  ),

  broken(
    'L25',
    'a JSON infrastructure',
    production({ ARQONBUS_INFRA_PROTOCOL: 'json' }),
    bus,
    critical('bus.infra-protocol', 'NOT_PROTOBUF', 'ARQONBUS_INFRA_PROTOCOL'),
  ),
  broken(
    'L25',
    'no infrastructure protocol',
    without('ARQONBUS_INFRA_PROTOCOL'),
    bus,
    critical('bus.infra-protocol', 'NOT_SET', 'ARQONBUS_INFRA_PROTOCOL'),
  ),
  broken(
    'L26',
    'JSON frames allowed',
    production({ ARQONBUS_ALLOW_JSON_INFRA: 'true' }),
    bus,
    critical('bus.json-infra-off', 'JSON_ALLOWED', 'ARQONBUS_ALLOW_JSON_INFRA'),
  ),
  broken(
    'L26',
    'JSON frames left to the default',
    without('ARQONBUS_ALLOW_JSON_INFRA'),
    bus,
    critical('bus.json-infra-off', 'NOT_SET', 'ARQONBUS_ALLOW_JSON_INFRA'),
  ),
  broken(
    'L26',
    'JSON frames set to a word that is no boolean',
    production({ ARQONBUS_ALLOW_JSON_INFRA: 'off' }),
    both,
    critical('bus.json-infra-off', 'NOT_A_BOOLEAN', 'ARQONBUS_ALLOW_JSON_INFRA'),
    invalidConfig('NOT_A_BOOLEAN', 'ARQONBUS_ALLOW_JSON_INFRA'),
  ),

  broken(
    'L27',
    'no telemetry host',
    without('ARQONBUS_TELEMETRY_HOST'),
    bus,
    critical('bus.telemetry-configured', 'NOT_SET', 'ARQONBUS_TELEMETRY_HOST'),
  ),
  broken(
    'L27',
    'neither telemetry host nor port',
    without('ARQONBUS_TELEMETRY_HOST', 'ARQONBUS_TELEMETRY_PORT'),
    bus,
    critical('bus.telemetry-configured', 'NOT_SET', 'ARQONBUS_TELEMETRY_HOST'),
    critical('bus.telemetry-configured', 'NOT_SET', 'ARQONBUS_TELEMETRY_PORT'),
  ),
  broken(
    'L27',
    'a telemetry port that the bus has',
    production({ ARQONBUS_TELEMETRY_PORT: '19100' }),
    bus,
    critical('bus.telemetry-configured', 'PORT_TAKEN', 'ARQONBUS_TELEMETRY_PORT'),
  ),

  broken(
    'L61',
    'no JWT secret',
    without('JWT_SECRET'),
    both,
    blocker('shield.jwt-secret-present', 'NOT_SET', 'JWT_SECRET'),
    blocker('bus.jwt-secret-present', 'NOT_SET', 'ARQONBUS_AUTH_JWT_SECRET'),
  ),
  broken(
    'L61',
    'an empty JWT secret',
    production({ JWT_SECRET: '' }),
    both,
    blocker('shield.jwt-secret-present', 'BLANK', 'JWT_SECRET'),
    blocker('bus.jwt-secret-present', 'NOT_SET', 'ARQONBUS_AUTH_JWT_SECRET'),
    invalidConfig('BLANK', 'JWT_SECRET'),
  ),
  broken(
    'L61',
    'a default JWT secret',
    production({ JWT_SECRET: 'replace-with-strong-secret' }),
    both,
    blocker('shield.jwt-secret-not-default', 'PUBLISHED', 'JWT_SECRET'),
  ),
  broken(
    'L61',
    'a long default JWT secret',
    production({ JWT_SECRET: 'super-secret-jwt-token-with-at-least-32-characters-long' }),
    both,
    blocker('shield.jwt-secret-not-default', 'PUBLISHED', 'JWT_SECRET'),
  ),
  broken(
    'L61',
    'a default JWT secret in capitals',
    production({ JWT_SECRET: 'Arqon-Shield-Test-Secret' }),
    both,
    blocker('shield.jwt-secret-not-default', 'PUBLISHED', 'JWT_SECRET'),
  ),
  broken(
    'L61',
    'a default JWT secret in base64',
    production({ JWT_SECRET: Buffer.from('arqon-shield-test-secret').toString('base64') }),
    both,
    blocker('shield.jwt-secret-not-default', 'PUBLISHED', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a short JWT secret',
    production({ JWT_SECRET: 'h8Kp2Vq9' }),
    both,
    critical('shield.jwt-secret-strong', 'TOO_SHORT', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a JWT secret of one letter',
    production({ JWT_SECRET: 'z'.repeat(64) }),
    both,
    critical('shield.jwt-secret-strong', 'TOO_PREDICTABLE', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a JWT secret that repeats',
    production({ JWT_SECRET: 'Kp2Vq9xW'.repeat(6) }),
    both,
    critical('shield.jwt-secret-strong', 'TOO_PREDICTABLE', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a JWT secret along the alphabet',
    production({ JWT_SECRET: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789' }),
    both,
    critical('shield.jwt-secret-strong', 'TOO_PREDICTABLE', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a JWT secret with a newline',
    production({ JWT_SECRET: `${strongSecret}\n` }),
    both,
    high('shield.jwt-secret-hygiene', 'SURROUNDING_SPACE', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a JWT secret that opens the admin endpoints too',
    production({ ARQONBUS_HTTP_API_KEY: strongSecret }),
    both,
    high('shield.jwt-secret-hygiene', 'ELSEWHERE_TOO', 'JWT_SECRET'),
  ),
  broken(
    'L31',
    'a weak secret of the bus beside a good one',
    production({ ARQONBUS_AUTH_JWT_SECRET: 'changeme' }),
    bus,
    blocker('shield.jwt-secret-not-default', 'PUBLISHED', 'ARQONBUS_AUTH_JWT_SECRET'),
  ),

  broken(
    'L62',
    'validation skipped',
    production({ JWT_SKIP_VALIDATION: '1' }),
    both,
    blocker('shield.jwt-skip-absent', 'PRESENT', 'JWT_SKIP_VALIDATION'),
  ),
  broken(
    'L62',
    'validation skipping set to false',
    production({ JWT_SKIP_VALIDATION: 'false' }),
    both,
    blocker('shield.jwt-skip-absent', 'PRESENT', 'JWT_SKIP_VALIDATION'),
  ),
  broken(
    'L62',
    'validation skipping set to nothing',
    production({ JWT_SKIP_VALIDATION: '' }),
    both,
    blocker('shield.jwt-skip-absent', 'PRESENT', 'JWT_SKIP_VALIDATION'),
  ),
  broken(
    'L32',
    'validation skipping in development',
    { JWT_SECRET: strongSecret, JWT_SKIP_VALIDATION: '' },
    shield,
    blocker('shield.jwt-skip-absent', 'PRESENT', 'JWT_SKIP_VALIDATION'),
  ),
  broken(
    'L32',
    'another bypass',
    production({ GATEWAY_ALLOW_ANONYMOUS: '1' }),
    both,
    critical('shield.bypass-toggles-absent', 'BYPASS_TOGGLE', 'GATEWAY_ALLOW_ANONYMOUS'),
  ),

  broken('L33', 'no NATS', without('NATS_URL'), shield, critical('shield.nats-url-configured', 'NOT_SET', 'NATS_URL')),
  broken(
    'L33',
    'the default NATS',
    production({ NATS_URL: 'nats://localhost:4222' }),
    shield,
    critical('shield.nats-url-configured', 'DEFAULT_VALUE', 'NATS_URL'),
  ),
  broken(
    'L33',
    'NATS in the clear',
    production({ NATS_URL: 'tls://nats-1.internal:4222,nats://nats-2.internal:4222' }),
    shield,
    critical('shield.nats-url-configured', 'NO_TLS', 'NATS_URL'),
  ),
  broken(
    'L33',
    'a NATS address with a bad port',
    production({ NATS_URL: 'tls://nats.internal:99999' }),
    shield,
    critical('shield.nats-url-configured', 'MALFORMED', 'NATS_URL'),
  ),

  broken(
    'L34',
    'schemas not enforced',
    production({ ARQON_SCHEMA_STRICT: 'false' }),
    shield,
    critical('shield.schema-strict', 'NOT_STRICT', 'ARQON_SCHEMA_STRICT'),
  ),
  broken(
    'L34',
    'schemas left to the default',
    without('ARQON_SCHEMA_STRICT'),
    shield,
    critical('shield.schema-strict', 'NOT_SET', 'ARQON_SCHEMA_STRICT'),
  ),
  broken(
    'L34',
    'schemas set to a word that is no boolean',
    production({ ARQON_SCHEMA_STRICT: 'strict' }),
    shield,
    critical('shield.schema-strict', 'NOT_A_BOOLEAN', 'ARQON_SCHEMA_STRICT'),
    invalidConfig('NOT_A_BOOLEAN', 'ARQON_SCHEMA_STRICT'),
  ),

  broken(
    undefined,
    'a misspelt name',
    production({ ARQONBUS_STORAGE_MOD: 'strict' }),
    both,
    invalidConfig('UNKNOWN_NAME', 'ARQONBUS_STORAGE_MOD'),
  ),
  broken(
    undefined,
    'an environment nobody knows',
    { JWT_SECRET: strongSecret, ARQONBUS_ENVIRONMENT: 'prodution' },
    both,
    invalidConfig('NOT_ONE_OF', 'ARQONBUS_ENVIRONMENT'),
  ),
  broken(
    undefined,
    'a number with white space',
    production({ SHIELD_LIMIT_MAX_JOINS: '100 ' }),
    shield,
    invalidConfig('SURROUNDING_SPACE', 'SHIELD_LIMIT_MAX_JOINS'),
  ),
  broken(
    undefined,
    'a time-out that no timer takes',
    production({ ARQONBUS_LIMIT_PING_INTERVAL_MS: '3000000000' }),
    bus,
    invalidConfig('OUT_OF_RANGE', 'ARQONBUS_LIMIT_PING_INTERVAL_MS'),
  ),
  broken(
    undefined,
    'a limit above its cap',
    production({ ARQONBUS_LIMIT_MAX_JOINS: '100000' }),
    bus,
    high('bus.limits-within-caps', 'ABOVE_CAP', 'ARQONBUS_LIMIT_MAX_JOINS'),
  ),
  broken(
    undefined,
    'a limit of Shield above its cap',
    production({ SHIELD_LIMIT_MAX_MESSAGE_BYTES: '1048576' }),
    shield,
    high('shield.limits-within-caps', 'ABOVE_CAP', 'SHIELD_LIMIT_MAX_MESSAGE_BYTES'),
  ),
  broken(
    undefined,
    'authentication switched off',
    production({ ARQONBUS_ENABLE_AUTH: 'false' }),
    bus,
    high('bus.auth-enabled', 'AUTH_OFF', 'ARQONBUS_ENABLE_AUTH'),
  ),
  broken(
    undefined,
    'a feature that is not there',
    production({ ARQONBUS_CASIL_ENABLED: 'true' }),
    both,
    invalidConfig('NOT_SUPPORTED', 'ARQONBUS_CASIL_ENABLED'),
  ),
  broken(
    undefined,
    'half a certificate',
    production({ SHIELD_TLS_CERT_FILE: '/nowhere/shield.pem' }),
    shield,
    invalidConfig('MISSING', 'SHIELD_TLS_KEY_FILE'),
    high('meta.files-readable', 'FILE_UNREADABLE', 'SHIELD_TLS_CERT_FILE'),
  ),
  broken(
    undefined,
    'a policy that is not there',
    production({ POLICY_WASM_PATH: '/nowhere/policy.wasm' }),
    shield,
    high('meta.files-readable', 'FILE_UNREADABLE', 'POLICY_WASM_PATH'),
  ),
  broken(
    undefined,
    'a policy that may read tokens',
    production({ SHIELD_POLICY_HEADERS: 'user-agent,authorization' }),
    shield,
    invalidConfig('HOLDS_CREDENTIALS', 'SHIELD_POLICY_HEADERS'),
  ),
  broken(
    undefined,
    'more fuel for policies than was tried',
    production({ SHIELD_LIMIT_POLICY_FUEL: '100000000' }),
    shield,
    high('shield.limits-within-caps', 'ABOVE_CAP', 'SHIELD_LIMIT_POLICY_FUEL'),
  ),
  broken(
    undefined,
    'a Shield that sends everybody away at once',
    production({ SHIELD_LIMIT_CLOSES_PER_SECOND: '100000' }),
    shield,
    high('shield.limits-within-caps', 'ABOVE_CAP', 'SHIELD_LIMIT_CLOSES_PER_SECOND'),
  ),
  broken(
    undefined,
    'more proxies than anybody has',
    production({ SHIELD_TRUSTED_PROXY_HOPS: '100' }),
    shield,
    invalidConfig('OUT_OF_RANGE', 'SHIELD_TRUSTED_PROXY_HOPS'),
  ),
  broken(
    undefined,
    'tokens by key pair without a key',
    production({ ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' }),
    both,
    invalidConfig('MISSING', 'ARQONBUS_AUTH_JWT_KEY_FILE'),
  ),
  broken(
    undefined,
    'keys of a provider for a shared secret',
    production({ ARQONBUS_AUTH_JWKS_URL: 'https://id.example/jwks' }),
    both,
    invalidConfig('CONTRADICTS', 'ARQONBUS_AUTH_JWKS_URL'),
  ),
  broken(
    undefined,
    'keys from two places',
    production({
      ARQONBUS_AUTH_JWT_ALGORITHM: 'ES256',
      ARQONBUS_AUTH_JWKS_URL: 'https://id.example/jwks',
      ARQONBUS_AUTH_JWT_KEY_FILE: '/nowhere/keys.pem',
    }),
    both,
    invalidConfig('CONTRADICTS', 'ARQONBUS_AUTH_JWKS_URL'),
    high('meta.files-readable', 'FILE_UNREADABLE', 'ARQONBUS_AUTH_JWT_KEY_FILE'),
  ),
  ...(
    [
      ['keys fetched in the clear from another machine', 'NO_TLS', 'http://id.example/jwks'],
      ['a key address with a password', 'HAS_CREDENTIALS', 'https://arqon:hunter-two@id.example/jwks'],
      ['a key address that is none', 'NOT_AN_ADDRESS', 'id.example/jwks'],
      ['keys from a file address', 'NOT_AN_ADDRESS', 'file:///etc/keys'],
    ] as const
  ).map(([name, code, url]) =>
    broken(
      undefined,
      name,
      production({
        ARQONBUS_AUTH_JWT_ALGORITHM: 'EdDSA',
        ARQONBUS_AUTH_JWKS_URL: url,
      }),
      both,
      invalidConfig(code, 'ARQONBUS_AUTH_JWKS_URL'),
      invalidConfig('MISSING', 'ARQONBUS_AUTH_JWT_KEY_FILE'),
    ),
  ),
  broken(
    undefined,
    'keys that hold for ever',
    production({ ARQONBUS_AUTH_JWKS_MAX_STALE_S: '1000000' }),
    both,
    invalidConfig('OUT_OF_RANGE', 'ARQONBUS_AUTH_JWKS_MAX_STALE_S'),
  ),
  broken(
    undefined,
    'a configuration file that is not there',
    production({ ARQONBUS_CONFIG_FILE: '/nowhere/arqonbus.env' }),
    both,
    invalidConfig('FILE_UNREADABLE', 'ARQONBUS_CONFIG_FILE'),
  ),
  broken(
    undefined,
    'development without a secret',
    {},
    shield,
    blocker('shield.jwt-secret-present', 'NOT_SET', 'JWT_SECRET'),
  ),
  broken(
    undefined,
    'development with a default secret',
    { JWT_SECRET: 'dev-secret' },
    shield,
    blocker('shield.jwt-secret-not-default', 'PUBLISHED', 'JWT_SECRET'),
  ),
  broken(
    undefined,
    'staging with validation skipped',
    { ...production({ JWT_SKIP_VALIDATION: '0' }), ARQONBUS_ENVIRONMENT: 'staging' },
    both,
    blocker('shield.jwt-skip-absent', 'PRESENT', 'JWT_SKIP_VALIDATION'),
  ),
]

export const everyEnvironment: readonly EnvironmentCase[] = [...healthyEnvironments, ...brokenEnvironments]
