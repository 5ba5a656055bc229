// `arqonbus policy test` on files: verdicts, differences, and what it ends with.
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadShieldConfig } from '../../../src/config/load.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { build, buildUnmetered } from '../../support/policy-lab.ts'
import { runCommand } from '../../support/run-command.ts'

const sample = (name: string): string => join(import.meta.dirname, `../../../policies/${name}.wasm`)
let folder: string
let frames: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-replay-'))
  frames = join(folder, 'frames')
  mkdirSync(frames)
  const payloads = [{ n: 1 }, {}, { text: 'A Secret' }]
  for (const [i, payload] of payloads.entries()) {
    const id = `arq_170000000000000000${i}_1_abcdef`
    const rest = { timestamp: '2026-01-01T00:00:00.000Z', version: '1.0', args: {}, metadata: {} }
    const frame = encodeProtobuf({ id, type: 'message', room: 'lab', channel: 'general', payload, ...rest })
    writeFileSync(join(frames, `${i + 1}.bin`), frame)
  }
  writeFileSync(join(frames, '4.bin'), 'no frame')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (...args: string[]) => runCommand(['policy', 'test', ...args], {})

describe('policy hash', () => {
  it('prints pins as the configuration takes them, one a line', async () => {
    const files = [sample('block-empty'), sample('size-budget')]
    const { exitCode, out } = await runCommand(['policy', 'hash', ...files], {})
    expect(exitCode).toBe(0)
    const hex = files.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'))
    expect(out).toEqual([`block-empty:${hex[0]}`, `size-budget:${hex[1]}`])
    const given = { JWT_SECRET: 'x'.repeat(8), SHIELD_POLICY_SHA256: out.join(',') }
    expect(loadShieldConfig(given).policies.pins).toEqual(out)
  })

  it('ends as a start does where a file cannot be read', async () => {
    const { exitCode, notes } = await runCommand(['policy', 'hash', join(folder, 'none.wasm')], {})
    expect(exitCode).toBe(78)
    expect(notes.join('')).toContain('The file of policy none cannot be read')
  })
})

describe('policy test', () => {
  it('prints a verdict for each frame in the order of their names', async () => {
    const { exitCode, out } = await run(sample('block-empty'), '--frames', frames)
    expect(exitCode).toBe(0)
    expect(out).toEqual([
      'allow    1.bin  fuel 9',
      expect.stringMatching(/^deny {5}2\.bin {2}fuel \d+ \(DENIED\)$/),
      'allow    3.bin  fuel 9',
      expect.stringMatching(/^invalid {2}4\.bin {2}fuel 0 \(PB_\w+\)$/),
      '4 frames: allow 2, deny 1, error 0, invalid 1',
    ])
  })

  it('shows where a candidate differs from the baseline, and ends with 1', async () => {
    const { exitCode, out } = await run(sample('forbid-words'), '--frames', frames, '--baseline', sample('block-empty'))
    expect(exitCode).toBe(1)
    expect(out.slice(-3)).toEqual([
      '2 differences to the baseline',
      '  2.bin: deny (DENIED) -> allow',
      '  3.bin: allow -> deny ("the word secret")',
    ])
    const same = await run(sample('forbid-words'), '--frames', frames, '--baseline', sample('forbid-words'))
    expect([same.exitCode, same.out.at(-1)]).toEqual([0, '0 differences to the baseline'])
  })

  it('prints one JSON document', async () => {
    const { out } = await run(sample('forbid-words'), '--frames', frames, '--baseline', sample('block-empty'), '--json')
    const { frames: judged, differences } = JSON.parse(out.join('')) as { frames: unknown[]; differences: unknown[] }
    expect(judged[2]).toMatchObject({ file: '3.bin', verdict: 'deny', reason: 'the word secret' })
    expect(differences).toHaveLength(2)
  })

  it('goes on asking a candidate that fails, also one in a thread', async () => {
    const loops =
      '(if (i32.eqz (call $host_get_payload (i32.const 4096) (i32.const 0))) (then (loop $l (br $l)))) (i32.const 0)'
    for (const [make, failure] of [
      [build, 'OUT_OF_FUEL'],
      [buildUnmetered, 'TIMEOUT'],
    ] as const) {
      const file = join(folder, 'candidate.wasm')
      writeFileSync(file, await make(loops))
      const { out } = await run(file, '--frames', frames)
      expect(out[1]).toContain(`(${failure})`)
      expect(out[2]).toMatch(/^allow {4}3\.bin/)
    }
  })

  it.each([
    ['a file that is no module', () => [join(frames, '4.bin'), '--frames', frames], 78],
    ['a file that is not there', () => [join(folder, 'none.wasm'), '--frames', frames], 78],
    ['no frames', () => [sample('block-empty'), '--frames', join(folder, 'none')], 64],
    ['no folder at all', () => [sample('block-empty')], 64],
    ['a header without a value', () => [sample('block-empty'), '--frames', frames, '--header', 'origin'], 64],
  ])('says what is wrong with %s', async (_name, args, code) => {
    const { exitCode, notes } = await run(...args())
    expect(exitCode).toBe(code)
    expect(notes.length).toBeGreaterThan(0)
  })
})
