// A certificate against the program that starts: the whole one matches, and each way to tamper with it is named.
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/base/canonical-json.ts'
import type { Build } from '../../../src/certificate/build.ts'
import { type Certificate, parseCertificate, signCertificate } from '../../../src/certificate/certificate.ts'
import { fingerprintOf, isCovered } from '../../../src/certificate/environment.ts'
import { formatMismatches, judgeStart, type StartFacts } from '../../../src/certificate/judge-start.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { certifier, otherCertifier, pinned, resigned } from '../../support/certificates-go.ts'
import { productionEnvironment, strongSecret } from '../../support/environments.ts'

const now = Date.UTC(2026, 10, 25, 12)
const at = (ms: number): string => new Date(now + ms).toISOString()
const minute = 60_000
const build: Build = {
  artefact: digestOf('files'),
  lock: digestOf('lock'),
  node: '24.0.0',
  catalogue: digestOf('catalogue'),
  runbook: digestOf('runbook'),
}
const key = Buffer.alloc(32, 7)
const environmentOf = (env: Readonly<Record<string, string | undefined>>, with_ = key) =>
  fingerprintOf(resolveKeys(env), with_)
const environment = environmentOf(productionEnvironment)
const waiver = {
  id: 'EX-2026-014',
  check: 'bus.dual-stack-required',
  expires: at(86_400_000),
  digest: digestOf('waiver'),
}

const good: Certificate = signCertificate(
  {
    verdict: 'GO',
    profile: 'prod',
    report: digestOf('report'),
    commit: 'a'.repeat(40),
    build,
    environment: { source: 'systemd', ...environment },
    policy: digestOf('policy'),
    waivers: [waiver],
    issued: at(-minute),
    activateBy: at(59 * minute),
  },
  certifier,
)

const facts = (changes: Partial<StartFacts> = {}): StartFacts => ({
  found: { certificate: good },
  publicKey: pinned,
  profile: 'prod',
  build,
  environment,
  policy: digestOf('policy'),
  waivers: new Map([[waiver.id, waiver.digest]]),
  isActivated: false,
  now,
  ...changes,
})
const codes = (changes: Partial<StartFacts>): string[] => judgeStart(facts(changes)).map(({ code }) => code)
const codesOf = (certificate: Certificate, changes: Partial<StartFacts> = {}): string[] =>
  codes({ found: parseCertificate(Buffer.from(JSON.stringify(certificate))), ...changes })

describe('a start under a certificate', () => {
  it('is allowed when everything is as it was certified', () => {
    expect(codesOf(good)).toEqual([])
  })

  it.each<[string, Certificate, string[]]>([
    ['a later end', { ...good, activateBy: at(86_400_000) }, ['BAD_SIGNATURE']],
    ['another build put in', { ...good, build: { ...build, artefact: digestOf('other') } }, ['BAD_SIGNATURE']],
    [
      'a variable taken out',
      { ...good, environment: { ...good.environment, variables: environment.variables.slice(1) } },
      ['BAD_SIGNATURE'],
    ],
    ['a waiver taken out', { ...good, waivers: [] }, ['BAD_SIGNATURE']],
    [
      'the signature of another certificate',
      { ...good, sig: resigned(good, { commit: 'b'.repeat(40) }).sig },
      ['BAD_SIGNATURE'],
    ],
    ['a signature of nothing', { ...good, sig: Buffer.alloc(64).toString('base64') }, ['BAD_SIGNATURE']],
    ['signed by somebody else', resigned(good, {}, otherCertifier), ['OTHER_KEY']],
    [
      'signed by somebody else, who writes the pinned key in',
      { ...resigned(good, {}, otherCertifier), key: pinned },
      ['BAD_SIGNATURE'],
    ],
    ['a field more', { ...good, force: true } as unknown as Certificate, ['CERTIFICATE_MALFORMED']],
    ['a field less', { ...good, waivers: undefined } as unknown as Certificate, ['CERTIFICATE_MALFORMED']],
    ['another spelling of the signature', { ...good, sig: `${good.sig}\n` }, ['CERTIFICATE_MALFORMED']],
    ['a verdict that is none', resigned(good, { verdict: 'NO-GO' }), ['NOT_GO']],
    [
      'a fingerprint of other variables',
      resigned(good, { environment: { ...good.environment, variables: [] } }),
      ['CERTIFICATE_MALFORMED'],
    ],
  ])('is refused with %s', (_name, certificate, expected) => {
    expect(codesOf(certificate)).toEqual(expected)
  })

  it.each<[string, Partial<StartFacts>, string]>([
    ['no pinned key', { publicKey: undefined }, 'NO_PUBLIC_KEY'],
    ['no certificate', { found: { missing: true } }, 'CERTIFICATE_MISSING'],
    ['a file that is not there', { found: { unreadable: 'gone' } }, 'CERTIFICATE_UNREADABLE'],
    ['no JSON', { found: parseCertificate(Buffer.from('GO')) }, 'CERTIFICATE_MALFORMED'],
    ['bytes without an end', { found: parseCertificate(Buffer.alloc(300_000, 0x20)) }, 'CERTIFICATE_MALFORMED'],
    ['another build', { build: { ...build, artefact: digestOf('other') } }, 'OTHER_BUILD'],
    ['another lock', { build: { ...build, lock: digestOf('other') } }, 'OTHER_LOCK'],
    ['another Node', { build: { ...build, node: '24.0.1' } }, 'OTHER_NODE'],
    ['another catalogue', { build: { ...build, catalogue: digestOf('other') } }, 'OTHER_CATALOGUE'],
    ['another runbook', { build: { ...build, runbook: digestOf('other') } }, 'OTHER_RUNBOOK'],
    ['another profile', { profile: 'staging' }, 'OTHER_PROFILE'],
    ['no key for fingerprints', { environment: { because: 'ARQONBUS_DATA_DIR is not set' } }, 'NO_FINGERPRINT'],
    [
      'another installation',
      { environment: environmentOf(productionEnvironment, Buffer.alloc(32, 8)) },
      'OTHER_INSTALLATION',
    ],
    ['another policy', { policy: digestOf('other') }, 'OTHER_POLICY'],
    ['a certificate of tomorrow', { now: now - 3 * minute }, 'NOT_YET'],
    ['a certificate of an hour ago', { now: now + 60 * minute }, 'EXPIRED'],
    ['a waiver that is not in the file', { waivers: new Map() }, 'WAIVER_CHANGED'],
    ['a waiver that was renewed', { waivers: new Map([[waiver.id, digestOf('renewed')]]) }, 'WAIVER_CHANGED'],
  ])('is refused with %s', (_name, changes, code) => {
    expect(codes(changes)).toEqual([code])
  })

  it('holds to the last moment and not after', () => {
    expect(codes({ now: Date.parse(good.activateBy) })).toEqual([])
    expect(codes({ now: Date.parse(good.activateBy) + 1 })).toEqual(['EXPIRED'])
    expect(codes({ now: Date.parse(good.issued) - minute })).toEqual([])
  })

  it('tells all that differs at once', () => {
    const other = { ...build, artefact: digestOf('other'), node: '26.0.0' }
    expect(codes({ build: other, profile: 'staging', now: now + 61 * minute })).toEqual([
      'OTHER_PROFILE',
      'OTHER_BUILD',
      'OTHER_NODE',
      'EXPIRED',
    ])
  })
})

