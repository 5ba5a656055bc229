// The checks of the live phase (runbook L25-L26, L34, L54-L57): real clients against a started system, named by
// --target.
import { type Applicability, type Check, type CheckSpec, defineCheck, type Shape, type Worlds } from '../check.ts'
import type { TargetName } from '../targets.ts'
import { tryJson, tryMalformed } from './enforcement.ts'
import { lookAtHealth } from './health.ts'
import * as judges from './live-judges.ts'
import * as worlds from './live-worlds.ts'
import { projectionCheck } from './projection-checks.ts'
import { crossTenants, followPayload } from './routing.ts'
import { tryBadTokens, tryValidToken, tryWithoutToken } from './shield-auth.ts'
import { lookAtTelemetry } from './telemetry.ts'

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

/** Where JSON is allowed it is no fault to take it; a rule of the static phase says whether it may be. */
const protobufOnly: Applicability = {
  name: 'json-frames-off',
  test(ports) {
    const { allowJsonInfra } = ports.ctx.resolution.values
    if (!allowJsonInfra) return needsSecret('shield', 'bus').test(ports)
    return { holds: false, because: 'ARQONBUS_ALLOW_JSON_INFRA=true' }
  },
}

const schemaStrict: Applicability = {
  name: 'schema-strict',
  test(ports) {
    if (ports.ctx.resolution.values.schemaStrict) return needsSecret('shield', 'bus').test(ports)
    return { holds: false, because: 'ARQON_SCHEMA_STRICT=false' }
  },
}

type LiveCheck<S extends Shape> = Omit<CheckSpec<S>, 'phase' | 'deadlineMs' | 'requires' | 'worlds'> & {
  readonly requires?: readonly string[]
  /** Their facts are held to the shape when the check is proven. */
  readonly worlds: Worlds
}

/** A system that is still starting does not listen yet. */
const retryOn = ['ECONNREFUSED']

const live = <const S extends Shape>(spec: LiveCheck<S>): Check =>
  defineCheck<S>({ phase: 'live', deadlineMs: 15_000, requires: [], retryOn, ...spec } as unknown as CheckSpec<S>)

/** What an observer on NATS heard. */
const onLink = { heard: 'string', linkSent: 'objects', linkIn: 'objects?', linkOut: 'objects?' } as const
const listens = 'and 1 to NATS that listens'

/** What two observers saw of what was sent. */
export const arrivals = {
  sent: 'objects',
  seen: 'objects',
  otherSent: 'objects',
  otherSeen: 'objects',
  at: 'string',
  otherAt: 'string',
  ...onLink,
} as const

