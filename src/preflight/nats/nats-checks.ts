// The NATS chain (runbook L13, L33). What the servers of NATS_URL are, whether our user can do there what Shield does,
// and, where somebody of us needs it, JetStream.
import { type Check, type CheckHead, defineCheck } from '../check.ts'
import { jwtInUse, probeCredential } from './credential.ts'
import { judgeJetStream, judgeRoundTrip, judgeSkew, judgeStreams } from './jetstream-judges.ts'
import {
  probeJetStream,
  probeRoundTrip,
  probeSkew,
  probeStreams,
  standingStream,
  standingSubjects,
} from './jetstream-probes.ts'
import * as jetStreamWorlds from './jetstream-worlds.ts'
import { jetStreamInUse, natsInUse, projectorOnNats } from './nats-facts.ts'
import { judgeConnect, judgeCredential, judgeIdentity, judgePermissions, judgePubSub } from './nats-judges.ts'
import { probeConnect, probeIdentity, probePermissions, probePubSub } from './nats-probes.ts'
import * as worlds from './nats-worlds.ts'

const common = {
  phase: 'deps',
  class: 'dependency',
  deadlineMs: 5_000,
  resource: 'nats',
} as const satisfies Partial<CheckHead> & { resource: string }

const hints = {
  AUTH_REFUSED:
    'set the user and password, or the token, that this server knows in NATS_URL; %-escape what is no letter',
  AUTH_REQUIRED: 'put user:password@ or token@ before the host in NATS_URL',
  TLS_NAME: 'write the host in NATS_URL as the certificate names it, or renew the certificate',
  NOT_THE_PROTOCOL: 'correct the port in NATS_URL: 4222 is for clients, 8222 for monitoring',
} as const

const retryOn = [
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'NO_ANSWER',
  'HUNG_UP',
  'DEADLINE',
]

const needsSubjects = 'grant the user of NATS_URL what docs/link.md lists'
const needsJetStream =
  'grant the user of NATS_URL what docs/schemas.md lists, and to the user of arqonbus projector $JS.API.>, but STREAM.DELETE'

