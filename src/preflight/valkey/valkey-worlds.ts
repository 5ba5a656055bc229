// The worlds in which the checks of valkey-checks.ts have to pass, and to fail.
import type { Worlds } from '../check.ts'
import { neededCommands, neededKeys } from './valkey-rights.ts'

const oneAddress = { addresses: 1, unreachable: 0, refusals: [] as string[], isTls: true }

export const connectWorlds: Worlds<typeof oneAddress & { readonly certificateEnds?: string }> = {
  passes: [
    { name: 'one address, TLS', facts: { ...oneAddress, certificateEnds: '2026-05-19T12:00:00.000Z' } },
    { name: 'three addresses answer', facts: { ...oneAddress, addresses: 3 } },
  ],
  fails: [
    {
      name: 'one of two refuses the password',
      facts: { ...oneAddress, addresses: 2, refusals: ['AUTH_REFUSED'] },
      expect: { code: 'ADDRESSES_DIFFER', findings: ['ARQONBUS_VALKEY_URL ADDRESSES_DIFFER'] },
    },
    {
      name: 'wrong password',
      stopped: { code: 'AUTH_REFUSED', step: 'hello', observed: 'WRONGPASS' },
      expect: { code: 'AUTH_REFUSED', class: 'config' },
    },
    {
      name: 'no password given',
      stopped: { code: 'AUTH_REQUIRED', step: 'hello', observed: 'NOAUTH' },
      expect: { code: 'AUTH_REQUIRED', class: 'config' },
    },
    {
      name: 'an address that cannot be read',
      stopped: { code: 'BAD_ADDRESS', observed: 'the address has a port outside 1 to 65535' },
      expect: { code: 'BAD_ADDRESS', class: 'config' },
    },
    {
      name: 'nothing listens',
      stopped: { code: 'ECONNREFUSED', step: 'tcp', observed: 'refused' },
      expect: { code: 'ECONNREFUSED', class: 'dependency' },
    },
    {
      name: 'accepts and says nothing',
      stopped: { code: 'NO_ANSWER', step: 'hello', observed: 'HELLO was not answered' },
      expect: { status: 'error', code: 'NO_ANSWER', class: 'dependency' },
    },
    {
      name: 'a certificate for another name',
      stopped: { code: 'TLS_NAME', step: 'tls', observed: 'altname' },
      expect: { code: 'TLS_NAME', class: 'config' },
    },
    {
      name: 'an authority that nobody knows',
      stopped: { code: 'TLS_UNTRUSTED', step: 'tls', observed: 'self-signed' },
      expect: { code: 'TLS_UNTRUSTED', class: 'config' },
    },
    {
      name: 'a certificate that has ended',
      stopped: { code: 'TLS_EXPIRED', step: 'tls', observed: 'expired' },
      expect: { code: 'TLS_EXPIRED', class: 'dependency' },
    },
    {
      name: 'a web server',
      stopped: { code: 'NOT_THE_PROTOCOL', step: 'hello', observed: '"HTTP/1.1 400"' },
      expect: { code: 'NOT_THE_PROTOCOL', class: 'config' },
    },
  ],
  ignores: [
    { name: 'localhost of two families, one of them served', facts: { ...oneAddress, addresses: 2, unreachable: 1 } },
    { name: 'a Unix socket, no TLS', facts: { ...oneAddress, isTls: false } },
    { name: 'a certificate of a day', facts: { ...oneAddress, certificateEnds: '2026-02-19T20:00:00.000Z' } },
    {
      name: 'the address under its other name',
      env: { ARQONBUS_VALKEY_URL: undefined, ARQONBUS_REDIS_URL: 'redis://cache.internal:6379' },
      facts: { ...oneAddress, isTls: false },
    },
  ],
}

