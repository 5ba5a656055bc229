// The command line against a running `arqonbus up`, as a user drives it: child processes, explicit environments, exit
// codes, real output.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compiled } from '../support/compiled.ts'

const command = fileURLToPath(new URL('../../bin/arqonbus.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'arqonbus-cli-'))
const dataDir = join(folder, 'data')
const ephemeral = {
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
  SHIELD_PORT: '0',
  SHIELD_METRICS_PORT: '0',
  ARQONBUS_LOG_LEVEL: 'error',
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [command, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: compiled, ...env },
  })
  codes.set(child, new Promise((done) => child.on('close', done)))
  return child
}

async function run(args: readonly string[], env: Record<string, string> = {}, input = ''): Promise<Ended> {
  const child = start(args, env)
  child.stdin!.end(input)
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (chunk) => (stdout += chunk))
  child.stderr!.on('data', (chunk) => (stderr += chunk))
  const code = await ended(child)
  return { code, stdout, stderr }
}

/** Resolves with all output so far as soon as `form` matches it; rejects when the process ends first. */
function output(child: ChildProcess, form: RegExp, from: 'stdout' | 'stderr' = 'stdout'): Promise<string> {
  return new Promise((done, fail) => {
    let text = ''
    child[from]!.on('data', (chunk) => {
      text += chunk
      if (form.test(text)) done(text)
    })
    child.on('close', (code) => fail(new Error(`ended with ${code} before ${form}: ${text}`)))
  })
}

const codes = new WeakMap<ChildProcess, Promise<number | null>>()
/** The exit code of a process of `start`, whether it has ended already or not. */
const ended = (child: ChildProcess): Promise<number | null> => codes.get(child)!

interface Started {
  readonly bus: string
  readonly shield: string
  readonly http: string
  readonly token: string
}

let up: ChildProcess
let system: Started
const env = (): Record<string, string> => ({ ARQONBUS_WS_URL: system.bus, ARQONBUS_DATA_DIR: dataDir })
const place = ['--room', 'lab', '--channel', 'general']

beforeAll(async () => {
  up = start(['up', '--json', '--data-dir', dataDir], ephemeral)
  system = JSON.parse(await output(up, /\n/)) as Started
})
afterAll(async () => {
  up.kill('SIGTERM')
  expect(await ended(up)).toBe(0)
  rmSync(folder, { recursive: true, force: true })
})

describe('publish, history and tail', () => {
  it('store a message, show it, and print those to come', async () => {
    const first = await run(['publish', ...place, '{"n":1}'], env())
    expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^stored at \d+:1 \(disk\) as arq_/) })
    const tail = start(['tail', ...place, '--from', 'beginning', '--limit', '3', '--json'], env())
    const printed = output(tail, /"n":3/)
    await output(tail, /joined/, 'stderr')
    const piped = await run(['publish', ...place, '-'], env(), '{"n":2}\n\n{"n":3}\n')
    expect(piped).toMatchObject({ code: 0 })
    const lines = (await printed)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { payload: unknown })
    expect(lines.map((line) => line.payload)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect(await ended(tail)).toBe(0)
    const history = await run(['history', ...place, '--limit', '2'], env())
    expect(history.stdout).toMatch(/lab:general {2}\d+:2 .*\{"n":2\}\n.*lab:general {2}\d+:3 .*\{"n":3\}\n$/)
  })

  it('work through Shield with the token that up printed', async () => {
    const shield = { ARQONBUS_WS_URL: system.shield, ARQONBUS_AUTH_JWT: system.token }
    const tail = start(['tail', '--room', 'edge', '--overflow', 'latest', '--limit', '1', '--timeout', '20'], shield)
    const printed = output(tail, /\n/)
    await output(tail, /joined/, 'stderr')
    expect(await run(['publish', '--room', 'edge', '--channel', 'one', '{"via":"shield"}'], shield)).toMatchObject({
      code: 0,
    })
    expect(await printed).toContain('{"via":"shield"}')
    expect(await ended(tail)).toBe(0)
  })

  it('make a token of their own with the development secret, and say so', async () => {
    const published = await run(['publish', ...place, '{}', '--url', system.shield, '--data-dir', dataDir])
    expect(published).toMatchObject({ code: 0, stderr: expect.stringContaining('development secret') })
  })

  it('store an id once', async () => {
    const args = ['publish', ...place, '{"once":true}', '--id', 'arq_1_1_abcdef', '--json']
    const [first, second] = [await run(args, env()), await run(args, env())]
    expect(JSON.parse(first.stdout)).toMatchObject({ duplicate: false })
    expect(JSON.parse(second.stdout)).toEqual({ ...(JSON.parse(first.stdout) as object), duplicate: true })
  })

  it('end with 0 on ^C', async () => {
    const tail = start(['tail', ...place], env())
    await output(tail, /joined/, 'stderr')
    tail.kill('SIGINT')
    expect(await ended(tail)).toBe(0)
  })

  it('end quietly when nobody reads their output any more', async () => {
    const tail = start(['tail', ...place, '--from', 'beginning'], env())
    await output(tail, /\n/)
    tail.stdout!.destroy()
    await run(['publish', ...place, '{"last":true}'], env())
    expect(await ended(tail)).toBe(0)
  })
})