export const liveChecks: readonly Check[] = [
  live({
    id: 'live.bus-health',
    title: 'The bus says it is healthy',
    proves: 'The bus runs this version, is healthy and not merely degraded, and names every component it looked at.',
    evidence: 'Answers of GET /health, /version and /ready.',
    fix: 'See /ready of the bus: it names the component that is not up.',
    runbook: ['L54'],
    severity: 'blocker',
    class: 'dependency',
    appliesWhen: needsTargets('http'),
    effects: [{ kind: 'net', what: 'sends 3 GET requests' }],
    shape: { health: 'object', version: 'object', ready: 'object' },
    probe: lookAtHealth,
    judge: judges.judgeHealth,
    worlds: worlds.health,
  }),
  live({
    id: 'live.telemetry-accepts',
    title: 'Telemetry shows what happens',
    proves: 'The telemetry port greets with telemetry_connected and shows an event caused by our own connection.',
    evidence: 'The greeting, and the event that carries the client id our connection was given.',
    fix: 'Look at the telemetry listener: ARQONBUS_ENABLE_TELEMETRY, its host and port, and the log of the bus.',
    runbook: ['L55'],
    severity: 'critical',
    class: 'dependency',
    appliesWhen: telemetryOn,
    effects: [{ kind: 'net', what: 'opens 1 telemetry and 1 bus connection' }],
    shape: { greeting: 'string', event: 'string?' },
    probe: lookAtTelemetry,
    judge: judges.judgeTelemetry,
    worlds: worlds.telemetry,
  }),
  live({
    id: 'live.shield-rejects-missing-token',
    title: 'Shield lets nobody in without a token',
    proves: 'A handshake without Authorization gets 401 instead of 101, with the documented body.',
    evidence: 'The raw answer of the socket.',
    fix: 'Stop Shield; look at JWT_SKIP_VALIDATION and at what stands before Shield.',
    runbook: ['L56'],
    severity: 'blocker',
    class: 'regression',
    appliesWhen: needsTargets('shield'),
    effects: [{ kind: 'net', what: 'opens 1 connection' }],
    shape: { status: 'number?', error: 'string?', fields: 'strings' },
    probe: tryWithoutToken,
    judge: judges.judgeMissingToken,
    worlds: worlds.missingToken,
  }),
  live({
    id: 'live.shield-rejects-bad-tokens',
    title: 'Shield lets nobody in with a bad token',
    proves: 'Each kind of bad token, also one signed with a published default secret, gets 401; the good one gets 101.',
    evidence: 'A table of cases with the raw status of each.',
    fix: 'Stop Shield; a published default means: set another JWT_SECRET.',
    runbook: ['L56'],
    severity: 'blocker',
    class: 'regression',
    appliesWhen: needsSecret('shield'),
    effects: [{ kind: 'net', what: 'opens 25 connections, one after the other' }],
    shape: { cases: 'objects', control: 'number?' },
    probe: tryBadTokens,
    judge: judges.judgeBadTokens,
    worlds: worlds.badTokens,
  }),
  live({
    id: 'live.shield-accepts-valid-token',
    title: 'Shield lets in the bearer of a good token',
    proves: 'A token of two minutes for a reserved tenant gets 101, and the welcome as first frame.',
    evidence: 'The raw status, then the welcome.',
    fix: 'Compare JWT_SECRET here and at Shield, issuer and audience, and the clocks.',
    runbook: ['L57'],
    severity: 'blocker',
    class: 'regression',
    appliesWhen: needsSecret('shield'),
    effects: [{ kind: 'net', what: 'opens 2 connections' }],
    shape: { isAnswered: 'boolean', status: 'number?' },
    probe: tryValidToken,
    judge: judges.judgeValidToken,
    worlds: worlds.validToken,
  }),
  live({
    id: 'live.shield-routes-payload',
    title: 'What Shield takes arrives at the bus, and comes back',
    proves:
      'What is sent through Shield passes on NATS once, on the subject of its tenant and no other, heard by an observer with a connection of its own (with the way in byte for byte, where the user of NATS_URL may hear it); the bus, its history and a member at Shield get it once and unchanged, another tenant nothing. An echo is no proof: it passes nowhere.',
    evidence: 'Frames that passed on NATS, and messages seen by the observers, up to a fence message.',
    fix: 'Look at the link between Shield and bus: component link of /ready, and the logs of both.',
    runbook: ['L57'],
    severity: 'blocker',
    class: 'regression',
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: needsSecret('shield', 'bus'),
    effects: [
      { kind: 'net', what: `opens 5 connections, ${listens}` },
      { kind: 'write', what: 'publishes 3 messages and a greeting in a random room of reserved tenants' },
    ],
    shape: { ...arrivals, back: 'objects', kept: 'objects?' },
    probe: followPayload,
    judge: judges.judgeRouting,
    worlds: worlds.routing,
  }),
  projectionCheck(needsSecret('shield'), retryOn),
  live({
    id: 'live.tenant-isolation',
    title: 'Tenants do not see each other',
    proves:
      'Two tenants in a room and channel of the same names each see their own messages and no others; on NATS each message passes on the subject of its tenant alone.',
    evidence: 'Frames that passed on NATS, and messages seen by both observers, up to a fence message each.',
    fix: 'Stop the system: messages cross tenants.',
    runbook: ['L57'],
    severity: 'critical',
    class: 'regression',
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: needsSecret('shield'),
    effects: [
      { kind: 'net', what: `opens 4 connections, ${listens}` },
      { kind: 'write', what: 'publishes 4 messages and a greeting in a random room of reserved tenants' },
    ],
    shape: arrivals,
    probe: crossTenants,
    judge: judges.judgeRouting,
    worlds: worlds.isolation,
  }),
  live({
    id: 'live.protobuf-only',
    title: 'JSON frames are refused at both doors',
    proves:
      'Shield takes a protobuf message; Shield and the bus refuse its JSON twin, which no observer sees, on NATS neither.',
    evidence: 'The answers to both, and what observers on NATS and on the bus saw up to a fence message.',
    fix: 'Set ARQONBUS_ALLOW_JSON_INFRA=false for both programs, and start them again.',
    runbook: ['L25', 'L26'],
    severity: 'critical',
    class: 'regression',
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: protobufOnly,
    effects: [
      { kind: 'net', what: `opens 5 connections, ${listens}` },
      {
        kind: 'write',
        what: 'publishes 2 messages and a greeting, and tries 2 more, in a random room of a reserved tenant',
      },
    ],
    shape: { atShield: 'string', atBus: 'string', sent: 'objects', seen: 'objects', ...onLink },
    probe: tryJson,
    judge: judges.judgeProtobufOnly,
    worlds: worlds.protobuf,
  }),
  live({
    id: 'live.schema-enforced',
    title: 'Frames that break the schema are refused',
    proves:
      'With a good token each kind of malformed frame is refused by Shield, and no observer sees one, on NATS and on the bus.',
    evidence: 'The answer to each, and what observers on NATS and on the bus saw up to a fence message.',
    fix: 'Set ARQON_SCHEMA_STRICT=true, and start Shield again.',
    runbook: ['L34'],
    severity: 'critical',
    class: 'regression',
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: schemaStrict,
    effects: [
      { kind: 'net', what: `opens 6 connections, ${listens}` },
      {
        kind: 'write',
        what: 'publishes 1 message and a greeting, and tries 3 more, in a random room of a reserved tenant',
      },
    ],
    shape: { cases: 'objects', sent: 'objects', seen: 'objects', ...onLink },
    probe: tryMalformed,
    judge: judges.judgeSchema,
    worlds: worlds.schema,
  }),
]
