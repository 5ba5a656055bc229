// Worlds of the rules about the configuration as a whole.
import type { FailingWorld, World, Worlds } from '../check.ts'
import { healthySecret } from '../healthy-world.ts'
import { bad, fine, healthy, inDevelopment, strictDevelopment } from './make.ts'

const file = '/etc/arqon/file'
const staging = { ARQONBUS_ENVIRONMENT: 'staging' }
const keyPair = { ARQONBUS_AUTH_JWT_ALGORITHM: 'EdDSA' }

const unreadable = (variable: string, env: Record<string, string> = {}): FailingWorld =>
  bad(`${variable} names nothing`, `${variable} FILE_UNREADABLE`, { ...env, [variable]: '/nowhere' })

function endpointWorlds(variables: readonly string[], others: readonly World[]): Worlds {
  return {
    passes: [healthy],
    fails: [
      ...variables.map((variable) => bad(`${variable} not set`, `${variable} NOT_SET`, { [variable]: undefined })),
      ...variables.map((variable) => bad(`${variable} blank`, `${variable} BLANK`, { [variable]: '' })),
      bad(
        'none set',
        variables.map((variable) => `${variable} NOT_SET`).join(', '),
        Object.fromEntries(variables.map((variable) => [variable, undefined])),
      ),
    ],
    ignores: [fine('a port that the system chooses', { [variables.at(-1)!]: '0' }), ...others],
    skips: [inDevelopment],
  }
}

