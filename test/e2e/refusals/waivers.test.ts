// Approved exceptions at a real start: `arqonbus bus` of production without its second data store. A valid waiver lets
// it start; one that is expired, bound to another failure or approved by its owner is refused with exit code 78.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { bindOf, dayMs, type Subject } from '../../../src/waivers/judge-waivers.ts'
import type { Waiver } from '../../../src/waivers/waiver.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { type Ended, type Started, start, type Variables } from '../../support/launch/watched-command.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { startValkeyServer } from '../../support/servers/valkey-server.ts'
import { fileOf, instant, policyYaml, signed, waiverOf, yamlOf } from '../../support/waivers.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-waivers-'))
const started: Started[] = []

afterEach(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill('SIGTERM')
    await ended
  }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const now = Date.now()
const { NATS_URL: _, ...production } = productionEnvironment
const env = { ...production, ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false' }

function run(text: string, changes: Variables = {}, program: 'bus' | 'shield' = 'bus'): Started {
  const waivers = join(folder, 'preflight.waivers.yaml')
  const policy = join(folder, 'policy.yaml')
  writeFileSync(waivers, text)
  writeFileSync(policy, policyYaml())
  const variables = { ...env, ARQONBUS_PREFLIGHT_WAIVERS: waivers, ARQONBUS_PREFLIGHT_POLICY: policy, ...changes }
  const one = start(program, variables, folder)
  started.push(one)
  return one
}
const runWith = (...waivers: readonly Waiver[]): Started => run(yamlOf(fileOf(...waivers)))

function expectRefused({ code, stdout, hasListened }: Ended): void {
  expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
}

describe('a production bus without its second data store', () => {
  it.skipIf(skipWithout('valkey'))('starts with a waiver that two people approved, and says so', async (context) => {
    // A production bus is never told to look on its own machine over TCP. There is no Postgres at all.
    const socket = join(folder, 'valkey.sock')
    const valkey = await startValkeyServer({ settings: { unixsocket: socket } })
    context.onTestFinished(() => valkey.close())
    const [ws, http, telemetry] = await findFreePorts(3)
    const bus = run(yamlOf(fileOf(signed(waiverOf(now)))), {
      ARQONBUS_VALKEY_URL: `unix://${socket}`,
      ARQONBUS_SERVER_PORT: String(ws),
      ARQONBUS_HTTP_PORT: String(http),
      ARQONBUS_TELEMETRY_PORT: String(telemetry),
    })
    await bus.until(/bus at ws:/)
    bus.child.kill('SIGTERM')
    const { code, stderr } = await bus.ended
    expect(code).toBe(0)
    expect(stderr).toContain('bus.dual-stack-required is excused by EX-2026-014 until ')
  })

  it('is refused without a file', async () => {
    const none = { ARQONBUS_PREFLIGHT_WAIVERS: undefined, ARQONBUS_PREFLIGHT_POLICY: undefined }
    const ended = await run('', none).ended
    expectRefused(ended)
    expect(ended.stderr).toContain('rule  bus.dual-stack-required SWITCHED_OFF, critical')
  })

  const good = signed(waiverOf(now))
  it.each([
    [
      'expired',
      signed(waiverOf(now, { requested: instant(now - 9 * dayMs), expires: instant(now - 2 * dayMs) })),
      'expired 2 d ago (EXPIRED)',
    ],
    ['of another failure', signed(waiverOf(now, { bind: `sha256:${'ab'.repeat(32)}` })), '(WRONG_BIND)'],
    [
      'that its owner approved',
      signed(waiverOf(now, { owner: 's.kim@example.org' })),
      's.kim is its owner (SELF_APPROVED)',
    ],
    ['that one person approved', signed(waiverOf(now), ['s.kim']), '(NOT_ENOUGH_APPROVALS)'],
    ['that was made longer afterwards', { ...good, expires: instant(now + 7 * dayMs) }, '(BAD_SIGNATURE)'],
  ])('is refused with a waiver %s', async (_name, waiver, expected) => {
    const ended = await runWith(waiver).ended
    expectRefused(ended)
    expect(ended.stderr).toContain('bus: start refused, 1 problem')
    expect(ended.stderr).toContain('waiver EX-2026-014 refused: ')
    expect(ended.stderr).toContain(expected)
  })

  it('is refused with a file that is wrong, and all that is wrong is told', async () => {
    const ended = await run(yamlOf(fileOf({ ...good, check: 'bus.*', expires: '2026-12-05' }))).ended
    expectRefused(ended)
    expect(ended.stderr).toContain('WAIVER_INVALID')
    expect(ended.stderr).toContain('waivers[0].check (line 4): not the exact id')
    expect(ended.stderr).toContain('waivers[0].expires (line 14): not an instant with its zone')
    expect(ended.stderr).toContain('rule  bus.dual-stack-required SWITCHED_OFF')
  })

  it('still has to name both stores: no exception lifts L63', async () => {
    const ended = await run(yamlOf(fileOf(good)), { ARQONBUS_POSTGRES_URL: undefined }).ended
    expectRefused(ended)
    expect(ended.stderr).toContain('rule  bus.postgres-url-configured NOT_SET, blocker')
    expect(ended.stderr).not.toContain('rule  bus.dual-stack-required')
  })
})

describe('a production Shield that takes frames without a schema', () => {
  const subject: Subject = {
    id: 'shield.schema-strict',
    severity: 'critical',
    class: 'config',
    status: 'fail',
    findings: [{ code: 'NOT_STRICT', variable: 'ARQON_SCHEMA_STRICT' }],
  }
  const changes = { ARQON_SCHEMA_STRICT: 'false', NATS_URL: 'tls://nats.invalid:4222' }
  const waiver = waiverOf(now, { check: subject.id, bind: bindOf(subject) })

  it('is let through to its NATS with a waiver that two people approved', async () => {
    const { code, stderr } = await run(yamlOf(fileOf(signed(waiver))), changes, 'shield').ended
    // There is no such NATS: the gate is behind it by then.
    expect(code).toBe(69)
    expect(stderr).toContain('shield.schema-strict is excused by EX-2026-014 until ')
    expect(stderr).toContain('LINK_UNAVAILABLE')
  })

  it('is refused with a waiver that nobody approved', async () => {
    const ended = await run(yamlOf(fileOf(waiver)), changes, 'shield').ended
    expectRefused(ended)
    expect(ended.stderr).toContain('waiver EX-2026-014 refused: 0 of 2')
  })
})
