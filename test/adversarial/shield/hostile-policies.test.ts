// Policies that attack what runs them, a thousand frames each over a real socket (reliability P13, T13): every frame is
// refused, the process lives, and an honest tenant beside them is served as before.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { prepareModule } from '../../../src/policy/prepare-module.ts'
import { openPolicies } from '../../../src/policy/policy-chain.ts'
import type { PolicyInput, Verdict } from '../../../src/policy/policy.ts'
import { type BystanderReport, figures, startBystander } from '../../support/bystander.ts'
import { build, buildUnmetered, chainBounds, limits } from '../../support/policy-lab.ts'
import { printFigures } from '../../support/print-figures.ts'
import { startSystem, type SystemProcess } from '../../support/system-process.ts'
import { TestClient } from '../../support/edge-lab.ts'

const count = 1_000
/** Of this thread's own time: what else the machine is busy with is not the module's doing. */
const stopsWithinMs = 30
/** Long enough for a percentile of what honest clients see. */
const attackMs = 8_000
const everyMs = 40
/** Frames longer than this are attacked with; shorter ones are honest. */
const attackBytes = 1_000
const whenLong = (body: string): string =>
  `(if (i32.gt_u (local.get $len) (i32.const ${attackBytes})) (then ${body})) (i32.const 0)`
const deep = '(func $deep (param i32) (drop (i32.const 1)) (call $deep (local.get 0)) (call $deep (local.get 0)))'

/** By name: what a frame makes the module do. */
const attacks: Readonly<Record<string, { body: string; more?: string; memory?: string }>> = {
  loop: { body: '(loop $l (br $l))' },
  grow: {
    body: '(loop $l (drop (memory.grow (i32.const 1))) (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536))) (br $l))',
  },
  recursion: { body: '(call $deep (i32.const 0))', more: deep },
  trap: { body: '(drop (i32.div_u (i32.const 1) (i32.const 0)))' },
  'huge log': {
    body: '(drop (memory.grow (i32.const 63))) (loop $l (drop (call $host_log (i32.const 0) (i32.const 0) (i32.const 4194304))) (br $l))',
  },
  'bad pointers': { body: '(drop (call $host_log (i32.const 0) (i32.const -1) (i32.const 2)))' },
  'out of bounds': { body: '(i32.store (i32.const -4) (i32.const 1))' },
  'fill of everything': {
    body: '(drop (memory.grow (i32.const 63))) (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 4194304)) (br $l))',
  },
  're-entrancy': {
    body: '(loop $l (drop (call_indirect (type $check) (local.get $at) (local.get $len) (i32.const 0))) (br $l))',
    more: '(type $check (func (param i32 i32) (result i32))) (table 1 funcref) (elem (i32.const 0) $check)',
  },
  'rejection with a bad pointer': {
    body: '(drop (call $host_reject (i32.const 0) (i32.const 65530) (i32.const 100)))',
  },
}
const moduleOf = ({ body, ...rest }: (typeof attacks)[string], make = build) => make(whenLong(body), rest)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-hostile-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function place(name: string, bytes: Uint8Array): string {
  const path = join(folder, `${name.replaceAll(' ', '-')}.wasm`)
  writeFileSync(path, bytes)
  return path
}

