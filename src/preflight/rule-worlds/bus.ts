// Worlds of the rules about the bus.
import type { Worlds } from '../check.ts'
import { bad, explicitWorlds, fine, healthy, inDevelopment } from './make.ts'

const staging = { ARQONBUS_ENVIRONMENT: 'staging' }
const valkey = (text: string): { ARQONBUS_VALKEY_URL: string } => ({ ARQONBUS_VALKEY_URL: text })
const postgres = (text: string): { ARQONBUS_POSTGRES_URL: string } => ({ ARQONBUS_POSTGRES_URL: text })

export const busWorlds: Readonly<Record<string, Worlds>> = {
  'bus.server-host-explicit': explicitWorlds('ARQONBUS_SERVER_HOST', '10.0.0.5', {
    fails: [
      bad('another machine', 'ARQONBUS_SERVER_HOST NOT_LOCAL', { ARQONBUS_SERVER_HOST: '203.0.113.7' }),
      bad('another machine, by IPv6', 'ARQONBUS_SERVER_HOST NOT_LOCAL', { ARQONBUS_SERVER_HOST: '2001:db8::7' }),
      bad('with its port', 'ARQONBUS_SERVER_HOST NOT_A_HOST', { ARQONBUS_SERVER_HOST: 'bus.internal:9100' }),
    ],
    ignores: [
      fine('all addresses', { ARQONBUS_SERVER_HOST: '0.0.0.0' }),
      fine('all addresses, by IPv6', { ARQONBUS_SERVER_HOST: '::' }),
      fine('loopback', { ARQONBUS_SERVER_HOST: '127.0.0.2' }),
      fine('loopback, by IPv6', { ARQONBUS_SERVER_HOST: '::1' }),
      fine('a name', { ARQONBUS_SERVER_HOST: 'bus.internal' }),
      fine('an own IPv6 address', { ARQONBUS_SERVER_HOST: 'fd00::5' }, { localAddresses: ['fd00::5'] }),
    ],
  }),
  'bus.server-port-explicit': explicitWorlds('ARQONBUS_SERVER_PORT', '9100', {
    fails: [
      bad('one the system chooses', 'ARQONBUS_SERVER_PORT FREE_PORT', { ARQONBUS_SERVER_PORT: '0' }),
      bad('hexadecimal', 'ARQONBUS_SERVER_PORT NOT_AN_INTEGER', { ARQONBUS_SERVER_PORT: '0x1F90' }),
      bad('too high', 'ARQONBUS_SERVER_PORT OUT_OF_RANGE', { ARQONBUS_SERVER_PORT: '65536' }),
    ],
    ignores: [
      fine('the lowest', { ARQONBUS_SERVER_PORT: '1' }),
      fine('the highest', { ARQONBUS_SERVER_PORT: '65535' }),
    ],
  }),
  'bus.storage-mode-explicit': explicitWorlds('ARQONBUS_STORAGE_MODE', 'strict', {
    fails: [bad('a word nobody knows', 'ARQONBUS_STORAGE_MODE NOT_ONE_OF', { ARQONBUS_STORAGE_MODE: 'safe' })],
    ignores: [
      fine('degraded, another rule’s business', { ARQONBUS_STORAGE_MODE: 'degraded' }),
      fine('in capitals', { ARQONBUS_STORAGE_MODE: 'STRICT' }),
    ],
  }),
  'bus.storage-mode-strict': {
    passes: [healthy],
    fails: [
      bad('degraded', 'ARQONBUS_STORAGE_MODE NOT_STRICT', { ARQONBUS_STORAGE_MODE: 'degraded' }),
      bad('not set', 'ARQONBUS_STORAGE_MODE NOT_STRICT', { ARQONBUS_STORAGE_MODE: undefined }),
    ],
    ignores: [fine('strict in memory', { ARQONBUS_STORAGE_BACKEND: 'memory' })],
    skips: [inDevelopment],
  },
  'bus.storage-backend-durable': {
    passes: [healthy, fine('embedded', { ARQONBUS_STORAGE_BACKEND: 'embedded' })],
    fails: [
      bad('strict in memory', 'ARQONBUS_STORAGE_BACKEND MEMORY_IN_STRICT', { ARQONBUS_STORAGE_BACKEND: 'memory' }),
      bad('strict, memory by default', 'ARQONBUS_STORAGE_BACKEND MEMORY_IN_STRICT', {
        ARQONBUS_STORAGE_BACKEND: undefined,
      }),
    ],
    ignores: [
      fine('degraded in memory', { ARQONBUS_STORAGE_MODE: 'degraded', ARQONBUS_STORAGE_BACKEND: 'memory' }),
      fine('degraded in Postgres', { ARQONBUS_STORAGE_MODE: 'degraded', ARQONBUS_STORAGE_BACKEND: 'postgresql' }),
    ],
    skips: [inDevelopment],
  },
  'bus.valkey-url-configured': explicitWorlds('ARQONBUS_VALKEY_URL', 'redis://valkey.internal', {
    fails: [
      bad('no scheme', 'ARQONBUS_VALKEY_URL MALFORMED', valkey('valkey.internal:6379')),
      bad('no host', 'ARQONBUS_VALKEY_URL MALFORMED', valkey('redis:///0')),
      bad('another protocol', 'ARQONBUS_VALKEY_URL WRONG_SCHEME', valkey('http://valkey.internal:6379')),
      bad('this machine', 'ARQONBUS_VALKEY_URL LOOPBACK_HOST', valkey('redis://localhost:6379')),
      bad('this machine by IPv6', 'ARQONBUS_VALKEY_URL LOOPBACK_HOST', valkey('rediss://[::1]:6379')),
      bad('this machine as the second', 'ARQONBUS_VALKEY_URL LOOPBACK_HOST', valkey('redis://a.internal,127.0.0.1')),
      bad('the other name blank', 'ARQONBUS_REDIS_URL BLANK', {
        ARQONBUS_VALKEY_URL: undefined,
        ARQONBUS_REDIS_URL: '',
      }),
      bad('only its parts', 'ARQONBUS_VALKEY_URL NOT_SET', {
        ARQONBUS_VALKEY_URL: undefined,
        ARQONBUS_VALKEY_HOST: 'valkey.internal',
      }),
    ],
    ignores: [
      fine('by the other name', { ARQONBUS_VALKEY_URL: undefined, ARQONBUS_REDIS_URL: 'redis://cache.internal' }),
      fine('both names that differ', { ARQONBUS_REDIS_URL: 'redis://cache.internal' }),
      fine('scheme rediss', valkey('rediss://valkey.internal')),
      fine('scheme valkey', valkey('valkey://valkey.internal')),
      fine('scheme valkeys', valkey('valkeys://:p%40ss@[2001:db8::7]:6379/0')),
      fine('a socket', valkey('unix:///run/valkey.sock')),
      fine('this machine in staging', { ...staging, ...valkey('redis://127.0.0.1:6379') }),
    ],
  }),
  'bus.postgres-url-configured': explicitWorlds('ARQONBUS_POSTGRES_URL', 'postgres://arqon:p@db.internal/arqonbus', {
    fails: [
      bad('a bare slash in the password', 'ARQONBUS_POSTGRES_URL MALFORMED', postgres('postgres://a:b/c@db/arqonbus')),
      bad('another protocol', 'ARQONBUS_POSTGRES_URL WRONG_SCHEME', postgres('mysql://arqon:p@db.internal/arqonbus')),
      bad(
        'several hosts',
        'ARQONBUS_POSTGRES_URL SEVERAL_HOSTS',
        postgres('postgresql://arqon:p%40ss@db-1:5432,db-2:5432/arqonbus?target_session_attrs=read-write'),
      ),
      bad(
        'several hosts in the query',
        'ARQONBUS_POSTGRES_URL SEVERAL_HOSTS',
        postgres('postgresql://arqon:p@db-1/a?sslmode=require&host=db-1%2Cdb-2'),
      ),
      bad('no user', 'ARQONBUS_POSTGRES_URL INCOMPLETE', postgres('postgresql://db.internal/arqonbus')),
      bad('no host', 'ARQONBUS_POSTGRES_URL INCOMPLETE', postgres('postgresql:///arqonbus')),
      bad('no path', 'ARQONBUS_POSTGRES_URL INCOMPLETE', postgres('postgresql://arqon:p@db.internal')),
      bad('no database', 'ARQONBUS_POSTGRES_URL INCOMPLETE', postgres('postgresql://arqon:p@db.internal/')),
    ],
    ignores: [
      fine('a database of one letter', postgres('postgres://arqon:p@db.internal/a')),
      fine('attributes for a choice of one', postgres('postgresql://arqon:p@db-1/a?target_session_attrs=read-write')),
      fine('a comma elsewhere', postgres('postgresql://arqon:p%2C@db-1/a?application_name=a,b&hostaddr=1,2')),
      fine('this machine, the identity check’s business', postgres('postgresql://arqon:p@localhost/arqonbus')),
      fine('no password', postgres('postgresql://arqon@db.internal/arqonbus')),
    ],
  }),
  'bus.dual-stack-required': {
    passes: [healthy, fine('true', { ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'true' })],
    fails: [
      bad('false', 'ARQONBUS_REQUIRE_DUAL_DATA_STACK SWITCHED_OFF', { ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false' }),
      bad('a word in staging', 'ARQONBUS_REQUIRE_DUAL_DATA_STACK NOT_A_BOOLEAN', {
        ...staging,
        ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'maybe',
      }),
    ],
    ignores: [
      fine('left alone in staging, where the default is off', staging),
      fine('a word in prod: it is required all the same', { ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'maybe' }),
    ],
    skips: [inDevelopment],
  },
  'bus.infra-protocol': explicitWorlds('ARQONBUS_INFRA_PROTOCOL', 'protobuf', {
    fails: [
      bad('JSON', 'ARQONBUS_INFRA_PROTOCOL NOT_PROTOBUF', { ARQONBUS_INFRA_PROTOCOL: 'json' }),
      bad('a word nobody knows', 'ARQONBUS_INFRA_PROTOCOL NOT_ONE_OF', { ARQONBUS_INFRA_PROTOCOL: 'xml' }),
    ],
    ignores: [fine('JSON frames beside it', { ARQONBUS_ALLOW_JSON_INFRA: 'true' })],
  }),
  'bus.json-infra-off': explicitWorlds('ARQONBUS_ALLOW_JSON_INFRA', '0', {
    fails: [
      bad('on', 'ARQONBUS_ALLOW_JSON_INFRA JSON_ALLOWED', { ARQONBUS_ALLOW_JSON_INFRA: 'true' }),
      bad('no boolean', 'ARQONBUS_ALLOW_JSON_INFRA NOT_A_BOOLEAN', { ARQONBUS_ALLOW_JSON_INFRA: 'off' }),
    ],
    ignores: [fine('a JSON start', { ARQONBUS_INFRA_PROTOCOL: 'json' })],
  }),
  'bus.telemetry-configured': {
    passes: [healthy],
    fails: [
      bad('no host', 'ARQONBUS_TELEMETRY_HOST NOT_SET', { ARQONBUS_TELEMETRY_HOST: undefined }),
      bad('no port', 'ARQONBUS_TELEMETRY_PORT NOT_SET', { ARQONBUS_TELEMETRY_PORT: undefined }),
      bad('neither', 'ARQONBUS_TELEMETRY_HOST NOT_SET, ARQONBUS_TELEMETRY_PORT NOT_SET', {
        ARQONBUS_TELEMETRY_HOST: undefined,
        ARQONBUS_TELEMETRY_PORT: undefined,
      }),
      bad('one the system chooses', 'ARQONBUS_TELEMETRY_PORT FREE_PORT', { ARQONBUS_TELEMETRY_PORT: '0' }),
      ...['9100', '8080', '4000', '9090'].map((port) =>
        bad(`${port} is another listener’s`, 'ARQONBUS_TELEMETRY_PORT PORT_TAKEN', { ARQONBUS_TELEMETRY_PORT: port }),
      ),
      ...['0.0.0.0', '::'].map((host) =>
        bad(`on ${host}, with the bus on the same port`, 'ARQONBUS_TELEMETRY_PORT PORT_TAKEN', {
          ARQONBUS_TELEMETRY_HOST: host,
          ARQONBUS_TELEMETRY_PORT: '9100',
        }),
      ),
      bad('the bus on every address', 'ARQONBUS_TELEMETRY_PORT PORT_TAKEN', {
        ARQONBUS_SERVER_HOST: '0.0.0.0',
        ARQONBUS_TELEMETRY_PORT: '9100',
      }),
    ],
    ignores: [
      fine('the same port at another address', {
        ARQONBUS_TELEMETRY_HOST: '127.0.0.1',
        ARQONBUS_TELEMETRY_PORT: '9100',
      }),
      fine('two others that share a port', { ARQONBUS_HTTP_PORT: '9100' }),
      fine('the lowest port', { ARQONBUS_TELEMETRY_PORT: '1' }),
    ],
    skips: [inDevelopment],
  },
  'bus.auth-enabled': {
    passes: [healthy],
    fails: [bad('off', 'ARQONBUS_ENABLE_AUTH AUTH_OFF', { ARQONBUS_ENABLE_AUTH: 'false' })],
    ignores: [fine('on without a secret', { JWT_SECRET: undefined, ARQONBUS_ENABLE_AUTH: 'true' })],
    skips: [inDevelopment],
  },
  'bus.jwt-secret-present': {
    passes: [healthy],
    fails: [
      bad('none', 'ARQONBUS_AUTH_JWT_SECRET NOT_SET', { JWT_SECRET: undefined }),
      bad('blank ones', 'ARQONBUS_AUTH_JWT_SECRET NOT_SET', { JWT_SECRET: '', ARQONBUS_AUTH_JWT_SECRET: ' ' }),
    ],
    ignores: [
      fine('its own alone', { JWT_SECRET: undefined, ARQONBUS_AUTH_JWT_SECRET: 'weak, another rule’s business' }),
      fine('its own blank beside the shared one', { ARQONBUS_AUTH_JWT_SECRET: '' }),
    ],
    skips: [
      fine('tokens by key pair', { JWT_SECRET: undefined, ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' }),
      fine('no tokens at the bus', { JWT_SECRET: undefined, ARQONBUS_ENABLE_AUTH: 'false' }),
    ],
  },
}