export const natsChecks: readonly Check[] = [
  defineCheck({
    ...common,
    id: 'dep.nats.connect',
    title: 'NATS takes us',
    proves:
      'Each server of NATS_URL (with the policy natsServers=any: one) greets, speaks TLS where asked, and takes us.',
    evidence: 'For each server the step at which it ended, and the error.',
    fix: 'The finding names the server and the step.',
    runbook: ['L13', 'L33'],
    severity: 'blocker',
    requires: ['shield.nats-url-configured'],
    appliesWhen: natsInUse,
    effects: [{ kind: 'net', what: 'one connection to each server of NATS_URL' }],
    retryOn,
    hints,
    shape: { servers: 'objects' },
    probe: probeConnect,
    judge: judgeConnect,
    worlds: worlds.connect,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.identity',
    title: 'The NATS servers are what we need',
    proves:
      'Each is nats-server 2.9 or later, takes our largest message, stays, is of one cluster with the others, and in prod asks for a user and for TLS.',
    evidence: 'What each server says when it greets.',
    fix: 'The finding names the server and the setting.',
    runbook: ['L13', 'L33'],
    severity: 'high',
    requires: ['dep.nats.connect'],
    appliesWhen: natsInUse,
    effects: [{ kind: 'net', what: 'one connection to each server of NATS_URL' }],
    shape: { servers: 'objects' },
    probe: probeIdentity,
    judge: judgeIdentity,
    worlds: worlds.identity,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.pubsub',
    title: 'NATS carries a message',
    proves:
      'What is published over one connection arrives at another (at the last server of the list) once, byte for byte. Where the user may hear nothing that it may say: the server took it and answered to our inbox.',
    evidence: 'How often it arrived, and whether it was equal.',
    fix: 'See the finding: rights, routes, or what stands between.',
    runbook: ['L13', 'L33'],
    severity: 'blocker',
    requires: ['dep.nats.identity'],
    appliesWhen: natsInUse,
    effects: [{ kind: 'net', what: 'two messages to an inbox of its own, which nobody else hears and nothing keeps' }],
    hints: { NO_PERMISSION: needsSubjects },
    shape: { proof: 'string', received: 'number', isEqual: 'boolean?' },
    probe: probePubSub,
    judge: judgePubSub,
    worlds: worlds.pubSub,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.permissions',
    title: 'The user of NATS_URL may what Shield does, and no more',
    proves:
      'It may use each family of subjects of the link; it may neither listen to $SYS.> nor delete streams (judged where it has a list of rights, and in prod), and in prod neither publish nor hear what is of no family of ours.',
    evidence:
      'Each right, asked for with a publish that the server judges and does not route, or a subscription undone at once.',
    fix: 'Give the user of NATS_URL the permissions of docs/link.md.',
    runbook: ['L13', 'L33'],
    severity: 'critical',
    class: 'config',
    requires: ['dep.nats.pubsub'],
    appliesWhen: natsInUse,
    effects: [{ kind: 'net', what: 'one connection; publishes that are judged and not delivered' }],
    shape: { isAuthRequired: 'boolean', isRestricted: 'boolean', allowed: 'strings' },
    probe: probePermissions,
    judge: judgePermissions,
    worlds: worlds.permissions,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.jetstream',
    title: 'JetStream is on, with room',
    proves: 'JetStream answers for the account, and memory, storage, streams and consumers are not used up.',
    evidence: 'What is used, and the limits of the account.',
    fix: 'Start nats-server with -js, or with jetstream {} in its configuration, and enable it for the account.',
    runbook: ['L13'],
    severity: 'blocker',
    requires: ['dep.nats.pubsub'],
    appliesWhen: jetStreamInUse,
    effects: [{ kind: 'net', what: 'requests to the JetStream API' }],
    hints: { NO_PERMISSION: needsJetStream },
    shape: { isAccountShown: 'boolean', limits: 'objects', toBeMade: 'number' },
    probe: probeJetStream,
    judge: judgeJetStream,
    worlds: jetStreamWorlds.jetStream,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.jetstream-roundtrip',
    title: 'JetStream keeps a message and gives it back',
    proves:
      'A message is stored with a sequence, given to a consumer as it was, acknowledged, and then nothing is left.',
    evidence: 'The step that ended otherwise.',
    fix: `Let the user make and delete the stream ${standingStream}_<run>, or make ${standingStream} for it: see the finding.`,
    runbook: ['L13'],
    severity: 'critical',
    requires: ['dep.nats.jetstream'],
    appliesWhen: projectorOnNats,
    effects: [
      { kind: 'net', what: 'requests to the JetStream API' },
      {
        kind: 'write',
        what: `a stream ${standingStream}_<run> in memory for a moment, or one message in the stream ${standingStream}`,
      },
    ],
    hints: {
      NO_PERMISSION: `grant publish to arqon-preflight.js.> and to the API of ${standingStream} ($JS.API.CONSUMER.*.${standingStream}.>, $JS.ACK.${standingStream}.>)`,
      NO_STREAM: `make the probe stream: nats stream add ${standingStream} --subjects '${standingSubjects}' --storage memory --max-age 60s`,
    },
    shape: { stream: 'string', isAcked: 'boolean', isEqual: 'boolean', left: 'number' },
    probe: probeRoundTrip,
    judge: judgeRoundTrip,
    worlds: jetStreamWorlds.roundTrip,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.streams',
    title: 'The streams that are read are there',
    proves:
      'The bucket of the schemas and the stream of the projector exist, keep the subjects that are read, on disk, and their replicas are up to date.',
    evidence: 'For each stream: subjects, retention, storage, lag and silence of its replicas.',
    fix: 'The finding has the command.',
    runbook: ['L13'],
    severity: 'high',
    requires: ['dep.nats.jetstream'],
    appliesWhen: jetStreamInUse,
    effects: [{ kind: 'net', what: 'requests to the JetStream API' }],
    hints: { NO_PERMISSION: needsJetStream },
    shape: { streams: 'objects' },
    probe: probeStreams,
    judge: judgeStreams,
    worlds: jetStreamWorlds.streams,
  }),
  defineCheck({
    phase: 'deps',
    class: 'dependency',
    deadlineMs: 5_000,
    id: 'dep.nats.credential',
    title: 'The credential of NATS lasts',
    proves:
      'Each JWT that NATS_URL gives as token or password is good for more than seven days. What is no JWT does not end.',
    evidence: 'The days that each JWT has left, by its own word.',
    fix: 'The finding names the server whose JWT has to be issued anew.',
    runbook: ['L13', 'L33'],
    severity: 'high',
    requires: ['dep.nats.connect'],
    appliesWhen: jwtInUse,
    effects: [{ kind: 'env', what: 'NATS_URL' }],
    shape: { credentials: 'objects' },
    probe: probeCredential,
    judge: judgeCredential,
    worlds: worlds.credential,
  }),
  defineCheck({
    ...common,
    id: 'dep.nats.skew',
    title: 'JetStream and this machine agree on the time',
    proves:
      'The time at which JetStream says that it made a consumer is within 2 s of the clock here. Without JetStream a NATS server tells its time to nobody but the users of $SYS.',
    evidence: 'Offset and uncertainty by the midpoint of that request.',
    fix: 'Mend the time service of this host and of the server.',
    runbook: ['L13'],
    severity: 'advisory',
    requires: ['dep.nats.streams', 'dep.nats.jetstream-roundtrip'],
    appliesWhen: jetStreamInUse,
    effects: [
      { kind: 'net', what: 'requests to the JetStream API' },
      {
        kind: 'write',
        what: 'for a moment, a consumer that reads nothing: of the bucket, or of the stream of the round trip',
      },
    ],
    hints: { NO_PERMISSION: needsJetStream },
    shape: { offsetMs: 'number', uncertaintyMs: 'number' },
    probe: probeSkew,
    judge: judgeSkew,
    worlds: jetStreamWorlds.skew,
  }),
]
