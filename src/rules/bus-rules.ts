// The rules of the runbook's ArqonBus checklist (L19-L27) and of the original's strict start.
import type { Resolution } from '../config/resolution.ts'
import { isLoopbackHost, parseServiceUrl, redactUrl, type ServiceUrl } from '../config/urls.ts'
import { describeValue, explicitFault, judgeExplicit } from './explicit.ts'
import { busSharedSecret, production } from './predicates.ts'
import { fail, failIfAny, type Finding, type Judgement, pass, type Rule, type RuleContext } from './rule.ts'

type BusRule = Pick<Rule, 'id' | 'title' | 'proves' | 'runbook' | 'severity' | 'judge'> & Partial<Rule>

const rule = (spec: BusRule): Rule => ({ class: 'config', programs: ['bus'], appliesWhen: production, ...spec })

export const busRules: readonly Rule[] = [
  rule({
    id: 'bus.server-host-explicit',
    title: 'The bus listens where the operator said',
    proves: 'The WebSocket address is set, well formed, and one of this machine.',
    runbook: ['L19'],
    severity: 'critical',
    judge: judgeServerHost,
  }),
  rule({
    id: 'bus.server-port-explicit',
    title: 'The bus listens on a port the operator chose',
    proves: 'The WebSocket port is set to a number from 1 to 65535.',
    runbook: ['L20'],
    severity: 'critical',
    judge: (ctx) =>
      judgeExplicit(ctx, 'serverPort', 'set ARQONBUS_SERVER_PORT to a port from 1 to 65535', () =>
        ctx.resolution.values.serverPort === 0 ? { code: 'FREE_PORT', found: '0 lets the system choose' } : undefined,
      ),
  }),
  rule({
    id: 'bus.storage-mode-explicit',
    title: 'What happens without the store was decided',
    proves: 'The storage mode is set to strict or degraded.',
    runbook: ['L21'],
    severity: 'critical',
    judge: (ctx) => judgeExplicit(ctx, 'storageMode', 'set ARQONBUS_STORAGE_MODE=strict (or degraded)'),
  }),
  rule({
    id: 'bus.storage-mode-strict',
    title: 'The store is required',
    proves: 'The storage mode is strict: nothing is acknowledged that the store did not take.',
    runbook: ['L21'],
    severity: 'advisory',
    judge: (ctx) =>
      ctx.resolution.values.storageMode === 'strict'
        ? pass(describeValue(ctx, 'storageMode'))
        : fail(
            'NOT_STRICT',
            'ARQONBUS_STORAGE_MODE',
            describeValue(ctx, 'storageMode'),
            'set ARQONBUS_STORAGE_MODE=strict',
          ),
  }),
  rule({
    id: 'bus.storage-backend-durable',
    title: 'Strict storage has a store that outlives the process',
    proves: 'With strict storage the backend is not memory.',
    runbook: ['L21', 'L64'],
    severity: 'critical',
    judge: judgeBackend,
  }),
  rule({
    id: 'bus.valkey-url-configured',
    title: 'Valkey or Redis is configured',
    proves: 'ARQONBUS_VALKEY_URL or ARQONBUS_REDIS_URL is a well-formed address, in prod of another machine.',
    runbook: ['L22', 'L63'],
    severity: 'blocker',
    judge: judgeValkeyUrl,
  }),
  rule({
    id: 'bus.postgres-url-configured',
    title: 'Postgres is configured',
    proves: 'ARQONBUS_POSTGRES_URL is a well-formed address with one host, user and database.',
    runbook: ['L23', 'L63'],
    severity: 'blocker',
    judge: judgePostgresUrl,
  }),
  rule({
    id: 'bus.dual-stack-required',
    title: 'Both data stores are required',
    proves: 'ARQONBUS_REQUIRE_DUAL_DATA_STACK is left alone or true.',
    runbook: ['L24'],
    severity: 'critical',
    judge: judgeDualStack,
  }),
  rule({
    id: 'bus.infra-protocol',
    title: 'The infrastructure speaks protobuf',
    proves: 'ARQONBUS_INFRA_PROTOCOL is set to protobuf.',
    runbook: ['L25'],
    severity: 'critical',
    judge: (ctx) =>
      judgeExplicit(ctx, 'infraProtocol', 'set ARQONBUS_INFRA_PROTOCOL=protobuf', () =>
        ctx.resolution.values.infraProtocol === 'protobuf'
          ? undefined
          : { code: 'NOT_PROTOBUF', found: describeValue(ctx, 'infraProtocol') },
      ),
  }),
  rule({
    id: 'bus.json-infra-off',
    title: 'JSON frames are off',
    proves: 'ARQONBUS_ALLOW_JSON_INFRA is set to false.',
    runbook: ['L26'],
    severity: 'critical',
    judge: (ctx) =>
      judgeExplicit(ctx, 'allowJsonInfra', 'set ARQONBUS_ALLOW_JSON_INFRA=false', () =>
        ctx.resolution.values.allowJsonInfra
          ? { code: 'JSON_ALLOWED', found: describeValue(ctx, 'allowJsonInfra') }
          : undefined,
      ),
  }),
  rule({
    id: 'bus.telemetry-configured',
    title: 'Telemetry has an address of its own',
    proves: 'Telemetry host and port are set, and no other listener has them.',
    runbook: ['L27'],
    severity: 'critical',
    judge: judgeTelemetry,
  }),
  rule({
    id: 'bus.auth-enabled',
    title: 'The bus asks for tokens',
    proves: 'Authentication at the bus is not switched off.',
    runbook: [],
    severity: 'high',
    judge: (ctx) =>
      ctx.resolution.values.enableAuth
        ? pass(describeValue(ctx, 'enableAuth'))
        : fail('AUTH_OFF', 'ARQONBUS_ENABLE_AUTH', describeValue(ctx, 'enableAuth'), 'set ARQONBUS_ENABLE_AUTH=true'),
  }),
  rule({
    id: 'bus.jwt-secret-present',
    title: 'The bus can verify tokens',
    proves: 'Where the bus asks for tokens by shared secret, there is one.',
    runbook: ['L61'],
    severity: 'blocker',
    appliesWhen: busSharedSecret,
    judge({ resolution: { given } }) {
      const has = (name: string): boolean => (given.get(name)?.text ?? '').trim() !== ''
      if (has('ARQONBUS_AUTH_JWT_SECRET') || has('JWT_SECRET')) return pass('a secret is set')
      const fix = 'set ARQONBUS_AUTH_JWT_SECRET, or JWT_SECRET for both programs (openssl rand -base64 48)'
      return fail(
        'NOT_SET',
        'ARQONBUS_AUTH_JWT_SECRET',
        'neither it nor JWT_SECRET has a value, and authentication is on',
        fix,
      )
    },
  }),
]

