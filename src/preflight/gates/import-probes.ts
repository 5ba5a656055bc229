// gate.import-clean: what the package imports is what it declares, comes from where it should, and does nothing but be
// there.
import { copyFileSync, cpSync, existsSync, mkdirSync, realpathSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { JsonObject, JsonValue } from '../../base/json.ts'
import { isJsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { textIn } from '../json-fields.ts'
import { type Host, objectIn, readJson } from '../runtime/host.ts'
import { emptyEnvironment } from './gate-environment.ts'
import { type GateSession, sessionOf, validAttestation } from './gate-session.ts'
import { codeBelow, loadedBy, packageOf } from './sources.ts'

export const importShape = {
  by: 'string',
  attestation: 'object?',
  /** What was imported, and what that did. */
  imports: 'objects',
  /** `{name, isDev, file}`: loaded by our code and no runtime dependency. */
  undeclared: 'objects',
  /** `{name, place}`: found nearer to our code than the tree's own. */
  shadowed: 'objects',
} as const

export interface ImportFacts {
  readonly by: string
  readonly attestation?: JsonObject
  readonly imports: readonly JsonObject[]
  readonly undeclared: readonly JsonObject[]
  readonly shadowed: readonly JsonObject[]
}

const perImportMs = 10_000

/** In the tree that gate.install-clean has made. */
export async function probeImports(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<ImportFacts> {
  const attestation = await validAttestation(host, ports, signal)
  if (attestation !== undefined) {
    return { by: 'attestation', attestation, imports: [], undeclared: [], shadowed: [] }
  }
  const session = sessionOf(ports, host)
  const tree = session.tree
  if (tree === undefined) throw new Error('gate.install-clean left no tree')
  const manifest = readJson(join(host.root, 'package.json')) ?? {}
  const folder = existsSync(join(host.root, 'dist')) ? 'dist' : 'src'
  for (const part of [folder, 'bin']) {
    if (existsSync(join(host.root, part))) cpSync(join(host.root, part), join(tree, part), { recursive: true })
  }
  const imports: JsonObject[] = []
  for (const name of Object.keys(objectIn(manifest, 'dependencies')).sort()) {
    imports.push(await importOne({ session, tree, specifier: name, signal, home: `node_modules/${name}` }))
  }
  for (const entry of entriesOf(manifest, folder)) {
    const home = dirname(entry.file)
    const specifier = existsSync(join(tree, entry.file)) ? `./${entry.file}` : entry.specifier
    imports.push({ ...(await importOne({ session, tree, specifier, signal, home })), name: entry.specifier })
  }
  return { by: 'run', imports, ...scan(tree, [folder, 'bin'], manifest) }
}

/** Code of our export map: with the sources for the built file, where only those are here. */
function entriesOf(manifest: JsonObject, folder: string): { specifier: string; file: string }[] {
  return Object.entries(objectIn(manifest, 'exports')).flatMap(([key, value]) => {
    const target = defaultOf(value)
    if (target === undefined || !/\.[cm]?[jt]s$/.test(target)) return []
    const path = target.replace(/^\.\//, '')
    const file = folder === 'src' ? path.replace(/^dist\//, 'src/').replace(/\.js$/, '.ts') : path
    return [{ specifier: `${textIn(manifest, 'name')}${key.slice(1)}`, file }]
  })
}

function defaultOf(value: JsonValue): string | undefined {
  if (typeof value === 'string') return value
  if (!isJsonObject(value)) return undefined
  const target = value['import'] ?? value['default']
  return target === undefined ? undefined : defaultOf(target)
}

const childFile = fileURLToPath(new URL('./import-child.mjs', import.meta.url))

interface ImportRequest {
  readonly session: GateSession
  readonly tree: string
  readonly specifier: string
  readonly signal: AbortSignal
  /** The folder below the tree from where it has to come. */
  readonly home: string
}

async function importOne({ session, tree, specifier, signal, home }: ImportRequest): Promise<JsonObject> {
  const name = specifier.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '')
  const child = join(tree, 'preflight-import-child.mjs')
  copyFileSync(childFile, child)
  const answerPath = join(session.folder, 'imports', `${name}.json`)
  const cwd = join(session.folder, 'imports', 'cwd')
  mkdirSync(cwd, { recursive: true })
  const ended = await session.spool.run(
    { id: `gate-import-${name}`, argv: [session.parts.node, child, specifier, answerPath], cwd },
    { env: emptyEnvironment(), deadlineMs: perImportMs, signal },
  )
  const answer = readJson(answerPath)
  const resolved = textIn(answer ?? {}, 'resolved')
  return {
    name: specifier,
    isLate: ended.isLate === true,
    ...(answer === undefined && { code: 'NO_ANSWER', message: `exit ${ended.exit ?? ended.signal}` }),
    ...answer,
    resolved: shown(tree, resolved),
    isAtHome: isBelow(join(tree, home), resolved),
    written: ended.stdout.length,
  }
}

/** Below the tree, without the tree. */
const shown = (tree: string, url: string): string =>
  url.startsWith('file:') ? relative(realpathSync(tree), realpathOf(fileURLToPath(url))) : url

function isBelow(folder: string, url: string): boolean {
  if (!url.startsWith('file:')) return false
  return realpathOf(fileURLToPath(url)).startsWith(realpathOf(folder) + sep)
}

function realpathOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** What the code that would run imports, against what is declared and where it would be found. */
function scan(tree: string, places: readonly string[], manifest: JsonObject) {
  const named = (kind: string): string[] => Object.keys(objectIn(manifest, kind))
  const runtime = new Set([
    ...named('dependencies'),
    ...named('optionalDependencies'),
    ...named('peerDependencies'),
    textIn(manifest, 'name'),
  ])
  const development = new Set(named('devDependencies'))
  const undeclared = new Map<string, JsonObject>()
  const shadowed = new Map<string, JsonObject>()
  for (const file of codeBelow(tree, places)) {
    for (const specifier of loadedBy(file)) {
      const name = packageOf(specifier)
      if (name === undefined || (isBuiltin(specifier) && !runtime.has(name))) continue
      if (!runtime.has(name)) undeclared.set(name, { name, isDev: development.has(name), file: file.path })
      const place = nearer(tree, file.path, name)
      if (place !== undefined) shadowed.set(name, { name, place })
    }
  }
  return { undeclared: [...undeclared.values()], shadowed: [...shadowed.values()] }
}

/** A package of that name in a node_modules below the tree's root, where Node looks first. */
function nearer(tree: string, path: string, name: string): string | undefined {
  for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
    const place = join(folder, 'node_modules', name)
    if (existsSync(join(tree, place))) return place
  }
  return undefined
}
