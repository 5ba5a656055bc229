// Modules as compilers make them, and of exactly the original's ABI (original-contract 10.5): loaded from their files and
// asked as the gateway does.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assemble } from '../../../scripts/assemble.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { readFacts } from '../../../src/policy/module-facts.ts'
import { openPolicies, type PolicyChain } from '../../../src/policy/policy-chain.ts'
import type { PolicyInput, Verdict } from '../../../src/policy/policy.ts'
import { readSections } from '../../../src/policy/wasm-bytes.ts'
import { chainBounds } from '../../support/policy-lab.ts'
import { createRecordLogger } from '../../support/record-logger.ts'

const built = (name: string): string => join(import.meta.dirname, `../../support/toolchains/${name}.wasm`)
let folder: string
let chain: PolicyChain | undefined
let logger: ReturnType<typeof createRecordLogger>
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-toolchains-'))
  logger = createRecordLogger()
})
afterEach(async () => {
  await chain?.close()
  chain = undefined
  rmSync(folder, { recursive: true, force: true })
})

async function open(file: string): Promise<PolicyChain> {
  chain = await openPolicies({ ...chainBounds, files: [file] }, { clock: systemClock, logger, metrics: undefined })
  return chain
}
async function openText(text: string): Promise<PolicyChain> {
  const file = join(folder, 'p.wasm')
  writeFileSync(file, await assemble('p.wat', text))
  return open(file)
}
const ask = (text: string, headers: Record<string, string> = {}, tenant = 'acme'): Verdict => {
  const frame = new TextEncoder().encode(text)
  const identity = { tenant, subject: 'alice', role: 'user' as const }
  const input: PolicyInput = { identity, clientId: 'c', trace: 't', frame, payload: frame, headers }
  return chain!.decide(input) as Verdict
}
/** What the policy said about frames of a tenant. */
const said = (tenant: string): unknown[] =>
  logger.lines
    .filter(({ event, fields }) => event === 'policy.said' && fields['tenant'] === tenant)
    .map(({ fields }) => fields['text'])
const denied = { allows: false, code: 'POLICY_DENIED', reason: 'DENIED' }

describe.each([
  ['rust', []],
  ['assemblyscript', []],
  // Its constructor speaks too.
  ['cpp-reactor', ['made']],
])('a policy built by a real toolchain: %s', (name, first) => {
  it('decides, logs, reads headers, keeps its state, and traps for itself only', async () => {
    await open(built(name))
    expect(chain!.policies[0]!.unmetered).toBeUndefined()
    expect(ask('hello')).toEqual({ allows: true })
    expect(ask('well?')).toMatchObject(denied)
    // Larger than what stands at the bottom of its memory, and back to a small one.
    expect(ask(`${'x'.repeat(60_000)}!`)).toMatchObject(denied)
    expect(ask('hello', { origin: 'https://a.example' })).toEqual({ allows: true })
    expect(said('acme')).toEqual([
      ...first,
      'call 1: 5 bytes',
      'call 2: 5 bytes',
      'call 3: 60001 bytes',
      'call 4: 5 bytes',
    ])
    expect(ask('hello', { origin: 'https://x.evil.example' })).toMatchObject({
      allows: false,
      code: 'POLICY_DENIED',
      reason: 'https://x.evil.example is not welcome',
    })
    // A fresh instance after it was ended in the middle, and another one after a panic.
    expect(ask('panic')).toMatchObject({ code: 'POLICY_ERROR', reason: 'TRAP' })
    expect(ask('hello')).toEqual({ allows: true })
    expect(ask('hello', {}, 'globex')).toEqual({ allows: true })
    expect(said('acme').slice(-1 - first.length)).toEqual([...first, 'call 1: 5 bytes'])
    expect(said('globex')).toEqual([...first, 'call 1: 5 bytes'])
  })
})

it('a module that imports WASI is refused by the name of the import, as the original did without WASI', async () => {
  await expect(open(built('rust-wasi'))).rejects.toMatchObject({
    code: 'START_REFUSED',
    message: expect.stringContaining('it imports wasi_snapshot_preview1.fd_write'),
    details: { reason: 'IMPORT_NOT_ALLOWED' },
  })
})

