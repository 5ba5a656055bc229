// The rules of layers.mjs as functions over a list of files, so that they can be tried on trees made up for a test.
// They read text, not syntax trees (the TypeScript in use has no such API): the forms below are all that the
// formatter lets through, and a form they cannot read is itself a problem.
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'

export interface SourceFile {
  /** Relative to `src`, with forward slashes: `rooms/rooms.ts`. */
  readonly path: string
  readonly text: string
}

export interface Rules {
  readonly layers: Readonly<Record<string, readonly string[]>>
  readonly soleImporters: Readonly<Record<string, readonly string[]>>
  readonly portOnly: Readonly<Record<string, { readonly port: string; readonly mayOpen: readonly string[] }>>
  /** Files that may import a name that is only known at run time; default: none. */
  readonly computedImporters?: readonly string[]
}

/** Every `.ts` file under `root`, generated ones included. */
export function readSources(root: string): SourceFile[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts'))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

const importForms: readonly RegExp[] = [
  /^\s*import\s+(?:type\s+)?[\w\s{},*$]+?\s*from\s*['"]([^'"]+)['"]/gm,
  /^\s*import\s*['"]([^'"]+)['"]/gm,
  /^\s*export\s+(?:type\s+)?(?:\{[^}]*\}|\*(?:\s+as\s+\w+)?)\s*from\s*['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]/g, // dynamic, and the type form import('x').Y
  /\bnew URL\(\s*['"](\.[^'"]+\.ts)['"]/g, // a worker's entry file
]

/** What a file imports, type-only imports included: package names, built-ins, and paths relative to `src`. */
export function importsOf(file: SourceFile): string[] {
  const code = withoutComments(file.text)
  const found = importForms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1]!))
  return found.map((name) => (name.startsWith('.') ? posix.join(posix.dirname(file.path), name) : name))
}

/** Whole-line and trailing comments go; text that only looks like one stays, which can add a finding, never hide one. */
function withoutComments(text: string): string {
  return text
    .split('\n')
    .map((line) => (/^\s*(?:\/\/|\/\*|\*)/.test(line) ? '' : line.replace(/\s\/\/\s.*$/, '')))
    .join('\n')
}

const partOf = (path: string): string => path.split('/', 1)[0]!
const isInside = (path: string, place: string): boolean => path === place || path.startsWith(`${place}/`)

/** Every import that the three tables forbid, one sentence each. */
export function importProblems(files: readonly SourceFile[], rules: Rules): string[] {
  const known = new Map(files.map((file) => [file.path, file]))
  return files.flatMap((file) => {
    const problems = importsOf(file).flatMap((name) => {
      if (known.has(name)) return layerProblems(file.path, name, rules)
      if (name.endsWith('.ts') || name.startsWith('.')) return [`${file.path} imports ${name}, which is not in src`]
      return packageProblems(file.path, name, rules)
    })
    const isComputed = /\bimport\((?!\s*['"])/.test(withoutComments(file.text))
    if (isComputed && rules.computedImporters?.includes(file.path) !== true) {
      problems.push(`${file.path} imports a computed name, which no rule can check`)
    }
    return problems
  })
}

function layerProblems(from: string, to: string, rules: Rules): string[] {
  const [user, used] = [partOf(from), partOf(to)]
  if (user === used) return []
  const allowed = rules.layers[user] ?? []
  if (!allowed.includes(used)) return [`${from} imports ${to}, but ${user} may import only: ${allowed.join(', ')}`]
  const port = rules.portOnly[used]
  if (port === undefined || port.mayOpen.includes(user) || to === `${used}/${port.port}`) return []
  return [`${from} imports ${to}, but ${user} may see only ${used}/${port.port}`]
}

function packageProblems(from: string, name: string, rules: Rules): string[] {
  return Object.entries(rules.soleImporters).flatMap(([library, places]) =>
    isInside(name, library) && !places.some((place) => isInside(from, place))
      ? [`${from} imports ${name}, but only these may: ${places.join(', ')}`]
      : [],
  )
}

/** Import cycles between files, each as `a -> b -> a`; one per file that closes one. */
export function importCycles(files: readonly SourceFile[]): string[] {
  const known = new Map(files.map((file) => [file.path, file]))
  const state = new Map<string, 'open' | 'done'>()
  const cycles: string[] = []

  function visit(path: string, trail: readonly string[]): void {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '))
      return
    }
    state.set(path, 'open')
    for (const name of importsOf(known.get(path)!)) if (known.has(name)) visit(name, [...trail, path])
    state.set(path, 'done')
  }
  for (const file of files) visit(file.path, [])
  return cycles
}

/** Packages and built-ins that a part reaches, directly or through what it imports: `file imports name`. */
export function foreignImports(files: readonly SourceFile[], part: string): string[] {
  const known = new Map(files.map((file) => [file.path, file]))
  const reached = new Set(files.filter((file) => partOf(file.path) === part).map((file) => file.path))
  const foreign: string[] = []
  for (const path of reached) {
    for (const name of importsOf(known.get(path)!)) {
      if (known.has(name)) reached.add(name)
      else foreign.push(`${path} imports ${name}`)
    }
  }
  return foreign
}

/** Files outside `places` whose code, comments aside, matches `form`. */
export function filesWith(files: readonly SourceFile[], form: RegExp, places: readonly string[]): string[] {
  return files
    .filter((file) => !places.some((place) => isInside(file.path, place)) && form.test(withoutComments(file.text)))
    .map((file) => file.path)
}

/** Parts that (transitively) allow themselves, as `a -> b -> a`. */
export function tableCycles(layers: Rules['layers']): string[] {
  const files = Object.entries(layers).map(([part, uses]) => ({
    path: `${part}/part.ts`,
    text: uses.map((used) => `import '../${used}/part.ts'`).join('\n'),
  }))
  return importCycles(files).map((cycle) => cycle.replaceAll('/part.ts', ''))
}
