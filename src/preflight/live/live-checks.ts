// The checks of the live phase (runbook L54-L57): real clients against a started system, named by --target.
import type { JsonObject } from '../../base/json.ts'
import type { Applicability, Check, CheckHead, CheckPorts, CheckResult } from '../check.ts'
import type { TargetName } from '../targets.ts'
import { checkBusHealth } from './health.ts'
import { checkRouting, checkTenantIsolation } from './routing.ts'
import { checkBadTokens, checkMissingToken, checkValidToken } from './shield-auth.ts'
import { checkTelemetry } from './telemetry.ts'

const deadlineMs = 15_000

/** Without an address there is nothing to judge, and what is not judged is not proved. */
function needsTargets(...names: readonly TargetName[]): Applicability {
  return {
    name: `targets-${names.join('-')}`,
    test({ targets }) {
      const missing = names.filter((name) => targets[name] === undefined)
      return missing.length === 0
        ? { holds: true, because: 'given' }
        : { holds: false, because: `no --target ${missing.join(', ')}`, otherwise: 'not-selected' }
    },
  }
}

/** Tokens can be minted only where a shared secret signs them. */
function needsSecret(...names: readonly TargetName[]): Applicability {
  const targets = needsTargets(...names)
  return {
    name: `${targets.name}-and-shared-secret`,
    test(ports) {
      const { jwtAlgorithm } = ports.ctx.resolution.values
      if (jwtAlgorithm === 'HS256') return targets.test(ports)
      return { holds: false, because: `no key to sign ${jwtAlgorithm} tokens with`, otherwise: 'not-selected' }
    },
  }
}

const telemetryOn: Applicability = {
  name: 'telemetry-enabled',
  test(ports) {
    const { telemetryEnabled } = ports.ctx.resolution.values
    if (telemetryEnabled) return needsTargets('telemetry', 'bus').test(ports)
    return { holds: false, because: 'ARQONBUS_ENABLE_TELEMETRY=false' }
  },
}

type LiveCheck = Omit<CheckHead, 'effects'> & {
  readonly effects: readonly string[]
  readonly run: (ports: CheckPorts, signal: AbortSignal) => Promise<CheckResult>
}

/** The probe of a live check comes back with its own judgement. */
function live({ run, effects, ...head }: LiveCheck): Check {
  return {
    ...head,
    effects: effects.map((what) => ({ kind: 'net', what })),
    shape: { result: 'object' },
    probe: async (ports, signal) => ({ result: { ...(await run(ports, signal)) } as unknown as JsonObject }),
    judge: ({ result }) => result as unknown as CheckResult,
    worlds: { passes: [], fails: [], ignores: [] },
  }
}

const specs: readonly LiveCheck[] = [
  {
    id: 'live.bus-health',
    title: 'The bus says it is healthy',
    proves: 'The bus runs this version, is healthy and not merely degraded, and names every component it looked at.',
    evidence: 'Answers of GET /health, /version and /ready.',
    fix: 'See /ready of the bus: it names the component that is not up.',
    runbook: ['L54'],
    phase: 'live',
    severity: 'blocker',
    class: 'dependency',
    requires: [],
    appliesWhen: needsTargets('http'),
    deadlineMs,
    effects: ['sends 3 GET requests'],
    run: checkBusHealth,
  },
  {
    id: 'live.telemetry-accepts',
    title: 'Telemetry shows what happens',
    proves: 'The telemetry port greets with telemetry_connected and shows an event caused by our own connection.',
    evidence: 'The greeting, and the event that carries the client id our connection was given.',
    fix: 'Look at the telemetry listener: ARQONBUS_ENABLE_TELEMETRY, its host and port, and the log of the bus.',
    runbook: ['L55'],
    phase: 'live',
    severity: 'critical',
    class: 'dependency',
    requires: [],
    appliesWhen: telemetryOn,
    deadlineMs,
    effects: ['opens 1 telemetry and 1 bus connection'],
    run: checkTelemetry,
  },
  {
    id: 'live.shield-rejects-missing-token',
    title: 'Shield lets nobody in without a token',
    proves: 'A handshake without Authorization gets 401 instead of 101, with the documented body.',
    evidence: 'The raw answer of the socket.',
    fix: 'Stop Shield; look at JWT_SKIP_VALIDATION and at what stands before Shield.',
    runbook: ['L56'],
    phase: 'live',
    severity: 'blocker',
    class: 'regression',
    requires: [],
    appliesWhen: needsTargets('shield'),
    deadlineMs,
    effects: ['opens 1 connection'],
    run: checkMissingToken,
  },
  {
    id: 'live.shield-rejects-bad-tokens',
    title: 'Shield lets nobody in with a bad token',
    proves: 'Each kind of bad token, also one signed with a published default secret, gets 401; the good one gets 101.',
    evidence: 'A table of cases with the raw status of each.',
    fix: 'Stop Shield; a published default means: set another JWT_SECRET.',
    runbook: ['L56'],
    phase: 'live',
    severity: 'blocker',
    class: 'regression',
    requires: [],
    appliesWhen: needsSecret('shield'),
    deadlineMs,
    effects: ['opens 25 connections, one after the other'],
    run: checkBadTokens,
  },
  {
    id: 'live.shield-accepts-valid-token',
    title: 'Shield lets in the bearer of a good token',
    proves: 'A token of two minutes for a reserved tenant gets 101, and the welcome as first frame.',
    evidence: 'The raw status, then the welcome.',
    fix: 'Compare JWT_SECRET here and at Shield, issuer and audience, and the clocks.',
    runbook: ['L57'],
    phase: 'live',
    severity: 'blocker',
    class: 'regression',
    requires: [],
    appliesWhen: needsSecret('shield'),
    deadlineMs,
    effects: ['opens 2 connections'],
    run: checkValidToken,
  },
  {
    id: 'live.shield-routes-payload',
    title: 'What Shield takes arrives at the bus',
    proves:
      'An independent observer on the bus gets exactly the payload sent through Shield, once; another tenant nothing.',
    evidence: 'Messages seen by both observers up to a fence message.',
    fix: 'Look at the link between Shield and bus: component link of /ready, and the logs of both.',
    runbook: ['L57'],
    phase: 'live',
    severity: 'blocker',
    class: 'regression',
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: needsSecret('shield', 'bus'),
    deadlineMs,
    effects: ['opens 4 connections', 'publishes 3 messages in a random room of reserved tenants'],
    run: checkRouting,
  },
  {
    id: 'live.tenant-isolation',
    title: 'Tenants do not see each other',
    proves: 'Two tenants in a room and channel of the same names each see their own messages and no others.',
    evidence: 'Messages seen by both observers up to a fence message each.',
    fix: 'Stop the system: messages cross tenants.',
    runbook: ['L57'],
    phase: 'live',
    severity: 'critical',
    class: 'regression',
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: needsSecret('shield'),
    deadlineMs,
    effects: ['opens 4 connections', 'publishes 4 messages in a random room of reserved tenants'],
    run: checkTenantIsolation,
  },
]

export const liveChecks: readonly Check[] = specs.map(live)
