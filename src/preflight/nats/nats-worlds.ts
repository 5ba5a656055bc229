// Worlds of the NATS chain: what its judges see, and have to say.
import type { JsonObject } from '../../base/json.ts'
import { portsOfWorld } from '../healthy-world.ts'
import type { Worlds } from '../check.ts'
import type { PermissionFacts } from './nats-judges.ts'
import type { PubSubFacts } from './nats-probes.ts'
import { rightsOf } from './rights.ts'

interface Servers {
  readonly servers: readonly JsonObject[]
}

const reached = (server: string): JsonObject => ({
  server,
  isReached: true,
  isEncrypted: true,
  code: '',
  step: '',
  observed: '',
})
const gone = (server: string, code: string, step: string): JsonObject => ({
  ...reached(server),
  isReached: false,
  code,
  step,
  observed: 'no',
})
const [one, two] = ['nats-1:4222', 'nats-2:4222'] as const
const deadSeed = { servers: [reached(one), gone(two, 'ECONNREFUSED', 'connect')] }
const stopped = (code: string, step: string) => ({ stopped: { code, observed: 'as it says', step } })

export const connect: Worlds<Servers> = {
  passes: [{ name: 'each server takes us', facts: { servers: [reached(one), reached(two)] } }],
  fails: [
    { name: 'one dead seed', facts: deadSeed, expect: { code: 'ECONNREFUSED', findings: ['NATS_URL ECONNREFUSED'] } },
    {
      name: 'the second knows another password',
      facts: { servers: [reached(one), gone(two, 'AUTH_REFUSED', 'auth')] },
      expect: { code: 'AUTH_REFUSED', findings: ['NATS_URL AUTH_REFUSED'], class: 'config' },
    },
    {
      name: 'the second is a black hole',
      facts: { servers: [reached(one), gone(two, 'NO_ANSWER', 'greeting')] },
      expect: { status: 'error', code: 'NO_ANSWER' },
    },
    {
      name: 'one is silent, one refuses: what was answered counts',
      facts: { servers: [gone(one, 'NO_ANSWER', 'greeting'), gone(two, 'AUTH_REFUSED', 'auth')] },
      expect: { code: 'AUTH_REFUSED', findings: ['NATS_URL AUTH_REFUSED', 'NATS_URL NO_ANSWER'], class: 'config' },
    },
    {
      name: 'one is silent, one refuses: the silent one is named too',
      facts: { servers: [gone(one, 'NO_ANSWER', 'greeting'), gone(two, 'AUTH_REFUSED', 'auth')] },
      expect: { code: 'NO_ANSWER', class: 'config' },
    },
    {
      name: 'none takes us, though one would do',
      facts: { servers: [gone(one, 'ECONNREFUSED', 'connect')] },
      policy: { natsServers: 'any' },
      expect: { code: 'ECONNREFUSED' },
    },
    {
      name: 'a code that nobody knows',
      facts: { servers: [gone(one, 'ODD', 'connect')] },
      expect: { status: 'error', code: 'ODD', class: 'unknown' },
    },
    {
      name: 'nobody was tried',
      facts: { servers: [] },
      expect: { status: 'error', code: 'BAD_FACTS', class: 'unknown' },
    },
    { name: 'refused', ...stopped('ECONNREFUSED', 'connect'), expect: { code: 'ECONNREFUSED' } },
    { name: 'wrong password', ...stopped('AUTH_REFUSED', 'auth'), expect: { code: 'AUTH_REFUSED', class: 'config' } },
    { name: 'no password', ...stopped('AUTH_REQUIRED', 'auth'), expect: { code: 'AUTH_REQUIRED', class: 'config' } },
    { name: 'black hole', ...stopped('NO_ANSWER', 'greeting'), expect: { status: 'error', code: 'NO_ANSWER' } },
    {
      name: 'a web server',
      ...stopped('NOT_THE_PROTOCOL', 'greeting'),
      expect: { code: 'NOT_THE_PROTOCOL', class: 'config' },
    },
    { name: 'untrusted', ...stopped('TLS_UNTRUSTED', 'tls'), expect: { code: 'TLS_UNTRUSTED', class: 'config' } },
    { name: 'wrong name', ...stopped('TLS_NAME', 'tls'), expect: { code: 'TLS_NAME', class: 'config' } },
    { name: 'a bad address', ...stopped('BAD_ADDRESS', 'address'), expect: { code: 'BAD_ADDRESS', class: 'config' } },
  ],
  ignores: [
    { name: 'one dead seed, and one is enough', facts: deadSeed, policy: { natsServers: 'any' } },
    { name: 'one server only, without TLS', facts: { servers: [{ ...reached(one), isEncrypted: false }] } },
  ],
}

