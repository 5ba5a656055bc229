// Worlds of the rules about Shield; those about its secret have a file of their own.
import { createHash } from 'node:crypto'
import type { Worlds } from '../check.ts'
import { bad, explicitWorlds, fine, healthy, inDevelopment, strictDevelopment } from './make.ts'

const staging = { ARQONBUS_ENVIRONMENT: 'staging' }
const nats = (text: string): { NATS_URL: string } => ({ NATS_URL: text })

/** The module of policies/block-empty.wat: 4 pages of memory, every byte below 0x80. */
const policyBytes =
  '0061736d0100000001070160027f7f017f02180103656e7610686f73745f6765745f7061796c6f616400000302010005' +
  '0401010404071902066d656d6f727902000c706f6c6963795f636865636b00010a0b010900410041001000450b'
const policy = Buffer.from(policyBytes, 'hex').toString('latin1')
const path = '/etc/policy.wasm'
const withPolicy = (text: string): { files: Record<string, { text: string }> } => ({ files: { [path]: { text } } })
const named = { POLICY_WASM_PATH: path }
const pin = (hex: string, name = 'policy'): { SHIELD_POLICY_SHA256: string } => ({
  SHIELD_POLICY_SHA256: `${name}:${hex}`,
})
const policySha256 = createHash('sha256').update(Buffer.from(policyBytes, 'hex')).digest('hex')
const emptyModule = '\0asm\u0001\0\0\0'

const skip = 'JWT_SKIP_VALIDATION PRESENT'