export const pingWorlds: Worlds<{ readonly isEchoed: boolean; readonly ms: number }> = {
  passes: [{ name: 'echoed', facts: { isEchoed: true, ms: 0.4 } }],
  fails: [
    {
      name: 'something else came back',
      facts: { isEchoed: false, ms: 0.1 },
      expect: { code: 'OTHER_ANSWER', findings: ['ARQONBUS_VALKEY_URL OTHER_ANSWER'] },
    },
    {
      name: 'loading',
      stopped: { code: 'LOADING', step: 'command', observed: 'PING: LOADING' },
      expect: { code: 'LOADING', class: 'dependency' },
    },
    {
      name: 'it cannot save, and refuses PING too',
      stopped: { code: 'SAVES_FAIL', step: 'command', observed: 'PING: MISCONF' },
      expect: { code: 'SAVES_FAIL', class: 'dependency' },
    },
  ],
  ignores: [{ name: 'echoed, slowly', facts: { isEchoed: true, ms: 900 } }],
}

const primary = { product: 'redis', version: '7.0.15', role: 'master', mode: 'standalone' }

export const identityWorlds: Worlds<typeof primary> = {
  passes: [
    { name: 'Redis 7.0', facts: { ...primary, version: '7.0.0' } },
    { name: 'Valkey 8.1', facts: { ...primary, product: 'valkey', version: '8.1.3' } },
    { name: 'a version of two digits', facts: { ...primary, version: '10.0.0' } },
  ],
  fails: [
    {
      name: 'Redis 6.2',
      facts: { ...primary, version: '6.2.14' },
      expect: { code: 'TOO_OLD', findings: ['ARQONBUS_VALKEY_URL TOO_OLD'] },
    },
    { name: 'a version that is no number', facts: { ...primary, version: 'unstable' }, expect: { code: 'TOO_OLD' } },
    {
      name: 'a replica',
      facts: { ...primary, role: 'slave' },
      expect: { code: 'REPLICA', findings: ['ARQONBUS_VALKEY_URL REPLICA'] },
    },
    { name: 'an unknown role', facts: { ...primary, role: 'unknown' }, expect: { code: 'REPLICA' } },
    {
      name: 'cluster mode',
      facts: { ...primary, mode: 'cluster' },
      expect: { code: 'IS_CLUSTER', findings: ['ARQONBUS_VALKEY_URL IS_CLUSTER'] },
    },
    {
      name: 'a sentinel',
      facts: { ...primary, mode: 'sentinel', role: 'sentinel' },
      expect: { code: 'NOT_A_SERVER', findings: ['ARQONBUS_VALKEY_URL NOT_A_SERVER'] },
    },
    {
      name: 'loading',
      stopped: { code: 'LOADING', step: 'read', observed: 'INFO says that it is loading' },
      expect: { code: 'LOADING' },
    },
  ],
  ignores: [{ name: 'a product of another name', facts: { ...primary, product: 'keydb' } }],
}

const whole = {
  isCreated: true,
  isReadBack: true,
  isStreamRead: true,
  isEntryDeleted: true,
  isDeleted: true,
  isGone: true,
}

