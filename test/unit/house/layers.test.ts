// Holds src/ to layers.mjs, and the checker to its word: each rule is also tried on a tree that breaks it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { computedImporters, layers, portOnly, soleImporters } from '../../../layers.mjs'
import {
  filesWith,
  foreignImports,
  importCycles,
  importProblems,
  importsOf,
  readSources,
  type Rules,
  tableCycles,
} from './source-rules.ts'

const rules: Rules = { layers, soleImporters, portOnly, computedImporters }
const sources = readSources(fileURLToPath(new URL('../../../src', import.meta.url)))
const readsEnvironment = /\bprocess\.env\b|\bimport\.meta\.env\b/
const readsClock = /\bDate\.now\b|\bnew Date\(\)/

describe('src', () => {
  it('imports only what layers.mjs allows', () => {
    expect(importProblems(sources, rules)).toEqual([])
  })

  it('has no import cycles between files', () => {
    expect(importCycles(sources)).toEqual([])
  })

  it('has exactly the parts of the table', () => {
    const parts = new Set(sources.map((file) => file.path.split('/')[0]!))
    const listed = Object.keys(layers)
    expect([...parts].filter((part) => !listed.includes(part))).toEqual([])
    expect(listed.filter((part) => !parts.has(part))).toEqual([])
  })

  it('keeps the client free of built-ins and packages, through everything it imports', () => {
    expect(foreignImports(sources, 'client')).toEqual([])
  })

  it('reads the environment in bin only', () => {
    expect(filesWith(sources, readsEnvironment, ['bin'])).toEqual([])
  })

  it("reads the machine's clock in base/clock.ts and base/logger.ts only", () => {
    expect(filesWith(sources, readsClock, ['base/clock.ts', 'base/logger.ts'])).toEqual([])
  })

  it('is really read: a file known to import one thing yields that one', () => {
    const file = sources.find(({ path }) => path === 'storage/store.ts')!
    expect(importsOf(file)).toEqual(['envelope/envelope.ts'])
  })
})

describe('the table', () => {
  it('has no cycles', () => {
    expect(tableCycles(layers)).toEqual([])
    expect(tableCycles({ a: ['b'], b: ['c'], c: ['a'] })).toEqual(['a -> b -> c -> a'])
  })

  it('names only parts of itself', () => {
    const parts = Object.keys(layers)
    const named = [
      ...Object.values(layers).flat(),
      ...Object.keys(portOnly),
      ...Object.values(portOnly).flatMap((p) => p.mayOpen),
    ]
    expect(named.filter((part) => !parts.includes(part))).toEqual([])
  })
})

describe('the checker', () => {
  const root = mkdtempSync(join(tmpdir(), 'arqonbus-layers-'))
  afterAll(() => rmSync(root, { recursive: true }))

  const small: Rules = {
    layers: { low: [], mid: ['low', 'store'], store: ['low'], high: ['low', 'mid', 'store'] },
    soleImporters: { ws: ['high'], 'node:sqlite': ['store/deep'] },
    portOnly: { store: { port: 'port.ts', mayOpen: ['high', 'store'] } },
  }
  const good: Readonly<Record<string, string>> = {
    'low/a.ts': 'export const a = 1\n',
    'mid/m.ts': "import type { Port } from '../store/port.ts'\nexport type M = Port\n",
    'store/port.ts': 'export interface Port {}\n',
    'store/deep/file.ts': "import { DatabaseSync } from 'node:sqlite'\nexport { DatabaseSync }\n",
    'high/h.ts': "import { WebSocket } from 'ws'\nexport { WebSocket }\n",
  }
  let trees = 0

  function problemsOf(changes: Readonly<Record<string, string>>): string[] {
    const tree = join(root, `tree-${++trees}`)
    for (const [path, text] of Object.entries({ ...good, ...changes })) {
      mkdirSync(dirname(join(tree, path)), { recursive: true })
      writeFileSync(join(tree, path), text)
    }
    return importProblems(readSources(tree), small)
  }

  it('finds nothing in a good tree', () => {
    expect(problemsOf({})).toEqual([])
  })

  it.each([
    ['a value import', "import { m } from '../mid/m.ts'"],
    ['a type-only import', "import type { M } from '../mid/m.ts'"],
    ['an import over several lines', "import {\n  type M,\n} from '../mid/m.ts'"],
    ['a bare import', "import '../mid/m.ts'"],
    ['a re-export', "export { m } from '../mid/m.ts'"],
    ['a re-export of everything', "export * from '../mid/m.ts'"],
    ['a dynamic import', "export const m = await import('../mid/m.ts')"],
    ['a type written as an import', "export type M = import('../mid/m.ts').M"],
    ['a worker entry', "new Worker(new URL('../mid/m.ts', import.meta.url))"],
  ])('catches %s against the table', (_name, text) => {
    expect(problemsOf({ 'low/a.ts': `${text}\n` })).toEqual(['low/a.ts imports mid/m.ts, but low may import only: '])
  })

  it('catches a library outside its one place', () => {
    expect(problemsOf({ 'mid/m.ts': "import ws from 'ws'\n" })).toHaveLength(1)
    expect(problemsOf({ 'mid/m.ts': "import ws from 'ws/lib/sender.js'\n" })).toHaveLength(1)
    expect(problemsOf({ 'store/port.ts': "import { DatabaseSync } from 'node:sqlite'\n" })).toHaveLength(1)
  })

  it('catches an adapter opened from outside its part', () => {
    expect(problemsOf({ 'mid/m.ts': "import '../store/deep/file.ts'\n" })).toEqual([
      'mid/m.ts imports store/deep/file.ts, but mid may see only store/port.ts',
    ])
  })

  it('catches a computed name and a path outside src', () => {
    expect(problemsOf({ 'low/a.ts': 'export const a = await import(name)\n' })).toHaveLength(1)
    expect(problemsOf({ 'low/a.ts': "import '../../bench/run.ts'\n" })).toHaveLength(1)
  })

  it('does not take comments for imports', () => {
    expect(
      problemsOf({ 'low/a.ts': "// import '../mid/m.ts'\n/**\n * import '../mid/m.ts'\n */\nexport {}\n" }),
    ).toEqual([])
  })

  it('finds cycles, foreign imports of a closure, and forbidden words', () => {
    const files = [
      { path: 'c/one.ts', text: "import './two.ts'\n" },
      { path: 'c/two.ts', text: "import '../d/three.ts'\n" },
      { path: 'd/three.ts', text: "import type { One } from '../c/one.ts'\nimport { readFileSync } from 'node:fs'\n" },
      { path: 'd/four.ts', text: "import 'ws'\nexport const now = Date.now() // why\n" },
    ]
    expect(importCycles(files)).toEqual(['c/one.ts -> c/two.ts -> d/three.ts -> c/one.ts'])
    expect(foreignImports(files, 'c')).toEqual(['d/three.ts imports node:fs'])
    expect(filesWith(files, readsClock, [])).toEqual(['d/four.ts'])
    expect(filesWith(files, readsClock, ['d/four.ts'])).toEqual([])
    expect(filesWith(files, readsEnvironment, [])).toEqual([])
  })
})
