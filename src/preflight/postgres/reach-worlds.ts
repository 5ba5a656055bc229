// Worlds of reach-checks.ts.
import type { FactsOf, FailingWorld, Worlds } from '../check.ts'
import type * as probes from './reach-probes.ts'

const staging = { ARQONBUS_ENVIRONMENT: 'staging' }

const answered = { sent: 'aa', echo: 'aa', server: 'db.internal:5432/arqonbus', answeredBy: '10.0.0.7:5432' }

/** Codes of `stopped`, and what they count as. */
const stop = (code: string, status: 'fail' | 'error', fault: 'config' | 'dependency'): FailingWorld<never> => ({
  name: `stopped: ${code}`,
  stopped: { code, observed: 'as observed', step: 'connect' },
  expect: { status, code, class: fault },
})

export const connect: Worlds<FactsOf<typeof probes.connectShape>> = {
  passes: [{ name: 'the primary answers', facts: answered }],
  fails: [
    {
      name: 'another answer',
      facts: { ...answered, echo: 'ab' },
      expect: { code: 'OTHER_ANSWER', findings: ['ARQONBUS_POSTGRES_URL OTHER_ANSWER'] },
    },
    stop('BAD_ADDRESS', 'fail', 'config'),
    stop('AUTH_REFUSED', 'fail', 'config'),
    stop('AUTH_REQUIRED', 'fail', 'config'),
    stop('NO_DATABASE', 'fail', 'config'),
    stop('TLS_NAME', 'fail', 'config'),
    stop('TLS_REFUSED', 'fail', 'config'),
    stop('TLS_EXPIRED', 'fail', 'dependency'),
    stop('TOO_MANY_CONNECTIONS', 'fail', 'dependency'),
    stop('STARTING', 'fail', 'dependency'),
    stop('ECONNREFUSED', 'fail', 'dependency'),
    stop('ENOTFOUND', 'fail', 'dependency'),
    stop('ETIMEDOUT', 'error', 'dependency'),
    stop('NO_ANSWER', 'error', 'dependency'),
  ],
  ignores: [
    { name: 'through a proxy on another address', facts: { ...answered, answeredBy: '192.0.2.9:6432' } },
    {
      name: 'by a Unix socket',
      facts: { ...answered, server: '/run/postgresql:5432/arqonbus', answeredBy: 'unix socket' },
    },
  ],
}

const version15 = { version: 150_018, encoding: 'UTF8', standardStrings: 'on' }

export const version: Worlds<FactsOf<typeof probes.versionShape>> = {
  passes: [
    { name: 'version 15', facts: version15 },
    { name: 'the oldest that will do', facts: { ...version15, version: 130_000 } },
  ],
  fails: [
    {
      name: 'version 12',
      facts: { ...version15, version: 129_999 },
      expect: { code: 'TOO_OLD', findings: ['ARQONBUS_POSTGRES_URL TOO_OLD'] },
    },
    {
      name: 'bytes without a meaning',
      facts: { ...version15, encoding: 'SQL_ASCII' },
      expect: { code: 'NOT_UTF8', findings: ['ARQONBUS_POSTGRES_URL NOT_UTF8'] },
    },
    {
      name: 'strings of old',
      facts: { ...version15, standardStrings: 'off' },
      expect: { code: 'OLD_STRINGS', findings: ['ARQONBUS_POSTGRES_URL OLD_STRINGS'] },
    },
  ],
  ignores: [{ name: 'a version from the future', facts: { ...version15, version: 290_001 } }],
}

const writes = { isInRecovery: false, transactionReadOnly: 'off', defaultReadOnly: 'off' }

export const writable: Worlds<FactsOf<typeof probes.writableShape>> = {
  passes: [{ name: 'a primary', facts: writes }],
  fails: [
    {
      name: 'a standby',
      facts: { ...writes, isInRecovery: true, transactionReadOnly: 'on' },
      expect: { code: 'STANDBY', findings: ['ARQONBUS_POSTGRES_URL STANDBY'] },
    },
    { name: 'a standby that says no more', facts: { ...writes, isInRecovery: true }, expect: { code: 'STANDBY' } },
    {
      name: 'a user for reading',
      facts: { ...writes, defaultReadOnly: 'on' },
      expect: { code: 'READ_ONLY', findings: ['ARQONBUS_POSTGRES_URL READ_ONLY'] },
    },
    { name: 'a proxy for reading', facts: { ...writes, transactionReadOnly: 'on' }, expect: { code: 'READ_ONLY' } },
  ],
  ignores: [{ name: 'the same in staging', env: staging, facts: writes }],
}

