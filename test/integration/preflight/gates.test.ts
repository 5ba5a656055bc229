// The gates on small projects with real suites, a real npm, a real compiler and real servers.
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { formatJson } from '../../../src/preflight/format-json.ts'
import { gateIds, suiteNames } from '../../../src/preflight/gates/gate-ids.ts'
import { type CommandSpool, openCommandSpool } from '../../../src/preflight/incident/commands.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { defaultPreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { keyTextOf } from '../../../src/waivers/sign.ts'
import {
  type Archives,
  createProject,
  type Files,
  type GateProject,
  lockOf,
  passing,
  startArchives,
  suitesOf,
} from '../../support/gate-project.ts'
import { resultOf, troubles, wordOf } from '../../support/preflight-run.ts'
import { runCommand } from '../../support/run-command.ts'
import { startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startPostgresServer } from '../../support/servers/postgres-server.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'

let archives: Archives
const projects: GateProject[] = []
beforeAll(async () => {
  archives = await startArchives()
})
afterAll(async () => {
  for (const project of projects) project.remove()
  await archives.close()
})

async function projectWith(files: Files = {}): Promise<GateProject> {
  const project = await createProject(archives, files)
  projects.push(project)
  return project
}

const foundIn = (report: Report, id: string): string[] =>
  (report.observations.results[id]?.findings ?? []).map(({ found }) => found)

function outputOf(spool: CommandSpool, id: string, stream: 'stdout' | 'stderr' = 'stdout'): string {
  const command = spool.commands().find(({ folder }) => folder.endsWith(`-${id}`))
  if (command === undefined) throw new Error(`${id} was not started`)
  return spool.read(command, stream, 1 << 26).bytes.toString('utf8')
}

