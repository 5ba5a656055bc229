// What must refuse to start does, and what may start starts: the fail conditions of the runbook (L61-L65), proved on the
// program itself and not on what it says of its configuration. And what started is as healthy as it says, and carries what
// it takes (L54, L57).
import { sharedSecret } from '../../rules/predicates.ts'
import { type Applicability, type Check, type CheckPorts, defineCheck, type Effect, type FactsOf } from '../check.ts'
import { type Host, thisHost } from '../runtime/host.ts'
import * as probes from './boot-probes.ts'
import { lanes } from './candidate.ts'
import { type RefusalCase, refusalShape } from './refusal.ts'
import * as cases from './refusal-cases.ts'
import { judgeRefusals } from './refusal-judges.ts'
import { keyPair, refusalWorlds } from './refusal-worlds.ts'
import { redHealthCheck } from './red-health-checks.ts'
import { routedCheck } from './routed-checks.ts'
import { cleanStartCheck } from './start-check.ts'

/** Where a production start is meant; what development starts with is nobody's risk. */
export const outsideDevelopment: Applicability = {
  name: 'outside-development',
  test: ({ ctx: { profile } }) => ({ holds: profile !== 'dev', because: `profile=${profile}` }),
}

const withSharedSecret: Applicability = {
  name: 'tokens-by-shared-secret-outside-development',
  test(ports) {
    const outside = outsideDevelopment.test(ports)
    return outside.holds ? sharedSecret.test(ports.ctx) : outside
  },
}

/** Of a check: its starts one after the other, or two at once, and those of others before it. */
export const bootDeadlineMs = 120_000

export const loopbackEffects: readonly Effect[] = [
  { kind: 'spawn', what: 'the candidate, its data in a temporary folder' },
  { kind: 'net', what: 'loopback only; services of the environment are replaced' },
]

const common = {
  phase: 'boot',
  severity: 'blocker',
  class: 'regression',
  deadlineMs: bootDeadlineMs,
  evidence:
    'Exit code, the sockets of the process in /proc while it ran, the rule or code that standard error names; the whole output is in the incident bundle.',
  fix: 'The finding names the program and the fault: run it by hand, and repair its start-up gate before anything is deployed.',
  effects: loopbackEffects,
  shape: refusalShape,
} as const satisfies Partial<Check>

type Head = Pick<Check, 'id' | 'title' | 'proves' | 'runbook' | 'requires' | 'appliesWhen'>

/** Refused before anything is opened: the services of the environment are names that never resolve. */
function refuses(
  head: Head,
  list: readonly RefusalCase[],
  probe: (ports: CheckPorts, signal: AbortSignal) => Promise<FactsOf<typeof refusalShape>>,
  lane: string = lanes.refused,
): Check {
  return defineCheck({
    ...common,
    lane,
    ...head,
    probe,
    judge: (facts) => judgeRefusals(facts, list),
    worlds: refusalWorlds(list, head.appliesWhen === withSharedSecret ? [keyPair] : []),
  })
}

/** How long a refusal of the configuration may take, and health to tell that a service is gone. */
const documented = { refusalMs: 10_000, redMs: 10_000 }

