// Which modules stand between the checks and a file: only these have to be loaded anew to try a change of it.
import { readdirSync, readFileSync } from 'node:fs'
import { join, matchesGlob, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { strip } from './mutants.ts'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The code that judges. Probes are not in it: integration tests hold them, with real servers. */
const targets = [
  'src/preflight/**/*-checks.ts',
  'src/preflight/**/*-judges.ts',
  'src/preflight/{stops,facts,judge}.ts',
  'src/rules/*.ts',
]
/** What looks at the machine, and what servers ask at their start: tests of their own hold these. */
const excluded = ['src/rules/context.ts', 'src/rules/gate.ts']

export interface Graph {
  /** JavaScript of every file of the two parts, by path. */
  readonly sources: ReadonlyMap<string, string>
  readonly targets: readonly string[]
  /** That file, and all that import it, themselves or through others. */
  dependents(file: string): ReadonlySet<string>
}

export function readGraph(): Graph {
  const files = ['src/preflight', 'src/rules'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => posix.join(folder, name)),
  )
  const sources = new Map(files.sort().map((file) => [file, strip(readFileSync(join(root, file), 'utf8'))]))
  const importers = new Map<string, string[]>()
  for (const [file, source] of sources) {
    for (const [, specifier = ''] of source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g)) {
      const imported = posix.join(posix.dirname(file), specifier)
      importers.set(imported, [...(importers.get(imported) ?? []), file])
    }
  }
  return {
    sources,
    targets: files.filter(
      (file) => targets.some((glob) => matchesGlob(file, glob)) && !excluded.includes(file) && !/-worlds/.test(file),
    ),
    dependents(file) {
      const all = new Set<string>()
      const add = (path: string): void => {
        if (all.has(path)) return
        all.add(path)
        for (const importer of importers.get(path) ?? []) add(importer)
      }
      add(file)
      return all
    },
  }
}