describe('wrong calls', () => {
  it.each([
    [['publish', '--room', 'lab', '--channel', 'general', 'not json'], 64],
    [['publish', '--room', 'lab', '--channel', 'general', '[1]'], 64],
    [['publish', '{}'], 64],
    [['publish'], 64],
    [['pubish'], 64],
    [['tail'], 64],
    [['tail', '--room', 'lab', '--from', '3'], 64],
    [['tail', '--room', 'lab', '--limit', '0'], 64],
    [['tail', '--room', 'lab', '--overflow', 'newest'], 64],
    [['token', '--ttl', 'soon'], 64],
    [['publish', '--room', 'lab', '--channel', 'general', '--url', 'http://x', '{}'], 64],
    [['publish', '--room', 'lab', '--channel', 'general', '--url', 'ws://127.0.0.1:1', '{}'], 69],
    [['status', '--http-url', 'http://127.0.0.1:1'], 69],
    [['token', '--data-dir', 'nowhere'], 78],
    [['preflight', 'explain', 'no.such.check'], 64],
  ])('%j end with %i and words that help', async (args, code) => {
    const result = await run(args)
    expect(result).toMatchObject({ code, stdout: '' })
    expect(result.stderr).toMatch(/^arqonbus: /)
    expect(result.stderr).not.toContain('    at ')
  })

  it('to a Shield without a token, or with a bad one, end with 77', async () => {
    const args = ['publish', ...place, '--url', system.shield, '{}', '--data-dir', 'nowhere']
    expect(await run(args)).toMatchObject({ code: 77, stderr: expect.stringContaining('needs a token') })
    expect(await run(args, { ARQONBUS_AUTH_JWT: 'a.b.c' })).toMatchObject({ code: 77 })
  })

  it('with a message that a tail does not get in time end with 1', async () => {
    const result = await run(['tail', '--room', 'silent', '--limit', '1', '--timeout', '1'], env())
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('0 of 1 messages') })
  })
})

describe('the other tools', () => {
  it('print the status, the version and the configuration', async () => {
    const status = await run(['status', '--http-url', system.http, '--json'])
    expect(JSON.parse(status.stdout)).toMatchObject({ service: 'arqonbus', status: 'healthy' })
    expect(status.code).toBe(0)
    expect((await run(['version'])).stdout).toMatch(/^arqonbus \d+\.\d+\.\d+ \(Node \d+/)
    expect((await run(['version', '--http-url', system.http])).stdout).toMatch(/server \d+\.\d+\.\d+/)
    const config = await run(['config', '--print', '--set'], {
      ARQONBUS_SERVER_PORT: '9200',
      JWT_SECRET: 'x'.repeat(40),
    })
    expect(config.stdout).toMatch(/ARQONBUS_SERVER_PORT +9200 {2}\(env/)
    expect(config.stdout).not.toContain('xxxx')
    const wrong = await run(['config'], { ARQONBUS_SERVER_PROT: '9200' })
    expect(wrong).toMatchObject({ code: 78, stderr: expect.stringContaining('ARQONBUS_SERVER_PORT') })
  })

  it('make tokens that Shield takes', async () => {
    const made = await run(['token', '--data-dir', dataDir, '--subject', 'maker', '--ttl', '5m'])
    expect(made.code).toBe(0)
    const shield = { ARQONBUS_WS_URL: system.shield, ARQONBUS_AUTH_JWT: made.stdout.trim() }
    expect(await run(['publish', ...place, '{}'], shield)).toMatchObject({ code: 0 })
  })

  it('list and explain the checks of the preflight, and judge an environment', async () => {
    const list = JSON.parse((await run(['preflight', 'list', '--json'])).stdout) as { id: string }[]
    expect(list.length).toBeGreaterThan(10)
    expect((await run(['preflight', 'explain', list[0]!.id])).stdout).toContain(list[0]!.id)
    const wrongCall = await run(['preflight', '--jobs', 'many', '--json'])
    expect(wrongCall.code).toBe(64)
    expect(JSON.parse(wrongCall.stdout)).toMatchObject({ canonical: { fault: { kind: 'usage' } } })
    const report = await run(['preflight', '--profile', 'prod', '--json'])
    expect(report.code).not.toBe(0)
    expect(JSON.parse(report.stdout)).toMatchObject({ canonical: { verdict: 'NO-GO' } })
  })
})
