// Holds the documents to the code: tables made from it, links, lengths. `--write` refreshes the tables first.
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { configDocument } from '../src/config/document.ts'
import { preflightDocument } from '../src/preflight/document.ts'
import { brokenLinks, machinePaths } from './doc-rules.ts'
import { fillTables, tables, tablesIn } from './docs-tables.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const maxReadmeLines = 120
/** Documents made from code as a whole. */
const generated: Readonly<Record<string, () => string>> = {
  'docs/config.md': configDocument,
  'docs/preflight.md': preflightDocument,
}
/** Documents of others' making, kept as they are: only their links are not ours to judge. */
const verbatim = ['docs/ArqonBus/']

const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const paths = globSync(['*.md', 'docs/**/*.md'], { cwd: root })
  .map((path) => path.replaceAll('\\', '/'))
  .sort()

if (process.argv.includes('--write')) {
  for (const [path, make] of Object.entries(generated)) writeFileSync(join(root, path), make())
  for (const path of paths) writeFileSync(join(root, path), fillTables(read(path)))
}

const documents = new Map(paths.map((path) => [path, read(path)]))
const own = new Map([...documents].filter(([path]) => !verbatim.some((place) => path.startsWith(place))))
const shown = new Set([...documents.values()].flatMap(tablesIn))
const readmeLines = read('README.md').trimEnd().split('\n').length

const problems = [
  ...Object.entries(generated).flatMap(([path, make]) =>
    documents.get(path) === make() ? [] : [`${path} differs from the code; run npm run docs`],
  ),
  ...[...documents].flatMap(([path, text]) =>
    fillTables(text) === text ? [] : [`${path}: a table differs from the code; run npm run docs`],
  ),
  ...Object.keys(tables).flatMap((name) => (shown.has(name) ? [] : [`no document shows the table ${name}`])),
  ...brokenLinks(own, (path) => existsSync(join(root, path))),
  ...machinePaths(own),
  ...(readmeLines > maxReadmeLines ? [`README.md has ${readmeLines} lines; ${maxReadmeLines} are enough`] : []),
]
for (const problem of problems) console.error(problem)
console.log(problems.length === 0 ? `${paths.length} documents are in order` : `${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
