// Worlds of the live checks.
import type { JsonObject } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import type { FailingWorld, World, Worlds } from '../check.ts'
import { badTokenNames, malformedNames } from './case-names.ts'

const targets =
  'bus=ws://10.0.0.5:9100,http=http://10.0.0.5:8080,telemetry=ws://10.0.0.5:8081,shield=ws://10.0.0.5:4000'

const look = (name: string, facts: JsonObject, more: Partial<World> = {}): World => ({ name, targets, facts, ...more })

/** `findings`: `VARIABLE CODE`, and no others; several separated by commas. */
function bad(name: string, findings: string, facts: JsonObject): FailingWorld {
  const all = findings.split(', ')
  return { name, targets, facts, expect: { code: all[0]!.split(' ')[1]!, findings: all } }
}

const unanswered = (name: string, code: string, fault: 'config' | 'unknown', facts: JsonObject): FailingWorld => ({
  name,
  targets,
  facts,
  expect: { status: 'error', code, class: fault },
})

const stopped = (code: string, fault: 'config' | 'dependency' | 'regression'): FailingWorld => ({
  name: `stopped by ${code}`,
  targets,
  stopped: { code, observed: 'as seen', step: 'bus' },
  expect: { code, class: fault },
})

const without = (...names: readonly string[]): World => ({
  name: `no target ${names.join(', ')}`,
  targets: targets
    .split(',')
    .filter((target) => !names.some((name) => target.startsWith(`${name}=`)))
    .join(','),
})
const keyPair: World = { name: 'tokens by key pair', targets, env: { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' } }

const up = { name: 'delivery', state: 'up' }
const ok = (body: JsonObject): JsonObject => ({ status: 200, body })
const well = {
  health: ok({ status: 'healthy' }),
  version: ok({ version }),
  ready: ok({ status: 'healthy', components: [up] }),
}
const readyWith = (body: JsonObject): JsonObject => ({ ...well, ready: ok(body) })

export const health: Worlds = {
  passes: [look('well', well)],
  fails: [
    bad('unhealthy, with 503', 'http NOT_200', { ...well, health: { status: 503, body: { status: 'healthy' } } }),
    bad('a version with 404', 'http NOT_200', { ...well, version: { status: 404, body: { version } } }),
    bad('not ready', 'http NOT_200', { ...well, ready: { ...well.ready, status: 503 } }),
    bad('without a status', 'http NOT_200', { ...well, ready: {} }),
    bad('health is no JSON', 'http NOT_JSON', { ...well, health: { status: 200 } }),
    bad('the version is no JSON', 'http NOT_JSON', { ...well, version: { status: 200, body: [] } }),
    bad('ready is no JSON', 'http NOT_JSON', { ...well, ready: { status: 200, body: 'ready' } }),
    bad('another word', 'http NOT_HEALTHY', { ...well, health: ok({ status: 'ok' }) }),
    bad('merely degraded', 'http NOT_HEALTHY', readyWith({ status: 'degraded', components: [up] })),
    bad('another version', 'http NOT_THIS_VERSION', { ...well, version: ok({ version: `${version}-other` }) }),
    bad('no version', 'http NOT_THIS_VERSION', { ...well, version: ok({}) }),
    bad('an empty list', 'http NO_COMPONENTS', readyWith({ status: 'healthy', components: [] })),
    bad('no list', 'http NO_COMPONENTS', readyWith({ status: 'healthy', components: 'all' })),
    bad('a list of words', 'http NO_COMPONENTS', readyWith({ status: 'healthy', components: ['store'] })),
    bad(
      'one that is down',
      'http COMPONENT_NOT_UP',
      readyWith({ status: 'healthy', components: [up, { name: 'store', state: 'down' }] }),
    ),
    bad('one without a state', 'http COMPONENT_NOT_UP', readyWith({ status: 'healthy', components: [{ name: 'x' }] })),
    stopped('ECONNREFUSED', 'dependency'),
  ],
  ignores: [
    look('more words than asked for', {
      ...readyWith({ status: 'healthy', components: [up, { name: 7, state: 'up', lag: 3 }], ready: true }),
      health: ok({ status: 'healthy', version: 'old' }),
    }),
    { ...look('no other target', well), targets: 'http=http://10.0.0.5:8080' },
  ],
  skips: [without('http')],
}

const off: World = { name: 'telemetry off', targets, env: { ARQONBUS_ENABLE_TELEMETRY: 'false' } }

export const telemetry: Worlds = {
  passes: [look('an event of ours', { greeting: 'telemetry_connected', event: 'client_connected' })],
  fails: [
    bad('another greeting', 'telemetry NO_GREETING', { greeting: 'hello' }),
    bad('another greeting, then the event', 'telemetry NO_GREETING', { greeting: 'hello', event: 'client_connected' }),
    bad('no event', 'telemetry NO_EVENT', { greeting: 'telemetry_connected' }),
    stopped('ECONNREFUSED', 'dependency'),
    stopped('UPGRADE_REFUSED', 'config'),
    stopped('UNREADABLE_FRAME', 'regression'),
  ],
  ignores: [look('another kind of event', { greeting: 'telemetry_connected', event: 'something_new' })],
  skips: [without('telemetry'), without('bus'), off],
}

export const missingToken: Worlds = {
  passes: [look('refused', { status: 401, error: 'Unauthorized', fields: ['error', 'details'] })],
  fails: [
    bad('let in', 'no-token LET_IN', { status: 101, fields: [] }),
    bad('too busy', 'no-token NOT_401', { status: 429, error: 'Unauthorized', fields: ['error'] }),
    bad('forbidden', 'no-token NOT_401', { status: 403, error: 'Unauthorized', fields: ['error'] }),
    bad('without an answer', 'no-token REFUSED_WITHOUT_STATUS', { fields: [] }),
    bad('without a body', 'no-token BAD_BODY', { status: 401, fields: [] }),
    bad('another error', 'no-token BAD_BODY', { status: 401, error: 'no', fields: ['error'] }),
    bad('more than it should say', 'no-token BAD_BODY', {
      status: 401,
      error: 'Unauthorized',
      fields: ['error', 'details', 'secret'],
    }),
    stopped('ECONNREFUSED', 'dependency'),
  ],
  ignores: [
    look('with a code', { status: 401, error: 'Unauthorized', fields: ['code', 'details', 'error'] }),
    look('tokens by key pair', { status: 401, error: 'Unauthorized', fields: ['error'] }, { env: keyPair.env! }),
  ],
  skips: [without('shield')],
}

const refused = badTokenNames.map((name) => ({ name, status: 401 }))
/** All refused but the one at that place. */
const butOne = (index: number, instead: JsonObject): JsonObject[] =>
  refused.map((entry, at) => (at === index ? { name: entry.name, ...instead } : entry))

export const badTokens: Worlds = {
  passes: [look('all refused', { cases: refused, control: 101 })],
  fails: [
    ...badTokenNames.map((name, index) =>
      bad(`${name} let in`, `${name} LET_IN`, { cases: butOne(index, { status: 101 }), control: 101 }),
    ),
    bad('one answered with 503', 'expired NOT_401', { cases: butOne(5, { status: 503 }), control: 101 }),
    bad('one without an answer', 'garbage REFUSED_WITHOUT_STATUS', { cases: butOne(2, {}), control: 101 }),
    bad('two, and no control', 'empty LET_IN, alg-none NOT_401', {
      cases: [
        { name: 'empty', status: 101 },
        { name: 'alg-none', status: 400 },
      ],
      control: 401,
    }),
    ...badTokenNames.map((name) =>
      unanswered(`${name} not tried`, 'NOT_TRIED', 'unknown', {
        cases: refused.filter((entry) => entry.name !== name),
        control: 101,
      }),
    ),
    unanswered('nothing tried', 'NOT_TRIED', 'unknown', { cases: [], control: 101 }),
    unanswered('the good one refused too', 'NO_CONTROL', 'config', { cases: refused, control: 401 }),
    unanswered('the good one without an answer', 'NO_CONTROL', 'config', { cases: refused }),
    stopped('ECONNREFUSED', 'dependency'),
    stopped('NO_SECRET', 'config'),
  ],
  ignores: [look('one more case than asked for', { cases: [...refused, { name: 'new', status: 401 }], control: 101 })],
  skips: [without('shield'), keyPair],
}

export const validToken: Worlds = {
  passes: [look('let in', { isAnswered: true, status: 101 })],
  fails: [
    bad('refused', 'valid-token NOT_LET_IN', { isAnswered: true, status: 401 }),
    bad('unavailable', 'valid-token NOT_LET_IN', { isAnswered: true, status: 503 }),
    bad('without an answer', 'valid-token NOT_LET_IN', { isAnswered: false }),
    stopped('NO_WELCOME', 'regression'),
    stopped('NO_SECRET', 'config'),
    stopped('ECONNREFUSED', 'dependency'),
  ],
  ignores: [{ ...look('no other target', { isAnswered: true, status: 101 }), targets: 'shield=wss://shield.internal' }],
  skips: [without('shield'), keyPair],
}

const message = (nonce: string, kind = 'probe'): JsonObject => ({ kind, nonce })
const turned = (nonce: string): JsonObject => ({ nonce, kind: 'probe' })

/** A frame on NATS; of a binary one the digest is known. */
const frame = (nonce: string, bytes?: string, tenant = 'own'): JsonObject => ({
  tenant,
  nonce,
  ...(bytes !== undefined && { frame: bytes }),
})
const linkSent = [frame('a', '1'), frame('b', '2')]
const linkOut = [frame('a'), frame('b')]

/** What an observer on NATS can find wrong with `a` and `b`, on each way. */
const linkFaults = (facts: JsonObject): FailingWorld[] => [
  bad('nothing came in', 'nats-in NOT_ON_NATS', { ...facts, linkIn: [], linkOut: [] }),
  bad('nothing went out', 'nats-out NOT_ON_NATS', { ...facts, linkIn: linkSent, linkOut: [] }),
  bad('the way in unheard, and nothing went out', 'nats-out NOT_ON_NATS', { ...facts, linkOut: [] }),
  bad('a second time for another tenant', 'nats-in OTHER_TENANT', {
    ...facts,
    linkIn: [...linkSent, frame('a', '1', 'other')],
    linkOut,
  }),
  bad('for another tenant in its place', 'nats-out OTHER_TENANT', {
    ...facts,
    linkIn: linkSent,
    linkOut: [frame('a'), frame('b', undefined, 'other')],
  }),
  bad('twice on the way in', 'nats-in WRONG_COUNT', { ...facts, linkIn: [linkSent[0]!, ...linkSent], linkOut }),
  bad('one lost on the way out', 'nats-out WRONG_COUNT', { ...facts, linkIn: linkSent, linkOut: [frame('b')] }),
  bad('a frame that nobody acknowledged', 'nats-in WRONG_COUNT', {
    ...facts,
    linkIn: [frame('x', '9'), ...linkSent],
    linkOut,
  }),
  bad('in another order', 'nats-out OUT_OF_ORDER', { ...facts, linkIn: linkSent, linkOut: [frame('b'), frame('a')] }),
  bad('other bytes', 'nats-in NOT_EQUAL', { ...facts, linkIn: [frame('a', '1'), frame('b', '9')], linkOut }),
]
const linkFine = (facts: JsonObject): World[] => [
  look('heard both ways', { ...facts, linkIn: linkSent, linkOut }),
  look('of two tenants', {
    ...facts,
    linkSent: [frame('a', '1'), frame('b', '2', 'other')],
    linkIn: [frame('a', '1'), frame('b', '2', 'other')],
    linkOut: [frame('a'), frame('b', undefined, 'other')],
  }),
  look('heard on the way out', { ...facts, linkOut }),
  look('sent as text, which is binary on NATS', {
    ...facts,
    linkSent: [frame('a'), frame('b')],
    linkIn: linkSent,
    linkOut,
  }),
]

/** What was sent to the first observer: `a` and `b`; to the other: `c`. Without NATS. */
const arrived = (came: JsonObject[], otherSeen: JsonObject[] = [message('c')]): JsonObject => ({
  heard: 'in some words',
  linkSent,
  sent: [message('a'), message('b')],
  seen: came,
  otherSent: [message('c')],
  otherSeen,
  at: 'bus',
  otherAt: 'shield',
})

const arrivalWorlds: Worlds = {
  passes: [look('all as sent', arrived([message('a'), message('b')]))],
  fails: [
    bad('one lost', 'bus WRONG_COUNT', arrived([message('b')])),
    bad('none came', 'bus WRONG_COUNT', arrived([])),
    bad('one twice', 'bus WRONG_COUNT', arrived([message('a'), message('a'), message('b')])),
    bad('out of order', 'bus WRONG_PAYLOAD', arrived([message('b'), message('a')])),
    bad('the first changed', 'bus WRONG_PAYLOAD', arrived([message('x'), message('b')])),
    bad('the last changed', 'bus WRONG_PAYLOAD', arrived([message('a'), message('x')])),
    bad('a key more', 'bus WRONG_PAYLOAD', arrived([{ ...message('a'), more: 1 }, message('b')])),
    bad('a key less', 'bus WRONG_PAYLOAD', arrived([{ nonce: 'a' }, message('b')])),
    bad('another key', 'bus WRONG_PAYLOAD', arrived([{ nonce: 'a', sort: 'probe' }, message('b')])),
    bad(
      'it reached the other',
      'shield WRONG_COUNT',
      arrived([message('a'), message('b')], [message('a'), message('c')]),
    ),
    bad('instead of its own', 'shield WRONG_PAYLOAD', arrived([message('a'), message('b')], [message('a')])),
    bad('nothing sent, nothing seen', 'bus WRONG_COUNT', { ...arrived([]), sent: [] }),
    ...linkFaults(arrived([message('a'), message('b')])),
    bad('an echo, and NATS cut off', 'nats-in NOT_ON_NATS', { ...arrived([]), linkIn: [], linkOut: [] }),
    stopped('ECONNREFUSED', 'dependency'),
    stopped('CLOSED', 'dependency'),
    stopped('JOIN_REFUSED', 'regression'),
    stopped('PUBLISH_REFUSED', 'regression'),
    stopped('NO_PERMISSION', 'config'),
  ],
  ignores: [
    look('keys in another order', arrived([turned('a'), turned('b')])),
    ...linkFine(arrived([message('a'), message('b')])),
  ],
}

/** `back`: at a member at Shield. */
const returned = <T extends World>(world: T, back = [message('a'), message('b')]): T =>
  world.facts === undefined ? world : { ...world, facts: { ...world.facts, back } }
const bothKept = [message('a'), message('b')]
const arrivedAll = arrived([message('a'), message('b')])

export const routing: Worlds = {
  passes: arrivalWorlds.passes.map((world) => returned(world)),
  fails: [
    ...arrivalWorlds.fails.map((world) => returned(world)),
    returned(bad('nothing came back', 'shield-back WRONG_COUNT', arrivedAll), []),
    returned(bad('it came back twice', 'shield-back WRONG_COUNT', arrivedAll), [
      message('a'),
      message('a'),
      message('b'),
    ]),
    returned(bad('nothing was kept', 'history WRONG_COUNT', { ...arrivedAll, kept: [] })),
    returned(bad('it was kept twice', 'history WRONG_COUNT', { ...arrivedAll, kept: [message('a'), ...bothKept] })),
    returned(
      bad('it was kept otherwise', 'history WRONG_PAYLOAD', { ...arrivedAll, kept: [message('x'), message('b')] }),
    ),
    returned(bad('it came back changed', 'shield-back WRONG_PAYLOAD', arrivedAll), [message('a'), message('x')]),
  ],
  ignores: [
    ...arrivalWorlds.ignores.map((world) => returned(world)),
    returned(look('kept', { ...arrivedAll, kept: bothKept })),
  ],
  skips: [without('shield'), without('bus'), keyPair],
}
export { linkSent, linkOut }
export const isolation: Worlds = { ...arrivalWorlds, skips: [without('shield'), keyPair] }

const refusal = 'INFRA_PROTOCOL_ERROR'
const twin = (atShield: string, atBus: string, seen = [message('a'), message('b')]): JsonObject => ({
  atShield,
  atBus,
  heard: 'in some words',
  linkSent,
  sent: [message('a'), message('b')],
  seen,
})

export const protobuf: Worlds = {
  passes: [look('refused at both doors', twin(refusal, refusal))],
  fails: [
    bad('taken at Shield', 'shield JSON_TAKEN', twin('TAKEN', refusal)),
    bad('taken at the bus', 'bus JSON_TAKEN', twin(refusal, 'TAKEN')),
    bad('refused for another reason', 'shield OTHER_REFUSAL', twin('RATE_LIMIT_EXCEEDED', refusal)),
    bad('refused at the bus for another reason', 'bus OTHER_REFUSAL', twin(refusal, 'VALIDATION_ERROR')),
    bad(
      'refused, and delivered',
      'bus WRONG_COUNT',
      twin(refusal, refusal, [message('a'), message('x'), message('b')]),
    ),
    bad('the protobuf one lost', 'bus WRONG_COUNT', twin(refusal, refusal, [message('b')])),
    bad('the protobuf one changed', 'bus WRONG_PAYLOAD', twin(refusal, refusal, [message('x'), message('b')])),
    ...linkFaults(twin(refusal, refusal)),
    stopped('PUBLISH_REFUSED', 'regression'),
  ],
  ignores: [look('connections closed over it', twin('CLOSED', 'CLOSED')), ...linkFine(twin(refusal, refusal))],
  skips: [
    without('shield'),
    without('bus'),
    keyPair,
    { name: 'JSON allowed', targets, env: { ARQONBUS_ALLOW_JSON_INFRA: 'true' } },
  ],
}

const violations = malformedNames.map((name) => ({ name, answer: 'SCHEMA_VIOLATION' }))
const tried = (cases: JsonObject[], seen = [message('a')]): JsonObject => ({
  cases,
  heard: 'in some words',
  linkSent,
  sent: [message('a')],
  seen,
})
const oneAnswer = (name: string, answer: string): JsonObject[] =>
  violations.map((entry) => (entry.name === name ? { name, answer } : entry))

export const schema: Worlds = {
  passes: [look('all refused', tried(violations))],
  fails: [
    ...malformedNames.map((name) => bad(`${name} let through`, `${name} LET_THROUGH`, tried(oneAnswer(name, 'TAKEN')))),
    bad('closed without a word', 'truncated OTHER_REFUSAL', tried(oneAnswer('truncated', 'CLOSED'))),
    bad('two', 'unknown-field LET_THROUGH, truncated OTHER_REFUSAL', {
      ...tried([{ name: 'unknown-field', answer: 'TAKEN' }, { name: 'truncated' }]),
    }),
    ...malformedNames.map((name) =>
      unanswered(`${name} not tried`, 'NOT_TRIED', 'unknown', tried(violations.filter((entry) => entry.name !== name))),
    ),
    bad('refused, and delivered', 'bus WRONG_COUNT', tried(violations, [message('x'), message('a')])),
    bad('nothing seen at all', 'bus WRONG_COUNT', { ...tried(violations, []), sent: [] }),
    ...linkFaults(tried(violations)),
    stopped('NO_SECRET', 'config'),
  ],
  ignores: [
    look('one more case than asked for', tried([...violations, { name: 'new', answer: 'SCHEMA_VIOLATION' }])),
    ...linkFine(tried(violations)),
  ],
  skips: [
    without('shield'),
    without('bus'),
    keyPair,
    { name: 'schema not strict', targets, env: { ARQON_SCHEMA_STRICT: 'false' } },
  ],
}