describe('a restart', () => {
  const later = { isActivated: true, now: now + 3_600_000 }

  it('needs no fresh certificate, and no policy of that day', () => {
    expect(codes(later)).toEqual([])
    expect(codes({ ...later, policy: digestOf('other') })).toEqual([])
  })

  it('is refused once build, environment or a used waiver has changed', () => {
    expect(codes({ ...later, build: { ...build, artefact: digestOf('other') } })).toEqual(['OTHER_BUILD'])
    const changed = environmentOf({ ...productionEnvironment, ARQON_SCHEMA_STRICT: 'false' })
    expect(codes({ ...later, environment: changed })).toEqual(['OTHER_ENVIRONMENT'])
    expect(codes({ ...later, now: Date.parse(waiver.expires) })).toEqual(['WAIVER_EXPIRED'])
    expect(codes({ ...later, now: Date.parse(waiver.expires) - 1 })).toEqual([])
  })
})

describe('a changed environment', () => {
  const found = (env: Readonly<Record<string, string | undefined>>): string =>
    judgeStart(facts({ environment: environmentOf({ ...productionEnvironment, ...env }) }))
      .map((mismatch) => `${mismatch.code} ${mismatch.found}`)
      .join()

  it('is named by variable, without a value', () => {
    const changed = found({
      JWT_SECRET: 'another-secret-of-forty-eight-bytes-or-so-7',
      ARQONBUS_LOG_LEVEL: 'debug',
      SHIELD_PORT: undefined,
    })
    expect(changed).toBe('OTHER_ENVIRONMENT ARQONBUS_LOG_LEVEL (added), JWT_SECRET (changed), SHIELD_PORT (removed)')
    expect(formatMismatches('bus', judgeStart(facts({ environment: environmentOf({}) })))).not.toContain(strongSecret)
  })

  it('counts what Node, drivers and the loader read, and not what tools and terminals do', () => {
    for (const name of [
      'NODE_OPTIONS',
      'NODE_TLS_REJECT_UNAUTHORIZED',
      'NODE_EXTRA_CA_CERTS',
      'PGSSLMODE',
      'LD_PRELOAD',
      'https_proxy',
    ]) {
      expect(found({ [name]: '0' }), name).toBe(`OTHER_ENVIRONMENT ${name} (added)`)
    }
    for (const name of ['TERM', 'PATH', 'HOME', 'ARQONBUS_TOKEN', 'ARQONBUS_PREFLIGHT_CERTIFICATE', 'PAGER']) {
      expect(found({ [name]: 'x' }), name).toBe('')
    }
    expect(isCovered('ARQONBUS_PREFLIGHT_PUBLIC_KEY')).toBe(true)
    expect(isCovered('JWT_SKIP_VALIDATION')).toBe(true)
  })

  it('is the same for the same values, and tells nothing without the key', () => {
    expect(environmentOf({ ...productionEnvironment })).toEqual(environment)
    const other = environmentOf(productionEnvironment, Buffer.alloc(32, 8))
    expect(other.fingerprint).not.toBe(environment.fingerprint)
    const macs = new Set(environment.variables.map(({ mac }) => mac))
    expect(other.variables.filter(({ mac }) => macs.has(mac))).toEqual([])
    // Equal values of two variables do not show as equal.
    const twice = environmentOf({ ARQONBUS_HTTP_PORT: '1', SHIELD_PORT: '1' }).variables
    expect(new Set(twice.map(({ mac }) => mac)).size).toBe(2)
  })
})