const needed = 1_048_576 + 16_384
const server: JsonObject = {
  server: one,
  id: 'A',
  version: '2.9.10',
  cluster: 'c',
  maxPayload: needed,
  isAuthRequired: true,
  isTlsRequired: true,
  isLeaving: false,
}
const with_ = (change: JsonObject): Servers => ({ servers: [{ ...server, ...change }] })
const pair = (first: string, second: string): Servers => ({
  servers: [
    { ...server, cluster: first },
    { ...server, server: two, id: 'B', cluster: second },
  ],
})
const staging = { ARQONBUS_ENVIRONMENT: 'staging' }

export const identity: Worlds<Servers> = {
  passes: [
    { name: 'one server that just does', facts: with_({}) },
    { name: 'two of one cluster', facts: pair('c', 'c') },
  ],
  fails: [
    { name: '2.8', facts: with_({ version: '2.8.4' }), expect: { code: 'TOO_OLD', findings: ['NATS_URL TOO_OLD'] } },
    { name: '1.99', facts: with_({ version: '1.99.0' }), expect: { code: 'TOO_OLD' } },
    { name: 'a version that is none', facts: with_({ version: 'x2.9.10' }), expect: { code: 'TOO_OLD' } },
    {
      name: 'one byte short',
      facts: with_({ maxPayload: needed - 1 }),
      expect: { code: 'PAYLOAD_TOO_SMALL', findings: ['NATS_URL PAYLOAD_TOO_SMALL'] },
    },
    {
      name: 'a larger message was allowed',
      facts: with_({}),
      env: { ARQONBUS_MAX_MESSAGE_SIZE: '1048577' },
      expect: { code: 'PAYLOAD_TOO_SMALL' },
    },
    {
      name: 'lame duck',
      facts: with_({ isLeaving: true }),
      expect: { code: 'LEAVING', findings: ['NATS_URL LEAVING'] },
    },
    {
      name: 'everybody is let in',
      facts: with_({ isAuthRequired: false }),
      expect: { code: 'NO_AUTH', findings: ['NATS_URL NO_AUTH'] },
    },
    {
      name: 'TLS is only offered',
      facts: with_({ isTlsRequired: false }),
      expect: { code: 'NO_TLS', findings: ['NATS_URL NO_TLS'] },
    },
    {
      name: 'two clusters',
      facts: pair('c', 'd'),
      expect: { code: 'NOT_ONE_CLUSTER', findings: ['NATS_URL NOT_ONE_CLUSTER'] },
    },
    { name: 'two servers of no cluster', facts: pair('', ''), expect: { code: 'NOT_ONE_CLUSTER' } },
    { name: 'nobody spoke', facts: { servers: [] }, expect: { status: 'error', code: 'BAD_FACTS', class: 'unknown' } },
  ],
  ignores: [
    { name: 'the next major version', facts: with_({ version: '3.0.0' }) },
    { name: 'a later one, of no cluster', facts: with_({ version: '2.11.0-beta.1', cluster: '' }) },
    {
      name: 'staging without users and TLS',
      facts: with_({ isAuthRequired: false, isTlsRequired: false }),
      env: staging,
    },
    {
      name: 'one server under two names',
      facts: {
        servers: [
          { ...server, cluster: '' },
          { ...server, cluster: '', server: two },
        ],
      },
    },
  ],
}

export const pubSub: Worlds<PubSubFacts> = {
  passes: [
    { name: 'once, and equal', facts: { proof: 'loop', received: 1, isEqual: true } },
    { name: 'only the word of the server', facts: { proof: 'receipt', received: 1 } },
  ],
  fails: [
    {
      name: 'never',
      facts: { proof: 'loop', received: 0, isEqual: false },
      expect: { code: 'NOT_RECEIVED', findings: ['NATS_URL NOT_RECEIVED'] },
    },
    {
      name: 'twice',
      facts: { proof: 'loop', received: 2, isEqual: true },
      expect: { code: 'DOUBLED', findings: ['NATS_URL DOUBLED'] },
    },
    { name: 'other bytes', facts: { proof: 'loop', received: 1, isEqual: false }, expect: { code: 'ALTERED' } },
    {
      name: 'not compared',
      facts: { proof: 'loop', received: 1 },
      expect: { code: 'ALTERED', findings: ['NATS_URL ALTERED'] },
    },
    { name: 'denied', ...stopped('NO_PERMISSION', 'publish'), expect: { code: 'NO_PERMISSION', class: 'config' } },
  ],
  ignores: [{ name: 'nothing to compare', facts: { proof: 'receipt', received: 1, isEqual: false } }],
}

