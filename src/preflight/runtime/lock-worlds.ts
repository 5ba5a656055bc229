// Worlds of lock-checks.ts.
import type { JsonObject, Worlds } from '../check.ts'
import type { TreeFacts } from './lock-probes.ts'

const entry = (path: string, rest: JsonObject = {}): JsonObject => ({
  path,
  source: '',
  isWhole: true,
  ...rest,
})
const wish = 'dependencies ws@8.23.0'
const healthy = {
  isPackaged: false,
  hasLock: true,
  version: 3,
  wished: [wish],
  locked: [wish],
  entries: [entry('node_modules/ws')],
}

export const lockWorlds: Worlds<typeof healthy> = {
  passes: [{ name: 'one package, fixed by its hash', facts: healthy }],
  fails: [
    {
      name: 'no lockfile',
      facts: { ...healthy, hasLock: false },
      expect: { code: 'LOCK_MISSING', findings: ['package-lock.json LOCK_MISSING'] },
    },
    {
      name: 'an old form',
      facts: { ...healthy, version: 1 },
      expect: { code: 'LOCK_UNREADABLE', findings: ['package-lock.json LOCK_UNREADABLE'] },
    },
    {
      name: 'no entries',
      facts: { ...healthy, entries: [] },
      expect: { code: 'LOCK_EMPTY', findings: ['package-lock.json LOCK_EMPTY'] },
    },
    {
      name: 'one without its hash',
      facts: { ...healthy, entries: [...healthy.entries, entry('node_modules/x', { isWhole: false })] },
      expect: { code: 'NO_SHA512', findings: ['package-lock.json NO_SHA512'] },
    },
    {
      name: 'one from a repository',
      facts: {
        ...healthy,
        entries: [...healthy.entries, entry('node_modules/x', { source: 'git+ssh://example.org' })],
      },
      expect: { code: 'FOREIGN_SOURCE', findings: ['package-lock.json FOREIGN_SOURCE'] },
    },
    {
      name: 'one over plain HTTP',
      facts: { ...healthy, entries: [entry('node_modules/x', { source: 'http://registry.npmjs.org' })] },
      expect: { code: 'FOREIGN_SOURCE' },
    },
    {
      name: 'a wish not locked',
      facts: { ...healthy, locked: [] },
      expect: { code: 'OUT_OF_SYNC', findings: ['package-lock.json OUT_OF_SYNC'] },
    },
    { name: 'locked without a wish', facts: { ...healthy, wished: [] }, expect: { code: 'OUT_OF_SYNC' } },
  ],
  ignores: [
    {
      name: 'packaged without a lockfile',
      facts: { ...healthy, isPackaged: true, hasLock: false, version: 0, entries: [] },
    },
    {
      name: 'an address of the registry',
      facts: { ...healthy, entries: [entry('node_modules/ws', { source: 'https://registry.npmjs.org' })] },
    },
  ],
}

const tree: TreeFacts = {
  hasRecord: true,
  count: 1,
  differ: [],
  extraneous: [],
  missing: [],
  tampered: [],
  changed: [],
}
const one = ['node_modules/ws']

export const treeWorlds: Worlds<TreeFacts> = {
  passes: [
    { name: 'as locked', facts: tree },
    { name: 'as built', facts: { ...tree, hashed: 1 } },
  ],
  fails: [
    {
      name: 'nothing to compare with',
      facts: { ...tree, hasRecord: false },
      expect: { code: 'NO_RECORD', findings: ['node_modules NO_RECORD'] },
    },
    {
      name: 'one missing',
      facts: { ...tree, missing: one },
      expect: { code: 'PACKAGE_MISSING', findings: ['node_modules PACKAGE_MISSING'] },
    },
    {
      name: 'one too many',
      facts: { ...tree, extraneous: one },
      expect: { code: 'PACKAGE_EXTRANEOUS', findings: ['node_modules PACKAGE_EXTRANEOUS'] },
    },
    {
      name: 'another version',
      facts: { ...tree, differ: one },
      expect: { code: 'WRONG_VERSION', findings: ['node_modules WRONG_VERSION'] },
    },
    {
      name: 'another archive',
      facts: { ...tree, tampered: one },
      expect: { code: 'OTHER_ARCHIVE', findings: ['node_modules OTHER_ARCHIVE'] },
    },
    {
      name: 'another content',
      facts: { ...tree, hashed: 1, changed: one },
      expect: { code: 'CONTENT_DIFFERS', findings: ['node_modules CONTENT_DIFFERS'] },
    },
    {
      name: 'a build without hashes',
      facts: { ...tree, hashed: 0 },
      expect: { code: 'CONTENT_UNKNOWN', findings: ['node_modules CONTENT_UNKNOWN'] },
    },
  ],
  ignores: [
    { name: 'no packages at all, and none locked', facts: { ...tree, count: 0 } },
    { name: 'a build that needs no packages', facts: { ...tree, count: 0, hashed: 0 } },
  ],
}
