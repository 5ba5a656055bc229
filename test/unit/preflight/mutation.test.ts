// The judges changed one small thing at a time: the worlds have to notice nine of ten (docs/testing.md).
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { mutantsOf } from '../../../scripts/mutation/mutants.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

interface Score {
  readonly mutants: number
  readonly score: number
  readonly survivors: readonly string[]
}

async function mutate(...args: string[]): Promise<Score> {
  const node = ['--disable-warning=ExperimentalWarning', 'scripts/mutate.ts', '--json', '--min', '0', ...args]
  const { stdout } = await promisify(execFile)(process.execPath, node, { cwd: root, maxBuffer: 16 * 1_048_576 })
  return JSON.parse(stdout) as Score // of our own script
}

describe('two hundred mutants', () => {
  const seed = String(Math.trunc(Math.random() * 2 ** 31))
  // The seed stands in the name, so that whoever sees the test fail can try the same ones again.
  it(`are killed by the worlds, nine of ten: --count 200 --seed ${seed}`, { timeout: 120_000 }, async () => {
    const { mutants, score, survivors } = await mutate('--count', '200', '--seed', seed)
    expect(mutants).toBe(200)
    expect({ seed, survivors, isEnough: score >= 90 }).toMatchObject({ isEnough: true })
  })
})

describe('a mutant', () => {
  const whatOf = (source: string): string[] =>
    mutantsOf('a.ts', source)
      .map(({ what }) => what)
      .sort()

  it('changes what a verdict can depend on', () => {
    expect(whatOf('export const f = (a: number): boolean => a < 5')).toEqual([
      '5 to 4',
      '5 to 6',
      '< to <=',
      '< to >=',
      'nothing for the result a < 5',
    ])
    expect(whatOf("if (!a && b === 'CODE') g(a ?? 1)")).toEqual([
      '&& to ||',
      '1 to 0',
      '1 to 2',
      '=== to !==',
      "another text for 'CODE'",
      "false for the condition !a && b === 'CODE'",
      'no ! before a',
      'no ?? 1',
      "true for the condition !a && b === 'CODE'",
    ])
    expect(whatOf('export const f = (list) => list.filter(g).some(h)')).toContain('no filter g')
    expect(whatOf("export const f = (list) => failIfAny(list, 'none')")).toContain("a pass for failIfAny(list, 'none')")
  })

  it('leaves words for people, heads and tables alone', () => {
    expect(whatOf("h({ code: 'A', found: x ? 'b' : 'c', fix: 'd' })")).toEqual(["another text for 'A'"])
    expect(whatOf("export const head = { id: 'a.b', proves: 'x', severity: 'high', deadlineMs: 5 }")).toEqual([])
    expect(whatOf("throw new Error(a === b ? 'x' : 'y')")).toEqual([])
    const table = (count: number): number => whatOf(`export const table = [${"'x', ".repeat(count)}]`).length
    expect([table(20), table(21)]).toEqual([21, 1])
  })

  it('leaves alone what only a probe comes to', () => {
    const source = `
      const check = define({ proves: 'x', probe: (p) => look(p), judge: (f) => same(f) })
      function look(p) { return help(p) === 1 }
      function help(p) { return p + 2 }
      function same(f) { return f === 3 }
      export const checks = [check]`
    const lines = new Set(mutantsOf('a.ts', source).map(({ line }) => line))
    expect([...lines]).toEqual([2, 5, 6])
  })

  it('keeps every other character where it was', () => {
    const [mutant] = mutantsOf('a.ts', 'export const x: boolean =\n  true')
    expect(mutant).toMatchObject({ line: 2, start: 28, end: 32, text: 'false' })
  })
})