const long: PolicyInput = {
  identity: { tenant: 'acme', subject: 'mallory', role: 'user' },
  clientId: '',
  trace: '',
  frame: new Uint8Array(attackBytes + 1),
  payload: undefined,
  headers: {},
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

describe('a module that attacks what runs it', () => {
  it.each(Object.entries(attacks))('denies a thousand frames, and stops each in time: %s', async (name, attack) => {
    const files = [place(name, await moduleOf(attack))]
    // Without circuits, which would spare it most of them.
    const { decide, close, policies } = await openPolicies(
      { ...chainBounds, files, hasCircuits: false },
      { clock: systemClock, logger: silentLogger, metrics: undefined },
    )
    expect(policies[0]!.unmetered).toBeUndefined()
    const times: number[] = []
    let refused = 0
    const residentBefore = process.memoryUsage().rss
    for (let n = 0; n < count; n++) {
      const before = cpuMs()
      const verdict = decide(long) as Verdict
      times.push(cpuMs() - before)
      if (!verdict.allows) refused++
      if (n % 50 === 0) await new Promise(setImmediate)
    }
    expect(await decide({ ...long, frame: new Uint8Array(9) })).toEqual({ allows: true })
    await close()
    times.sort((a, b) => a - b)
    const [median = 0, p99 = 0] = [times[count / 2], times[count * 0.99]]
    const grown = Math.round((process.memoryUsage().rss - residentBefore) / 1024 / 1024)
    printFigures(
      name,
      `median ${median.toFixed(2)}, p99 ${p99.toFixed(2)}, max ${times.at(-1)!.toFixed(2)} ms of its thread; ${grown} MiB more resident`,
    )
    expect(refused).toBe(count)
    expect(times.at(-1)).toBeLessThan(stopsWithinMs)
    expect(grown).toBeLessThan(512)
  })

  it('is refused a thousand times for what its start function does', async () => {
    for (const start of ['(loop $l (br $l))', '(unreachable)', '(drop (memory.grow (i32.const 1))) (unreachable)']) {
      const bytes = await build('(i32.const 0)', { more: `(func $begin ${start}) (start $begin)` })
      const { wasm } = prepareModule('start', bytes, limits)
      const module = new WebAssembly.Module(wasm)
      const host = new Proxy({}, { get: () => () => 0 }) as Record<string, () => number>
      for (let n = 0; n < count; n++) expect(() => new WebAssembly.Instance(module, { env: host })).toThrow()
    }
  })
})

describe('an honest tenant beside the attacks', () => {
  let system: SystemProcess
  const secret = 'attacked-only-0123456789-abcdefghijkl-XYZ'
  const tokenOf = (tenant: string): Promise<string> =>
    mintToken({ secret, subject: 'someone', tenant, ttlSeconds: 600 })

  // A thread stands still until the deadline, once a minute for each tenant that does it; fuel stops many at once.
  it.each([
    ['metered', build, 100, expectServed],
    ['in threads', buildUnmetered, 1, expectServedMostly],
  ])('is served as before, and the process lives: %s', async (name, make, tenants, expectHonest) => {
    const files = await Promise.all(
      ['loop', 'grow', 'huge log'].map(async (attack) =>
        place(`${name}-${attack}`, await moduleOf(attacks[attack]!, make)),
      ),
    )
    system = await startSystem({
      JWT_SECRET: secret,
      POLICY_WASM_PATH: files.join(','),
      ARQONBUS_LOG_LEVEL: 'silent',
      SHIELD_LIMIT_MAX_CONNECTIONS_PER_SUBJECT: '2000',
    })
    try {
      const url = `ws://127.0.0.1:${system.shieldPort}/ws`
      const bystander = await startBystander(url, await tokenOf('honest'))
      await new Promise((resolve) => setTimeout(resolve, 3_000)) // time to compare with, not to wait for something
      const quiet = await bystander.report()
      const answered = await attackThrough(url, tenants)
      const under = await bystander.finish()
      printFigures(`${name}: quiet`, figures(quiet))
      printFigures(`${name}: under attack`, `${figures(under)}; ${JSON.stringify(answered)}`)
      expect(answered['POLICY_ERROR']).toBeGreaterThanOrEqual(count)
      expect(Object.keys(answered)).toEqual(['POLICY_ERROR'])
      expectHonest(under, quiet)
      expect(system.isAlive).toBe(true)
    } finally {
      await system.stop()
    }
  })

  function expectServed(under: BystanderReport, quiet: BystanderReport): void {
    expect(under.closes).toBe(0)
    expect(under.delivered).toBe(under.sent)
    expect(under.p99).toBeLessThanOrEqual(Math.max(3 * quiet.p99, quiet.p99 + 10))
  }

  /** A deadline is of the clock on the wall: where the machine itself stands still, it also meets the innocent. */
  function expectServedMostly(under: BystanderReport, quiet: BystanderReport): void {
    expect(under.closes).toBe(0)
    expect(under.delivered).toBeGreaterThanOrEqual(under.sent * 0.99)
    expect(under.p50).toBeLessThanOrEqual(Math.max(3 * quiet.p50, quiet.p50 + 10))
  }

  /** A thousand frames that attack or more, ten on each connection: the tenth closes it. What came back, by code. */
  async function attackThrough(url: string, tenants: number): Promise<Record<string, number>> {
    const answered: Record<string, number> = {}
    const tokens = await Promise.all(Array.from({ length: tenants }, (_, n) => tokenOf(`mallory-${n}`)))
    const startMs = performance.now()
    for (let n = 0; n < count / 10 || performance.now() - startMs < attackMs; n++) {
      // At a rate that is let in: it is frames that are attacked with.
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, startMs + n * everyMs - performance.now())))
      const client = await TestClient.connect(url, tokens[n % tenants]!, 'json')
      for (let i = 0; i < 10; i++) {
        client.send({ room: 'x', channel: 'y', payload: { i, text: 'x'.repeat(attackBytes) } })
      }
      await client.closed()
      for (const { type, error_code = type } of client.frames.slice(1)) {
        answered[error_code] = (answered[error_code] ?? 0) + 1
      }
    }
    return answered
  }
})
