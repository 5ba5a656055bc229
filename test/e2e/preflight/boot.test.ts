// The boot proofs with the real candidate on a healthy environment, and candidates with planted faults.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { bootChecks, createBootChecks } from '../../../src/preflight/boot/boot-checks.ts'
import { openCommandSpool } from '../../../src/preflight/incident/commands.ts'
import type { Check } from '../../../src/preflight/check.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { thisHost } from '../../../src/preflight/runtime/host.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { pinned } from '../../support/certificates-go.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { wordOf } from '../../support/preflight-run.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-planted-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const { PATH = '' } = process.env
const env = { ...productionEnvironment, PATH }
/** What comes before them is proved elsewhere; among each other they keep their order. */
function alone(checks: readonly Check[]): Check[] {
  const ids = new Set(checks.map(({ id }) => id))
  return checks.map((check) => ({ ...check, requires: check.requires.filter((id) => ids.has(id)) }))
}

describe.skipIf(skipWithout('valkey', 'postgres', 'nats'))('the real candidate', () => {
  it('refuses every fault and starts without one', { timeout: 120_000 }, async () => {
    const spool = openCommandSpool(systemClock)
    const temporary = join(folder, 'temporary')
    mkdirSync(temporary)
    for (const path of [folder, temporary]) chmodSync(path, 0o755) // Postgres is somebody else
    vi.stubEnv('TMPDIR', temporary)
    try {
      // As production has it: a key is pinned, and there is no certificate yet.
      const certificate = join(folder, 'go.json')
      const asked = { ARQONBUS_PREFLIGHT_PUBLIC_KEY: pinned, ARQONBUS_PREFLIGHT_CERTIFICATE: certificate }
      const report = await runPreflight(
        { env: { ...env, ...asked }, profile: 'prod', phases: ['boot'] },
        { catalogue: alone(createBootChecks(thisHost, { refusalMs: 20_000 })), spool },
      )
      const words = Object.fromEntries(bootChecks.map(({ id }) => [id, wordOf(report, id)]))
      const seen = Object.entries(report.observations.results).map(([id, one]) => ({ id, ...one }))
      for (const { id, ms, observed, findings } of seen) {
        process.stdout.write(`${id} ${ms} ms: ${observed ?? JSON.stringify(findings)}\n`)
      }
      expect(words).toEqual(Object.fromEntries(bootChecks.map(({ id }) => [id, 'pass'])))
      // Nothing of it is left: no data, no cache, no stand-in that would still write.
      expect(readdirSync(temporary)).toEqual([])
      // Everything that was started is recorded, with its words, and has ended.
      const commands = spool.commands()
      expect(commands.length).toBeGreaterThanOrEqual(18)
      expect(commands.filter(({ exit, failure }) => exit === undefined || failure !== undefined)).toEqual([])
      const skip = commands.find(({ folder: name }) => name.includes('told-to-skip'))!
      expect(spool.read(skip, 'stderr', 10_000).bytes.toString()).toContain('rule  shield.jwt-skip-absent PRESENT')
    } finally {
      vi.unstubAllEnvs()
      spool.close()
    }
  })
})

/** The real program, in which whatever /ready answers becomes 200, healthy, and every component up. */
const alwaysGreen = (launcher: string): string => `
import { ServerResponse } from 'node:http'
const { writeHead, end } = ServerResponse.prototype
const isReady = ({ req }) => req.url === '/ready'
ServerResponse.prototype.writeHead = function (status, headers) {
  if (!isReady(this)) return writeHead.call(this, status, headers)
  const kept = Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'content-length')
  return writeHead.call(this, 200, Object.fromEntries(kept))
}
ServerResponse.prototype.end = function (text, ...rest) {
  if (!isReady(this) || typeof text !== 'string') return end.call(this, text, ...rest)
  const components = JSON.parse(text).components.map(({ name }) => ({ name, state: 'up' }))
  return end.call(this, JSON.stringify({ ready: true, status: 'healthy', components }), ...rest)
}
await import('${launcher}')
`

describe('a candidate with a planted fault', () => {
  const good = `console.error('    rule  shield.jwt-secret-present NOT_SET, blocker, runbook L31, L61'); process.exitCode = 78`
  const listens = `
    const { createServer } = await import('node:net')
    createServer().listen(Number(process.env.SHIELD_PORT), '127.0.0.1')`
  it.each([
    ['refuses as it has to', good, 'pass'],
    ['ignores the missing secret and listens', listens, 'fail STILL_RUNNING,LISTENED,REASON_NOT_NAMED regression'],
    ['ends well', 'process.exitCode = 0', 'fail ENDED_WELL,REASON_NOT_NAMED regression'],
    ['refuses without a reason', 'process.exitCode = 78', 'fail REASON_NOT_NAMED regression'],
    [
      'refuses for another reason',
      `console.error('    rule  bus.infra-protocol NOT_SET, critical, runbook L25'); process.exitCode = 78`,
      'fail REASON_NOT_NAMED regression',
    ],
    ['hangs', 'setInterval(() => undefined, 1_000)', 'fail STILL_RUNNING,REASON_NOT_NAMED regression'],
    ['dies', `process.kill(process.pid, 'SIGKILL')`, 'fail KILLED,REASON_NOT_NAMED regression'],
    ['is not there', undefined, 'fail WRONG_EXIT,REASON_NOT_NAMED regression'],
    [
      'listens before it refuses',
      `${listens}.once('listening', () => setTimeout(() => { ${good}; process.exit() }, 500))`,
      'fail LISTENED regression',
    ],
  ])('that %s', { timeout: 30_000 }, async (name, script, expected) => {
    const root = join(folder, name)
    mkdirSync(join(root, 'bin'), { recursive: true })
    if (script !== undefined) writeFileSync(join(root, 'bin', 'arqonbus.mjs'), script)
    const id = 'boot.refuses-missing-secret'
    const host = { ...thisHost, root }
    const catalogue = alone(createBootChecks(host, { refusalMs: 1_500 }).filter((check) => check.id === id))
    const report = await runPreflight({ env, phases: ['boot'] }, { catalogue })
    expect(wordOf(report, id)).toBe(expected)
  })

  it.skipIf(skipWithout('valkey', 'postgres', 'nats'))(
    'that is this program, but for a health endpoint that is always green',
    { timeout: 90_000 },
    async () => {
      const root = join(folder, 'always green')
      mkdirSync(join(root, 'bin'), { recursive: true })
      const launcher = pathToFileURL(join(thisHost.root, 'bin/arqonbus.mjs')).href
      writeFileSync(join(root, 'bin', 'arqonbus.mjs'), alwaysGreen(launcher))
      const started = ['boot.starts-from-clean-tree', 'boot.health-turns-red', 'boot.routes-payload']
      const all = createBootChecks({ ...thisHost, root }, { redMs: 2_000 })
      const catalogue = alone(all.filter(({ id }) => started.includes(id)))
      const report = await runPreflight({ env, phases: ['boot'] }, { catalogue })
      expect(started.map((id) => wordOf(report, id))).toEqual([
        'pass',
        'fail STAYED_GREEN,STAYED_GREEN,STAYED_GREEN,STAYED_GREEN regression',
        'pass',
      ])
    },
  )

  it('is no candidate for development', async () => {
    const catalogue = alone(bootChecks)
    const report = await runPreflight(
      { env: { JWT_SECRET: productionEnvironment.JWT_SECRET }, phases: ['boot'] },
      { catalogue },
    )
    for (const { id } of bootChecks) expect(wordOf(report, id)).toBe('not-applicable')
  })
})
