// What the checks of this folder look at: one place that knows where the package is, and one way to run a program.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { CheckPorts, JudgePorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'

export interface Host {
  /** Folder of package.json. */
  readonly root: string
  /** Where the preflight was called. */
  readonly cwd: () => string
  /** Mount point of procfs, and of the cgroup file system. */
  readonly proc: string
  readonly cgroup: string
  /** The Node that runs the preflight: the same launcher starts it and the servers. */
  readonly node: string
}

/** src/ and dist/ are equally deep below the root. */
export const thisHost: Host = {
  root: fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, ''),
  cwd: () => process.cwd(),
  proc: '/proc',
  cgroup: '/sys/fs/cgroup',
  node: process.execPath,
}

export const given = ({ ctx }: Pick<JudgePorts, 'ctx'>, name: string): string | undefined =>
  ctx.resolution.given.get(name)?.text

/** The service's own PATH, not the operator's. */
const pathOf = (ports: Pick<JudgePorts, 'ctx'>): string =>
  given(ports, 'PATH') ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The file that a shell would run for this name. */
export function onPath(ports: Pick<JudgePorts, 'ctx'>, name: string): string | undefined {
  return pathOf(ports)
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

export interface Ran {
  readonly isOk: boolean
  readonly out: string
  /** Its last line on stderr, or why it did not start. */
  readonly trouble: string
}

/** Never rejects but for the end of the deadline. Nothing of the preflight's own environment reaches the program. */
export async function run(
  file: string,
  args: readonly string[],
  { ports, signal, cwd }: { ports: CheckPorts; signal: AbortSignal; cwd: string },
): Promise<Ran> {
  const env = { PATH: pathOf(ports), LC_ALL: 'C', TZ: 'UTC', GIT_OPTIONAL_LOCKS: '0' }
  return await new Promise((resolve, reject) => {
    execFile(file, [...args], { env, cwd, signal, killSignal: 'SIGKILL', maxBuffer: 1 << 24 }, (error, out, text) => {
      if (signal.aborted) return reject(new ProbeStop('DEADLINE', `${file} did not end`, 'run'))
      const line = text.trim().split('\n').at(-1) ?? ''
      resolve({ isOk: error === null, out: out.trim(), trouble: line === '' ? (error?.message ?? '') : line })
    })
  })
}

export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Undefined where there is no such file; {} where it holds no JSON object. */
export function readJson(path: string): JsonObject | undefined {
  const text = readText(path)
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : {}
  } catch {
    return {}
  }
}

export const objectIn = (holder: JsonObject | undefined, name: string): JsonObject => {
  const value = holder?.[name]
  return isJsonObject(value) ? value : {}
}

export const textIn = (holder: JsonObject | undefined, name: string): string | undefined => {
  const value = holder?.[name]
  return typeof value === 'string' ? value : undefined
}

export const sha256 = (bytes: string | Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** The launcher prefers sources (bin/arqonbus.mjs): where they are, they are what runs. */
export const hasSources = ({ root }: Host): boolean => existsSync(join(root, 'src/bin/arqonbus.ts'))

export const buildInfoOf = ({ root }: Host): JsonObject | undefined => readJson(join(root, 'dist/build-info.json'))

/** A build without its sources: nothing is installed or compiled there. */
export const isBuild = (host: Host): boolean => !hasSources(host) && buildInfoOf(host) !== undefined

/** Long lists are cut: the first five say enough. */
export const listed = (names: readonly string[]): string =>
  names.length <= 5 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`

/** A fact's member as text. */
export const word = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)