describe('a module of exactly the ABI of the original', () => {
  const imports = `
    (import "env" "host_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "host_get_header" (func $header (param i32 i32 i32) (result i32)))
    (import "env" "host_reject" (func $reject (param i32 i32 i32) (result i32)))`

  it('without an import, with one page and no maximum: denies what is empty, fails on what is larger', async () => {
    await openText(`(module (memory (export "memory") 1)
      (func (export "policy_check") (param i32 i32) (result i32) (i32.eqz (local.get 1))))`)
    expect(ask('x')).toEqual({ allows: true })
    expect(ask('')).toMatchObject(denied)
    expect(ask('x'.repeat(65_536))).toEqual({ allows: true })
    expect(ask('x'.repeat(70_000))).toMatchObject({ code: 'POLICY_ERROR', reason: 'FRAME_TOO_LARGE' })
  })

  it('with all three: arguments in their order, 0 from the log, -1 for a header that is not there', async () => {
    await openText(`(module ${imports} (memory (export "memory") 2)
      (data (i32.const 70000) "level two") (data (i32.const 70020) "x-none") (data (i32.const 70030) "no")
      (func (export "policy_check") (param $at i32) (param $len i32) (result i32)
        (if (local.get $at) (then (unreachable)))
        (if (call $log (i32.const 1) (i32.const 70000) (i32.const 9)) (then (unreachable)))
        (if (i32.ne (call $header (i32.const 70020) (i32.const 6) (i32.const 80000)) (i32.const -1))
          (then (unreachable)))
        (if (i32.eq (local.get $len) (i32.const 2))
          (then (drop (call $reject (i32.const 9) (i32.const 70030) (i32.const 2))) (unreachable)))
        (i32.const 0)))`)
    expect(ask('x')).toEqual({ allows: true })
    expect(logger.lines.filter(({ event, level }) => event === 'policy.said' && level === 'warn').at(-1)).toMatchObject(
      {
        fields: { text: 'level two', tenant: 'acme' },
      },
    )
    expect(ask('xx')).toMatchObject({ allows: false, code: 'POLICY_DENIED', reason: 'no' })
  })

  it.each([-1, 2, 255, 2_147_483_647, -2_147_483_648])('%i denies as 1 does', async (answer) => {
    await openText(`(module (memory (export "memory") 1)
      (func (export "policy_check") (param i32 i32) (result i32) (i32.const ${answer})))`)
    expect(ask('x')).toMatchObject(denied)
  })

  it('with what linkers add: mutable and constant globals, a table, a start function, other exports', async () => {
    await openText(`(module ${imports} (memory (export "memory") 17)
      (global $sp (export "__stack_pointer") (mut i32) (i32.const 1048576))
      (global (export "__heap_base") i32 (i32.const 1049088))
      (global (export "__data_end") i32 (i32.const 1049076))
      (global $started (mut i32) (i32.const 0))
      (table (export "__indirect_function_table") 2 2 funcref) (elem (i32.const 1) $started_twice)
      (func $started_twice (result i32) (i32.const 7))
      (func $begin (global.set $started (i32.add (global.get $started) (i32.const 1))))
      (start $begin)
      (func (export "_start") (unreachable))
      (func (export "__wasm_call_ctors") (unreachable))
      (func (export "policy_check") (param i32 i32) (result i32)
        (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
        (global.set $sp (i32.add (global.get $sp) (i32.const 16)))
        (if (i32.ne (call_indirect (result i32) (i32.const 1)) (i32.const 7)) (then (unreachable)))
        (i32.ne (global.get $started) (i32.const 1))))`)
    expect(ask('x'.repeat(100_000))).toEqual({ allows: true })
    expect(ask('x')).toEqual({ allows: true })
  })
})

describe('_initialize', () => {
  const module = (initialize: string, more = ''): string => `(module
    (import "env" "host_log" (func $log (param i32 i32 i32)))
    (import "arqon_host_v1" "host_get_payload" (func $payload (param i32 i32) (result i32)))
    (memory (export "memory") 1) (global $made (mut i32) (i32.const 0)) ${more}
    (func (export "_initialize") ${initialize})
    (func (export "policy_check") (param i32 i32) (result i32) (i32.ne (global.get $made) (i32.const 1))))`
  const make = '(global.set $made (i32.add (global.get $made) (i32.const 1)))'

  it('is called once for each instance, after the start function', async () => {
    await openText(module(make, '(func $s (global.set $made (i32.const 0))) (start $s)'))
    for (const tenant of ['acme', 'acme', 'globex']) expect(ask('x', {}, tenant)).toEqual({ allows: true })
  })

  it.each([
    ['a trap', '(unreachable)'],
    ['a loop, on fuel', '(loop $l (br $l))'],
    ['a question about a frame that is not there', '(drop (call $payload (i32.const 0) (i32.const 0)))'],
  ])('that ends in %s refuses the module', async (_name, body) => {
    await expect(openText(module(body))).rejects.toMatchObject({
      details: { reason: 'POLICY_SELF_CHECK', failure: 'START_FAILED' },
    })
  })

  it('with parameters is some other function', async () => {
    await openText(
      module('(param i32) (unreachable)').replace('(i32.ne (global.get $made) (i32.const 1))', '(i32.const 0)'),
    )
    expect(ask('x')).toEqual({ allows: true })
  })
})

it('the committed modules are those that are described', () => {
  const importsOf = (name: string): string[] =>
    readFacts(readSections(readFileSync(built(name)))).imports.map(({ module, name: own }) => `${module}.${own}`)
  const original = ['env.host_get_header', 'env.host_log', 'env.host_reject']
  for (const name of ['rust', 'assemblyscript', 'cpp-reactor']) expect(importsOf(name).sort()).toEqual(original)
})
