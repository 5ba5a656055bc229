// Which source runs: the build or the checkout, from its root, made with the pinned tools.
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Check, defineCheck, failed, judgeAll, passed } from '../check.ts'
import { hasSources, isBuild, type Host, listed, readJson, textIn, word } from './host.ts'
import { always, inProduction } from './node-checks.ts'
import { askTool, gitOf, lookAtSource } from './source-probes.ts'
import { provenanceWorlds, rootWorlds, toolWorlds } from './source-worlds.ts'
import { inRange } from './versions.ts'

const rebuild = 'build from a clean checkout: git stash, npm ci, npm run build'

export function sourceChecks(host: Host): readonly Check[] {
  return [
    defineCheck({
      id: 'runtime.build-provenance',
      title: 'What runs is a known commit',
      proves:
        'The build has the files, lockfile and commit that it wrote down; a checkout is a commit and nothing else.',
      evidence: 'The commit, and the files that differ.',
      fix: rebuild,
      runbook: ['L11'],
      phase: 'deps',
      severity: 'critical',
      class: 'regression',
      requires: [],
      appliesWhen: inProduction,
      deadlineMs: 5_000,
      effects: [
        { kind: 'file', what: 'dist, package-lock.json' },
        { kind: 'spawn', what: 'git rev-parse, git status' },
      ],
      shape: { kind: 'string', commit: 'string?', dirty: 'strings', changed: 'strings', locksDiffer: 'boolean' },
      probe: (ports, signal) => lookAtSource(host, ports, signal),
      judge({ kind, commit, dirty, changed, locksDiffer }) {
        if (kind === 'unknown') {
          return failed('NO_PROVENANCE', 'git', 'neither a build with build-info.json nor a checkout', rebuild)
        }
        const variable = kind === 'build' ? 'dist/build-info.json' : 'git'
        const findings: Finding[] = []
        const add = (code: string, found: string): void => void findings.push({ code, variable, found, fix: rebuild })
        if (!/^[0-9a-f]{40,64}$/.test(`${commit}`)) add('COMMIT_UNKNOWN', `it is ${commit}`)
        if (dirty.length > 0) add('DIRTY_TREE', listed(dirty))
        if (changed.length > 0) add('FILES_DIFFER', listed(changed))
        if (locksDiffer) add('LOCK_DIFFERS', 'package-lock.json is not the one of the build')
        return judgeAll(findings, `${kind} of ${commit}`)
      },
      worlds: provenanceWorlds,
    }),
    defineCheck({
      id: 'meta.repo-root',
      title: 'The preflight runs at the root of the repository',
      proves:
        'The folder it was called in is the top of the checkout of this package, or this is a build without sources.',
      evidence: 'The three paths.',
      fix: 'cd to the root of the checkout.',
      runbook: ['L38'],
      phase: 'deps',
      severity: 'high',
      class: 'config',
      requires: [],
      appliesWhen: inProduction,
      deadlineMs: 5_000,
      effects: [{ kind: 'spawn', what: 'git rev-parse' }],
      shape: { isBuild: 'boolean', name: 'string', root: 'string', cwd: 'string', top: 'string?' },
      async probe(ports, signal) {
        const cwd = realpathSync(host.cwd())
        const git = await gitOf(cwd, ports, signal)
        return {
          isBuild: isBuild(host),
          name: textIn(readJson(join(host.root, 'package.json')), 'name') ?? '',
          root: realpathSync(host.root),
          cwd,
          ...(git !== undefined && { top: git.top }),
        }
      },
      judge({ isBuild: isPackaged, name, root, cwd, top }) {
        const fix = 'cd to the root of the checkout of arqonbus'
        if (name !== 'arqonbus') return failed('OTHER_PACKAGE', 'package.json', name || 'no package.json', fix)
        if (isPackaged) return passed('a build without sources')
        if (top === undefined) return failed('NO_REPOSITORY', 'cwd', cwd, fix)
        return top === cwd && root === cwd
          ? passed(cwd)
          : failed('NOT_THE_ROOT', 'cwd', `${cwd}; the root is ${root}`, fix)
      },
      worlds: rootWorlds,
    }),
    toolchainPins(host),
  ]
}

function toolchainPins(host: Host): Check {
  const install = 'run npm ci, or install the version that preflight.toolchain.json names'
  return defineCheck({
    id: 'toolchain.pins',
    title: 'The tools have the pinned versions',
    proves: 'Every tool of preflight.toolchain.json whose sources are here answers with a version in its range.',
    evidence: 'Range and version line of each tool.',
    fix: 'npm ci; for others: rustup toolchain install 1.82 and the like.',
    runbook: ['L12'],
    phase: 'deps',
    severity: 'high',
    class: 'config',
    requires: [],
    appliesWhen: always,
    deadlineMs: 5_000,
    effects: [{ kind: 'spawn', what: 'the version commands of preflight.toolchain.json' }],
    shape: { hasSources: 'boolean', hasFile: 'boolean', tools: 'objects' },
    async probe(ports, signal) {
      const file = readJson(join(host.root, 'preflight.toolchain.json'))
      const list = file?.['tools']
      const tools = Array.isArray(list) ? list.filter(isJsonObject) : []
      return {
        hasSources: hasSources(host),
        hasFile: file !== undefined && Array.isArray(list),
        tools: await Promise.all(tools.map(async (tool) => await askTool(tool, host, ports, signal))),
      }
    },
    judge({ hasSources: isSource, hasFile, tools }) {
      const variable = 'preflight.toolchain.json'
      if (!hasFile) {
        return isSource
          ? failed('PINS_MISSING', variable, 'absent or malformed', install)
          : passed('a build: nothing is compiled here')
      }
      const findings: Finding[] = []
      const seen: string[] = []
      for (const { name, isNeeded, range, version } of tools) {
        if (isNeeded !== true) continue
        const found = `${word(name)} is ${version === undefined ? 'absent' : word(version)}, pinned ${word(range)}`
        if (version === undefined) findings.push({ code: 'TOOL_MISSING', variable, found, fix: install })
        else if (inRange(word(version), word(range))) seen.push(`${word(name)} ${word(version)}`)
        else findings.push({ code: 'TOOL_VERSION', variable, found, fix: install })
      }
      return judgeAll(findings, seen.length === 0 ? 'no tool is needed here' : seen.join(', '))
    },
    worlds: toolWorlds,
  })
}
