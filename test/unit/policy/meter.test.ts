// What the rewriting of modules promises: the same answers, paid for, and an end to whatever does not end by itself.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createInstance } from '../../../src/policy/instance.ts'
import { prepareModule } from '../../../src/policy/prepare-module.ts'
import { assemble } from '../../../scripts/assemble.ts'
import { build, inputOf, limits, openInstance, policyText } from '../../support/policy-lab.ts'

const outOfFuel = { kind: 'failure', failure: 'OUT_OF_FUEL', isBroken: true }

describe('a metered module', () => {
  it('answers as it does without a meter, for every kind of instruction', async () => {
    const body = `
      (local $i i32) (local $sum i64) (local $f f64)
      (loop $l (block $b (block $c
        (br_table $b $c (i32.and (local.get $i) (i32.const 1))))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (i32.load8_u (local.get $i))))))
        (local.set $f (f64.add (local.get $f) (f64.const 1.5)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $len))))
      (memory.fill (i32.const 3000) (i32.const 1) (i32.const 10))
      (memory.copy (i32.const 4000) (i32.const 3000) (i32.const 10))
      (if (result i32) (i32.eq (i32.load8_u (i32.const 4009)) (i32.const 1))
        (then (i32.and (call_indirect (type $t) (i32.wrap_i64 (local.get $sum)) (i32.const 0))
          (i32.extend8_s (i32.trunc_sat_f64_s (local.get $f)))))
        (else (unreachable)))`
    const more = `(type $t (func (param i32) (result i32))) (table 1 funcref) (elem (i32.const 0) $odd)
      (func $odd (type $t) (local $x i64) (select (i32.const 1) (i32.const 0) (i32.and (local.get 0) (i32.const 1))))`
    const bytes = await build(body, { more })
    const { wasm, fuelExport } = prepareModule('test', bytes, limits)
    const plain = new WebAssembly.Module(bytes)
    const metered = new WebAssembly.Module(wasm)
    expect(fuelExport).toBe('arqon_fuel')
    for (let size = 1; size < 200; size += 7) {
      const frame = Uint8Array.from({ length: size }, (_, i) => (i * 37 + size) & 255)
      const options = { fuel: limits.fuel, log: () => undefined }
      const a = createInstance({ module: plain, ...options }).call(inputOf(frame))
      const b = createInstance({ module: metered, fuelExport: fuelExport!, ...options }).call(inputOf(frame))
      expect([size, b]).toEqual([size, a])
    }
  })

  it('pays for each round of a loop, and the same each time', async () => {
    const instance = await openInstance(
      '(loop $l (local.set $len (i32.sub (local.get $len) (i32.const 1))) (br_if $l (local.get $len))) (i32.const 0)',
    )
    const used = (size: number): number => {
      expect(instance.call(inputOf(new Uint8Array(size)))).toEqual({ kind: 'allow' })
      return instance.fuelUsed
    }
    const [ten, twenty, thirty] = [used(10), used(20), used(30)]
    expect(twenty! - ten!).toBe(thirty! - twenty!)
    expect(twenty! - ten!).toBeGreaterThanOrEqual(10 * 6)
    expect(used(10)).toBe(ten)
  })

  it.each([
    ['an endless loop', '(loop $l (br $l)) (i32.const 0)'],
    ['a loop that leaves by a branch to itself from inside', '(loop $l (block (block (br $l)))) (i32.const 0)'],
    ['an endless loop in a branch', '(if (local.get $len) (then (loop $l (br $l)))) (i32.const 0)'],
    ['growth in a loop', '(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (i32.const 0)'],
    [
      'a fill of all memory in a loop',
      '(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l)) (i32.const 0)',
    ],
    [
      'a log in a loop',
      '(loop $l (drop (call $host_log (i32.const 2) (i32.const 0) (i32.const 9))) (br $l)) (i32.const 0)',
    ],
  ])('ends %s', async (_name, body) => {
    expect((await openInstance(body)).call(inputOf('x'))).toEqual(outOfFuel)
  })

  it('ends calls without end, by fuel or by the stack', async () => {
    const deep = await openInstance('(call $check (local.get $at) (local.get $len))')
    expect(deep.call(inputOf('x'))).toMatchObject({ kind: 'failure', isBroken: true })
  })

  it('pays for bulk by its length', async () => {
    const fill = (length: number) => `(memory.fill (i32.const 0) (i32.const 1) (i32.const ${length})) (i32.const 0)`
    const [small, large] = await Promise.all([openInstance(fill(8)), openInstance(fill(65_536))])
    small.call(inputOf('x'))
    large.call(inputOf('x'))
    expect(large.fuelUsed - small.fuelUsed).toBe((65_536 - 8) / 4)
  })

  it('cannot reach the fuel, not even under its name', async () => {
    const text = policyText('(i32.const 0)', { more: '(global (export "arqon_fuel") (mut i32) (i32.const 7))' })
    expect(prepareModule('test', await assemble('t', text), limits).fuelExport).toBe('arqon_fuel_')
    // The index the fuel will have is no global of the module's own.
    const naming = policyText('(global.set 0 (i32.const 1000000)) (i32.const 0)')
    await expect(assemble('t', naming)).rejects.toThrow()
  })

  it('has no more than its pages, whether it said so or not', async () => {
    for (const memory of ['1', '1 1000', '1 65536']) {
      const grow = '(i32.ne (memory.grow (i32.const 64)) (i32.const -1))'
      expect((await openInstance(grow, { memory })).call(inputOf('x')), memory).toEqual({ kind: 'allow' })
      const fits = '(i32.eq (memory.grow (i32.const 63)) (i32.const -1))'
      expect((await openInstance(fits, { memory })).call(inputOf('x')), memory).toEqual({ kind: 'allow' })
    }
  })

  it('keeps a smaller maximum of its own', async () => {
    const instance = await openInstance('(i32.ne (memory.grow (i32.const 2)) (i32.const -1))', { memory: '1 2' })
    expect(instance.call(inputOf('x'))).toEqual({ kind: 'allow' })
  })
})

