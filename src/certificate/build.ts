// Which build this is, told from the files that run: no git, no network, nothing that a server would have to wait for.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { digestOf } from '../base/canonical-json.ts'
import { isJsonObject } from '../base/json.ts'

export interface Build {
  /** Digest of every file of the program: paths and contents. */
  readonly artefact: string
  /** Digest of package-lock.json; of a build without it, the one that the build wrote down. */
  readonly lock: string
  /** The Node version that runs it. */
  readonly node: string
  /** Digest of its catalogue of checks, and of the runbook. */
  readonly catalogue: string
  readonly runbook: string
}

/** src/ and dist/ are equally deep below the root. */
const thisRoot = fileURLToPath(new URL('../../', import.meta.url))
const unknown = 'unknown'
/** Read by the program while it runs. */
const data = ['proto', 'scripts/migrations'] as const
const single = ['bin/arqonbus.mjs', 'package.json'] as const
const lockFile = 'package-lock.json'
const runbookFile = 'docs/ArqonBus/runbooks/production_preflight_runbook.md'

/** As bin/arqonbus.mjs has it. */
const codeIn = (root: string): string => (existsSync(join(root, 'src/bin/arqonbus.ts')) ? 'src' : 'dist')

/** Never throws: what cannot be read is `unknown`, and equals nothing that a certificate holds. */
export function buildOf(root: string = thisRoot, node: string = process.versions.node): Build {
  const code = codeIn(root)
  const files = [
    ...[code, ...data].flatMap((folder) => filesBelow(join(root, folder))),
    ...single.map((path) => join(root, path)).filter((path) => existsSync(path)),
  ]
    .map((path) => [relative(root, path), sha256(readFileSync(path))] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return {
    artefact: digestOf(files),
    lock: digestOfFile(join(root, lockFile)) ?? recordedLock(root) ?? unknown,
    node,
    catalogue: catalogueOf(join(root, code, 'preflight/catalogue-manifest.json')) ?? unknown,
    runbook: digestOfFile(join(root, runbookFile)) ?? unknown,
  }
}

/**
 * Another one once a file of the program was touched, for the price of looking at each and reading none. For servers: it
 * does not hold them up. Rejects as `node:fs` does.
 */
export async function stampOfBuild(root: string = thisRoot): Promise<string> {
  const below = [codeIn(root), ...data].map(async (folder) => {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true }).catch(() => [])
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  })
  const lone = [...single, lockFile, runbookFile].map((path) => join(root, path))
  const stamps = [...(await Promise.all(below)).flat(), ...lone].map(async (path) => {
    const stats = await stat(path).catch(() => undefined)
    return `${path} ${stats?.size} ${stats?.mtimeMs} ${stats?.ino}`
  })
  return digestOf((await Promise.all(stamps)).sort())
}

const filesBelow = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
    : []

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

function digestOfFile(path: string): string | undefined {
  return existsSync(path) ? sha256(readFileSync(path)) : undefined
}

const recordedLock = (root: string): string | undefined => textIn(join(root, 'dist/build-info.json'), 'lock')
const catalogueOf = (path: string): string | undefined => textIn(path, 'digest')

function textIn(path: string, name: string): string | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const text = isJsonObject(value) ? value[name] : undefined
    return typeof text === 'string' ? text : undefined
  } catch {
    return undefined
  }
}
