// The state around a run: commit, configuration, machine, dependencies. The only file of the bundle that looks at them.
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { arch, cpus, endianness, freemem, hostname, loadavg, release, totalmem, type, version } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { toIsoTime } from '../../base/clock.ts'
import { isJsonObject } from '../../base/json.ts'
import { allKeys } from '../../config/keys.ts'
import { describeSource, type Resolution, showName } from '../../config/resolution.ts'
import { redactUrl } from '../../config/urls.ts'
import { sha256 } from './archive.ts'
import type { Collection } from './collection.ts'
import type { CommandSpool } from './commands.ts'
import { isSecretName } from './known-secrets.ts'
import type { Redactor } from './redact.ts'

/** Of the installation: where package.json is. */
export const installationRoot = fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, '')

export interface GitFacts {
  /** 40 hex, or undefined where there is none to be had. */
  readonly commit?: string
}

const gitDeadlineMs = 10_000

export interface GitPlace {
  readonly spool: CommandSpool
  readonly env: Readonly<Record<string, string>>
  readonly root?: string
}

/**
 * What it wrote. Through the spool, so that it stands among the commands too. No hook, pager or lock: looking at a
 * repository changes nothing and runs nothing of it. Rejects where it ends with anything but 0.
 */
export async function runGit(
  args: readonly string[],
  { spool, env, root = installationRoot }: GitPlace,
): Promise<string> {
  const argv = ['git', '--no-pager', '-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null', ...args]
  const { exit, failure, stdout } = await spool.run(
    { id: `git-${args[0]}`, argv, cwd: root },
    { env: { ...env, GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' }, deadlineMs: gitDeadlineMs },
  )
  if (exit !== 0) throw new Error(failure ?? `git ${args[0]} ended with ${exit}`)
  return stdout.toString('utf8')
}

export async function collectGit(
  into: Collection,
  spool: CommandSpool,
  env: Readonly<Record<string, string>>,
  root: string = installationRoot,
): Promise<GitFacts> {
  const git = (...args: string[]): Promise<string> => runGit(args, { spool, env, root })
  try {
    const [top = '', commit = ''] = (await git('rev-parse', '--show-toplevel', 'HEAD')).split('\n')
    // Installed below another repository, its commit would be somebody else's.
    if (top !== root) throw new Error('the installation is no checkout')
    into.text('git/commit', `${commit}\n`)
    await collectTree(into, git)
    return { commit }
  } catch (error) {
    return collectBuildInfo(into, root, error instanceof Error ? error.message : 'git failed')
  }
}

async function collectTree(into: Collection, git: (...args: string[]) => Promise<string>): Promise<void> {
  for (const [path, args] of [
    ['git/status', ['status', '--porcelain=v1', '--branch']],
    ['git/diffstat', ['diff', '--stat', '--no-ext-diff', '--no-textconv', 'HEAD']],
  ] as const) {
    try {
      into.text(path, (await git(...args)) || 'nothing differs from the commit\n')
    } catch (error) {
      into.lacks(path, error instanceof Error ? error.message : 'git failed')
    }
  }
}

function collectBuildInfo(into: Collection, root: string, why: string): GitFacts {
  const path = join(root, 'build-info.json')
  if (!existsSync(path)) {
    into.lacks('git/commit', `${why}, and there is no build-info.json`)
    return {}
  }
  const text = readFileSync(path, 'utf8')
  into.text('git/build-info.json', text)
  try {
    const info: unknown = JSON.parse(text)
    const commit = isJsonObject(info) ? info['commit'] : undefined
    if (typeof commit === 'string' && /^[0-9a-f]{40}$/.test(commit)) return { commit }
  } catch {
    // Not JSON: said below, as for one without a commit.
  }
  into.lacks('git/commit', `${why}, and build-info.json names no commit`)
  return {}
}

const specs = new Map(allKeys.flatMap((spec) => spec.names.map((name) => [name, spec] as const)))

/** Values of public keys, fingerprints of secret ones, only the names of what is not ours. */
export function collectEnvironment(into: Collection, { given, problems }: Resolution, redactor: Redactor): void {
  const snapshot: Record<string, object> = {}
  const unknown: string[] = []
  const provenance: Record<string, string> = {}
  for (const [name, { text, source }] of [...given].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const shown = showName(name)
    provenance[shown] = describeSource(source)
    const spec = specs.get(name)
    if (spec === undefined && !isSecretName(name)) unknown.push(shown)
    else if (isSecretName(name)) {
      snapshot[shown] = {
        fingerprint: redactor.fingerprint(text),
        ...(spec?.secret === 'url' && { address: redactUrl(text) }),
      }
    } else snapshot[shown] = { value: text }
  }
  into.json('env/snapshot.json', {
    variables: snapshot,
    namesOnly: unknown,
    relations: redactor.facts().relations,
    problems: problems.map(({ variable, code }) => ({ variable, code })),
  })
  into.json('env/provenance.json', provenance)
}

export function collectHost(into: Collection, nowMs: number, folder: string): void {
  into.json('host/os.json', {
    type: type(),
    release: release(),
    version: version(),
    arch: arch(),
    endianness: endianness(),
    hostname: hostname(),
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    freeBytes: freemem(),
    load: loadavg(),
  })
  into.json('host/node.json', {
    versions: process.versions,
    execArgv: process.execArgv,
    pid: process.pid,
    uid: process.getuid?.() ?? null,
    memory: process.memoryUsage(),
    uptimeSeconds: Math.round(process.uptime()),
  })
  into.json('host/clock.json', {
    now: toIsoTime(nowMs),
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    source: orAbsent(() =>
      readFileSync('/sys/devices/system/clocksource/clocksource0/current_clocksource', 'utf8').trim(),
    ),
  })
  into.try('host/limits', () => readFileSync('/proc/self/limits', 'utf8'))
  into.try('host/cgroup', () => readFileSync('/proc/self/cgroup', 'utf8'))
  into.try('host/disk.json', () => {
    const { bsize, blocks, bavail, files, ffree } = statfsSync(folder)
    const disk = { totalBytes: bsize * blocks, freeBytes: bsize * bavail, inodes: files, freeInodes: ffree }
    return `${JSON.stringify(disk, undefined, 2)}\n`
  })
}

function orAbsent(read: () => string): string {
  try {
    return read()
  } catch {
    return 'not known here'
  }
}

/** The hash of what was meant to be installed, and the versions that are. */
export function collectDependencies(into: Collection, root: string = installationRoot): void {
  into.try('deps/lock.sha256', () => `${sha256(readFileSync(join(root, 'package-lock.json')))}\n`)
  into.try('deps/tree.json', () => {
    // npm's own record of what it put there.
    const lock: unknown = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8'))
    const packages = isJsonObject(lock) && isJsonObject(lock['packages']) ? lock['packages'] : undefined
    if (packages === undefined) throw new Error('.package-lock.json lists no packages')
    const versions = Object.entries(packages).map(([path, entry]) => {
      const known = isJsonObject(entry) ? entry['version'] : undefined
      return [path, typeof known === 'string' ? known : 'unknown'] as const
    })
    return `${JSON.stringify(Object.fromEntries(versions), undefined, 2)}\n`
  })
}