describe('bounds larger than there can be', () => {
  it('do no harm', async () => {
    const bytes = await build('(i32.const 0)')
    expect(
      prepareModule('test', bytes, { fuel: 2_147_483_647, maxMemoryPages: 2_147_483_647 }).unmetered,
    ).toBeUndefined()
  })
})

describe('a module that cannot be metered', () => {
  it('is told by its unknown instructions, and capped all the same', async () => {
    const simd = '(drop (i8x16.splat (i32.const 1))) (i32.const 0)'
    const { fuelExport, unmetered } = prepareModule('test', await build(simd, {}, { simd: true }), limits)
    expect({ fuelExport, unmetered }).toEqual({ fuelExport: undefined, unmetered: 'it has instruction 0xfd' })
  })
})

describe('a module is refused', () => {
  const wat = (text: string) => assemble('t', text)
  const check = '(func (export "policy_check") (param i32 i32) (result i32) (i32.const 0))'
  const memory = '(memory (export "memory") 1)'
  it.each([
    ['that is none', async () => Buffer.from('hello'), 'POLICY_INVALID'],
    ['that is cut off', async () => (await wat(`(module ${memory} ${check})`)).subarray(0, -3), 'POLICY_INVALID'],
    ['that is too large', async () => Buffer.alloc(1_048_577), 'POLICY_TOO_LARGE'],
    ['without policy_check', () => wat(`(module ${memory})`), 'MISSING_EXPORT'],
    ['without memory', () => wat(`(module ${check})`), 'MISSING_EXPORT'],
    ['that hides its memory', () => wat(`(module (memory 1) ${check})`), 'MISSING_EXPORT'],
    ['with another policy_check', () => wat(`(module ${memory} (func (export "policy_check")))`), 'EXPORT_SIGNATURE'],
    [
      'whose policy_check is the host’s own',
      () =>
        wat(
          `(module (import "env" "host_get_payload" (func $own (param i32 i32) (result i32))) (export "policy_check" (func $own)) ${memory})`,
        ),
      'EXPORT_SIGNATURE',
    ],
    ['that begins too large', () => wat(`(module (memory (export "memory") 65) ${check})`), 'POLICY_MEMORY'],
    ['with a table too large', () => wat(`(module ${memory} (table 10001 funcref) ${check})`), 'POLICY_TABLE'],
    [
      'that wants WASI',
      () => wat(`(module (import "wasi_snapshot_preview1" "fd_write" (func)) ${memory} ${check})`),
      'IMPORT_NOT_ALLOWED',
    ],
    [
      'that wants another function',
      () => wat(`(module (import "env" "abort" (func)) ${memory} ${check})`),
      'IMPORT_NOT_ALLOWED',
    ],
    [
      'that wants a memory',
      () => wat(`(module (import "env" "host_log" (memory 1)) (export "memory" (memory 0)) ${check})`),
      'IMPORT_NOT_ALLOWED',
    ],
    [
      'that takes a host function for another',
      () => wat(`(module (import "env" "host_log" (func (param i64))) ${memory} ${check})`),
      'IMPORT_SIGNATURE',
    ],
  ])('%s', async (_name, make, reason) => {
    const bytes = await make()
    expect(() => prepareModule('test', bytes, limits)).toThrow(
      expect.objectContaining({ code: 'START_REFUSED', details: expect.objectContaining({ reason, policy: 'test' }) }),
    )
  })

  it('with a shared memory', async () => {
    const shared = await assemble('t', `(module (memory (export "memory") 1 2 shared) ${check})`, { threads: true })
    expect(() => prepareModule('test', shared, limits)).toThrow(/shared/)
  })
})

describe('the sample policies', () => {
  const folder = join(import.meta.dirname, '../../../policies')
  const samples = readdirSync(folder).filter((name) => name.endsWith('.wat'))
  it.each(samples)('%s makes the module beside it, byte for byte', async (file) => {
    const built = await assemble(file, readFileSync(join(folder, file), 'utf8'))
    const committed = readFileSync(join(folder, file.replace(/\.wat$/, '.wasm')))
    expect(built.equals(committed)).toBe(true)
  })
  it('are three, and metered', () => {
    expect(samples).toEqual(['block-empty.wat', 'forbid-words.wat', 'size-budget.wat'])
    for (const file of samples) {
      const bytes = readFileSync(join(folder, file.replace(/\.wat$/, '.wasm')))
      expect(prepareModule(file, bytes, limits).unmetered).toBeUndefined()
    }
  })
})
