// `arqonbus preflight waivers`, from the report of a failure to a run that is excused, with keys on disk.
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keyTextOf } from '../../../src/waivers/sign.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { type CommandRun, runCommand } from '../../support/run-command.ts'
import { approvers, fileOf, policyYaml, waiverOf, yamlOf } from '../../support/waivers.ts'

let folder: string
let env: Record<string, string>
const at = (name: string): string => join(folder, name)

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-waivers-command-'))
  env = {
    ...productionEnvironment,
    ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false',
    ARQONBUS_PREFLIGHT_WAIVERS: at('w.yaml'),
    ARQONBUS_PREFLIGHT_POLICY: at('p.yaml'),
  }
  writeFileSync(at('p.yaml'), policyYaml())
  writeFileSync(at('w.yaml'), '# reviewed like code\nschema: arqonbus/waivers/1\nwaivers: []\n', { mode: 0o640 })
  for (const [name, key] of Object.entries(approvers)) {
    writeFileSync(at(`${name}.pem`), key.export({ type: 'pkcs8', format: 'pem' }))
  }
  const { out } = await preflight('run', ...ofServers, '--json')
  writeFileSync(at('report.json'), out.join('\n'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** What this machine is, and where the environment came from, is no matter of exceptions. */
const ofServers = ['--profile', 'prod', '--phase', 'static', '--only', 'bus', 'shield']
const preflight = (...args: readonly string[]): Promise<CommandRun> => runCommand(['preflight', ...args], env)
const waivers = (...args: readonly string[]): Promise<CommandRun> => preflight('waivers', ...args)
const words = [
  '--owner',
  'a.ngata@example.org',
  '--reason',
  'Move of the cluster.',
  '--risk',
  'Small.',
  '--ticket',
  'OPS-1',
]
const draft = (...args: readonly string[]): Promise<CommandRun> =>
  waivers('draft', 'bus.dual-stack-required', '--from', at('report.json'), ...args)
const approve = (id: string, by: string, key = by): Promise<CommandRun> =>
  waivers('approve', id, '--by', by, '--key', at(`${key}.pem`))
const idOf = ({ out }: CommandRun): string => /EX-\d{4}-\d{3}/.exec(out.join('\n'))![0]

/** Of what the servers ask themselves: 30 where nothing in it stops, since the rest proves nothing. */
const judged = async (...args: readonly string[]): Promise<number> =>
  (await preflight('run', ...ofServers, ...args)).exitCode

describe('an exception', () => {
  it('is asked for, approved by two, holds in a run, and is renewed once', async () => {
    expect(await judged()).toBe(21)
    const id = idOf(await draft('--write', ...words))
    expect((await waivers('lint')).exitCode).toBe(65)
    expect(await judged()).toBe(21)
    expect(await approve(id, 'r.patel')).toMatchObject({ exitCode: 0 })
    expect(await approve(id, 's.kim')).toMatchObject({ exitCode: 0 })
    expect(await waivers('lint')).toMatchObject({ exitCode: 0, out: ['1 waiver, nothing wrong'] })
    expect(await judged()).toBe(30)
    expect(await judged('--no-waivers')).toBe(21)
    const plan = await preflight('plan', '--profile', 'prod')
    expect(plan.out.join('\n')).toContain(`waiver ${id}`)

    const renewed = idOf(await waivers('renew', id, '--reason', 'It took longer.'))
    expect(renewed).not.toBe(id)
    const rows = JSON.parse((await waivers('list', '--json')).out.join('')) as object[]
    expect(rows).toMatchObject([
      { id, approvals: 2, needed: 2, renewedBy: renewed },
      { id: renewed, approvals: 0, refusal: { reason: 'NOT_ENOUGH_APPROVALS' } },
    ])
    expect((await waivers('renew', id, '--reason', 'x')).exitCode).toBe(64)
    expect((await waivers('renew', renewed, '--reason', 'y')).exitCode).toBe(64)
    const text = readFileSync(at('w.yaml'), 'utf8')
    expect(text).toMatch(/^# reviewed like code\n/)
    expect(statSync(at('w.yaml')).mode & 0o777).toBe(0o640)
  })

  it('is printed whole where no file is to be written, and what nobody said is still to do', async () => {
    const { out, exitCode } = await draft()
    expect(exitCode).toBe(0)
    writeFileSync(at('w.yaml'), out.join('\n'))
    const { notes, ...lint } = await waivers('lint')
    expect(lint.exitCode).toBe(65)
    expect(notes.join('\n').match(/still to be written/g)).toHaveLength(4)
    writeFileSync(at('w.yaml'), (await draft(...words)).out.join('\n'))
    expect((await waivers('lint')).out.join()).toContain('NOT_ENOUGH_APPROVALS')
  })

  it('is not drafted for a blocker, for what passed, from a report that was changed, or for too long', async () => {
    env = { ...env, JWT_SKIP_VALIDATION: '' }
    const broken = (await preflight('run', ...ofServers, '--json')).out.join('\n')
    writeFileSync(at('broken.json'), broken)
    const from = (check: string, file: string, ...rest: readonly string[]) =>
      waivers('draft', check, '--from', at(file), ...rest)
    expect((await from('shield.jwt-skip-absent', 'broken.json')).notes.join()).toContain(
      'is blocker: there is no exception',
    )
    expect((await from('bus.auth-enabled', 'report.json')).notes.join()).toContain('passed in the report')
    expect((await draft('--days', '15')).notes.join()).toContain('from 1 to 14')
    const changed = readFileSync(at('report.json'), 'utf8').replaceAll('SWITCHED_OFF', 'OTHER')
    writeFileSync(at('report.json'), changed)
    expect(await draft()).toMatchObject({ exitCode: 64, out: [] })
  })

  it('is approved by nobody but a known approver with the right key, who is not the owner, once', async () => {
    const id = idOf(await draft('--write', ...words, '--owner', 't.moe@example.org'))
    const before = readFileSync(at('w.yaml'), 'utf8')
    expect((await approve(id, 'x.new', 's.kim')).notes.join()).toContain('knows no approver')
    expect((await approve(id, 'r.patel', 's.kim')).notes.join()).toContain('is another')
    expect((await approve(id, 't.moe')).notes.join()).toContain('somebody else has to agree')
    writeFileSync(
      at('rsa.pem'),
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    )
    expect((await approve(id, 'r.patel', 'rsa')).notes.join()).toContain('is no Ed25519 key')
    expect((await approve('EX-1', 'r.patel')).exitCode).toBe(64)
    expect(readFileSync(at('w.yaml'), 'utf8')).toBe(before)
    expect((await approve(id, 'r.patel')).exitCode).toBe(0)
    expect((await approve(id, 'r.patel')).exitCode).toBe(77)
  })

  it('shows how to make a key that it takes', async () => {
    const help = (await waivers('keygen')).out.join('\n')
    expect(help).toContain('openssl genpkey -algorithm ed25519')
    const pem = approvers['s.kim'].export({ type: 'pkcs8', format: 'pem' })
    expect(pem).toContain('BEGIN PRIVATE KEY')
    expect(keyTextOf(approvers['s.kim'])).toMatch(/^ed25519:[A-Za-z0-9+/]{43}=$/)
  })
})

it('ends with 65 for files that are wrong, in every command that reads them', async () => {
  writeFileSync(at('w.yaml'), 'schema: arqonbus/waivers/1\nwaivers: [{}]\n')
  expect(await judged()).toBe(65)
  for (const args of [['plan'], ['waivers', 'lint'], ['waivers', 'list']]) {
    expect((await preflight(...args)).exitCode, args.join(' ')).toBe(65)
  }
  writeFileSync(at('w.yaml'), yamlOf(fileOf({ ...waiverOf(Date.now()), check: 'bus.none' })))
  for (const args of [['plan'], ['waivers', 'lint'], ['waivers', 'list']]) {
    const { exitCode, notes } = await preflight(...args)
    expect([exitCode, notes.join('\n')], args.join(' ')).toEqual([
      65,
      expect.stringContaining('no check is called bus.none'),
    ])
  }
  const { out } = await preflight('run', '--json')
  expect(JSON.parse(out.join('\n'))).toMatchObject({ canonical: { fault: { kind: 'input', code: 'WAIVER_INVALID' } } })
})