export const shieldWorlds: Readonly<Record<string, Worlds>> = {
  'shield.jwt-skip-absent': {
    passes: [healthy, fine('development without it', { ARQONBUS_ENVIRONMENT: 'dev' })],
    fails: [
      bad('1', skip, { JWT_SKIP_VALIDATION: '1' }),
      bad('false', skip, { JWT_SKIP_VALIDATION: 'false' }),
      bad('nothing', skip, { JWT_SKIP_VALIDATION: '' }),
      bad('at Shield in development', skip, { ARQONBUS_ENVIRONMENT: 'dev', JWT_SKIP_VALIDATION: '' }),
      bad('in staging', skip, { ...staging, JWT_SKIP_VALIDATION: '0' }),
      bad('at the bus alone', skip, { JWT_SKIP_VALIDATION: '1' }, { programs: ['bus'] }),
      bad(
        'in the file',
        skip,
        { ARQONBUS_CONFIG_FILE: '/etc/arqonbus.env' },
        { files: { '/etc/arqonbus.env': { text: 'JWT_SKIP_VALIDATION=no\n' } } },
      ),
    ],
    ignores: [fine('a name that only resembles it', { MY_JWT_SKIP_VALIDATION: '1' })],
    skips: [{ ...inDevelopment, programs: ['bus'] }],
  },
  'shield.bypass-toggles-absent': {
    passes: [healthy],
    fails: [
      bad('SKIP…VALID', 'GATEWAY_SKIP_TOKEN_VALIDATION BYPASS_TOGGLE', { GATEWAY_SKIP_TOKEN_VALIDATION: '' }),
      bad('DISABLE_AUTH', 'DISABLE_AUTH BYPASS_TOGGLE', { DISABLE_AUTH: 'false' }),
      bad('INSECURE, in small letters', 'insecure_mode BYPASS_TOGGLE', { insecure_mode: '1' }),
      bad('ALLOW_ANON', 'GATEWAY_ALLOW_ANONYMOUS BYPASS_TOGGLE', { GATEWAY_ALLOW_ANONYMOUS: '1' }),
      bad('two', 'DISABLE_AUTH BYPASS_TOGGLE, INSECURE BYPASS_TOGGLE', { INSECURE: '1', DISABLE_AUTH: '1' }),
    ],
    ignores: [
      fine('the one that has a rule of its own', { JWT_SKIP_VALIDATION: '1' }),
      fine('words of it', { SKIP_TESTS: '1', AUTH_DISABLED_AT: 'never', SECURE: '1' }),
    ],
    skips: [inDevelopment],
  },
  'shield.nats-url-configured': explicitWorlds('NATS_URL', 'tls://nats.internal:4222', {
    fails: [
      bad('a port that is none', 'NATS_URL MALFORMED', nats('tls://nats.internal:99999')),
      bad('one of two malformed', 'NATS_URL MALFORMED', nats('tls://nats.internal,tls://a b')),
      bad('another protocol', 'NATS_URL WRONG_SCHEME', nats('tls://nats.internal,http://nats.internal')),
      bad('the default', 'NATS_URL DEFAULT_VALUE', nats('nats://127.0.0.1:4222')),
      bad('the default without its port', 'NATS_URL DEFAULT_VALUE', nats('localhost')),
      bad('the default by TLS', 'NATS_URL DEFAULT_VALUE', nats('tls://localhost:4222')),
      bad('the default in staging', 'NATS_URL DEFAULT_VALUE', { ...staging, ...nats('nats://localhost:4222') }),
      bad('in the clear', 'NATS_URL NO_TLS', nats('nats://nats.internal:4222')),
      bad('the second in the clear', 'NATS_URL NO_TLS', nats('tls://nats-1.internal,nats://nats-2.internal')),
      bad('in the clear by WebSocket', 'NATS_URL NO_TLS', nats('ws://nats.internal:443')),
    ],
    ignores: [
      fine('several', nats('tls://u:p@nats-1.internal:4222,tls://u:p@nats-2.internal:4222')),
      fine('by WebSocket', nats('wss://nats.internal')),
      fine('this machine by TLS on another port', nats('tls://localhost:4223')),
      fine('this machine by TLS on a port below', nats('tls://localhost:4221')),
      fine('the default as one of two', nats('tls://localhost:4222,tls://nats.internal:4222')),
      fine('in the clear in staging', { ...staging, ...nats('nats://nats.staging:4222') }),
      fine('in the clear by WebSocket in staging', { ...staging, ...nats('ws://nats.staging') }),
    ],
  }),
  'shield.schema-strict': explicitWorlds('ARQON_SCHEMA_STRICT', '1', {
    fails: [
      bad('off', 'ARQON_SCHEMA_STRICT NOT_STRICT', { ARQON_SCHEMA_STRICT: 'false' }),
      bad('no boolean', 'ARQON_SCHEMA_STRICT NOT_A_BOOLEAN', { ARQON_SCHEMA_STRICT: 'strict' }),
    ],
    ignores: [fine('no schemas of payloads', { SHIELD_SCHEMA_SOURCE: 'none' })],
  }),
  'shield.policies-valid': {
    passes: [
      healthy,
      fine('a policy', named, withPolicy(policy)),
      fine('the pinned one', { ...named, ...pin(policySha256) }, withPolicy(policy)),
    ],
    fails: [
      bad('no module', 'POLICY_WASM_PATH POLICY_INVALID', named, withPolicy('not a module')),
      bad('a module without a check', 'POLICY_WASM_PATH MISSING_EXPORT', named, withPolicy(emptyModule)),
      bad('one byte too large', 'POLICY_WASM_PATH POLICY_TOO_LARGE', named, withPolicy(' '.repeat(1_048_577))),
      bad('as large as may be', 'POLICY_WASM_PATH POLICY_INVALID', named, withPolicy(' '.repeat(1_048_576))),
      bad(
        'not the pinned one',
        'SHIELD_POLICY_SHA256 POLICY_HASH',
        { ...named, ...pin('ab'.repeat(32)) },
        withPolicy(policy),
      ),
      bad(
        'another one pinned',
        'SHIELD_POLICY_SHA256 POLICY_NOT_PINNED, SHIELD_POLICY_SHA256 PIN_WITHOUT_POLICY',
        { ...named, ...pin(policySha256, 'other') },
        withPolicy(policy),
      ),
      bad('a pin without a policy', 'SHIELD_POLICY_SHA256 PIN_WITHOUT_POLICY', pin(policySha256)),
      bad(
        'more memory than is given',
        'POLICY_WASM_PATH POLICY_MEMORY',
        { ...named, SHIELD_LIMIT_POLICY_MEMORY_PAGES: '3' },
        withPolicy(policy),
      ),
      bad(
        'two bad ones and a good one',
        'POLICY_WASM_PATH POLICY_INVALID, POLICY_WASM_PATH MISSING_EXPORT',
        { POLICY_WASM_PATH: `/a,${path},/b` },
        { files: { '/a': { text: 'a' }, [path]: { text: policy }, '/b': { text: emptyModule } } },
      ),
    ],
    ignores: [
      fine('a file that cannot be read, another rule’s business', named),
      fine(
        'the next one pinned beside it, in large letters',
        { ...named, SHIELD_POLICY_SHA256: `policy:${'AB'.repeat(32)},policy:${policySha256.toUpperCase()}` },
        withPolicy(policy),
      ),
      fine('all the memory it is given', { ...named, SHIELD_LIMIT_POLICY_MEMORY_PAGES: '4' }, withPolicy(policy)),
      fine('development', { ...strictDevelopment, ARQONBUS_PREFLIGHT_STRICT: 'false' }),
    ],
  },
}
