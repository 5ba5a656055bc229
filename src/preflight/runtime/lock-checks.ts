// The lockfile, and whether the installed tree is what it says.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Check, defineCheck, failed, judgeAll, passed } from '../check.ts'
import { type Host, listed, word } from './host.ts'
import { lookAtLock, lookAtTree } from './lock-probes.ts'
import { lockWorlds, treeWorlds } from './lock-worlds.ts'
import { always } from './node-checks.ts'

/** Where entries may come from. One without an address comes from the registry that npm is configured for. */
const allowedSources = ['', 'https://registry.npmjs.org']

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
      probe: () => Promise.resolve(lookAtLock(host)),
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

function treeMatchesLock(host: Host): Check {
  const redeploy = 'deploy the artefact again (npm ci in its build), and install nothing on the host'
  return defineCheck({
    id: 'runtime.tree-matches-lock',
    title: 'The installed packages are those of the lockfile',
    proves:
      'No package is missing, of another version, or there without the lockfile knowing it; below a build, each has the contents that it was built with.',
    evidence:
      'The packages that differ, by path. Contents are compared with hashes that a build wrote down: not in a checkout.',
    fix: redeploy,
    runbook: ['L11'],
    phase: 'static',
    severity: 'critical',
    class: 'dependency',
    requires: ['runtime.lockfile-integrity'],
    appliesWhen: always,
    deadlineMs: 5_000,
    effects: [{ kind: 'file', what: 'package-lock.json, dist/build-info.json, node_modules' }],
    shape: {
      hasRecord: 'boolean',
      differ: 'strings',
      extraneous: 'strings',
      missing: 'strings',
      count: 'number',
      tampered: 'strings',
      changed: 'strings',
      hashed: 'number?',
    },
    probe: () => Promise.resolve(lookAtTree(host)),
    judge({ hasRecord, differ, extraneous, missing, tampered, changed, hashed, count }) {
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
      add('CONTENT_DIFFERS', changed)
      // Of a build without hashes nothing would be compared.
      if (hashed === 0 && count > 0) add('CONTENT_UNKNOWN', ['the build wrote no hashes down'])
      return judgeAll(findings, `${count} packages, ${hashed ?? 0} by content`)
    },
    worlds: treeWorlds,
  })
}
