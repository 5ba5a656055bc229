// What starts without a certificate, and for how long: break-glass, permit, and the record of activations.
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { isActivated, readActivations, recordActivation } from '../../../src/certificate/activation.ts'
import {
  type BreakGlass,
  judgeBreakGlass,
  signBreakGlass,
  useBreakGlass,
} from '../../../src/certificate/break-glass.ts'
import { existingKey, installationKey } from '../../../src/certificate/installation-key.ts'
import { openPermit, permitLifeMs, takePermit } from '../../../src/certificate/permit.ts'
import { isCertificateAsked } from '../../../src/certificate/start.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { pinned } from '../../support/certificates-go.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { approvers, policy, site } from '../../support/waivers.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-exceptions-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const now = Date.UTC(2026, 10, 25, 3)
const at = (ms: number): string => new Date(now + ms).toISOString()
const hour = 3_600_000

const body: Omit<BreakGlass, 'schema' | 'sig'> = {
  program: 'bus',
  reason: 'Certifier is down at night.',
  by: 's.kim',
  site,
  at: at(0),
  until: at(4 * hour),
  nonce: '0'.repeat(32),
}
const signedBy = (changes: Partial<BreakGlass> = {}, key = approvers['s.kim']): BreakGlass =>
  signBreakGlass({ ...body, ...changes }, key)
const judged = (value: object, changes: Partial<Parameters<typeof judgeBreakGlass>[1]> = {}): string => {
  const result = judgeBreakGlass(Buffer.from(JSON.stringify(value)), { program: 'bus', policy, now, ...changes })
  return 'refused' in result ? result.refused : 'holds'
}

describe('a break-glass', () => {
  it('holds for its program until its end', () => {
    expect(judged(signedBy())).toBe('holds')
    expect(judged(signedBy(), { now: now + 4 * hour - 1 })).toBe('holds')
    expect(judged(signedBy(), { now: now + 4 * hour })).toContain('ended at')
    expect(judged(signedBy(), { now: now - 61_000 })).toContain('still to come')
    expect(judged(signedBy(), { program: 'shield' })).toBe('for bus, this is shield')
  })

  it.each<[string, object, string]>([
    ['more than four hours', signedBy({ until: at(4 * hour + 1) }), 'longer than 4 hours'],
    ['an end before its beginning', signedBy({ until: at(-1) }), 'longer than 4 hours, or not at all'],
    ['a longer life written in', { ...signedBy(), until: at(3 * hour) }, 'does not stand'],
    ['the key of somebody else', signedBy({}, approvers['t.moe']), 'does not stand'],
    ['a name that nobody knows', signedBy({ by: 'm.allory' }), 'knows no approver'],
    ['a name of every object', signedBy({ by: 'constructor' }), 'knows no approver'],
    ['another site', signedBy({ site: 'elsewhere' }), 'another site'],
    ['no reason to speak of', signedBy({ reason: 'because' }), 'no arqonbus/break-glass/1'],
    ['a reason that steers a terminal', signedBy({ reason: 'all is well \u001b[2J now' }), 'no arqonbus/break-glass/1'],
    ['a field more', { ...signedBy(), also: 'shield' }, 'no arqonbus/break-glass/1'],
    ['a nonce that is a path', signedBy({ nonce: '../../../../etc/passwd-of-the-host' }), 'no arqonbus/break-glass/1'],
    ['a list', [], 'no arqonbus/break-glass/1'],
  ])('is refused with %s', (_name, value, why) => {
    expect(judged(value)).toContain(why)
  })

  it('is used once', () => {
    const data = join(folder, 'once')
    expect(useBreakGlass(data, signedBy())).toBe(true)
    expect(useBreakGlass(data, signedBy())).toBe(false)
    expect(useBreakGlass(data, signedBy({ nonce: '1'.repeat(32) }))).toBe(true)
  })

  it('is not used where that cannot be written down', () => {
    const file = join(folder, 'no-folder')
    writeFileSync(file, '')
    expect(() => useBreakGlass(file, signedBy())).toThrow(/ENOTDIR|EEXIST/)
  })
})

