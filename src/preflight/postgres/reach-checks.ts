// Is Postgres there, is it one we can use, may it be written, does it know what time it is, and can nobody listen?
import type { FaultClass, Finding } from '../../rules/rule.ts'
import { type Check, type CheckResult, defineCheck, failed, type FactsOf, judgeAll, passed } from '../check.ts'
import type { JudgePorts } from '../check.ts'
import { common, variable } from './look.ts'
import * as probes from './reach-probes.ts'
import * as worlds from './reach-worlds.ts'

/** docs/storage.md: Postgres 13 or newer. */
const oldest = 130_000
const maxSkewMs = 2_000
const certificateDays = 30
const dayMs = 86_400_000

export const reachChecks: readonly Check[] = [
  defineCheck({
    ...common,
    id: 'dep.postgres.connect',
    title: 'Postgres takes a connection',
    proves: 'The address leads to a Postgres that takes the user and the password, has the database, and answers.',
    evidence: 'Who answered, and the SQLSTATE or the code of the socket where nobody did.',
    fix: 'Start Postgres, or correct ARQONBUS_POSTGRES_URL; the finding says which.',
    severity: 'blocker',
    requires: ['bus.postgres-url-configured'],
    shape: probes.connectShape,
    probe: probes.probeConnect,
    judge: ({ sent, echo, server, answeredBy }) =>
      sent === echo
        ? passed(`${server}, answered by ${answeredBy}`)
        : failed('OTHER_ANSWER', variable, 'it did not give back what it was sent', 'correct the address'),
    worlds: worlds.connect,
    hints: {
      AUTH_REFUSED: `the user or password in ${variable} is not one that Postgres takes: correct it, or pg_hba.conf`,
      NO_DATABASE: `create the database that ${variable} names (createdb), or correct the name`,
      TOO_MANY_CONNECTIONS: 'Postgres has no connection left: raise max_connections, or close some',
      STARTING: 'Postgres is starting, stopping or recovering: wait (--wait 120s)',
    },
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.version',
    title: 'Postgres is one we can use',
    proves: 'The server is version 13 or newer, keeps text as UTF-8, and reads strings as the standard says.',
    evidence: 'server_version_num, server_encoding, standard_conforming_strings.',
    fix: 'Upgrade the server, or create the database with the encoding UTF8.',
    severity: 'high',
    requires: ['dep.postgres.connect'],
    shape: probes.versionShape,
    probe: probes.probeVersion,
    judge: judgeVersion,
    worlds: worlds.version,
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.writable',
    title: 'Postgres takes writes',
    proves: 'The server is no standby, and neither this transaction nor the next is read-only.',
    evidence: 'pg_is_in_recovery(), transaction_read_only, default_transaction_read_only.',
    fix: 'Name the primary in ARQONBUS_POSTGRES_URL, or switch default_transaction_read_only off.',
    severity: 'blocker',
    requires: ['dep.postgres.connect'],
    shape: probes.writableShape,
    probe: probes.probeWritable,
    judge: judgeWritable,
    worlds: worlds.writable,
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.skew',
    title: 'Postgres and this machine agree on the time',
    proves: 'clock_timestamp() of the server is within 2 s of the clock here.',
    evidence: 'Five samples by the midpoint; the one with the shortest way counts.',
    fix: 'Start NTP on the machine whose clock is wrong (chronyc tracking).',
    severity: 'high',
    requires: ['dep.postgres.connect'],
    shape: probes.skewShape,
    probe: probes.probeSkew,
    judge: judgeSkew,
    worlds: worlds.skew,
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.tls',
    title: 'Nobody listens on the way to Postgres',
    proves: 'In prod the connection is encrypted and the server proved its name; certificates last 30 days or more.',
    evidence: 'pg_stat_ssl of the connection, what the address has verified, days that the certificate has left.',
    fix: 'Add sslmode=verify-full to ARQONBUS_POSTGRES_URL, or renew the certificate of the server.',
    severity: 'high',
    requires: ['dep.postgres.connect'],
    shape: probes.tlsShape,
    probe: probes.probeTls,
    judge: judgeTls,
    worlds: worlds.tls,
  }),
]

