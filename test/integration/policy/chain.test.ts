// Policies as files: asked in order, read again when they change, and never a frame without a decision meanwhile.
import { createHash } from 'node:crypto'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openPolicies, type PolicyChain, type PolicyOptions } from '../../../src/policy/policy-chain.ts'
import type { PolicyInput, Verdict } from '../../../src/policy/policy.ts'
import { createTestClock } from '../../support/edge-lab.ts'
import { build, buildUnmetered, chainBounds } from '../../support/policy-lab.ts'

let folder: string
let chain: PolicyChain | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-policies-'))
})
afterEach(async () => {
  await chain?.close()
  chain = undefined
  rmSync(folder, { recursive: true, force: true })
})

/** Put in place at once, as a deployment does. */
function place(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(`${path}.new`, bytes)
  renameSync(`${path}.new`, path)
  return path
}

async function open(
  files: readonly string[],
  options: Partial<PolicyOptions> = {},
  clock: Clock = systemClock,
): Promise<PolicyChain> {
  chain = await openPolicies({ ...chainBounds, files, ...options }, { clock, logger: silentLogger, metrics: undefined })
  return chain
}

function input(text: string | Uint8Array, tenant = 'acme'): PolicyInput {
  const frame = typeof text === 'string' ? new TextEncoder().encode(text) : text
  const identity = { tenant, subject: 'alice', role: 'user' as const }
  return { identity, clientId: 'c', trace: 't', frame, payload: frame, headers: { origin: 'https://a.example' } }
}

const header = (name: string, value: string, after: string) => ({
  body: `(drop (call $host_add_header (i32.const 1000) (i32.const ${name.length}) (i32.const 2000) (i32.const ${value.length}))) ${after}`,
  more: `(data (i32.const 1000) "${name}") (data (i32.const 2000) "${value}")`,
})
const denyAll = '(i32.const 1)'
const allowAll = '(i32.const 0)'
/** Fails for frames longer than the one of the self-check, decides otherwise. */
const trapWhenLong = '(if (i32.gt_u (local.get $len) (i32.const 500)) (then (unreachable))) (i32.const 0)'
const loopWhenLong = '(if (i32.gt_u (local.get $len) (i32.const 500)) (then (loop $l (br $l)))) (i32.const 0)'
const long = new Uint8Array(501)
const failed = (failure: string): Verdict => ({ allows: false, code: 'POLICY_ERROR', reason: failure, policy: 'p' })

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const pinOf = (name: string, bytes: Uint8Array): string => `${name}:${sha256(bytes)}`

describe('pinned policies', () => {
  it('are refused at the start with both hashes where the file is another one, or has no pin', async () => {
    const [a, b] = await Promise.all([build(allowAll), build(denyAll)])
    const files = [place('a.wasm', a), place('b.wasm', b)]
    await expect(open(files, { pins: [pinOf('a', a), pinOf('b', a)] })).rejects.toMatchObject({
      code: 'START_REFUSED',
      message: `Policy b is refused: its SHA-256 is ${sha256(b)}, pinned is ${sha256(a)}`,
      details: { reason: 'POLICY_HASH', policy: 'b' },
    })
    await expect(open(files, { pins: [pinOf('a', a)] })).rejects.toMatchObject({
      details: { reason: 'POLICY_NOT_PINNED', policy: 'b' },
    })
    const { decide } = await open(files, { pins: [pinOf('a', a), pinOf('b', b)] })
    expect(decide(input('x'))).toMatchObject({ code: 'POLICY_DENIED', policy: 'b' })
  })
})

describe('several policies', () => {
  it.each([
    ['metered', build],
    ['in threads', buildUnmetered],
  ])('%s are asked in order until one refuses, and their headers add up', async (_name, make) => {
    const first = header('x-policy-a', '1', allowAll)
    const second = header('x-policy-b', '2', '(i32.eq (local.get $len) (i32.const 3))')
    const files = [
      place('first.wasm', await make(first.body, first)),
      place('second.wasm', await build(second.body, second)),
      place('third.wasm', await make('(i32.eq (local.get $len) (i32.const 4))')),
    ]
    const { decide, name } = await open(files)
    expect(name).toBe('first,second,third')
    expect(await decide(input('ok'))).toEqual({ allows: true, headers: { 'x-policy-a': '1', 'x-policy-b': '2' } })
    expect(await decide(input('two'))).toMatchObject({ allows: false, code: 'POLICY_DENIED', policy: 'second' })
    expect(await decide(input('four'))).toMatchObject({ allows: false, code: 'POLICY_DENIED', policy: 'third' })
    expect(chain!.meter.denials).toEqual({ second: 1, third: 1 })
  })

  it.each([
    ['two of a name', ['p.wasm', 'sub/../p.wasm'], 'POLICY_TWICE'],
    ['one that is not there', ['none.wasm'], 'POLICY_UNREADABLE'],
  ])('are refused: %s', async (_name, names, reason) => {
    place('p.wasm', await build(allowAll))
    await expect(open(names.map((name) => `${folder}/${name}`))).rejects.toMatchObject({
      code: 'START_REFUSED',
      details: { reason },
    })
  })

  it.each([
    ['always traps', '(unreachable)'],
    ['never ends', '(loop $l (br $l)) (i32.const 0)'],
  ])('are refused: one that %s', async (_name, body) => {
    await expect(open([place('p.wasm', await build(body))])).rejects.toMatchObject({
      details: { reason: 'POLICY_SELF_CHECK' },
    })
  })

  it.each([
    ['traps', '(unreachable)'],
    ['never ends', '(loop $l (br $l))'],
    ['calls the host before there is anything', '(drop (call $host_log (i32.const 1) (i32.const 0) (i32.const 1)))'],
  ])('are refused: one whose start function %s', async (_name, body) => {
    const more = `(func $begin ${body}) (start $begin)`
    await expect(open([place('p.wasm', await build(allowAll, { more }))])).rejects.toMatchObject({
      details: { reason: 'POLICY_SELF_CHECK', failure: 'START_FAILED' },
    })
  })
})