function judgeServerHost(ctx: RuleContext): Judgement {
  const fix = 'set ARQONBUS_SERVER_HOST to an address of this machine'
  return judgeExplicit(ctx, 'serverHost', fix, () => {
    const { serverHost } = ctx.resolution.values
    const isAddress = /^[\d.]+$|:/.test(serverHost)
    const isLocal = isWildcard(serverHost) || isLoopbackHost(serverHost) || ctx.localAddresses.includes(serverHost)
    // A name is left to the resolver of the machine that binds it.
    return isAddress && !isLocal
      ? { code: 'NOT_LOCAL', found: `${serverHost} is no address of this machine` }
      : undefined
  })
}

function judgeBackend({ resolution: { values } }: RuleContext): Judgement {
  const found = `ARQONBUS_STORAGE_MODE=${values.storageMode}, backend ${values.storageBackend}`
  if (values.storageMode !== 'strict' || values.storageBackend !== 'memory') return pass(found)
  return fail(
    'MEMORY_IN_STRICT',
    'ARQONBUS_STORAGE_BACKEND',
    found,
    'set ARQONBUS_STORAGE_BACKEND to embedded, valkey or postgres',
  )
}

function judgeValkeyUrl(ctx: RuleContext): Judgement {
  const { valkeyUrl } = ctx.resolution.values
  const fix = 'set ARQONBUS_VALKEY_URL, for example rediss://user:password@valkey.internal:6379'
  return judgeExplicit(ctx, 'valkeyUrl', fix, () => {
    const text = valkeyUrl!.reveal()
    const url = parseServiceUrl(text)
    const schemes = ['redis', 'rediss', 'valkey', 'valkeys', 'unix']
    if (url === undefined || (url.hosts.length === 0 && url.scheme !== 'unix')) return malformed
    if (!schemes.includes(url.scheme))
      return { code: 'WRONG_SCHEME', found: `scheme ${url.scheme}, not ${schemes.join(', ')}` }
    const loopback = url.hosts.find(({ host }) => isLoopbackHost(host))
    return ctx.profile === 'prod' && loopback !== undefined
      ? { code: 'LOOPBACK_HOST', found: `${redactUrl(text)} is this machine` }
      : undefined
  })
}

