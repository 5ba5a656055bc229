// The lockfile, and whether the installed tree is what it says.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Check, defineCheck, failed, judgeAll, passed } from '../check.ts'
import { buildInfoOf, isBuild, type Host, listed, objectIn, readJson, textIn, word } from './host.ts'
import { lockWorlds, treeWorlds } from './lock-worlds.ts'
import { always } from './node-checks.ts'

const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'] as const

/** `kind name@spec`, of a manifest or of a lockfile's own entry for it. */
const wishesOf = (manifest: JsonObject | undefined): string[] =>
  kinds.flatMap((kind) =>
    Object.entries(objectIn(manifest, kind)).map(([name, spec]) => `${kind} ${name}@${word(spec)}`),
  )

const lockPath = ({ root }: Host): string => join(root, 'package-lock.json')

export function lockedPackages(lock: JsonObject | undefined): [string, JsonObject][] {
  return Object.entries(objectIn(lock, 'packages')).filter(
    (entry): entry is [string, JsonObject] => entry[0] !== '' && isJsonObject(entry[1]),
  )
}

/** Where entries may come from. One without an address comes from the registry that npm is configured for. */
const allowedSources = ['', 'https://registry.npmjs.org']

function sourceOf(resolved: string | undefined): string {
  if (resolved === undefined) return ''
  if (!URL.canParse(resolved)) return 'no address'
  const { protocol, host } = new URL(resolved)
  return `${protocol}//${host}`
}

const relock = 'run npm install --package-lock-only, read the difference, commit it and build again'

export function lockChecks(host: Host): readonly Check[] {
  return [
    defineCheck({
      id: 'runtime.lockfile-integrity',
      title: 'The lockfile fixes every package by its hash',
      proves: 'Each remote entry has a SHA-512 and comes from the registry, and the lockfile answers to package.json.',
      evidence: 'Number of entries, and those that are wrong.',
      fix: relock,
      runbook: ['L11'],
      phase: 'static',
      severity: 'blocker',
      class: 'dependency',
      requires: [],
      appliesWhen: always,
      deadlineMs: 3_000,
      effects: [{ kind: 'file', what: 'package.json, package-lock.json' }],
      shape: {
        isPackaged: 'boolean',
        hasLock: 'boolean',
        version: 'number',
        wished: 'strings',
        locked: 'strings',
        entries: 'objects',
      },
      async probe() {
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
      },
      judge({ isPackaged, hasLock, version, wished, locked, entries }) {
        const variable = 'package-lock.json'
        if (!hasLock) {
          return isPackaged
            ? passed('packaged: the lockfile was read at the build, its digest is in build-info.json')
            : failed('LOCK_MISSING', variable, 'absent', relock)
        }
        if (version !== 3) return failed('LOCK_UNREADABLE', variable, `lockfileVersion ${version}`, relock)
        if (entries.length === 0) return failed('LOCK_EMPTY', variable, 'no entries', relock)
        const findings: Finding[] = []
        const add = (code: string, found: readonly string[], fix = relock): void => {
          if (found.length > 0) findings.push({ code, variable, found: listed(found), fix })
        }
        const pathsOf = (which: (entry: JsonObject) => boolean): string[] =>
          entries.filter(which).map(({ path }) => word(path))
        add(
          'NO_SHA512',
          pathsOf(({ isWhole }) => isWhole !== true),
        )
        add(
          'FOREIGN_SOURCE',
          pathsOf(({ source }) => !allowedSources.includes(word(source))),
          'take the package from the registry instead of a repository, an archive or another host',
        )
        const differ = [
          ...wished.filter((wish) => !locked.includes(wish)),
          ...locked.filter((wish) => !wished.includes(wish)),
        ]
        add('OUT_OF_SYNC', differ)
        return judgeAll(findings, `${entries.length} entries`)
      },
      worlds: lockWorlds,
    }),
    treeMatchesLock(host),
  ]
}

/** Packages as npm lays them out, by path; what links elsewhere counts as well. */
export function installedPackages(root: string): { path: string; version: string }[] {
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

function treeMatchesLock(host: Host): Check {
  const redeploy = 'deploy the artefact again (npm ci in its build), and install nothing on the host'
  return defineCheck({
    id: 'runtime.tree-matches-lock',
    title: 'The installed packages are those of the lockfile',
    proves: 'No package is missing, of another version, or there without the lockfile knowing it.',
    evidence: 'The packages that differ, by path. Their contents are not hashed.',
    fix: redeploy,
    runbook: ['L11'],
    phase: 'static',
    severity: 'critical',
    class: 'dependency',
    requires: ['runtime.lockfile-integrity'],
    appliesWhen: always,
    deadlineMs: 5_000,
    effects: [{ kind: 'file', what: 'package-lock.json, node_modules' }],
    shape: {
      hasRecord: 'boolean',
      differ: 'strings',
      extraneous: 'strings',
      missing: 'strings',
      count: 'number',
      tampered: 'strings',
    },
    async probe() {
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
      }
    },
    judge({ hasRecord, differ, extraneous, missing, tampered, count }) {
      const variable = 'node_modules'
      if (!hasRecord) return failed('NO_RECORD', variable, 'nothing says what should be installed', redeploy)
      const findings: Finding[] = []
      const add = (code: string, found: readonly string[]): void => {
        if (found.length > 0) findings.push({ code, variable, found: listed(found), fix: redeploy })
      }
      add('PACKAGE_MISSING', missing)
      add('PACKAGE_EXTRANEOUS', extraneous)
      add('WRONG_VERSION', differ)
      add('OTHER_ARCHIVE', tampered)
      return judgeAll(findings, `${count} packages`)
    },
    worlds: treeWorlds,
  })
}