describe('a tenant', () => {
  /** Keeps every frame at 4096, and denies when another's first byte stands there. */
  const remember = `
    (if (i32.and (i32.ne (i32.load8_u (i32.const 4096)) (i32.const 0))
                 (i32.ne (i32.load8_u (i32.const 4096)) (i32.load8_u (local.get $at))))
      (then (return (i32.const 1))))
    (memory.copy (i32.const 4096) (local.get $at) (local.get $len)) (i32.const 0)`
  it.each([
    ['metered', build],
    ['in threads', buildUnmetered],
  ])('has an instance of its own, where nothing of another is: %s', async (_name, make) => {
    const { decide } = await open([place('p.wasm', await make(remember))])
    for (let round = 0; round < 20; round++) {
      expect(await decide(input('A secret of acme', 'acme'))).toEqual({ allows: true })
      expect(await decide(input('B of globex', 'globex'))).toEqual({ allows: true })
    }
    // The same bytes from one tenant are seen: the test looks at the right place.
    expect(await decide(input('B', 'acme'))).toMatchObject({ code: 'POLICY_DENIED' })
  })

  it('that was away for long begins anew', async () => {
    const count = '(global.set $n (i32.add (global.get $n) (i32.const 1))) (i32.gt_u (global.get $n) (i32.const 1))'
    const more = '(global $n (mut i32) (i32.const 0))'
    const { decide } = await open([place('p.wasm', await build(count, { more }))], { maxInstances: 2 })
    expect(decide(input('x', 'a'))).toEqual({ allows: true })
    expect(decide(input('x', 'a'))).toMatchObject({ allows: false })
    await decide(input('x', 'b'))
    await decide(input('x', 'c'))
    expect(decide(input('x', 'a'))).toEqual({ allows: true })
  })

  it('whose frame broke the instance goes on with a fresh one', async () => {
    const { decide } = await open([place('p.wasm', await build(trapWhenLong))])
    expect(decide(input(long))).toEqual(failed('TRAP'))
    expect(decide(input('x'))).toEqual({ allows: true })
    expect(chain!.meter.errors).toEqual({ p: 1 })
  })
})

describe('a policy that keeps failing', () => {
  it('is left alone for that tenant, tried again, and says so in health', async () => {
    const clock = createTestClock()
    const { decide, health } = await open([place('p.wasm', await build(loopWhenLong))], {}, clock)
    expect(health()).toMatchObject({ name: 'policy', state: 'up', detail: expect.stringMatching(/^p@[0-9a-f]{12}$/) })
    for (let i = 0; i < 5; i++) expect(decide(input(long))).toEqual(failed('OUT_OF_FUEL'))
    expect(decide(input('x'))).toEqual(failed('CIRCUIT_OPEN'))
    expect(decide(input('x', 'globex'))).toEqual({ allows: true })
    expect(health()).toMatchObject({ state: 'degraded', detail: 'p: keeps failing, circuit open for 1 tenants' })
    clock.advance(1_000)
    expect(decide(input('x'))).toEqual({ allows: true })
    expect(decide(input('x'))).toEqual({ allows: true })
    expect(health().state).toBe('up')
  })
})

