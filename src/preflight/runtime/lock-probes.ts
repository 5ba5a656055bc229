// What the checks of the lockfile look at: the lockfile, the installed tree, and what the build wrote down of both.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { hashPackage } from './content-hashes.ts'
import { buildInfoOf, isBuild, type Host, objectIn, readJson, textIn, word } from './host.ts'

const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'] as const

/** `kind name@spec`, of a manifest or of a lockfile's own entry for it. */
const wishesOf = (manifest: JsonObject | undefined): string[] =>
  kinds.flatMap((kind) =>
    Object.entries(objectIn(manifest, kind)).map(([name, spec]) => `${kind} ${name}@${word(spec)}`),
  )

const lockPath = ({ root }: Host): string => join(root, 'package-lock.json')

function lockedPackages(lock: JsonObject | undefined): [string, JsonObject][] {
  return Object.entries(objectIn(lock, 'packages')).filter(
    (entry): entry is [string, JsonObject] => entry[0] !== '' && isJsonObject(entry[1]),
  )
}

function sourceOf(resolved: string | undefined): string {
  if (resolved === undefined) return ''
  if (!URL.canParse(resolved)) return 'no address'
  const { protocol, host } = new URL(resolved)
  return `${protocol}//${host}`
}

export interface LockFacts {
  readonly isPackaged: boolean
  readonly hasLock: boolean
  readonly version: number
  /** `kind name@spec` of package.json, and of the lockfile's entry for it. */
  readonly wished: readonly string[]
  readonly locked: readonly string[]
  readonly entries: readonly JsonObject[]
}

export function lookAtLock(host: Host): LockFacts {
  const lock = readJson(lockPath(host))
  const version = lock?.['lockfileVersion']
  const entries = lockedPackages(lock)
    .filter(([, entry]) => entry['link'] !== true && entry['inBundle'] !== true)
    .map(([path, entry]) => ({
      path,
      source: sourceOf(textIn(entry, 'resolved')),
      isWhole: /^sha512-[A-Za-z0-9+/]{86}==$/.test(textIn(entry, 'integrity') ?? ''),
    }))
  return {
    isPackaged: isBuild(host),
    hasLock: lock !== undefined,
    version: typeof version === 'number' ? version : 0,
    wished: wishesOf(readJson(join(host.root, 'package.json'))),
    locked: wishesOf(objectIn(objectIn(lock, 'packages'), '')),
    entries,
  }
}

/** Packages as npm lays them out, by path; what links elsewhere counts as well. */
function installedPackages(root: string): { path: string; version: string }[] {
  const found: { path: string; version: string }[] = []
  const visit = (folder: string): void => {
    for (const name of namesIn(join(root, folder))) {
      const inner = `${folder}/${name}`
      if (name.startsWith('@')) for (const scoped of namesIn(join(root, inner))) take(`${inner}/${scoped}`)
      else take(inner)
    }
  }
  const take = (path: string): void => {
    const manifest = readJson(join(root, path, 'package.json'))
    if (manifest === undefined) return
    found.push({ path, version: textIn(manifest, 'version') ?? '' })
    visit(`${path}/node_modules`)
  }
  visit('node_modules')
  return found
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => !name.startsWith('.'))
  } catch {
    return []
  }
}

/** What should be there: of the lockfile, or of what the build wrote down of it. */
function expectedPackages(host: Host): JsonObject[] | undefined {
  const lock = readJson(lockPath(host))
  if (lock === undefined) {
    const packages = buildInfoOf(host)?.['packages']
    return Array.isArray(packages) ? packages.filter(isJsonObject) : undefined
  }
  return lockedPackages(lock).map(([path, entry]) => ({
    path,
    version: textIn(entry, 'version') ?? '',
    mayBeAbsent: ['dev', 'optional', 'devOptional', 'peer'].some((name) => entry[name] === true),
    integrity: textIn(entry, 'integrity') ?? '',
  }))
}

/** `hashed`: packages whose contents were compared; absent where there is no build to compare with. */
function lookAtContents(host: Host): { hashed?: number; changed: string[] } {
  const packages = isBuild(host) ? buildInfoOf(host)?.['packages'] : undefined
  if (!Array.isArray(packages)) return { changed: [] }
  const known = packages
    .filter(isJsonObject)
    .map((entry) => ({ path: word(entry['path']), content: textIn(entry, 'content') }))
    .filter(({ path, content }) => content !== undefined && existsSync(join(host.root, path)))
  return {
    hashed: known.length,
    changed: known.filter(({ path, content }) => hashOf(join(host.root, path)) !== content).map(({ path }) => path),
  }
}

/** Undefined too for what cannot be read, which is not what was built. */
function hashOf(folder: string): string | undefined {
  try {
    return hashPackage(folder)
  } catch {
    return undefined
  }
}

export interface TreeFacts {
  readonly hasRecord: boolean
  readonly count: number
  readonly differ: readonly string[]
  readonly extraneous: readonly string[]
  readonly missing: readonly string[]
  readonly tampered: readonly string[]
  readonly changed: readonly string[]
  readonly hashed?: number
}

export function lookAtTree(host: Host): TreeFacts {
  const expected = expectedPackages(host)
  const hidden = new Map(lockedPackages(readJson(join(host.root, 'node_modules/.package-lock.json'))))
  const wanted = new Map((expected ?? []).map((entry) => [word(entry['path']), entry]))
  const installed = installedPackages(host.root)
  const there = new Set(installed.map(({ path }) => path))
  return {
    hasRecord: expected !== undefined,
    count: installed.length,
    extraneous: installed.map(({ path }) => path).filter((path) => !wanted.has(path)),
    missing: [...wanted.values()]
      .filter((entry) => entry['mayBeAbsent'] !== true && !there.has(word(entry['path'])))
      .map((entry) => word(entry['path'])),
    differ: installed
      .filter(({ path, version }) => wanted.has(path) && wanted.get(path)!['version'] !== version)
      .map(({ path, version }) => `${path} ${version} instead of ${word(wanted.get(path)!['version'])}`),
    // npm writes down what it unpacked: another hash there is another archive.
    tampered: [...hidden]
      .filter(([path, entry]) => {
        const hash = wanted.get(path)?.['integrity']
        return typeof hash === 'string' && hash !== (textIn(entry, 'integrity') ?? '')
      })
      .map(([path]) => path),
    ...lookAtContents(host),
  }
}