describe('a green project', () => {
  it('passes every gate, attested for a day, and by nothing that was changed', async () => {
    const project = await projectWith()
    project.commit()
    const report = await project.run()
    expect(troubles(report)).toEqual({})
    expect(gateIds.map((id) => wordOf(report, id))).toEqual(gateIds.map(() => 'pass'))
    const counts = JSON.parse(readFileSync(join(project.dataDir, 'preflight-gates.json'), 'utf8')) as { suites: object }
    expect(Object.values(counts.suites)).toEqual([2, 2, 2, 2, 2, 2, 2, 2])

    const folder = project.dataDir
    const reportPath = join(folder, 'gates.json')
    writeFileSync(reportPath, formatJson(report))
    const { privateKey } = generateKeyPairSync('ed25519')
    const keyPath = join(folder, 'ci.pem')
    writeFileSync(keyPath, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const made = await runCommand(['preflight', 'attest', '--from', reportPath, '--by', 'ci', '--key', keyPath], {})
    expect(made).toMatchObject({ exitCode: 0, out: [join(folder, 'gates.attestation.json')] })
    const attestationPath = made.out[0]!
    const policy = { ...defaultPreflightPolicy, attesters: { ci: keyTextOf(privateKey) } }
    // Nothing may be started for these: a suite that fails shows that it was.
    const spoiled = passing(2).replace('=> {}', "=> { throw new Error('started') }")
    const attested = async (more: object = {}): Promise<string> =>
      wordOf(await project.run({ attestationPath, policy, only: ['gate.isolated'], ...more }), 'gate.isolated')

    const spool = openCommandSpool(systemClock)
    const again = await project.run({ attestationPath, policy }, spool)
    expect(troubles(again)).toEqual({})
    expect(gateIds.map((id) => resultOf(again, id))).toEqual(
      gateIds.map(() =>
        expect.objectContaining({ status: 'pass', facts: expect.objectContaining({ by: 'attestation' }) }),
      ),
    )
    expect(spool.commands()).toEqual([])
    spool.close()
    // A result that rests on an attestation is no run that can be attested.
    writeFileSync(join(folder, 'second.json'), formatJson(again))
    const second = await runCommand(
      ['preflight', 'attest', '--from', join(folder, 'second.json'), '--by', 'ci', '--key', keyPath],
      {},
    )
    expect(second.exitCode).toBe(65)

    const hour = 3_600_000
    expect(await attested({ now: Date.now() + 23 * hour })).toBe('pass')
    expect(await attested({ now: Date.now() + 25 * hour })).toBe('fail ATTESTATION_EXPIRED config')
    expect(await attested({ now: Date.now() - hour })).toBe('fail ATTESTATION_FUTURE config')
    expect(await attested({ policy: defaultPreflightPolicy })).toBe('fail ATTESTATION_UNSIGNED config')
    const other = keyTextOf(generateKeyPairSync('ed25519').publicKey)
    expect(await attested({ policy: { ...policy, attesters: { ci: other } } })).toBe('fail ATTESTATION_UNSIGNED config')
    expect(await attested({ attestationPath: keyPath })).toBe('fail ATTESTATION_UNREADABLE config')
    const text = readFileSync(attestationPath, 'utf8')
    const yesterday = text.replace(/"at": "\d{4}/, '"at": "2020')
    writeFileSync(attestationPath, yesterday)
    expect(await attested()).toBe('fail ATTESTATION_UNSIGNED,ATTESTATION_EXPIRED config')
    writeFileSync(attestationPath, text.replace(basename(reportPath), `../data/${basename(reportPath)}`))
    expect(await attested()).toContain('ATTESTATION_REPORT')
    writeFileSync(attestationPath, text)
    writeFileSync(reportPath, `${formatJson(report)} `)
    expect(await attested()).toContain('ATTESTATION_REPORT')
    rmSync(reportPath)
    expect(await attested()).toContain('ATTESTATION_REPORT')
    writeFileSync(reportPath, formatJson(report))
    expect(await attested()).toBe('pass')

    project.write({ 'test/unit.test.mjs': spoiled })
    const dirty = await project.run({ attestationPath, policy, only: ['gate.unit'] })
    expect(wordOf(dirty, 'gate.isolated')).toBe('fail ATTESTATION_OTHER config')
    expect(foundIn(dirty, 'gate.isolated')).toEqual(['of another commit'])
    expect(wordOf(dirty, 'gate.unit')).toBe('blocked-by gate.isolated')
    project.commit()
    expect(await attested()).toBe('fail ATTESTATION_OTHER config')
  })

  it('is not run unless somebody asks for it, nor inside itself', async () => {
    const project = await projectWith()
    for (const inputs of [{ phases: undefined }, { phases: ['static' as const] }]) {
      const silent = await project.run(inputs)
      expect(gateIds.map((id) => wordOf(silent, id))).toEqual(gateIds.map(() => 'not-selected'))
      expect(silent.canonical.verdict).toBe('INCONCLUSIVE')
    }
    const inside = await project.run({ shell: { ARQONBUS_PREFLIGHT_GATE: '1' } })
    expect(inside.canonical).toMatchObject({ verdict: 'INCONCLUSIVE', fault: { kind: 'usage', code: 'GATE_IN_GATE' } })
    expect(existsSync(project.dataDir)).toBe(false)
  })
})

const test = (body: string): string => `import { test } from 'node:test'\n${body}\n`
const suite = 'test/unit.test.mjs'
// Put together, so that the gate does not find it here.
const only = `.${'only'}`

describe('a suite', () => {
  it.each<[string, Files, string, (string | RegExp)[]]>([
    [
      'fails',
      { [suite]: test("test('sums', () => {\n  throw new Error('no')\n})") },
      'TESTS_FAILED',
      [/1 failed; first sums \(.*unit\.test\.mjs:3\)/],
    ],
    ['breaks on loading', { [suite]: "throw new Error('no')\n" }, 'NO_TESTS,RUNNER_FAILED', []],
    ['has no tests', { [suite]: '' }, 'NO_TESTS', []],
    ['skips', { [suite]: test("test('a', () => {})\ntest('b', { skip: true }, () => {})") }, 'SKIPPED', ['b']],
    ['leaves one to do', { [suite]: test("test('a', () => {})\ntest.todo('b')") }, 'SKIPPED', ['b']],
    ['hides others', { [suite]: test(`test${only}('a', () => {})`) }, 'ONLY', [`${suite}:2`]],
    [
      'ends well and reports nothing',
      { 'reporter.mjs': 'export default async function* (source) {\n  for await (const _ of source);\n}\n' },
      'NO_REPORT',
      ['exit 0'],
    ],
    [
      'reports more than it lists',
      { 'reporter.mjs': 'export default async function* () {\n  yield \'{"numPassedTests":9,"testResults":[]}\'\n}\n' },
      'NO_REPORT',
      [],
    ],
    [
      'ends badly after its report',
      { [suite]: test("test('a', () => {})\nprocess.on('exit', () => {\n  process.exitCode = 3\n})") },
      'RUNNER_FAILED',
      [],
    ],
    ['is not in the file', { 'preflight.gates.json': suitesOf({ unit: undefined }) }, 'SUITE_ABSENT', []],
    [
      'names a file that is gone',
      { 'preflight.gates.json': suitesOf({ unit: { files: [suite, 'test/gone.test.mjs'] } }) },
      'FILE_MISSING',
      ['test/gone.test.mjs'],
    ],
    [
      'names a program that is not there',
      { 'preflight.gates.json': suitesOf({ unit: { command: ['no-such-program', '{report}'] } }) },
      'NO_REPORT',
      ['ENOENT'],
    ],
  ])('that %s', async (_how, files, codes, words) => {
    const project = await projectWith(files)
    const report = await project.run({ only: ['gate.unit'] })
    expect(wordOf(report, 'gate.unit')).toBe(`fail ${codes} regression`)
    for (const word of words) expect(foundIn(report, 'gate.unit').join('; ')).toMatch(word)
  })

  it.each([
    ['no JSON', '{'],
    ['a skip without a reason', suitesOf({ unit: { skips: [{ test: 'b', reason: ' ' }] } })],
    ['a word nobody knows', suitesOf({ unit: { retries: 2 } })],
    ['a report that nobody reads', suitesOf({ unit: { report: 'tap' } })],
  ])('of settings with %s does not start', async (_what, text) => {
    const project = await projectWith({ 'preflight.gates.json': text })
    const report = await project.run({ only: ['gate.unit'] })
    expect(wordOf(report, 'gate.isolated')).toBe('fail SUITES_UNREADABLE regression')
    expect(wordOf(report, 'gate.unit')).toBe('blocked-by gate.isolated')
  })

  it('may skip what is agreed on, and all that it writes is kept', async () => {
    const skips = [{ test: 'b', reason: 'needs a printer' }]
    const line = 'x'.repeat(99)
    const project = await projectWith({
      'preflight.gates.json': suitesOf({ unit: { command: ['{node}', 'run.mjs', '{report}'], files: [], skips } }),
      'run.mjs': `import { writeFileSync } from 'node:fs'
const assertionResults = [{ fullName: 'a', status: 'passed' }, { fullName: 'b', status: 'skipped' }]
writeFileSync(process.argv[2], JSON.stringify({ numPassedTests: 1, testResults: [{ name: 'x', status: 'passed', assertionResults }] }))
for (let n = 0; n < 20_000; n++) console.log('${line}')
console.error('the end')
`,
    })
    const spool = openCommandSpool(systemClock)
    const report = await project.run({ only: ['gate.unit'] }, spool)
    expect(troubles(report)).toEqual({})
    expect(outputOf(spool, 'gate-unit')).toHaveLength(2_000_000)
    expect(outputOf(spool, 'gate-unit', 'stderr')).toBe('the end\n')
    spool.close()
  })

  it('that never ends is ended with all that it started', async () => {
    const project = await projectWith({
      'preflight.gates.json': suitesOf({ unit: { command: ['{node}', 'run.mjs', '{report}'], files: [] } }),
      'run.mjs': `import { spawn } from 'node:child_process'
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
console.log(child.pid)
setInterval(() => {}, 1000)
`,
    })
    const spool = openCommandSpool(systemClock)
    const report = await project.run({ only: ['gate.unit'], checkTimeoutsMs: { 'gate.unit': 1_500 } }, spool)
    expect(wordOf(report, 'gate.unit')).toBe('error DEADLINE dependency')
    const pid = Number(outputOf(spool, 'gate-unit'))
    expect(pid).toBeGreaterThan(1)
    await expect.poll(() => isAlive(pid)).toBe(false)
    spool.close()
  })

  it('that is a part of others is read from their reports, and run where they were not', async () => {
    const [whole, part] = ['test/integration.test.mjs', 'test/projector-integration.test.mjs']
    const settings = (parts: string[]): string =>
      suitesOf({
        integration: { files: [whole, part], sources: [whole, part] },
        'projector-integration': {
          command: ['{node}', 'run.mjs', '{report}'],
          files: parts,
          sources: [part],
          partOf: ['integration'],
        },
      })
    const project = await projectWith({
      'preflight.gates.json': settings([part]),
      'run.mjs': "throw new Error('is run')",
      [part]: passing(3),
    })
    const only = ['gate.integration', 'gate.projector-integration']
    const seen = async (): Promise<string[]> => {
      const report = await project.run({ only })
      return only.map((id) => [wordOf(report, id), ...foundIn(report, id)].join(' '))
    }
    const green = await project.run({ only })
    expect(troubles(green)).toEqual({})
    expect(only.map((id) => green.observations.results[id]?.observed)).toEqual(['5 tests', '3 tests'])

    const alone = await project.run({ only: only.slice(1) })
    expect(wordOf(alone, only[1]!)).toBe('fail NO_REPORT regression')

    project.write({ [whole]: test("test('sums', () => {\n  throw new Error('no')\n})") })
    expect(await seen()).toEqual([expect.stringContaining('fail TESTS_FAILED'), 'pass'])
    project.write({ [whole]: passing(2), [part]: test("test('adds', () => {\n  throw new Error('no')\n})") })
    expect(await seen()).toEqual([
      expect.stringContaining('fail TESTS_FAILED'),
      expect.stringMatching(/^fail TESTS_FAILED regression 1 failed; first adds/),
    ])
    project.write({ [part]: passing(3), 'test/more.test.mjs': passing(1) })
    project.write({ 'preflight.gates.json': settings([part, 'test/more.test.mjs']) })
    expect(await seen()).toEqual(['pass', 'fail FILE_MISSING regression test/more.test.mjs'])
  })

  it('that has lost its tests is hollow, also little by little', async () => {
    const command = ['{node}', 'run.mjs', '{report}']
    const project = await projectWith({
      'preflight.gates.json': suitesOf(Object.fromEntries(suiteNames.map((name) => [name, { command, files: [] }]))),
      'run.mjs': `import { readFileSync, writeFileSync } from 'node:fs'
const count = process.argv[2].endsWith('/unit.json') ? Number(readFileSync('count.txt', 'utf8')) : 1
const assertionResults = Array.from({ length: count }, (_, n) => ({ fullName: 'number ' + n, status: 'passed' }))
const testResults = [{ name: 'x', status: 'passed', assertionResults }]
writeFileSync(process.argv[2], JSON.stringify({ numPassedTests: count, testResults }))
`,
    })
    const hollow = async (count: number): Promise<string> => {
      project.write({ 'count.txt': String(count) })
      const report = await project.run({ only: ['gate.not-hollow'] })
      return `${wordOf(report, 'gate.not-hollow')} ${foundIn(report, 'gate.not-hollow').join()}`.trim()
    }
    expect(await hollow(40)).toBe('pass')
    expect(await hollow(38)).toBe('pass')
    expect(await hollow(37)).toBe('fail HOLLOW regression 37 tests, 40 before')
    writeFileSync(join(project.dataDir, 'preflight-gates.json'), '[]')
    expect(await hollow(40)).toBe(`fail COUNTS_UNREADABLE config ${join(project.dataDir, 'preflight-gates.json')}`)
  })
})

/** A zombie, whose parent has not looked yet, does not count. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe.skipIf(skipWithout('valkey', 'postgres', 'nats'))('suites and the judged servers', () => {
  const password = 'a-password-of-the-judged-store'
  let valkey: Awaited<ReturnType<typeof startValkeyServer>>
  let postgres: Awaited<ReturnType<typeof startPostgresServer>>
  let nats: Awaited<ReturnType<typeof startNatsServer>>
  let env: Record<string, string>
  beforeAll(async () => {
    ;[valkey, postgres, nats] = await Promise.all([
      startValkeyServer({ password }),
      startPostgresServer(),
      startNatsServer(),
    ])
    await postgres.query(`CREATE ROLE plain LOGIN`)
    env = {
      ARQONBUS_VALKEY_URL: valkey.url,
      ARQONBUS_POSTGRES_URL: postgres.url.replace('arqonbus@', 'plain@'),
      NATS_URL: nats.url,
      JWT_SECRET: 'a-secret-that-no-suite-may-see-0123456789abcdef',
    }
  })
  afterAll(() => Promise.all([valkey, postgres, nats].map((server) => server?.close())))

  it('nothing of the judged environment is in that of a suite, nor in its reach', async () => {
    const project = await projectWith({ [suite]: `console.log('ENV ' + JSON.stringify(process.env))\n${passing(1)}` })
    const spool = openCommandSpool(systemClock)
    const own = await startValkeyServer()
    const shell = { ...env, ARQONBUS_TEST_VALKEY_URL: own.url, GITHUB_TOKEN: 'a-token-of-the-operator' }
    const report = await project.run({ env, shell, only: ['gate.unit'] }, spool)
    await own.close()
    expect(troubles(report)).toEqual({})
    expect(report.observations.results['gate.isolated']?.observed).toBe(
      '3 servers of the judged environment, 1 offered to suites',
    )
    // The runner of Node adds variables of its own; whatever is there, it is none of these.
    const lines = spool.commands().map(({ argv }) => argv.join(' '))
    expect(lines.some((line) => line.includes('--test'))).toBe(true)
    const text = JSON.stringify(await environmentSeen(project, { env, shell }))
    for (const value of [...Object.values(env), password, shell.GITHUB_TOKEN]) expect(text).not.toContain(value)
    expect(Object.keys(JSON.parse(text) as object).sort()).toEqual(
      [
        'ARQONBUS_PREFLIGHT_GATE',
        'ARQONBUS_TEST_VALKEY_URL',
        'CI',
        'HOME',
        'LC_ALL',
        'NODE_COMPILE_CACHE',
        'PATH',
        'TZ',
      ].sort(),
    )
    spool.close()
  })

  async function environmentSeen(project: GateProject, inputs: { env: Files; shell: Files }): Promise<object> {
    project.write({
      'preflight.gates.json': suitesOf({ unit: { command: ['{node}', 'print.mjs', '{report}'], files: [] } }),
      'print.mjs': 'process.stdout.write(JSON.stringify(process.env))\n',
    })
    const own = await startValkeyServer()
    const spool = openCommandSpool(systemClock)
    const shell = { ...inputs.shell, ARQONBUS_TEST_VALKEY_URL: own.url }
    await project.run({ env: inputs.env, shell, only: ['gate.unit'] }, spool)
    await own.close()
    const seen = JSON.parse(outputOf(spool, 'gate-unit')) as object
    spool.close()
    return seen
  }

  it.each<[string, () => { shell?: Files; files?: Files; env?: Files }, string]>([
    [
      'the same Valkey under another name',
      () => ({ shell: { ARQONBUS_TEST_VALKEY_URL: valkey.url.replace('127.0.0.1', 'localhost') } }),
      'fail SAME_SERVER config',
    ],
    [
      'the same Postgres, another database',
      () => ({ shell: { ARQONBUS_TEST_POSTGRES_URL: `postgresql://arqonbus@localhost:${postgres.port}/postgres` } }),
      'fail SAME_SERVER config',
    ],
    [
      'the same NATS',
      () => ({ shell: { ARQONBUS_TEST_NATS_URL: nats.url.replace('127.0.0.1', 'localhost') } }),
      'fail SAME_SERVER config',
    ],
    [
      'its very address',
      () => ({ shell: { ARQONBUS_TEST_VALKEY_URL: valkey.url } }),
      'fail PRODUCTION_IN_ENVIRONMENT config',
    ],
    [
      'an address in a suite',
      () => ({ files: { [suite]: `// ${postgres.url}\n${passing(1)}` } }),
      'fail PRODUCTION_IN_SOURCES config',
    ],
    [
      'an address in a .env file',
      () => ({ files: { '.env.test': `NATS_URL=${nats.url}\n` } }),
      'fail PRODUCTION_IN_SOURCES config',
    ],
    [
      'a server for suites that is not there',
      () => ({ shell: { ARQONBUS_TEST_VALKEY_URL: 'redis://127.0.0.1:1' } }),
      'fail DISPOSABLE_UNREADABLE config',
    ],
    [
      'a judged server that is not there',
      () => ({ env: { NATS_URL: 'nats://127.0.0.1:1' } }),
      'error PRODUCTION_UNREADABLE dependency',
    ],
    [
      'a judged server that does not know us',
      () => ({ env: { ARQONBUS_VALKEY_URL: valkey.url.replace(password, 'x') } }),
      'error PRODUCTION_UNREADABLE dependency',
    ],
  ])('no suite starts with %s', async (_what, changes, word) => {
    const { shell = {}, files = {}, env: others = {} } = changes()
    const project = await projectWith(files)
    const spool = openCommandSpool(systemClock)
    const report = await project.run({ env: { ...env, ...others }, shell, only: ['gate.unit'] }, spool)
    expect(wordOf(report, 'gate.isolated')).toBe(word)
    expect(wordOf(report, 'gate.unit')).toBe('blocked-by gate.isolated')
    expect(spool.commands()).toEqual([])
    expect(formatJson(report)).not.toContain(password)
    spool.close()
  })

  it.each([
    ['ends', 'PRODUCTION_LOST'],
    ['restarts', 'PRODUCTION_CHANGED'],
  ])('a suite that %s a judged server does not pass', async (_how, code) => {
    const victim = await startValkeyServer()
    const go = join(victim.dir, 'restarted')
    const isRestarted = code === 'PRODUCTION_CHANGED'
    const project = await projectWith({
      [suite]: test(`import { existsSync } from 'node:fs'
test('a', async () => {
  process.kill(${victim.pid}, 'SIGKILL')
  while (${isRestarted} && !existsSync('${go}')) await new Promise((resolve) => setTimeout(resolve, 20))
})`),
    })
    const running = project.run({ env: { ARQONBUS_VALKEY_URL: victim.url }, only: ['gate.unit'] })
    if (isRestarted) {
      const { pid } = victim
      await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false)
      await victim.kill()
      await victim.restart()
      writeFileSync(go, '')
    }
    expect(wordOf(await running, 'gate.unit')).toBe(`fail ${code} regression`)
    await victim.close()
  })
})

const manifestOf = (more: object, name = 'quiet'): Files => ({
  'package.json': JSON.stringify({
    name: 'project',
    version: '1.0.0',
    type: 'module',
    dependencies: { [name]: '1.0.0' },
    ...more,
  }),
})

describe('a build without its tests', () => {
  it('needs an attestation: what cannot be run does not count as not applicable', async () => {
    const project = await projectWith()
    for (const gone of ['src', 'test', 'package-lock.json', 'tsconfig.json']) {
      rmSync(join(project.root, gone), { recursive: true })
    }
    project.write({ 'dist/build-info.json': JSON.stringify({ commit: 'ab', isClean: true, lock: 'cd' }) })
    const report = await project.run()
    const alone = suiteNames.filter((name) => name !== 'shield-tests')
    expect(troubles(report)).toEqual({
      'gate.install-clean': 'fail LOCK_ABSENT dependency',
      ...Object.fromEntries(alone.map((name) => [`gate.${name}`, 'fail SUITE_ABSENT regression'])),
    })
    expect(wordOf(report, 'gate.shield-tests')).toBe('blocked-by gate.unit') // of which it is a part
    expect(wordOf(report, 'gate.typecheck')).toBe('not-applicable')
    expect(report.canonical.verdict).toBe('NO-GO')
  })
})

describe('a clean tree', () => {
  const loud = {
    listens: "import { createServer } from 'node:net'\ncreateServer().listen(0, '127.0.0.1').unref()\n",
    keeps: 'setInterval(() => {}, 1000)\n',
    changes: "process.env.NODE_ENV = 'production'\n",
    writes: "console.log('thank you for installing')\n",
    never: 'await new Promise(() => {})\n',
  }

  it.each([
    ['listens', 'LISTENS'],
    ['keeps', 'HANDLE_OPEN'],
    ['changes', 'ENVIRONMENT_CHANGED'],
    ['writes', 'WRITES_STDOUT'],
    ['never', 'IMPORT_FAILED'],
  ] as const)('a dependency that %s', async (name, code) => {
    const entry = await archives.add(name, { 'index.js': loud[name] })
    const project = await projectWith({
      ...manifestOf({}, name),
      'package-lock.json': lockOf({ [name]: entry }),
      'src/client.ts': '',
    })
    const report = await project.run({ only: ['gate.import-clean'] })
    expect(wordOf(report, 'gate.install-clean')).toBe('pass')
    expect(wordOf(report, 'gate.import-clean')).toBe(`fail ${code} regression`)
  })

  it.each<[string, Files, string, string[]]>([
    [
      'imports that only development has, or nothing',
      {
        'src/client.ts': "import 'quiet'\nimport 'typescript'\nimport 'no-such-package/part'\n",
        ...manifestOf({ devDependencies: { typescript: '1.0.0' } }),
      },
      'UNDECLARED_IMPORT,UNDECLARED_IMPORT',
      ['imported by src/client.ts, nowhere declared', 'imported by src/client.ts, only in devDependencies'],
    ],
    ['an export that is not there', manifestOf({ exports: { './gone': './dist/gone.js' } }), 'NOT_FOUND', []],
  ])('with %s', async (_what, files, codes, words) => {
    const { devDependencies } = JSON.parse(files['package.json']!) as { devDependencies?: object }
    const entry = await archives.add('quiet', { 'index.js': '' })
    const development = { 'node_modules/typescript': { version: '1.0.0', dev: true } }
    const lock = lockOf({ quiet: entry }, development, { devDependencies })
    const project = await projectWith({ ...files, 'package-lock.json': lock })
    const report = await project.run({ only: ['gate.import-clean'] })
    expect(wordOf(report, 'gate.import-clean')).toBe(`fail ${codes} regression`)
    if (words.length > 0) expect(foundIn(report, 'gate.import-clean')).toEqual(words)
  })

  it('with a copy of a package in our own code', async () => {
    const project = await projectWith({
      'src/node_modules/quiet/package.json': '{"name":"quiet","exports":"./index.js","type":"module"}',
      'src/node_modules/quiet/index.js': 'export const quiet = false\n',
    })
    const report = await project.run({ only: ['gate.import-clean'] })
    expect(wordOf(report, 'gate.import-clean')).toBe('fail SHADOWED regression')
    expect(foundIn(report, 'gate.import-clean')).toEqual(['src/node_modules/quiet is found first'])
  })

  it('with an archive, a registry or a lockfile that is not what it should be', async () => {
    const install = async (lock: string, inputs: object = {}): Promise<string> => {
      const project = await projectWith({ 'package-lock.json': lock })
      return wordOf(await project.run({ only: ['gate.install-clean'], ...inputs }), 'gate.install-clean')
    }
    const entry = await archives.add('quiet', { 'index.js': 'export const quiet = 1\n' })
    const other = await archives.add('quiet', { 'index.js': 'export const quiet = 2\n' })
    expect(await install(lockOf({ quiet: entry }))).toBe('pass')
    expect(await install(lockOf({ quiet: entry }), { offline: true })).toBe('error REGISTRY_UNREACHABLE dependency')
    expect(await install(lockOf({ quiet: { ...entry, integrity: other.integrity } }))).toBe(
      'fail INSTALL_FAILED dependency',
    )
    expect(await install(lockOf({}))).toBe('fail INSTALL_FAILED dependency')
    const gone = { ...entry, resolved: 'http://127.0.0.1:1/quiet.tgz' }
    expect(await install(lockOf({ quiet: gone }))).toBe('error REGISTRY_UNREACHABLE dependency')
  })

  it('and the compiler', async () => {
    const project = await projectWith({ 'src/bin/arqonbus.ts': "export const answer: number = 'x'\n" })
    const typecheck = async (): Promise<string> =>
      wordOf(await project.run({ only: ['gate.typecheck'] }), 'gate.typecheck')
    expect(await typecheck()).toBe('fail TYPE_ERRORS regression')
    project.write({ 'package-lock.json': lockOf({}, { 'node_modules/typescript': { version: '0.0.1' } }) })
    expect(await typecheck()).toBe('fail OTHER_COMPILER regression')
    rmSync(join(project.root, 'node_modules/typescript'))
    expect(await typecheck()).toBe('fail NO_COMPILER regression')
  })
})