describe('a file that changes', () => {
  it('serves once it is compiled and checked; a bad one never, and health says why', async () => {
    const path = place('p.wasm', await build(allowAll))
    const { decide, health, reload } = await open([path])
    const { revision } = chain!.policies[0]!
    place('p.wasm', await build(denyAll))
    expect(decide(input('x'))).toEqual({ allows: true })
    await reload()
    expect(decide(input('x'))).toMatchObject({ code: 'POLICY_DENIED' })
    expect(chain!.policies[0]!.revision).not.toBe(revision)

    const { revision: serving } = chain!.policies[0]!
    for (const [bytes, reason] of [
      [Buffer.from('no module'), 'POLICY_INVALID'],
      [await build('(unreachable)'), 'POLICY_SELF_CHECK'],
      [Buffer.alloc(2_000_000), 'POLICY_TOO_LARGE'],
    ] as const) {
      place('p.wasm', bytes)
      await reload()
      expect(decide(input('x'))).toMatchObject({ code: 'POLICY_DENIED' })
      const detail = `p: its changed file is refused (${reason}), ${serving} serves`
      expect(health()).toEqual({ name: 'policy', state: 'degraded', detail })
    }
    rmSync(path)
    await reload()
    expect(health().detail).toContain('POLICY_UNREADABLE')
    place('p.wasm', await build(allowAll))
    await reload()
    expect([decide(input('x')), health().state]).toEqual([{ allows: true }, 'up'])
  })

  it('serves only when it is pinned, and as long as it is not the one before goes on', async () => {
    const [first, next, stranger] = await Promise.all([build(allowAll), build(denyAll), build('(i32.const 2)')])
    const path = place('p.wasm', first)
    const { decide, health, reload } = await open([path], { pins: [pinOf('p', first), pinOf('p', next)] })
    const { revision } = chain!.policies[0]!
    // Compiled code would have denied it; not even that is done to what is not pinned.
    for (const bytes of [stranger, Buffer.concat([first, Buffer.from([0])])]) {
      place('p.wasm', bytes)
      await reload()
      expect(decide(input('x'))).toEqual({ allows: true })
      const detail = `p: its changed file is refused (POLICY_HASH), ${revision} serves`
      expect(health()).toEqual({ name: 'policy', state: 'degraded', detail })
    }
    place('p.wasm', next)
    await reload()
    expect([decide(input('x')), health().state]).toMatchObject([{ code: 'POLICY_DENIED' }, 'up'])
  })

  it('is noticed without being asked', async () => {
    const path = place('p.wasm', await build(allowAll))
    const { decide } = await open([path], { reloadMs: 20 })
    place('p.wasm', await build(denyAll))
    await expect.poll(() => (decide(input('x')) as Verdict).allows, { timeout: 5_000 }).toBe(false)
  })

  it.each([
    ['metered', build],
    ['in threads', buildUnmetered],
  ])('leaves no frame undecided while it does so: %s', async (_name, make) => {
    const versions = await Promise.all([1, 2].map((n) => make(`(i32.const ${n - 1})`)))
    const { decide, reload } = await open([place('p.wasm', versions[0]!)])
    let isOver = false
    const seen = { allow: 0, POLICY_DENIED: 0, POLICY_ERROR: 0 }
    const load = async (): Promise<void> => {
      while (!isOver) {
        const verdict = await decide(input('a frame'))
        seen[verdict.allows ? 'allow' : verdict.code]++
        await new Promise(setImmediate)
      }
    }
    const loads = Array.from({ length: 8 }, load)
    for (let n = 1; n <= 20; n++) {
      place('p.wasm', versions[n % 2]!)
      await reload()
    }
    isOver = true
    await Promise.all(loads)
    expect(seen.POLICY_ERROR).toBe(0)
    expect(seen.allow).toBeGreaterThan(8)
    expect(seen.POLICY_DENIED).toBeGreaterThan(8)
  })
})

describe('a policy in a thread', () => {
  it('is ended at its deadline; others go on, and their instances too', async () => {
    const { decide } = await open([place('p.wasm', await buildUnmetered(loopWhenLong))])
    expect(chain!.policies[0]!.unmetered).toBe('it has instruction 0xfd')
    const startMs = performance.now()
    const [stopped, ...others] = await Promise.all([
      decide(input(long, 'acme')),
      ...Array.from({ length: 20 }, (_, n) => decide(input('x', `tenant-${n}`))),
    ])
    expect(stopped).toEqual(failed('TIMEOUT'))
    expect(performance.now() - startMs).toBeLessThan(1_000)
    expect(others).toEqual(others.map(() => ({ allows: true })))
    expect(await decide(input('x', 'acme'))).toEqual({ allows: true })
  })

  it('that holds up too many others refuses them at once', async () => {
    const { decide } = await open([place('p.wasm', await buildUnmetered(loopWhenLong))], { maxWaiting: 3 })
    const verdicts = await Promise.all(Array.from({ length: 5 }, async () => decide(input('x'))))
    expect(verdicts.filter((verdict) => !verdict.allows)).toEqual([failed('BUSY'), failed('BUSY')])
  })

  it('reads headers, claims and payload as one in this thread does', async () => {
    const body = `
      (if (i32.ne (call $host_get_header (i32.const 1000) (i32.const 6) (i32.const 2000)) (i32.const 17)) (then (return (i32.const 1))))
      (if (i32.ne (call $host_get_claim (i32.const 1010) (i32.const 9) (i32.const 2000) (i32.const 64)) (i32.const 4)) (then (return (i32.const 1))))
      (i32.ne (call $host_get_payload (i32.const 2000) (i32.const 64)) (i32.const 2))`
    const more = '(data (i32.const 1000) "origin") (data (i32.const 1010) "tenant_id")'
    const given = input('a frame')
    const with2 = { ...given, payload: given.frame.subarray(3, 5) }
    for (const make of [build, buildUnmetered]) {
      const { decide } = await open([place('p.wasm', await make(body, { more }))])
      expect(await decide(with2)).toEqual({ allows: true })
      await chain!.close()
    }
  })
})