function judgePostgresUrl(ctx: RuleContext): Judgement {
  const { postgresUrl } = ctx.resolution.values
  const fix = 'set ARQONBUS_POSTGRES_URL, for example postgresql://user:password@db.internal:5432/arqonbus'
  return judgeExplicit(ctx, 'postgresUrl', fix, () => {
    const text = postgresUrl!.reveal()
    const url = parseServiceUrl(text)
    if (url === undefined) return malformed
    if (url.scheme !== 'postgres' && url.scheme !== 'postgresql') {
      return { code: 'WRONG_SCHEME', found: `scheme ${url.scheme}, not postgresql` }
    }
    if (url.hosts.length > 1 || listInQuery.test(text)) return severalHosts
    // Without a host there is no user either: the address of a socket.
    return url.user === undefined || url.path.length < 2
      ? { code: 'INCOMPLETE', found: describeMissing(url) }
      : undefined
  })
}

/** As libpq has it too: `?host=one,two`. */
const listInQuery = /[?&]host=[^&]*(?:,|%2c)/i

/** Which of several is the writer has to be known in one place, for all buses and all of their connections. */
const severalHosts = {
  code: 'SEVERAL_HOSTS',
  found: 'names several hosts (value hidden); the bus connects to one, and does not read target_session_attrs',
  fix: 'name one host that always leads to the writer, the service name of the cluster or a proxy before it: postgresql://user:password@db-writer.internal:5432/arqonbus',
}

function describeMissing({ hosts, user, path }: ServiceUrl): string {
  const missing = [
    ...(hosts.length === 0 ? ['host'] : []),
    ...(user === undefined ? ['user'] : []),
    ...(path.length < 2 ? ['database'] : []),
  ]
  return `no ${missing.join(', no ')} in it (value hidden)`
}

const malformed = {
  code: 'MALFORMED',
  found: 'not an address (value hidden); inside a password write @ / ? # : as %40 %2F %3F %23 %3A',
}

function judgeDualStack(ctx: RuleContext): Judgement {
  const { given, values } = ctx.resolution
  const variable = 'ARQONBUS_REQUIRE_DUAL_DATA_STACK'
  if (!given.has(variable) || values.requireDualDataStack) return pass(describeValue(ctx, 'requireDualDataStack'))
  const fault = explicitFault(ctx, 'requireDualDataStack', `remove ${variable}`)
  if (fault !== undefined) return { status: 'fail', findings: [fault] }
  return fail('SWITCHED_OFF', variable, describeValue(ctx, 'requireDualDataStack'), `remove ${variable}`)
}

function judgeTelemetry(ctx: RuleContext): Judgement {
  const { values } = ctx.resolution
  const faults = [
    explicitFault(ctx, 'telemetryHost', 'set ARQONBUS_TELEMETRY_HOST'),
    explicitFault(ctx, 'telemetryPort', 'set ARQONBUS_TELEMETRY_PORT to a port of its own'),
  ].filter((fault): fault is Finding => fault !== undefined)
  if (faults.length > 0) return failIfAny(faults, '')
  const fix = 'set ARQONBUS_TELEMETRY_PORT to a port of its own'
  if (values.telemetryPort === 0) return fail('FREE_PORT', 'ARQONBUS_TELEMETRY_PORT', '0 lets the system choose', fix)
  const other = otherListeners(values).find(
    ({ host, port }) => port === values.telemetryPort && sharesAddress(host, values.telemetryHost),
  )
  if (other !== undefined) {
    return fail('PORT_TAKEN', 'ARQONBUS_TELEMETRY_PORT', `${values.telemetryPort} is also ${other.shown}`, fix)
  }
  return pass(`${values.telemetryHost}:${values.telemetryPort}`)
}

function otherListeners(values: Resolution['values']): { shown: string; host: string; port: number }[] {
  return [
    { shown: 'ARQONBUS_SERVER_PORT', host: values.serverHost, port: values.serverPort },
    { shown: 'ARQONBUS_HTTP_PORT', host: values.httpHost, port: values.httpPort },
    { shown: 'SHIELD_PORT', host: values.shieldHost, port: values.shieldPort },
    { shown: 'SHIELD_METRICS_PORT', host: values.shieldMetricsHost, port: values.shieldMetricsPort },
  ]
}

const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'
const sharesAddress = (a: string, b: string): boolean => a === b || isWildcard(a) || isWildcard(b)