export const metaWorlds: Readonly<Record<string, Worlds>> = {
  'meta.profile-production': {
    passes: [{ name: 'prod', asked: 'prod' }],
    fails: [
      bad('not set', 'ARQONBUS_ENVIRONMENT NOT_SET', { ARQONBUS_ENVIRONMENT: undefined }, { asked: 'prod' }),
      bad('staging not set', 'ARQONBUS_ENVIRONMENT NOT_SET', { ARQONBUS_ENVIRONMENT: undefined }, { asked: 'staging' }),
      bad('staging instead', 'ARQONBUS_ENVIRONMENT OTHER_PROFILE', staging, { asked: 'prod' }),
      bad('production instead of staging', 'ARQONBUS_ENVIRONMENT OTHER_PROFILE', {}, { asked: 'staging' }),
      bad('production instead of development', 'ARQONBUS_ENVIRONMENT OTHER_PROFILE', {}, { asked: 'dev' }),
      bad('misspelt', 'ARQONBUS_ENVIRONMENT NOT_ONE_OF', { ARQONBUS_ENVIRONMENT: 'prodution' }, { asked: 'prod' }),
    ],
    ignores: [
      fine('another spelling', { ARQONBUS_ENVIRONMENT: 'Prod' }, { asked: 'prod' }),
      fine('development says nothing', { ARQONBUS_ENVIRONMENT: undefined }, { asked: 'dev' }),
      fine('staging', staging, { asked: 'staging' }),
    ],
    skips: [healthy],
  },
  'meta.config-valid': {
    passes: [healthy],
    fails: [
      bad('a name misspelt', 'ARQONBUS_STORAGE_MOD UNKNOWN_NAME', { ARQONBUS_STORAGE_MOD: 'strict' }),
      bad('two names that differ', 'ARQONBUS_VALKEY_URL AMBIGUOUS', { ARQONBUS_REDIS_URL: 'redis://cache.internal' }),
      bad('half a certificate', 'SHIELD_TLS_KEY_FILE MISSING', { SHIELD_TLS_CERT_FILE: file }),
      bad('two problems', 'ARQONBUS_LIMIT_MAX_JOINS OUT_OF_RANGE, SHIELD_LIMIT_MAX_JOINS SURROUNDING_SPACE', {
        ARQONBUS_LIMIT_MAX_JOINS: '0',
        SHIELD_LIMIT_MAX_JOINS: '100 ',
      }),
      bad('a newline after a secret, in development', 'JWT_SECRET TRAILING_NEWLINE', {
        ARQONBUS_ENVIRONMENT: 'development',
        JWT_SECRET: `${healthySecret}\n`,
      }),
      bad('a blank after a secret that nobody reads', 'JWT_SECRET SURROUNDING_SPACE', {
        ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256',
        ARQONBUS_AUTH_JWKS_URL: 'https://id.example/keys',
        JWT_SECRET: `${healthySecret} `,
      }),
      bad('a blank after another secret', 'ARQONBUS_HTTP_API_KEY SURROUNDING_SPACE', {
        ARQONBUS_HTTP_API_KEY: `${healthySecret} `,
      }),
      bad('a secret that is blank', 'JWT_SECRET BLANK', { JWT_SECRET: ' ' }),
      bad('in development', 'ARQONBUS_ENVIRONMENT NOT_ONE_OF', { ARQONBUS_ENVIRONMENT: 'prodution' }),
      bad(
        'of the bus alone',
        'ARQONBUS_LIMIT_MAX_JOINS OUT_OF_RANGE',
        { ARQONBUS_LIMIT_MAX_JOINS: '0', SHIELD_LIMIT_MAX_JOINS: '0' },
        { programs: ['bus'] },
      ),
    ],
    ignores: [
      fine('a newline after a token secret, the hygiene’s business', { JWT_SECRET: `${healthySecret}\n` }),
      fine('a blank before it', { JWT_SECRET: ` ${healthySecret}` }),
      fine('names of others', { PATH: '/usr/bin', NATS_SERVER: 'x' }),
      fine('a file that cannot be read', { SHIELD_SCHEMA_FILE: '/nowhere' }),
      fine('a fault of the other program', { SHIELD_LIMIT_MAX_JOINS: '0' }, { programs: ['bus'] }),
    ],
  },
  'meta.files-readable': {
    passes: [healthy, fine('one that is there', { SHIELD_SCHEMA_FILE: file }, { files: { [file]: {} } })],
    fails: [
      unreadable('ARQONBUS_AUTH_JWT_KEY_FILE', keyPair),
      unreadable('SHIELD_TLS_CERT_FILE'),
      unreadable('SHIELD_TLS_KEY_FILE'),
      unreadable('SHIELD_SCHEMA_FILE'),
      unreadable('POLICY_WASM_PATH'),
      bad(
        'one of two',
        'POLICY_WASM_PATH FILE_UNREADABLE',
        { POLICY_WASM_PATH: `${file},/nowhere` },
        { files: { [file]: {} } },
      ),
      bad(
        'the key file, at the bus alone',
        'ARQONBUS_AUTH_JWT_KEY_FILE FILE_UNREADABLE',
        { ...keyPair, ARQONBUS_AUTH_JWT_KEY_FILE: '/nowhere', SHIELD_SCHEMA_FILE: '/nowhere' },
        { programs: ['bus'] },
      ),
    ],
    ignores: [
      fine('a folder of data that is not there yet', { ARQONBUS_DATA_DIR: '/nowhere' }),
      fine('a file of the other program', { SHIELD_SCHEMA_FILE: '/nowhere' }, { programs: ['bus'] }),
    ],
  },
  'bus.no-defaults': endpointWorlds(
    ['ARQONBUS_HTTP_HOST', 'ARQONBUS_HTTP_PORT'],
    [
      fine('an endpoint of Shield not set', { SHIELD_PORT: undefined }),
      fine('one that has a rule of its own', { ARQONBUS_SERVER_PORT: undefined }),
    ],
  ),
  'shield.no-defaults': endpointWorlds(
    ['SHIELD_HOST', 'SHIELD_PORT', 'SHIELD_METRICS_HOST', 'SHIELD_METRICS_PORT'],
    [fine('an endpoint of the bus not set', { ARQONBUS_HTTP_PORT: undefined })],
  ),
  'bus.limits-within-caps': {
    passes: [healthy],
    fails: [
      bad('one above', 'ARQONBUS_LIMIT_MAX_JOINS ABOVE_CAP', { ARQONBUS_LIMIT_MAX_JOINS: '1001' }),
      bad('in strict development', 'ARQONBUS_LIMIT_MAX_JOINS ABOVE_CAP', {
        ...strictDevelopment,
        ARQONBUS_LIMIT_MAX_JOINS: '1001',
      }),
      bad('two', 'ARQONBUS_LIMIT_MAX_FRAGMENTS ABOVE_CAP, ARQONBUS_LIMIT_MAX_JOINS ABOVE_CAP', {
        ARQONBUS_LIMIT_MAX_JOINS: '100000',
        ARQONBUS_LIMIT_MAX_FRAGMENTS: '257',
      }),
    ],
    ignores: [
      fine('at the cap', { ARQONBUS_LIMIT_MAX_JOINS: '1000' }),
      fine('one of Shield above', { SHIELD_LIMIT_MAX_JOINS: '100000' }),
      fine('one without a cap', { ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_TENANT: '50000' }),
    ],
    skips: [inDevelopment],
  },
  'shield.limits-within-caps': {
    passes: [healthy],
    fails: [
      bad('one above', 'SHIELD_LIMIT_MAX_JOINS ABOVE_CAP', { SHIELD_LIMIT_MAX_JOINS: '1001' }),
      bad('one whose cap is lower here', 'SHIELD_LIMIT_MAX_MESSAGE_BYTES ABOVE_CAP', {
        SHIELD_LIMIT_MAX_MESSAGE_BYTES: '262145',
      }),
      bad('fuel', 'SHIELD_LIMIT_POLICY_FUEL ABOVE_CAP', { SHIELD_LIMIT_POLICY_FUEL: '20000001' }),
    ],
    ignores: [
      fine('at the cap', { SHIELD_LIMIT_MAX_MESSAGE_BYTES: '262144' }),
      fine('one of the bus above', { ARQONBUS_LIMIT_MAX_JOINS: '100000' }),
    ],
    skips: [inDevelopment],
  },
}
