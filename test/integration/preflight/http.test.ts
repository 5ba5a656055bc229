// Preflights of a running bus over HTTP: a real bus as a process, which starts real runs in processes of their own.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openPreflightRuns } from '../../../src/app/preflight-runs.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { launchBus, type LaunchedProgram } from '../../support/launch/launch-linked.ts'
import { runCommand } from '../../support/run-command.ts'
import { strongSecret } from '../../support/environments.ts'

const apiKey = 'an-api-key-for-tests-0123456789'
const withKey = { 'x-api-key': apiKey }

interface StreamEvent {
  readonly name: string
  readonly data: Record<string, unknown>
}

/** Server-sent events as a browser reads them, until `last`. */
async function readStream(response: Response, last: readonly string[]): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    const blocks = text.split('\n\n')
    text = blocks.pop()!
    for (const block of blocks) {
      if (block.startsWith(':')) continue
      const match = /^event: (\w+)\ndata: (.+)$/.exec(block)
      if (match === null) throw new Error(`no event: ${block}`)
      events.push({ name: match[1]!, data: JSON.parse(match[2]!) })
      if (last.includes(match[1]!)) return events
    }
  }
  return events
}

describe('a bus that is asked for preflights', () => {
  let bus: LaunchedProgram
  let env: Record<string, string>
  let run = ''
  const dataDir = mkdtempSync(join(tmpdir(), 'arqonbus-preflight-http-'))
  const call = (path: string, init: RequestInit = {}): Promise<Response> => fetch(`${bus.httpUrl}${path}`, init)
  const json = async (path: string, init: RequestInit = {}) => {
    const response = await call(path, init)
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Record<string, unknown>,
    }
  }
  const start = (query = '') => json(`/preflight/runs${query}`, { method: 'POST', headers: withKey })

  beforeAll(async () => {
    env = { JWT_SECRET: strongSecret, ARQONBUS_HTTP_API_KEY: apiKey, ARQONBUS_DATA_DIR: dataDir }
    bus = await launchBus(env)
  })
  afterAll(async () => {
    await bus?.stop()
    rmSync(dataDir, { recursive: true, force: true })
  })

  it('has no report at first, and tells nobody without the key more than that', async () => {
    expect(await json('/preflight')).toMatchObject({ status: 404, body: { code: 'NO_REPORT' } })
    for (const [path, method] of [
      ['/preflight/stream', 'GET'],
      ['/preflight/runs', 'POST'],
      ['/preflight/runs/last-green/diff/last', 'GET'],
    ] as const) {
      expect(await json(path, { method })).toMatchObject({ status: 401 })
      expect(await json(path, { method, headers: { 'x-api-key': 'wrong' } })).toMatchObject({ status: 401 })
      const fromPage = await json(path, { method, headers: { ...withKey, origin: 'http://evil.example' } })
      expect(fromPage).toMatchObject({ status: 403, body: { code: 'ORIGIN_NOT_ALLOWED' } })
    }
    expect(await json('/preflight', { headers: { 'x-api-key': 'wrong' } })).toMatchObject({ status: 401 })
    expect(await start('?effects=all')).toMatchObject({ status: 400, body: { code: 'BAD_QUERY' } })
    expect(await start('?effects=read&effects=write')).toMatchObject({ status: 400 })
  })

  it('runs one at a time, streams it in plan order, and shows the report by who asks', {
    timeout: 60_000,
  }, async () => {
    const early = await call('/preflight/stream', { headers: withKey })
    expect(early.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const events = readStream(early, ['verdict', 'failed'])
    const started = await start()
    expect(started).toMatchObject({ status: 202, body: { effects: 'read', stream: '/preflight/stream' } })
    run = String(started.body['run'])
    const second = await start()
    expect(second).toMatchObject({ status: 409, body: { code: 'PREFLIGHT_RUNNING' } })
    expect(String(second.body['details'])).toContain(run)
    // Who comes late gets what was shown before as well.
    const late = readStream(await call('/preflight/stream', { headers: withKey }), ['verdict', 'failed'])

    const seen = await events
    expect(await late).toEqual(seen)
    const report = (await json('/preflight', { headers: withKey })).body
    const { canonical, observations } = report['report'] as {
      canonical: { planned: string[]; results: { id: string; status: string; reason?: { because: string } }[] }
      observations: { startedAt: string }
    }
    expect(seen[0]).toMatchObject({ name: 'run', data: { run, effects: 'read' } })
    expect(seen.slice(1, -1).map(({ data }) => data['id'])).toEqual(canonical.planned)
    expect(seen.at(-1)).toMatchObject({
      name: 'verdict',
      data: { verdict: report['verdict'], digest: report['digest'], at: report['at'] },
    })
    // It judged this bus: with the secret it was started with, and without the phases that start something.
    const became = new Map(canonical.results.map((result) => [result.id, result]))
    expect(became.get('bus.jwt-secret-present')?.status).not.toBe('fail')
    expect(became.get('meta.env-source')?.status).not.toBe('fail')
    expect(canonical.results.filter(({ status }) => status === 'fail' || status === 'error')).toEqual([])
    expect(report['verdict']).toBe('INCONCLUSIVE') // not all phases: it cannot be GO
    expect(JSON.stringify(report)).not.toContain(strongSecret)
    expect(JSON.stringify(report)).not.toContain(apiKey)

    const shown = await json('/preflight')
    expect(shown).toMatchObject({ status: 200 })
    expect(shown.body).toEqual({ verdict: report['verdict'], digest: report['digest'], at: report['at'] })
    expect(Date.parse(String(report['at']))).toBeGreaterThanOrEqual(Date.parse(observations.startedAt))
  })

  it('takes its time between two runs', async () => {
    const { status, body, headers } = await start()
    expect({ status, code: body['code'] }).toEqual({ status: 429, code: 'TOO_SOON' })
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  })

  it('sets two runs side by side, by their ids or the words for them', { timeout: 30_000 }, async () => {
    const diff = (before: string, after: string) =>
      json(`/preflight/runs/${before}/diff/${after}`, { headers: withKey })
    const shown = (await json('/preflight')).body
    // Another run of the same history, with one variable that this bus was not started with.
    const { exitCode } = await runCommand(
      ['preflight', 'run', '--phase', 'static', '--bundle', 'never', '--run-id', 'byhand1'],
      { ...env, ARQONBUS_SERVER_PORT: 'none' },
    )
    expect(exitCode).toBe(22)
    const [one, other] = await Promise.all([diff(run, 'byhand1'), diff(run, 'byhand1')])
    expect(new Set([one.status, other.status])).toEqual(new Set([200, 429]))
    const { body } = one.status === 200 ? one : other
    expect(body).toMatchObject({
      before: { verdict: shown['verdict'], digest: shown['digest'] },
      after: { verdict: 'NO-GO' },
      isEqual: false,
    })
    expect(body['checks']).toContainEqual({
      id: 'meta.config-valid',
      before: 'pass',
      after: expect.stringMatching(/^fail/),
    })
    expect(body['causes']).toContainEqual(expect.objectContaining({ kind: 'variable', name: 'ARQONBUS_SERVER_PORT' }))
    expect(await diff('last-green', 'last')).toMatchObject({
      status: 200,
      body: { before: body['before'], after: body['after'] },
    })
    expect(await diff(run, '0123456789abcdef')).toMatchObject({ status: 404, body: { code: 'NO_RUN' } })
    expect(await diff(run, '..%2Fetc')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } })
    expect(await json(`/preflight/runs/${run}/diff/last`, { method: 'POST', headers: withKey })).toMatchObject({
      status: 405,
    })
  })

  it('is ready and live whatever a preflight says', async () => {
    expect((await call('/live')).status).toBe(200)
    expect((await call('/ready')).status).toBe(200)
  })

  it('lets eight follow, and no more', async () => {
    const stop = new AbortController()
    const open: Response[] = [] // held: a body that nobody holds is closed when it is collected
    const follow = async (): Promise<void> => {
      const response = await call('/preflight/stream', { headers: withKey, signal: stop.signal })
      if (response.status !== 200) await response.arrayBuffer()
      expect(response.status).toBe(200)
      open.push(response)
    }
    // Those of the tests before are gone once the bus has seen it.
    for (let at = 0; at < 8; at++) await vi.waitFor(follow, { timeout: 5_000 })
    expect(await json('/preflight/stream', { headers: withKey })).toMatchObject({
      status: 503,
      body: { code: 'TOO_MANY_STREAMS' },
    })
    expect(open.map(({ bodyUsed }) => bodyUsed)).toEqual(open.map(() => false))
    stop.abort()
  })

  it('keeps the last report over a restart, and ends streams and runs when it stops', async () => {
    const file = join(dataDir, 'preflight', 'last-report.json')
    expect(existsSync(file)).toBe(true)
    expect(statSync(file).mode & 0o077).toBe(0)
    const before = (await json('/preflight')).body
    expect(JSON.parse(readFileSync(file, 'utf8')).digest).toBe(before['digest'])
    await bus.stop()
    bus = await launchBus(env)
    expect((await json('/preflight')).body).toEqual(before)

    const started = await start('?effects=write')
    expect(started).toMatchObject({ status: 202, body: { effects: 'write' } })
    const stream = readStream(await call('/preflight/stream', { headers: withKey }), ['never'])
    expect(await bus.stop()).toBe(0)
    expect((await stream).map(({ name }) => name)).toContain('run')
  })
})

describe('a run that does not end by itself', () => {
  it.each([
    ['exit code 3', [process.execPath, '-e', 'console.log("no JSON"); process.exit(3)', '--']],
    ['exit code 0', [process.execPath, '-e', 'console.log(JSON.stringify({ type: "verdict" }))', '--']],
    ['ENOENT', ['/no/such/program']],
  ] as const)('is said to have failed: %s', async (why, command) => {
    const runs = openPreflightRuns({ command, env: {}, clock: systemClock, logger: silentLogger })
    const events: string[] = []
    const failed = new Promise<string>((resolve) => {
      runs.follow({
        event(name, data) {
          events.push(name)
          if (name === 'failed') resolve(data)
        },
        end: () => undefined,
      })
    })
    const started = runs.start('read')
    expect(started).toEqual({ run: expect.any(String) })
    expect(JSON.parse(await failed)).toEqual({ ...started, why })
    expect(events).toEqual(['run', 'failed'])
    expect(runs.last()).toBeUndefined()
    expect(runs.start('read')).toMatchObject({ refused: 'too-soon' })
    await runs.close()
  })
})