describe('a permit', () => {
  const hosts = ['127.0.0.1', '::1', 'localhost']
  const taken = (issued: number, changes: Partial<{ now: number; hosts: readonly string[] }> = {}): string => {
    const { fd } = openPermit(issued)
    const result = takePermit(fd, { now, hosts, ...changes })
    return 'refused' in result ? result.refused : `ends in ${result.endsAt - now}`
  }

  it('is for ten minutes', () => {
    expect(taken(now)).toBe(`ends in ${permitLifeMs}`)
    expect(taken(now - permitLifeMs)).toBe('ends in 0')
    expect(taken(now - permitLifeMs - 1)).toContain('last ten minutes')
    expect(taken(now + 2_000)).toContain('last ten minutes')
  })

  it.each(['0.0.0.0', '::', '10.0.0.5', '127.evil.example', 'localhost.example', 'x.localhost'])(
    'is not for a listener on %s',
    (host) => expect(taken(now, { hosts: [...hosts, host] })).toContain(`a listener is on ${host}`),
  )

  it('is taken once, and leaves no file', () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('arqonbus-permit-'))
    const { fd } = openPermit(now)
    const after = readdirSync(tmpdir()).filter((name) => name.startsWith('arqonbus-permit-'))
    expect(after).toEqual(before)
    expect(takePermit(fd, { now, hosts })).toHaveProperty('permit')
    expect(takePermit(fd, { now, hosts })).toHaveProperty('refused')
  })

  it('is none from a file that somebody keeps', () => {
    const path = join(folder, 'permit.json')
    writeFileSync(path, JSON.stringify({ schema: 'arqonbus/permit/1', nonce: '0'.repeat(32), issuedAt: now }))
    const fd = openSync(path, 'r')
    expect(takePermit(fd, { now, hosts })).toEqual({ refused: 'the descriptor is no file that was taken away' })
    closeSync(fd)
    expect(takePermit(900, { now, hosts })).toEqual({ refused: 'the descriptor cannot be read (EBADF)' })
  })
})

describe('an activation', () => {
  const one = { certificate: 'c', artefact: 'a', fingerprint: 'f', at: at(0) }

  it('is kept for its build and environment', () => {
    const data = join(folder, 'activations')
    expect(isActivated(data, one)).toBe(false)
    recordActivation(data, one)
    recordActivation(data, { ...one, certificate: 'later' })
    expect(readActivations(data)).toEqual([one])
    expect(isActivated(data, { artefact: 'a', fingerprint: 'other' })).toBe(false)
    expect(isActivated(data, { artefact: 'other', fingerprint: 'f' })).toBe(false)
    expect(statSync(join(data, 'activation.json')).mode & 0o777).toBe(0o600)
    expect(readdirSync(data)).toEqual(['activation.json'])
  })

  it('is none in a file that cannot be understood, and the oldest are let go', () => {
    const data = join(folder, 'broken')
    mkdirSync(data)
    for (const text of ['', '{', '[]', '{"schema":"arqonbus/activations/1"}', '{"schema":"x","activations":[]}']) {
      writeFileSync(join(data, 'activation.json'), text)
      expect(readActivations(data)).toEqual([])
    }
    for (let n = 0; n < 40; n++) recordActivation(data, { ...one, artefact: String(n) })
    expect(readActivations(data).map(({ artefact }) => artefact)).toEqual(
      Array.from({ length: 32 }, (_, n) => String(n + 8)),
    )
  })
})

describe('a certificate', () => {
  const isAsked = (env: Readonly<Record<string, string | undefined>>): boolean =>
    isCertificateAsked(resolveKeys({ ...productionEnvironment, ...env }))

  it('is asked for where a key is pinned, even one with a typing error', () => {
    expect(isAsked({})).toBe(false)
    for (const key of [pinned, 'ed25519:AAAA', '']) expect(isAsked({ ARQONBUS_PREFLIGHT_PUBLIC_KEY: key })).toBe(true)
    expect(isAsked({ ARQONBUS_PREFLIGHT_CERTIFICATE: 'go.json' })).toBe(true)
    expect(isAsked({ ARQONBUS_ENVIRONMENT: 'staging', ARQONBUS_PREFLIGHT_PUBLIC_KEY: pinned })).toBe(true)
    expect(isAsked({ ARQONBUS_ENVIRONMENT: 'dev', ARQONBUS_PREFLIGHT_PUBLIC_KEY: pinned })).toBe(false)
  })

  it('needs a key of the installation, which no server makes', () => {
    const data = join(folder, 'installation')
    mkdirSync(data)
    expect(existingKey(data)).toMatchObject({ scope: 'run', because: 'preflight.key cannot be read (ENOENT)' })
    expect(readdirSync(data)).toEqual([])
    const made = installationKey(data)
    expect(existingKey(data)).toEqual(made)
  })
})
