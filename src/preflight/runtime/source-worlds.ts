// Worlds of source-checks.ts.
import type { JsonObject, Worlds } from '../check.ts'

interface ProvenanceFacts {
  readonly kind: string
  readonly commit?: string
  readonly dirty: readonly string[]
  readonly changed: readonly string[]
  readonly locksDiffer: boolean
}
const build: ProvenanceFacts = { kind: 'build', commit: 'ab'.repeat(20), dirty: [], changed: [], locksDiffer: false }
const { commit: _, ...nameless } = build

export const provenanceWorlds: Worlds<ProvenanceFacts> = {
  passes: [
    { name: 'a build as it was written down', facts: build },
    { name: 'a clean checkout', facts: { ...build, kind: 'checkout' } },
  ],
  fails: [
    {
      name: 'neither build nor checkout',
      facts: { ...build, kind: 'unknown' },
      expect: { code: 'NO_PROVENANCE', findings: ['git NO_PROVENANCE'] },
    },
    {
      name: 'a build without a commit',
      facts: nameless,
      expect: { code: 'COMMIT_UNKNOWN', findings: ['dist/build-info.json COMMIT_UNKNOWN'] },
    },
    { name: 'a commit cut short', facts: { ...build, commit: 'abcdef' }, expect: { code: 'COMMIT_UNKNOWN' } },
    {
      name: 'a change not committed',
      facts: { ...build, kind: 'checkout', dirty: [' M src/x.ts'] },
      expect: { code: 'DIRTY_TREE', findings: ['git DIRTY_TREE'] },
    },
    {
      name: 'a built file changed',
      facts: { ...build, changed: ['bin/arqonbus.js'] },
      expect: { code: 'FILES_DIFFER', findings: ['dist/build-info.json FILES_DIFFER'] },
    },
    {
      name: 'another lockfile beside',
      facts: { ...build, locksDiffer: true },
      expect: { code: 'LOCK_DIFFERS', findings: ['dist/build-info.json LOCK_DIFFERS'] },
    },
  ],
  ignores: [{ name: 'a hash of the longer kind', facts: { ...build, commit: 'ab'.repeat(32) } }],
}

interface RootFacts {
  readonly isBuild: boolean
  readonly name: string
  readonly root: string
  readonly cwd: string
  readonly top?: string
}
const root: RootFacts = {
  isBuild: false,
  name: 'arqonbus',
  root: '/srv/arqonbus',
  cwd: '/srv/arqonbus',
  top: '/srv/arqonbus',
}

export const rootWorlds: Worlds<RootFacts> = {
  passes: [{ name: 'at the root', facts: root }],
  fails: [
    {
      name: 'below the root',
      facts: { ...root, cwd: '/srv/arqonbus/src' },
      expect: { code: 'NOT_THE_ROOT', findings: ['cwd NOT_THE_ROOT'] },
    },
    { name: 'in a checkout around it', facts: { ...root, top: '/srv' }, expect: { code: 'NOT_THE_ROOT' } },
    { name: 'at the root of another copy', facts: { ...root, root: '/srv/other' }, expect: { code: 'NOT_THE_ROOT' } },
    {
      name: 'another package',
      facts: { ...root, name: 'other' },
      expect: { code: 'OTHER_PACKAGE', findings: ['package.json OTHER_PACKAGE'] },
    },
    {
      name: 'no repository',
      facts: { isBuild: false, name: 'arqonbus', root: '/srv/arqonbus', cwd: '/srv/arqonbus' },
      expect: { code: 'NO_REPOSITORY', findings: ['cwd NO_REPOSITORY'] },
    },
  ],
  ignores: [
    { name: 'a build, called from anywhere', facts: { isBuild: true, name: 'arqonbus', root: '/app', cwd: '/' } },
  ],
}

interface ToolFacts {
  readonly hasSources: boolean
  readonly hasFile: boolean
  readonly tools: readonly JsonObject[]
}
const tool: JsonObject = { name: 'typescript', isNeeded: true, range: '7.0.2', version: '7.0.2' }
const tools = (...list: JsonObject[]): ToolFacts => ({ hasSources: true, hasFile: true, tools: list })

export const toolWorlds: Worlds<ToolFacts> = {
  passes: [
    { name: 'the locked compiler', facts: tools(tool) },
    { name: 'a build without the file', facts: { hasSources: false, hasFile: false, tools: [] } },
  ],
  fails: [
    {
      name: 'sources without the file',
      facts: { hasSources: true, hasFile: false, tools: [] },
      expect: { code: 'PINS_MISSING', findings: ['preflight.toolchain.json PINS_MISSING'] },
    },
    {
      name: 'another compiler',
      facts: tools({ ...tool, version: '7.0.1' }),
      expect: { code: 'TOOL_VERSION', findings: ['preflight.toolchain.json TOOL_VERSION'] },
    },
    { name: 'not locked', facts: tools({ ...tool, range: '' }), expect: { code: 'TOOL_VERSION' } },
    {
      name: 'no compiler',
      facts: tools({ name: 'typescript', isNeeded: true, range: '7.0.2' }),
      expect: { code: 'TOOL_MISSING', findings: ['preflight.toolchain.json TOOL_MISSING'] },
    },
  ],
  ignores: [
    { name: 'no Rust, and no crate', facts: tools(tool, { name: 'rust', isNeeded: false, range: '~1.82.0' }) },
    { name: 'a patch within the range', facts: tools({ ...tool, name: 'rust', range: '~1.82.0', version: '1.82.3' }) },
  ],
}
