// The two files of exceptions: what is exactly a waiver or a policy is read, everything else is told, all at once.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BusError, isBusError } from '../../../src/base/errors.ts'
import { ownerOf } from '../../../src/preflight/incident/route.ts'
import { parsePreflightPolicy } from '../../../src/waivers/policy-file.ts'
import { defaultPreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { isInstant, parseWaivers } from '../../../src/waivers/waiver-file.ts'
import type { Waiver } from '../../../src/waivers/waiver.ts'
import { fileOf, policy, policyYaml, signed, waiverOf, yamlOf } from '../../support/waivers.ts'

const now = Date.UTC(2026, 10, 25, 12)
const bytes = (text: string): Buffer => Buffer.from(text, 'utf8')

function problemsOf(parse: () => unknown, reason = 'WAIVER_INVALID'): readonly string[] {
  let error: unknown
  try {
    parse()
  } catch (thrown) {
    error = thrown
  }
  expect(isBusError(error, 'CONFIG_INVALID'), String(error)).toBe(true)
  expect((error as BusError).details['reason']).toBe(reason)
  return (error as BusError).details['problems'] as readonly string[]
}
const problems = (text: string): readonly string[] => problemsOf(() => parseWaivers(bytes(text), 'w.yaml'))
const wrong = (changes: object): readonly string[] =>
  problems(yamlOf(fileOf({ ...waiverOf(now), ...changes } as Waiver)))

describe('a file of waivers', () => {
  it('comes back as it was written', () => {
    const file = fileOf(signed(waiverOf(now)), waiverOf(now, { id: 'EX-2', scope: { profile: 'staging' } }))
    expect(parseWaivers(bytes(yamlOf(file)), 'w.yaml')).toEqual(file)
  })

  it('may be without a waiver', () => {
    expect(parseWaivers(bytes('schema: arqonbus/waivers/1\nwaivers: []\n'), 'w.yaml').waivers).toEqual([])
  })

  it.each([
    ['an unknown key', { approved: true }, 'waivers[0].approved (line 20): no such key'],
    ['a pattern for a check', { check: 'bus.*' }, 'waivers[0].check (line 4): not the exact id'],
    ['every check', { check: 'all' }, 'waivers[0].check (line 4): not the exact id'],
    ['a list of checks', { check: ['bus.auth-enabled'] }, 'waivers[0].check (line 5): not the exact id'],
    ['a pattern among what makes up for it', { compensating: ['dep.*'] }, 'waivers[0].compensating[0]'],
    ['itself making up for it', { compensating: ['bus.dual-stack-required'] }, 'cannot make up for itself'],
    ['a bare date', { expires: '2026-12-05' }, 'waivers[0].expires (line 14): not an instant with its zone'],
    ['a time without its zone', { expires: '2026-12-05T00:00:00' }, 'not an instant with its zone'],
    ['a day that is not', { expires: '2026-02-30T00:00:00Z' }, 'not an instant with its zone'],
    ['an hour that is not', { expires: '2026-12-05T24:00:00Z' }, 'not an instant with its zone'],
    ['another way to write dates', { expires: '5 Dec 2026' }, 'not an instant with its zone'],
    ['seconds since 1970', { expires: 1_796_000_000 }, 'not an instant with its zone'],
    ['an end before its beginning', { expires: '2026-01-01T00:00:00Z' }, 'not after requested'],
    ['an unknown profile', { scope: { profile: 'production' } }, 'waivers[0].scope.profile'],
    ['an unknown key of its scope', { scope: { profile: 'prod', host: 'a' } }, 'waivers[0].scope.host'],
    ['no reason', { reason: '' }, 'waivers[0].reason (line 8): empty'],
    ['a reason that is still to be written', { reason: 'TODO: why' }, 'still to be written'],
    ['an owner who is still to be found', { owner: 'TODO' }, 'still to be written'],
    ['letters nobody sees in a reason', { reason: 'a\u202eb' }, 'a character that is not shown'],
    ['a renewal of nothing', { renewal: { number: 1, of: null } }, 'waivers[0].renewal'],
    ['the first of something', { renewal: { number: 0, of: 'EX-1' } }, 'waivers[0].renewal'],
    ['a renewal of what is not there', { renewal: { number: 1, of: 'EX-1' } }, 'renews EX-1, which is not in the file'],
    ['a binding that is no digest', { bind: 'sha256:12' }, 'waivers[0].bind'],
    ['no list of approvals', { approvals: null }, 'waivers[0].approvals (line 19): not a list'],
  ])('is refused for %s', (_name, changes, expected) => {
    expect(wrong(changes).join('\n')).toContain(expected)
  })

  it.each(Object.keys(waiverOf(now)))('is refused without %s', (name) => {
    expect(wrong({ [name]: undefined })).toEqual([`waivers[0] (line 3): ${name} is missing`])
  })

  it('tells all problems at once, in the order of the lines', () => {
    const found = wrong({ check: 'bus.*', risk: ' ', bind: 'x', approvals: [{ by: 'r.patel', extra: 1 }] })
    expect(found.map((line) => line.replace(/ \(line.*/, ''))).toEqual([
      'waivers[0].check',
      'waivers[0].risk',
      'waivers[0].bind',
      ...Array.from({ length: 3 }, () => 'waivers[0].approvals[0]'),
      'waivers[0].approvals[0].extra',
    ])
  })

  it('is refused for one id twice, and for one approver twice', () => {
    const waiver = signed(waiverOf(now), ['r.patel', 'r.patel'])
    const found = problems(yamlOf({ schema: 'arqonbus/waivers/1', waivers: [waiver, waiverOf(now)] })).join('\n')
    expect(found).toContain('the id EX-2026-014 is there twice')
    expect(found).toContain('r.patel is there twice')
  })

  it('wants a new reason for a renewal, of the same check', () => {
    const first = waiverOf(now)
    const renewal = { ...first, id: 'EX-2', renewal: { number: 1, of: first.id } }
    expect(problems(yamlOf(fileOf(first, renewal))).join()).toContain('a renewal needs a new one')
    const other = { ...renewal, reason: 'It took longer.', check: 'bus.auth-enabled' }
    expect(problems(yamlOf(fileOf(first, other))).join()).toContain('which is of another check')
    expect(
      parseWaivers(bytes(yamlOf(fileOf(first, { ...renewal, reason: 'It took longer.' }))), 'w').waivers,
    ).toHaveLength(2)
  })

  it.each([
    ['an alias', 'schema: &a arqonbus/waivers/1\nwaivers: [*a]\n', 'an alias'],
    ['an anchor', 'schema: &a arqonbus/waivers/1\nwaivers: []\n', 'an anchor'],
    ['a merge key', 'schema: arqonbus/waivers/1\n<<: {waivers: []}\nwaivers: []\n', 'a key that is no plain text'],
    ['a tag', 'schema: !!str arqonbus/waivers/1\nwaivers: []\n', 'a tag'],
    ['a key twice', 'schema: arqonbus/waivers/1\nwaivers: []\nwaivers: []\n', 'unique'],
    ['two documents', 'schema: arqonbus/waivers/1\nwaivers: []\n---\nschema: x\n', 'multiple documents'],
    ['no YAML', 'schema: [', '(line'],
    ['nothing', '', 'empty'],
    ['a list', '- a\n', 'not a map'],
    ['another schema', 'schema: arqonbus/waivers/2\nwaivers: []\n', 'not arqonbus/waivers/1'],
    ['a key that is none', '? [a]\n: b\nschema: arqonbus/waivers/1\nwaivers: []\n', 'a key that is no plain text'],
    ['depths', `schema: ${'['.repeat(20_000)}`, '(line 1)'],
  ])('is refused for %s', (_name, text, expected) => {
    expect(problems(text).join('\n')).toContain(expected)
  })

  it('is refused when it is too large, or no UTF-8', () => {
    expect(problems(`# ${'x'.repeat(1024 * 1024)}`)).toEqual(['file (line 1): larger than 1048576 bytes'])
    const parse = (): unknown => parseWaivers(Buffer.from([0x73, 0xff]), 'w')
    expect(problemsOf(parse)).toEqual(['file (line 1): not UTF-8'])
  })

  it('throws nothing but its problems, whatever the text', () => {
    const text = yamlOf(fileOf(signed(waiverOf(now))))
    const cut = fc
      .tuple(fc.nat(text.length), fc.nat(40), fc.string({ maxLength: 12 }))
      .map(([at, length, inner]) => text.slice(0, at) + inner + text.slice(at + length))
    fc.assert(
      fc.property(fc.oneof(cut, fc.string({ unit: 'binary' })), (changed) => {
        try {
          parseWaivers(bytes(changed), 'w')
        } catch (error) {
          if (!isBusError(error, 'CONFIG_INVALID')) throw error
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('an instant', () => {
  it('is taken exactly when it names one moment', () => {
    const good = [
      '2026-12-05T00:00:00Z',
      '2026-12-05T00:00:00.123Z',
      '2024-02-29T23:59:59+13:00',
      '2026-12-05T00:00:00-00:30',
    ]
    expect(good.filter((text) => !isInstant(text))).toEqual([])
    const bad = [
      '2026-02-29T00:00:00Z',
      '2026-13-01T00:00:00Z',
      '2026-12-05T00:00:60Z',
      '2026-12-05t00:00:00z',
      '2026-12-05T00:00Z',
      '1999-12-05T00:00:00Z',
      '2026-12-05T00:00:00+24:00',
      '2026-12-05 00:00:00Z',
    ]
    expect(bad.filter((text) => isInstant(text))).toEqual([])
  })

  it('that is taken is a date of the machine, too', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }),
        (date) => {
          expect(isInstant(date.toISOString())).toBe(true)
          expect(Date.parse(date.toISOString())).toBe(date.getTime())
        },
      ),
    )
  })
})

describe('a policy', () => {
  const parse = (text: string) => parsePreflightPolicy(bytes(text), 'p.yaml')
  const policyProblems = (changes: object): string =>
    problemsOf(() => parse(policyYaml(changes)), 'PREFLIGHT_POLICY_INVALID').join('\n')

  it('has defaults for all but its schema', () => {
    expect(parse('schema: arqonbus/preflight-policy/1\n')).toEqual(defaultPreflightPolicy)
    expect(parse(policyYaml())).toEqual(policy)
    expect(
      parse(
        policyYaml({
          hardened: true,
          waivable: ['bus.infra-protocol'],
          instances: 2,
          natsServers: 'any',
          backupMaxAge: 30,
        }),
      ),
    ).toEqual({
      ...policy,
      hardened: true,
      waivable: ['bus.infra-protocol'],
      instances: 2,
      natsServers: 'any',
      backupMaxAge: 30,
    })
  })

  it('names owners of categories, and the folder of backups', () => {
    const owners = { 'dep.postgres': 'storage team', dep: 'platform@example.org', constructor: 'Ngāi Tahu' }
    expect(parse(policyYaml({ owners, backupFolder: '/var/backups/bus' }))).toEqual({
      ...policy,
      owners,
      backupFolder: '/var/backups/bus',
    })
    const { owners: read } = parse(policyYaml({ owners }))
    expect(ownerOf('dep.postgres.connect', read!)).toBe('storage team')
    expect(ownerOf('dep.valkey.ping', read!)).toBe('platform@example.org')
    expect(ownerOf('bus.no-defaults', read!)).toBe('engineering')
  })

  const key = policy.approvers['r.patel']!
  it.each([
    ['an unknown key', { approver: {} }, 'no such key'],
    ['one key for two names', { approvers: { 'a.one': key, 'b.two': key } }, 'the key of another approver'],
    [
      'two names of one person',
      { approvers: { 'r.patel': key, 'R.Patel@example.org': policy.approvers['s.kim'] } },
      'another name',
    ],
    ['a key of another kind', { approvers: { a: 'rsa:AAAA' } }, 'not ed25519:'],
    ['a key that is too short', { approvers: { a: 'ed25519:AAAA' } }, 'not ed25519:'],
    ['a pattern', { waivable: ['bus.*'] }, 'not the id of a check'],
    ['a number of services that is none', { instances: 0 }, 'not a whole number from 1'],
    ['a word for a boolean', { hardened: 'yes' }, 'neither true nor false'],
    ['owners in a list', { owners: ['dep'] }, 'owners (line 8): not a map of categories to owners'],
    ['a category that is none', { owners: { 'Dep.*': 'x' } }, 'not a category of checks'],
    ['an id without its end', { owners: { 'dep.': 'x' } }, 'not a category of checks'],
    ['an owner without a name', { owners: { dep: ' ' } }, 'owners.dep (line 8): empty'],
    ['an owner that is a number', { owners: { dep: 1 } }, 'not a text'],
    ['an owner of two lines', { owners: { dep: 'a\nb' } }, 'more than one line'],
    ['an owner of 201 letters', { owners: { dep: 'x'.repeat(201) } }, 'longer than 200'],
    ['a folder that is none', { backupFolder: true }, 'not a text'],
    ['a word that is not known', { natsServers: 'most' }, 'not all or any'],
  ])('is refused for %s', (_name, changes, expected) => {
    expect(policyProblems(changes)).toContain(expected)
  })
})