export function createBootChecks(host: Host, changed: Partial<typeof documented> = {}): readonly Check[] {
  const limits = { ...documented, ...changed }
  const given = {
    at: { host, redMs: limits.redMs },
    lane: lanes.withServices,
    deadlineMs: bootDeadlineMs,
    effects: loopbackEffects,
  }
  const proveAll = (list: readonly RefusalCase[]) => probes.proveRefusals(list, host, limits.refusalMs)
  return [
    refuses(
      {
        id: 'boot.refuses-missing-secret',
        title: 'Shield does not start without its secret',
        proves: 'Without JWT_SECRET the candidate ends with 78 within 10 s, opens no socket and names the rule.',
        runbook: ['L61'],
        requires: ['shield.jwt-secret-present'],
        appliesWhen: withSharedSecret,
      },
      cases.missingSecret,
      proveAll(cases.missingSecret),
    ),
    refuses(
      {
        id: 'boot.refuses-default-secret',
        title: 'Nothing starts with a published or a weak secret',
        proves:
          'With a published secret, and with a weak one, the candidate ends with 78 within 10 s, opens no socket and names the rule.',
        runbook: ['L61'],
        requires: ['shield.jwt-secret-not-default'],
        appliesWhen: withSharedSecret,
      },
      cases.defaultSecret,
      proveAll(cases.defaultSecret),
    ),
    refuses(
      {
        id: 'boot.refuses-skip-validation',
        title: 'Nothing starts with token validation switched off',
        proves:
          'With JWT_SKIP_VALIDATION set to 1, to false and to nothing Shield ends with 78 within 10 s, opens no socket and names the rule; so does the bus with false.',
        runbook: ['L62'],
        requires: ['shield.jwt-skip-absent'],
        appliesWhen: outsideDevelopment,
      },
      cases.skipValidation,
      proveAll(cases.skipValidation),
    ),
    refuses(
      {
        id: 'boot.refuses-missing-valkey-url',
        title: 'The bus does not start without an address of Valkey',
        proves:
          'Without ARQONBUS_VALKEY_URL and ARQONBUS_REDIS_URL the bus ends with 78 within 10 s, opens no socket and names the rule.',
        runbook: ['L63'],
        requires: ['bus.valkey-url-configured'],
        appliesWhen: outsideDevelopment,
      },
      cases.missingValkey,
      proveAll(cases.missingValkey),
    ),
    refuses(
      {
        id: 'boot.refuses-missing-postgres-url',
        title: 'The bus does not start without an address of Postgres',
        proves: 'Without ARQONBUS_POSTGRES_URL the bus ends with 78 within 10 s, opens no socket and names the rule.',
        runbook: ['L63'],
        requires: ['bus.postgres-url-configured'],
        appliesWhen: outsideDevelopment,
      },
      cases.missingPostgres,
      proveAll(cases.missingPostgres),
    ),
    refuses(
      {
        id: 'boot.strict-refuses-without-store',
        title: 'A strict bus does not start without its stores',
        proves:
          'With Valkey, and with Postgres, at a port that refuses and at one that takes connections and never answers, a strict bus ends with 69 within its start deadline, opens no socket, names the store and does not fall back to memory. It runs as staging, because production refuses addresses of its own machine before it looks.',
        runbook: ['L64'],
        requires: ['bus.valkey-url-configured', 'bus.postgres-url-configured'],
        appliesWhen: outsideDevelopment,
      },
      cases.absentStores,
      probes.proveAbsentStores(host),
      lanes.withServices,
    ),
    refuses(
      {
        id: 'boot.projector-refuses-unmigrated',
        title: 'The projector does not start without its tables',
        proves:
          'On an empty Postgres, a stand-in on loopback, the projector ends with 78 within 10 s, opens no socket and names what is missing.',
        runbook: ['L81'],
        requires: ['bus.postgres-url-configured'],
        appliesWhen: outsideDevelopment,
      },
      cases.unmigrated,
      probes.proveUnmigrated(host),
    ),
    refuses(
      {
        id: 'boot.refuses-bad-certificate',
        title: 'Shield does not start with a certificate it cannot use',
        proves:
          'With a certificate and the key of another, and with a key that is not there, Shield ends with 78 within 10 s, opens no socket and says so.',
        runbook: [],
        requires: ['meta.files-readable'],
        appliesWhen: outsideDevelopment,
      },
      cases.badCertificate,
      probes.proveBadCertificate(host),
    ),
    cleanStartCheck({ ...given, appliesWhen: outsideDevelopment }),
    redHealthCheck({ ...given, appliesWhen: outsideDevelopment }),
    routedCheck({ ...given, appliesWhen: withSharedSecret }),
  ]
}

export const bootChecks: readonly Check[] = createBootChecks(thisHost)
