// The rules of the runbook's Shield checklist (L32-L34); its secret has a file of its own.
import { basename } from 'node:path'
import { isBusError } from '../base/errors.ts'
import { showName } from '../config/resolution.ts'
import { isLoopbackHost, parseServerList, redactUrl } from '../config/urls.ts'
import { policyName, readPins } from '../policy/pins.ts'
import { maxModuleBytes, prepareModule } from '../policy/prepare-module.ts'
import { describeValue, judgeExplicit } from './explicit.ts'
import { always, production, shieldOrProduction } from './predicates.ts'
import { fail, failIfAny, type Finding, type Judgement, pass, type Rule, type RuleContext } from './rule.ts'

const skipVariable = 'JWT_SKIP_VALIDATION'

export const shieldRules: readonly Rule[] = [
  {
    id: 'shield.jwt-skip-absent',
    title: 'Nothing switches token validation off',
    proves: 'JWT_SKIP_VALIDATION is not there, with any value or none.',
    runbook: ['L32', 'L62'],
    severity: 'blocker',
    class: 'config',
    programs: ['bus', 'shield'],
    appliesWhen: shieldOrProduction,
    judge({ resolution: { given } }) {
      const found = given.get(skipVariable)
      if (found === undefined) return pass('not set')
      const where = `present in the ${found.source.kind === 'env' ? 'environment' : 'file'}, value hidden; any value counts, even empty or false`
      return fail('PRESENT', skipVariable, where, `remove ${skipVariable}; do not set it to false`)
    },
  },
  {
    id: 'shield.bypass-toggles-absent',
    title: 'Nothing else promises a bypass',
    proves: 'No variable is named like a switch that turns security off.',
    runbook: ['L32'],
    severity: 'critical',
    class: 'config',
    programs: ['bus', 'shield'],
    appliesWhen: production,
    judge: judgeBypassToggles,
  },
  {
    id: 'shield.nats-url-configured',
    title: 'NATS is configured',
    proves: 'NATS_URL is set, every server in it is well formed, and in prod each is reached over TLS.',
    runbook: ['L33'],
    severity: 'critical',
    class: 'config',
    programs: ['shield'],
    appliesWhen: production,
    judge: judgeNatsUrl,
  },
  {
    id: 'shield.schema-strict',
    title: 'Frames without a schema are refused',
    proves: 'ARQON_SCHEMA_STRICT is set to true.',
    runbook: ['L34'],
    severity: 'critical',
    class: 'config',
    programs: ['shield'],
    appliesWhen: production,
    judge: (ctx) =>
      judgeExplicit(ctx, 'schemaStrict', 'set ARQON_SCHEMA_STRICT=true', () =>
        ctx.resolution.values.schemaStrict
          ? undefined
          : { code: 'NOT_STRICT', found: describeValue(ctx, 'schemaStrict') },
      ),
  },
  {
    id: 'shield.policies-valid',
    title: 'Policies are modules that may run',
    proves:
      'Each file of POLICY_WASM_PATH is a WebAssembly module of ABI arqon_host_v1 within its bounds, and the one that ' +
      'SHIELD_POLICY_SHA256 pins where it is set.',
    runbook: [],
    severity: 'high',
    class: 'config',
    programs: ['shield'],
    appliesWhen: always,
    judge: judgePolicies,
  },
]

/** What cannot be read is another rule's finding. */
function judgePolicies({ resolution: { values, limits }, files }: RuleContext): Judgement {
  const bounds = { fuel: limits.shield['policyFuel']!, maxMemoryPages: limits.shield['policyMemoryPages']! }
  const pins = readPins(values.policySha256)
  const findings = values.policyWasmPath.flatMap((path): Finding[] => {
    const bytes = files.read?.(path, maxModuleBytes)
    if (bytes === undefined) return []
    const module = 'put a module there that docs/policies.md describes, or take the file off POLICY_WASM_PATH'
    const pinned = 'put the pinned module there, or pin this one: arqonbus policy hash prints it'
    return [
      ...findingOf('POLICY_WASM_PATH', module, () => prepareModule(basename(path), bytes, bounds)),
      ...findingOf(pinsVariable, pinned, () => pins.check(policyName(path), bytes)),
    ]
  })
  const unknown = pins.unknown(values.policyWasmPath.map(policyName)).map((name) => ({
    code: 'PIN_WITHOUT_POLICY',
    variable: pinsVariable,
    found: `${name} is pinned, and no file of POLICY_WASM_PATH is called so`,
    fix: 'give the pin the name of its file without .wasm, or take it off',
  }))
  const isPinned = values.policySha256.length > 0
  return failIfAny([...findings, ...unknown], `${values.policyWasmPath.length} policies${isPinned ? ', pinned' : ''}`)
}

const pinsVariable = 'SHIELD_POLICY_SHA256'

function findingOf(variable: string, fix: string, check: () => unknown): Finding[] {
  try {
    check()
    return []
  } catch (error) {
    if (!isBusError(error)) throw error
    return [{ code: String(error.details['reason']), variable, found: error.message, fix }]
  }
}

const bypassForm = /SKIP.*VALID|DISABLE_AUTH|INSECURE|ALLOW_ANON/i

function judgeBypassToggles({ resolution: { given } }: RuleContext): Judgement {
  const names = [...given.keys()]
    .filter((name) => name !== skipVariable && bypassForm.test(name))
    .map(showName)
    .sort()
  return failIfAny(
    names.map((variable) => ({
      code: 'BYPASS_TOGGLE',
      variable,
      found: 'named like a switch that turns security off, value hidden',
      fix: `remove ${variable}`,
    })),
    'none',
  )
}

function judgeNatsUrl(ctx: RuleContext): Judgement {
  const fix = 'set NATS_URL, for example tls://nats.internal:4222'
  return judgeExplicit(ctx, 'natsUrl', fix, () => {
    const text = ctx.resolution.values.natsUrl.reveal()
    const servers = parseServerList(text)
    if (servers === undefined) return { code: 'MALFORMED', found: 'not a list of addresses (value hidden)' }
    const wrong = servers.find(({ scheme }) => !['nats', 'tls', 'ws', 'wss'].includes(scheme))
    if (wrong !== undefined) return { code: 'WRONG_SCHEME', found: `scheme ${wrong.scheme}, not tls or nats` }
    const isDefault = servers
      .flatMap(({ hosts }) => hosts)
      .every(({ host, port }) => isLoopbackHost(host) && (port === undefined || port === 4222))
    if (isDefault) return { code: 'DEFAULT_VALUE', found: `${redactUrl(text)} is the default` }
    const isPlain = servers.some(({ scheme }) => scheme === 'nats' || scheme === 'ws')
    return ctx.profile === 'prod' && isPlain
      ? { code: 'NO_TLS', found: `${redactUrl(text)} is not encrypted` }
      : undefined
  })
}
