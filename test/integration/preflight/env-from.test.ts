// --env-from over real files in a folder of their own, and over a real process.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: such braces are what is read here
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readStartEnvironment, startInputs } from '../../../src/preflight/env-from/start-environment.ts'
import { healthyEnvironment } from '../../../src/preflight/healthy-world.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { runCommand } from '../../support/run-command.ts'

let root = ''
const children: ChildProcess[] = []
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'arqonbus-env-from-'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(root, { recursive: true })
})

function write(path: string, text: string): string {
  const full = join(root, path)
  mkdirSync(dirname(full), { recursive: true })
  writeFileSync(full, text)
  return full
}

const healthyLines = Object.entries(healthyEnvironment).map(([name, text]) => `${name}=${text}`)

describe('systemd:', () => {
  it('finds a drop-in that brings back what the shell does not have, and names its line', async () => {
    write('etc/default/arqonbus', `${healthyLines.join('\n')}\n`)
    write('etc/systemd/system/arqonbus.service', '[Service]\nEnvironmentFile=/etc/default/arqonbus\n')
    write(
      'etc/systemd/system/arqonbus.service.d/10-debug.conf',
      '# left over\n\n[Service]\nEnvironment="JWT_SKIP_VALIDATION=false" ARQONBUS_SERVER_PORT=9999\n',
    )
    const inputs = startInputs('systemd:arqonbus.service', { env: healthyEnvironment, root })
    const report = await runPreflight(
      { ...inputs, profile: 'prod', only: ['shield.jwt-skip-absent', 'meta.env-source'] },
      { localAddresses: ['10.0.0.5'] },
    )
    const status = Object.fromEntries(report.canonical.results.map((result) => [result.id, result.status]))
    expect(status).toMatchObject({ 'shield.jwt-skip-absent': 'fail', 'meta.env-source': 'pass' })
    const skip = report.observations.results['shield.jwt-skip-absent']?.findings?.[0]
    expect(skip?.found).toContain('/etc/systemd/system/arqonbus.service.d/10-debug.conf:4')
    const source = report.observations.results['meta.env-source']?.observed
    expect(source).toContain('differs in JWT_SKIP_VALIDATION')
    // Files go over Environment=, wherever that stands: the port of the drop-in is what is hidden.
    const port = inputs.envSource.shadowed.filter(({ variable }) => variable === 'ARQONBUS_SERVER_PORT')
    expect(port).toEqual([
      {
        variable: 'ARQONBUS_SERVER_PORT',
        where: '/etc/systemd/system/arqonbus.service.d/10-debug.conf:4',
        by: expect.stringMatching(/^\/etc\/default\/arqonbus:\d+$/) as string,
      },
    ])
    expect(JSON.stringify(report)).not.toContain(healthyEnvironment['JWT_SECRET'])
  })
})

describe('compose: and k8s:', () => {
  it('read real files, with what stands beside them', () => {
    const compose = write(
      'compose.yaml',
      'services:\n  bus:\n    env_file: bus.env\n    environment:\n      B: ${B_TEXT}\n',
    )
    write('bus.env', 'A=1\n')
    write('.env', 'B_TEXT=from file\n')
    const { variables } = readStartEnvironment(`compose:${compose}#bus`, { env: {} })
    expect([...variables].map(([name, { text, where }]) => [name, text, where.slice(root.length)])).toEqual([
      ['A', '1', '/bus.env:1'],
      ['B', 'from file', '/compose.yaml:5'],
    ])
    const manifest = write('pod.yaml', 'kind: Pod\nspec: {containers: [{name: a, env: [{name: C, value: "3"}]}]}\n')
    expect(readStartEnvironment(`k8s:${manifest}`, { env: {} }).variables.get('C')?.text).toBe('3')
  })
})

describe('pid:', () => {
  it('reads environment and command line of a running process', async () => {
    const child = spawn(process.execPath, ['-e', 'console.log("up"); process.stdin.resume()', 'a b'], {
      env: { PATH: '/bin', JWT_SKIP_VALIDATION: '', NAME: 'line one\nline two' },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    children.push(child)
    await once(child.stdout!, 'data')
    const { variables, argv } = readStartEnvironment(`pid:${child.pid}`, { env: {} })
    expect(variables.get('JWT_SKIP_VALIDATION')).toEqual({ text: '', where: `pid:${child.pid}`, shadows: [] })
    expect(variables.get('NAME')?.text).toBe('line one\nline two')
    expect(argv?.[0]).toBe(process.execPath)
    expect(argv?.at(-1)).toBe('a b')
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    await ended
    expect(() => readStartEnvironment(`pid:${child.pid}`, { env: {} })).toThrow(/no such/)
  })
})

describe('the command', () => {
  const preflight = (...args: string[]) => runCommand(['preflight', ...args], { PATH: '/usr/bin' })

  it('judges the file instead of the shell, in run and plan', async () => {
    const path = write('bus.env', `${healthyLines.join('\n')}\nJWT_SKIP_VALIDATION=1\n`)
    const only = ['--env-from', `file:${path}`, '--only', 'shield.jwt-skip-absent', '--json']
    const { exitCode, out } = await preflight('run', '--profile', 'prod', ...only)
    expect(exitCode).toBe(20)
    const report = JSON.parse(out.join('\n')) as {
      observations: { results: Record<string, { findings: { found: string }[] }> }
    }
    const found = report.observations.results['shield.jwt-skip-absent']?.findings[0]?.found
    expect(found).toContain(`${path}:${healthyLines.length + 1}`)
    const plan = await preflight('plan', ...only)
    expect((JSON.parse(plan.out.join('\n')) as { profile: string }).profile).toBe('prod')
  })

  it('ends with 64 for a source that cannot be read, saying why', async () => {
    const none = await preflight('run', '--env-from', `file:${root}/none`)
    expect(none.exitCode).toBe(64)
    expect(none.out.join('\n')).toMatch(/^Wrong call: .*cannot be read/m)
    const asJson = await preflight('run', '--env-from', `file:${root}/none`, '--json')
    expect(JSON.parse(asJson.out.join('\n'))).toMatchObject({ canonical: { fault: { code: 'ENV_SOURCE_UNREADABLE' } } })
    const bad = await preflight('plan', '--env-from', 'shell')
    expect(bad.exitCode).toBe(64)
    expect(bad.notes.join()).toContain('BAD_ENV_SOURCE')
  })

  it.skipIf(process.getuid?.() === 0)('says that a file may not be read', async () => {
    const path = write('closed.env', 'A=1\n')
    chmodSync(path, 0o000)
    expect((await preflight('run', '--env-from', `file:${path}`)).out.join()).toContain('may not be read')
  })
})