const apart = (offset: number, uncertainty = 1) => ({ samples: [{ offset, uncertainty }] })

export const skew: Worlds<FactsOf<typeof probes.skewShape>> = {
  passes: [
    { name: 'to the millisecond', facts: apart(0) },
    { name: 'as far as it may be', facts: apart(2_001) },
    { name: 'as far behind as it may be', facts: apart(-2_001) },
  ],
  fails: [
    {
      name: 'a little too far ahead',
      facts: apart(2_002),
      expect: { code: 'CLOCKS_APART', findings: ['ARQONBUS_POSTGRES_URL CLOCKS_APART'] },
    },
    { name: 'no sample', facts: { samples: [] }, expect: { status: 'error', code: 'MALFORMED' } },
    { name: 'a little too far behind', facts: apart(-2_002), expect: { code: 'CLOCKS_APART' } },
    {
      name: 'the sample with the shortest way counts',
      facts: {
        samples: [
          { offset: 5_000, uncertainty: 2 },
          { offset: 6_000, uncertainty: 4_500 },
        ],
      },
      expect: { code: 'CLOCKS_APART' },
    },
  ],
  ignores: [
    { name: 'a long way that proves nothing', facts: apart(2_500, 600) },
    {
      name: 'one sample that was held up',
      facts: {
        samples: [
          { offset: 9_000, uncertainty: 1_000 },
          { offset: 4, uncertainty: 1 },
        ],
      },
    },
  ],
}

const dayMs = 86_400_000
const nowMs = Date.parse('2026-02-19T12:00:00.000Z')
const encrypted = {
  isUnixSocket: false,
  isEncrypted: true,
  version: 'TLSv1.3',
  verified: 'name',
  notAfterMs: nowMs + 30 * dayMs,
}
const { notAfterMs: _, ...withoutDate } = encrypted
const plain = { isUnixSocket: false, isEncrypted: false, verified: 'nothing' }
const config = 'config'

export const tls: Worlds<FactsOf<typeof probes.tlsShape>> = {
  passes: [
    { name: 'verified, 30 days left', facts: encrypted },
    { name: 'TLS 1.2', facts: { ...encrypted, version: 'TLSv1.2' } },
    { name: 'a Unix socket', facts: { ...plain, isUnixSocket: true } },
  ],
  fails: [
    {
      name: 'in the clear',
      facts: plain,
      expect: { code: 'TLS_OFF', findings: ['ARQONBUS_POSTGRES_URL TLS_OFF'], class: config },
    },
    {
      name: 'to anybody',
      facts: { ...encrypted, verified: 'nothing' },
      expect: { code: 'NOT_VERIFIED', findings: ['ARQONBUS_POSTGRES_URL NOT_VERIFIED'], class: config },
    },
    {
      name: 'to any host',
      facts: { ...encrypted, verified: 'chain' },
      expect: { code: 'NOT_VERIFIED', class: config },
    },
    {
      name: 'TLS 1.1',
      facts: { ...encrypted, version: 'TLSv1.1' },
      expect: { code: 'TLS_OLD', findings: ['ARQONBUS_POSTGRES_URL TLS_OLD'] },
    },
    {
      name: 'a moment less than 30 days',
      facts: { ...encrypted, notAfterMs: encrypted.notAfterMs - 1 },
      expect: { code: 'EXPIRES_SOON', findings: ['ARQONBUS_POSTGRES_URL EXPIRES_SOON'] },
    },
    {
      name: 'soon to expire, in staging',
      env: staging,
      facts: { ...encrypted, notAfterMs: nowMs + dayMs },
      expect: { code: 'EXPIRES_SOON' },
    },
  ],
  ignores: [
    { name: 'in the clear, in staging', env: staging, facts: plain },
    { name: 'to anybody, in staging', env: staging, facts: { ...encrypted, verified: 'nothing' } },
    { name: 'a certificate without a date', facts: withoutDate },
  ],
}