const { needed: rights, forbidden, nobodys } = rightsOf(portsOfWorld({ name: 'healthy' }).ctx, '')
const needs = rights.map(({ name }) => name)
const both = forbidden.map(({ name }) => name)
const others = nobodys.map(({ name }) => name)
const may = (allowed: readonly string[], change: Partial<PermissionFacts> = {}): PermissionFacts => ({
  isAuthRequired: true,
  isRestricted: true,
  allowed,
  ...change,
})
const mirrored = { SHIELD_MIRROR_RULES: 'in.t.acme.raw:0.1' }

export const permissions: Worlds<PermissionFacts> = {
  passes: [
    { name: 'what is needed and no more', facts: may(needs) },
    { name: 'what a mirror needs too', facts: may([...needs, 'publish shadow.in.t.>']), env: mirrored },
  ],
  fails: [
    ...needs.map((name) => ({
      name: `may not ${name}`,
      facts: may(needs.filter((other) => other !== name)),
      expect: { code: 'DENIED' },
    })),
    ...[...both, ...others].map((name) => ({
      name: `may ${name}`,
      facts: may([...needs, name]),
      expect: { code: 'TOO_MUCH', findings: ['NATS_URL TOO_MUCH'] },
    })),
    {
      name: 'staging: too long a list',
      facts: may([...needs, ...both]),
      env: staging,
      expect: { code: 'TOO_MUCH', findings: ['NATS_URL TOO_MUCH', 'NATS_URL TOO_MUCH'] },
    },
    {
      name: 'production: no list at all',
      facts: may([...needs, ...both, ...others], { isRestricted: false }),
      expect: { code: 'TOO_MUCH', findings: [...both, ...others].map(() => 'NATS_URL TOO_MUCH') },
    },
    {
      name: 'a mirror without the right',
      facts: may(needs),
      env: mirrored,
      expect: { code: 'DENIED', findings: ['NATS_URL DENIED'] },
    },
    { name: 'nothing', facts: may([]), expect: { code: 'DENIED' } },
  ],
  ignores: [
    {
      name: 'staging: no list at all',
      facts: may([...needs, ...both, ...others], { isRestricted: false }),
      env: staging,
    },
    { name: 'staging: may publish what is nobody’s', facts: may([...needs, others[0]!]), env: staging },
    {
      name: 'a server without users',
      facts: may([...needs, ...both, ...others], { isAuthRequired: false, isRestricted: false }),
    },
    { name: 'more that is harmless', facts: may([...needs, 'publish elsewhere.>']) },
    {
      name: 'a mirror with servers of its own',
      facts: may(needs),
      env: { ...mirrored, SHIELD_MIRROR_NATS_URL: 'tls://u:p@shadow.internal:4222' },
    },
  ],
}

const dayS = 86_400
const at = '2026-11-23T00:00:00Z'
const jwt = (days?: number): JsonObject => ({
  server: one,
  ...(days !== undefined && { expires: Date.parse(at) / 1_000 + days * dayS }),
})
/** `{"alg":"none"}.{}.`: somebody's form, nobody's credential. */
const withJwt = { NATS_URL: 'nats://eyJhbGciOiJub25lIn0.e30.@nats.internal:4222' }
const credentialWorld = (name: string, ...credentials: JsonObject[]) => ({
  name,
  env: withJwt,
  now: at,
  facts: { credentials },
})

export const credential: Worlds<{ readonly credentials: readonly JsonObject[] }> = {
  passes: [
    credentialWorld('a little more than seven days', jwt(7.001)),
    credentialWorld('one of two ends, late', jwt(), jwt(90)),
  ],
  fails: [
    {
      ...credentialWorld('seven days', jwt(7)),
      expect: { code: 'EXPIRES_SOON', findings: ['NATS_URL EXPIRES_SOON'] },
    },
    { ...credentialWorld('the second ends', jwt(90), jwt(1)), expect: { code: 'EXPIRES_SOON' } },
    { ...credentialWorld('a moment', jwt(1 / dayS)), expect: { code: 'EXPIRES_SOON' } },
    { ...credentialWorld('ended now', jwt(0)), expect: { code: 'EXPIRED', findings: ['NATS_URL EXPIRED'] } },
    { ...credentialWorld('none was found'), expect: { status: 'error', code: 'BAD_FACTS', class: 'unknown' } },
  ],
  ignores: [credentialWorld('a JWT without an end', jwt())],
  skips: [
    { name: 'user and password', env: { NATS_URL: 'nats://u:a.b.c@nats.internal:4222' } },
    { name: 'a token', env: { NATS_URL: 'nats://t0ken@nats.internal:4222' } },
    { name: 'dots in a token', env: { NATS_URL: 'nats://e30.e30.e30@nats.internal:4222' } },
    { name: 'an address that is none', env: { NATS_URL: 'http://eyJhbGciOiJub25lIn0.e30.@nats.internal' } },
    { name: 'dev without NATS', env: { ARQONBUS_ENVIRONMENT: 'development', NATS_URL: undefined } },
  ],
}
