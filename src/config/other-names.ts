// Names with our prefixes that are not configuration of the servers: those the original knew and this version does not
// act on, and those other programs read. Anything else with our prefixes is a spelling mistake.

/** When a name that has no effect would change what the operator gets. */
type SwitchedOn = 'when-true' | 'when-set' | 'never'

export interface UnsupportedName {
  readonly switchedOn: SwitchedOn
  /** What to use instead, or why it has no effect. */
  readonly instead?: string
}

const inert = (instead?: string): UnsupportedName => ({
  switchedOn: 'never',
  ...(instead !== undefined && { instead }),
})
const flag: UnsupportedName = { switchedOn: 'when-true' }

const under = (prefix: string, tails: readonly string[]): [string, UnsupportedName][] =>
  tails.map((tail) => [`${prefix}${tail}`, inert()])

/** Known by the original, not supported by this version. */
export const unsupportedNames: ReadonlyMap<string, UnsupportedName> = new Map<string, UnsupportedName>([
  ['ARQONBUS_CASIL_ENABLED', flag],
  ...under('ARQONBUS_CASIL_', [
    'MODE',
    'DEFAULT_DECISION',
    'SCOPE_INCLUDE',
    'SCOPE_EXCLUDE',
    'MAX_INSPECT_BYTES',
    'MAX_PATTERNS',
    'MAX_PAYLOAD_BYTES',
    'BLOCK_ON_PROBABLE_SECRET',
    'TRANSPORT_REDACTION',
    'NEVER_LOG_PAYLOAD_FOR',
    'METADATA_TO_LOGS',
    'METADATA_TO_TELEMETRY',
    'METADATA_TO_ENVELOPE',
  ]),
  ['ARQONBUS_CASIL_REDACTION_PATTERNS', inert('name the fields in SHIELD_MIRROR_SECRET_FIELDS')],
  ['ARQONBUS_OMEGA_ENABLED', flag],
  ...under('ARQONBUS_OMEGA_', [
    'LAB_ROOM',
    'LAB_CHANNEL',
    'MAX_EVENTS',
    'MAX_SUBSTRATES',
    'RUNTIME',
    'FIRECRACKER_BIN',
    'JAILER_BIN',
    'KERNEL_IMAGE',
    'ROOTFS_IMAGE',
    'WORKSPACE_DIR',
    'VM_TIMEOUT_SECONDS',
    'MAX_VMS',
  ]),
  ['ARQONBUS_HOLONOMY_ENABLED', flag],
  [
    'ARQONBUS_COMPRESSION',
    { switchedOn: 'when-true', instead: 'compression is refused: it costs 30 times the memory' },
  ],
  ['ARQONBUS_OPERATOR_AUTH_REQUIRED', flag],
  ['ARQONBUS_OPERATOR_AUTH_TOKEN', { switchedOn: 'when-set' }],
  ['ARQONBUS_TELEMETRY_ROOM', inert('telemetry has its own listener')],
  ['ARQONBUS_DEBUG', inert('set ARQONBUS_LOG_LEVEL=debug')],
  ['ARQONBUS_HTTP_ENABLED', inert('the HTTP listener is always open')],
  ['ARQONBUS_HISTORY_SIZE', inert('set ARQONBUS_MAX_HISTORY_SIZE')],
  ['ARQONBUS_STORAGE_MAX_HISTORY', inert('set ARQONBUS_MAX_HISTORY_SIZE')],
  ['ARQONBUS_STORAGE', inert('set ARQONBUS_STORAGE_BACKEND')],
  ['ARQONBUS_RATE_LIMIT_PER_MINUTE', inert('set ARQONBUS_LIMIT_MESSAGES_PER_SECOND')],
])

/** Read by clients, tests and tools; no business of the servers. */
export const foreignNames: ReadonlySet<string> = new Set([
  'ARQONBUS_HTTP_URL',
  'ARQONBUS_WS_URL',
  'ARQONBUS_URL',
  'ARQONBUS_TOKEN',
  'ARQONBUS_AUTH_TOKEN',
  'ARQONBUS_AUTH_JWT',
  'ARQONBUS_PREFLIGHT_ROUTE_SECRET',
  'ARQONBUS_HELLO_ROOM',
  'ARQONBUS_HELLO_CHANNEL',
  'ARQONBUS_TEST_POSTGRES_URL',
  'ARQONBUS_TEST_VALKEY_URL',
  'ARQONBUS_TEST_NATS_URL',
  'ARQONBUS_PREFLIGHT_GATE',
  'ARQONBUS_REQUIRE_SOCKET_TESTS',
  'ARQONBUS_PERF_PROTOBUF_P95_MS',
  'ARQONBUS_PERF_PROTOBUF_AVG_MS',
  'ARQONBUS_PERF_REPLAY_P95_MS',
  'ARQONBUS_PERF_REPLAY_AVG_MS',
  'ARQONBUS_WSCAT_HOST',
  'ARQONBUS_WSCAT_PORT',
  'ARQONBUS_WSCAT_SECRET',
  'ARQON_LLM_MODEL',
  'ARQON_LLM_BASE_URL',
  'ARQON_LLM_API_KEY',
])

/** Looked at for presence only; any value counts. */
export const presenceNames: ReadonlySet<string> = new Set(['JWT_SKIP_VALIDATION'])

export const ownPrefix = /^(?:ARQONBUS|ARQON|SHIELD)_/

/** Would this value have switched the feature on? */
export function wouldSwitchOn({ switchedOn }: UnsupportedName, value: string): boolean {
  if (switchedOn === 'when-set') return value !== ''
  return switchedOn === 'when-true' && /^(?:true|1|yes|on)$/i.test(value.trim())
}