function judgeVersion({ version, encoding, standardStrings }: FactsOf<typeof probes.versionShape>): CheckResult {
  const findings: Finding[] = []
  const major = Math.floor(version / 10_000)
  if (version < oldest) {
    const fix = 'upgrade Postgres to version 13 or newer'
    findings.push({ code: 'TOO_OLD', variable, found: `version ${major}`, fix })
  }
  if (encoding !== 'UTF8') {
    const fix = 'create the database anew: CREATE DATABASE … ENCODING UTF8 TEMPLATE template0'
    findings.push({ code: 'NOT_UTF8', variable, found: `server_encoding ${encoding}`, fix })
  }
  if (standardStrings !== 'on') {
    const fix = 'set standard_conforming_strings = on for this user and database'
    findings.push({ code: 'OLD_STRINGS', variable, found: `standard_conforming_strings ${standardStrings}`, fix })
  }
  return judgeAll(findings, `version ${major}, ${encoding}`, { major, encoding })
}

function judgeWritable(facts: FactsOf<typeof probes.writableShape>): CheckResult {
  if (facts.isInRecovery) {
    const fix = `this is a standby: name the primary in ${variable}`
    return failed('STANDBY', variable, 'pg_is_in_recovery() is true', fix)
  }
  if (facts.defaultReadOnly !== 'off') {
    const fix = 'ALTER ROLE <the user of ARQONBUS_POSTGRES_URL> SET default_transaction_read_only = off'
    return failed('READ_ONLY', variable, `default_transaction_read_only ${facts.defaultReadOnly}`, fix)
  }
  if (facts.transactionReadOnly !== 'off') {
    const fix = 'point the address at the server itself: something on the way makes transactions read-only'
    return failed('READ_ONLY', variable, `transaction_read_only ${facts.transactionReadOnly}`, fix)
  }
  return passed('no standby; transactions may write')
}

function judgeSkew({ samples }: FactsOf<typeof probes.skewShape>): CheckResult {
  const best = samples
    .map(({ offset, uncertainty }) => ({ offset: Number(offset), uncertainty: Number(uncertainty) }))
    .sort((a, b) => a.uncertainty - b.uncertainty)[0]
  if (best === undefined) return { status: 'error', code: 'MALFORMED', observed: 'no sample' }
  if (Math.abs(best.offset) - best.uncertainty > maxSkewMs) {
    const found = `the server's clock is ${best.offset} ms ahead, give or take ${best.uncertainty} ms`
    return failed('CLOCKS_APART', variable, found, 'start NTP on the machine whose clock is wrong')
  }
  return passed(`within ${Math.abs(best.offset) + best.uncertainty} ms`, { offset: '<2s' })
}

function judgeTls(facts: FactsOf<typeof probes.tlsShape>, { ctx, now }: JudgePorts): CheckResult {
  if (facts.isUnixSocket) return passed('a Unix socket', { way: 'unix socket' })
  const isProduction = ctx.profile === 'prod'
  if (!facts.isEncrypted) {
    if (!isProduction) return passed('not encrypted; in prod it has to be', { way: 'plain' })
    return faulty('config', 'TLS_OFF', 'the connection is not encrypted', `add sslmode=verify-full to ${variable}`)
  }
  if (isProduction && facts.verified !== 'name') {
    const fix = `set sslmode=verify-full in ${variable}, and sslrootcert where the authority is your own`
    return faulty('config', 'NOT_VERIFIED', `of the server is verified: ${facts.verified}`, fix)
  }
  if (facts.version !== 'TLSv1.2' && facts.version !== 'TLSv1.3') {
    return faulty('dependency', 'TLS_OLD', `${facts.version}`, 'set ssl_min_protocol_version = TLSv1.2 at the server')
  }
  if (facts.notAfterMs !== undefined && facts.notAfterMs - now < certificateDays * dayMs) {
    const days = Math.floor((facts.notAfterMs - now) / dayMs)
    return faulty('dependency', 'EXPIRES_SOON', `${days} days are left`, 'renew the certificate of Postgres')
  }
  return passed(`${facts.version}, verified: ${facts.verified}`, { way: 'tls', version: facts.version })
}

const faulty = (fault: FaultClass, code: string, found: string, fix: string): CheckResult => ({
  status: 'fail',
  findings: [{ code, variable, found, fix }],
  class: fault,
})