export const roundtripWorlds: Worlds<typeof whole> = {
  passes: [{ name: 'every step held', facts: whole }],
  fails: [
    {
      name: 'somebody else has the key',
      facts: {
        isCreated: false,
        isReadBack: false,
        isStreamRead: false,
        isEntryDeleted: false,
        isDeleted: false,
        isGone: false,
      },
      expect: { code: 'KEY_TAKEN', findings: ['ARQONBUS_VALKEY_URL KEY_TAKEN'] },
    },
    {
      name: 'two servers behind a name',
      facts: { ...whole, isReadBack: false },
      expect: { code: 'NOT_READ_BACK', findings: ['ARQONBUS_VALKEY_URL NOT_READ_BACK'] },
    },
    {
      name: 'a stream of others',
      facts: { ...whole, isStreamRead: false },
      expect: { code: 'STREAM_NOT_READ', findings: ['ARQONBUS_VALKEY_URL STREAM_NOT_READ'] },
    },
    {
      name: 'the entry is gone',
      facts: { ...whole, isEntryDeleted: false },
      expect: { code: 'ENTRY_NOT_DELETED', findings: ['ARQONBUS_VALKEY_URL ENTRY_NOT_DELETED'] },
    },
    {
      name: 'evicted meanwhile',
      facts: { ...whole, isDeleted: false },
      expect: { code: 'NOT_DELETED', findings: ['ARQONBUS_VALKEY_URL NOT_DELETED'] },
    },
    {
      name: 'a stale cache',
      facts: { ...whole, isGone: false },
      expect: { code: 'NOT_GONE', findings: ['ARQONBUS_VALKEY_URL NOT_GONE'] },
    },
    ...(
      [
        ['out of memory', 'OUT_OF_MEMORY', 'dependency'],
        ['read only', 'READ_ONLY', 'dependency'],
        ['no right', 'NO_PERMISSION', 'config'],
        ['saves fail', 'SAVES_FAIL', 'dependency'],
        ['too few replicas', 'NO_REPLICAS', 'dependency'],
        ['no writer', 'NO_WRITER', 'dependency'],
      ] as const
    ).map(([name, code, fault]) => ({
      name,
      stopped: { code, step: 'command', observed: 'SET: refused' },
      expect: { code, class: fault },
    })),
  ],
  ignores: [{ name: 'history is kept elsewhere', env: { ARQONBUS_STORAGE_BACKEND: 'embedded' }, facts: whole }],
}

const everything = {
  allowed: neededCommands.map(({ name }) => name),
  denied: [] as string[],
  openKeys: neededKeys.map(({ pattern }) => pattern),
}
const without = (...names: string[]): string[] => everything.allowed.filter((name) => !names.includes(name))

export const aclWorlds: Worlds<typeof everything> = {
  passes: [
    { name: 'everything is allowed', facts: everything },
    {
      name: 'no streams, and no history that needs them',
      env: { ARQONBUS_STORAGE_BACKEND: 'embedded' },
      facts: { ...everything, allowed: without('XADD', 'XTRIM'), denied: ['XADD', 'XTRIM'] },
    },
    {
      name: 'no streams, and no history at all',
      env: { ARQONBUS_ENABLE_PERSISTENCE: 'false' },
      facts: { ...everything, allowed: without('XADD'), denied: ['XADD'] },
    },
  ],
  fails: [
    {
      name: 'XADD is denied',
      facts: { ...everything, allowed: without('XADD'), denied: ['XADD'] },
      expect: { code: 'COMMAND_DENIED', findings: ['ARQONBUS_VALKEY_URL COMMAND_DENIED'] },
    },
    {
      name: 'a command of hot state is denied, history kept elsewhere',
      env: { ARQONBUS_STORAGE_BACKEND: 'embedded' },
      facts: { ...everything, allowed: without('ZADD'), denied: ['ZADD'] },
      expect: { code: 'COMMAND_DENIED' },
    },
    {
      name: 'EVAL has another name',
      facts: { ...everything, allowed: without('EVAL') },
      expect: { code: 'COMMAND_MISSING', findings: ['ARQONBUS_VALKEY_URL COMMAND_MISSING'] },
    },
    {
      name: 'one denied, one missing',
      facts: { ...everything, allowed: without('EVAL', 'HSET'), denied: ['HSET'] },
      expect: { code: 'COMMAND_MISSING' },
    },
    {
      name: "no right to the tenants' keys",
      facts: { ...everything, openKeys: ['arqonbus:*'] },
      expect: { code: 'KEYS_DENIED' },
    },
    {
      name: 'nothing was tried',
      facts: { allowed: [], denied: [], openKeys: [] },
      expect: {
        code: 'COMMAND_MISSING',
        findings: ['ARQONBUS_VALKEY_URL COMMAND_MISSING', 'ARQONBUS_VALKEY_URL KEYS_DENIED'],
      },
    },
  ],
  ignores: [
    { name: 'rights beyond', facts: { ...everything, allowed: [...everything.allowed, 'FLUSHALL'] } },
    { name: 'denied what nobody needs', facts: { ...everything, denied: ['FLUSHALL', 'CONFIG'] } },
  ],
}
