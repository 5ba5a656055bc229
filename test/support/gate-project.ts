// Small projects with everything the gates look at: a manifest, a lockfile whose packages come from a registry of the
// test, sources, and suites of Node's own test runner. All green; tests break one thing each.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import type { Phase } from '../../src/preflight/check.ts'
import { createGateChecks } from '../../src/preflight/gates/gate-checks.ts'
import { suiteNames } from '../../src/preflight/gates/gate-ids.ts'
import type { CommandSpool } from '../../src/preflight/incident/commands.ts'
import type { Report } from '../../src/preflight/report.ts'
import type { PreflightInputs } from '../../src/preflight/inputs.ts'
import { runPreflight } from '../../src/preflight/run.ts'

export type Files = Readonly<Record<string, string>>

/** Archives of packages by HTTP, as a registry hands them out; nothing else of one. */
export async function startArchives() {
  const archives = new Map<string, Buffer>()
  const server = createServer((request, response) => {
    const bytes = archives.get(request.url ?? '')
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    /** As a registry it knows no package: 404. */
    url: `http://127.0.0.1:${port}`,
    /** The lockfile's entry of a package with these files. */
    async add(name: string, files: Files) {
      const tar = pack()
      const manifest = JSON.stringify({ name, version: '1.0.0', type: 'module', exports: './index.js' })
      for (const [path, text] of Object.entries({ 'package.json': manifest, ...files })) {
        tar.entry({ name: `package/${path}` }, text)
      }
      tar.finalize()
      const chunks: Buffer[] = []
      for await (const chunk of tar) chunks.push(chunk as Buffer)
      const bytes = gzipSync(Buffer.concat(chunks))
      // In its address, so that no cache of another test has it.
      const digest = createHash('sha512').update(bytes).digest('base64')
      const path = `/${name}-${createHash('sha256').update(bytes).digest('hex')}.tgz`
      archives.set(path, bytes)
      const resolved = `http://127.0.0.1:${port}${path}`
      return { version: '1.0.0', resolved, integrity: `sha512-${digest}` }
    },
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}
export type Archives = Awaited<ReturnType<typeof startArchives>>

/** A reporter for `node --test` that writes what vitest and jest write. */
const reporter = `export default async function* (source) {
  const tests = []
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    if (data.details.type === 'suite' || data.name.endsWith('.mjs')) continue
    const status = data.skip !== undefined || data.todo !== undefined ? 'pending' : type === 'test:pass' ? 'passed' : 'failed'
    const { cause, message } = data.details.error ?? {}
    const failureMessages = status === 'failed' ? [cause?.stack ?? message] : []
    tests.push({ file: data.file, fullName: data.name, status, failureMessages })
  }
  const files = [...new Set(tests.map(({ file }) => file))]
  yield JSON.stringify({
    numPassedTests: tests.filter(({ status }) => status === 'passed').length,
    testResults: files.map((name) => ({
      name,
      status: tests.some(({ file, status }) => file === name && status === 'failed') ? 'failed' : 'passed',
      assertionResults: tests.filter(({ file }) => file === name),
    })),
  })
}
`

export const passing = (count: number): string =>
  `import { test } from 'node:test'\nfor (let n = 0; n < ${count}; n++) test('number ' + n, () => {})\n`

const command = ['{node}', '--test', '--test-reporter=./reporter.mjs', '--test-reporter-destination={report}']

/** Its suites: each one file with two tests. */
export const suitesOf = (changes: Readonly<Record<string, object | undefined>> = {}): string => {
  const suites = suiteNames.map((name) => {
    const file = `test/${name}.test.mjs`
    return [name, { command, report: 'vitest-json', sources: [file], files: [file], ...changes[name] }] as const
  })
  const kept = suites.filter(([name]) => !(name in changes) || changes[name] !== undefined)
  return JSON.stringify({ schema: 'arqonbus/preflight-gates/1', suites: Object.fromEntries(kept) })
}

type ProjectInputs = Omit<Partial<PreflightInputs>, 'phases'> & { readonly phases?: readonly Phase[] | undefined }

export interface GateProject {
  readonly root: string
  readonly dataDir: string
  write(files: Files): void
  commit(): void
  /** The phase gates, unless `phases` says otherwise; undefined: as nobody says anything. */
  run(inputs?: ProjectInputs, spool?: CommandSpool): Promise<Report>
  remove(): void
}

/** `files` over the green project. */
export async function createProject(archives: Archives, files: Files = {}): Promise<GateProject> {
  const base = mkdtempSync(join(tmpdir(), 'arqonbus-gate-project-'))
  const root = join(base, 'project')
  const dataDir = join(base, 'data')
  const entry = await archives.add('quiet', { 'index.js': 'export const quiet = true\n' })
  const typescript = fileURLToPath(new URL('../../node_modules/typescript', import.meta.url))
  const { version } = JSON.parse(readFileSync(join(typescript, 'package.json'), 'utf8')) as { version: string }
  const manifest = { name: 'project', version: '1.0.0', type: 'module' }
  const dependencies = { quiet: '1.0.0' }
  const write = (changes: Files): void => {
    for (const [path, text] of Object.entries(changes)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
  }
  write({
    'package.json': JSON.stringify({ ...manifest, exports: { './client': './dist/client.js' }, dependencies }),
    'package-lock.json': lockOf({ quiet: entry }, { 'node_modules/typescript': { version, dev: true } }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: { strict: true, noEmit: true, module: 'NodeNext', types: [], skipLibCheck: true, paths: {} },
      include: ['src/bin'],
    }),
    '.gitignore': 'node_modules\n',
    'src/bin/arqonbus.ts': 'export const answer: number = 42\n',
    'src/client.ts': "import { quiet } from 'quiet'\nexport const client = quiet\n",
    'preflight.gates.json': suitesOf(),
    'reporter.mjs': reporter,
    ...Object.fromEntries(suiteNames.map((name) => [`test/${name}.test.mjs`, passing(2)])),
    ...files,
  })
  mkdirSync(join(root, 'node_modules'), { recursive: true })
  symlinkSync(typescript, join(root, 'node_modules/typescript'))
  const host = { root, cwd: () => root, proc: '/proc', cgroup: '/sys/fs/cgroup', node: process.execPath }
  const git = (...args: string[]): void => {
    const who = ['-c', 'user.name=test', '-c', 'user.email=test@example.org', '-c', 'commit.gpgsign=false']
    execFileSync('git', [...who, ...args], { cwd: root, stdio: 'ignore' })
  }
  return {
    root,
    dataDir,
    write,
    commit() {
      git('init', '-q')
      git('add', '-A')
      git('commit', '-q', '-m', 'all')
    },
    run(given = {}, spool) {
      const { phases, ...inputs } = { phases: ['gates' as const], ...given }
      return runPreflight(
        {
          ...(phases !== undefined && { phases }),
          ...inputs,
          env: {
            ARQONBUS_ENVIRONMENT: 'staging',
            ARQONBUS_DATA_DIR: dataDir,
            PATH: process.env['PATH'],
            ...inputs.env,
          },
          shell: { PATH: process.env['PATH'], HOME: base, npm_config_registry: archives.url, ...inputs.shell },
        },
        { catalogue: createGateChecks(host), ...(spool !== undefined && { spool }) },
      )
    },
    remove: () => rmSync(base, { recursive: true, force: true }),
  }
}

/** A lockfile for a project that depends on exactly these. `root`: more of the project's own entry. */
export const lockOf = (
  entries: Readonly<Record<string, object>>,
  others: Readonly<Record<string, object>> = {},
  root: object = {},
): string =>
  JSON.stringify({
    name: 'project',
    version: '1.0.0',
    lockfileVersion: 3,
    packages: {
      '': {
        name: 'project',
        version: '1.0.0',
        dependencies: Object.fromEntries(Object.keys(entries).map((name) => [name, '1.0.0'])),
        ...root,
      },
      ...Object.fromEntries(Object.entries(entries).map(([name, entry]) => [`node_modules/${name}`, entry])),
      ...others,
    },
  })
