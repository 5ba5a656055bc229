// What the checks of the source look at: git, the record of the build, and the tools.
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { hashFiles } from './content-hashes.ts'
import { buildInfoOf, hasSources, type Host, objectIn, onPath, readJson, run, sha256, textIn } from './host.ts'

/** What git says of a folder; undefined where it is not the top of a repository, or git is not there. */
export async function gitOf(
  folder: string,
  ports: CheckPorts,
  signal: AbortSignal,
): Promise<{ top: string; ask: (...args: string[]) => ReturnType<typeof run> } | undefined> {
  const git = onPath(ports, 'git')
  if (git === undefined) return undefined
  const ask = async (...args: string[]) => await run(git, args, { ports, signal, cwd: folder })
  const top = await ask('rev-parse', '--show-toplevel')
  return top.isOk ? { top: top.out, ask } : undefined
}

export interface Provenance {
  /** `checkout`, `build`, or `unknown`. */
  readonly kind: string
  readonly commit?: string
  readonly dirty: readonly string[]
  readonly changed: readonly string[]
  readonly locksDiffer: boolean
}

export async function lookAtSource(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<Provenance> {
  if (hasSources(host)) {
    const git = await gitOf(host.root, ports, signal)
    if (git === undefined || git.top !== realpathSync(host.root)) {
      return { kind: 'unknown', dirty: [], changed: [], locksDiffer: false }
    }
    const head = await git.ask('rev-parse', 'HEAD')
    const status = await git.ask('status', '--porcelain')
    return {
      kind: 'checkout',
      ...(head.isOk && { commit: head.out }),
      dirty: status.isOk ? status.out.split('\n').filter((line) => line !== '') : [status.trouble],
      changed: [],
      locksDiffer: false,
    }
  }
  const info = buildInfoOf(host)
  if (info === undefined) return { kind: 'unknown', dirty: [], changed: [], locksDiffer: false }
  const commit = textIn(info, 'commit')
  const recorded = objectIn(info, 'files')
  const real = hashFiles(join(host.root, 'dist'))
  const lock = join(host.root, 'package-lock.json')
  return {
    kind: 'build',
    ...(commit !== undefined && { commit }),
    dirty: info['isClean'] === true ? [] : ['when it was built'],
    changed: [...new Set([...Object.keys(recorded), ...Object.keys(real)])].filter(
      (path) => recorded[path] !== real[path],
    ),
    locksDiffer: existsSync(lock) && sha256(readFileSync(lock)) !== textIn(info, 'lock'),
  }
}

/** An entry: `{name, command, pattern, range, requiredFor}`; a range `lock:<path>` is the version that is locked. */
export async function askTool(
  tool: JsonObject,
  host: Host,
  ports: CheckPorts,
  signal: AbortSignal,
): Promise<JsonObject> {
  const strings = (name: string): string[] => {
    const value = tool[name]
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
  }
  const name = textIn(tool, 'name') ?? ''
  const range = textIn(tool, 'range') ?? ''
  const isNeeded = strings('requiredFor').some((path) => existsSync(join(host.root, path)))
  const locked = range.startsWith('lock:')
    ? textIn(objectIn(objectIn(readJson(join(host.root, 'package-lock.json')), 'packages'), range.slice(5)), 'version')
    : range
  const known = { name, isNeeded, range: locked ?? '' }
  const [command, ...args] = strings('command')
  if (!isNeeded || command === undefined) return known
  const file = command.includes('/') ? join(host.root, command) : onPath(ports, command)
  if (file === undefined || !existsSync(file)) return known
  const { out } = await run(file, args, { ports, signal, cwd: host.root })
  const version = new RegExp(textIn(tool, 'pattern') ?? '(\\d+\\.\\d+\\.\\d+)').exec(out)?.[1]
  return { ...known, ...(version !== undefined && { version }) }
}
