// gate.install-clean and gate.typecheck: what the lockfile gives in an empty folder, and what the compiler says.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { type Host, objectIn, readJson, sha256, textIn } from '../runtime/host.ts'
import { installedPackages, lockedPackages } from '../runtime/lock-probes.ts'
import { ProbeStop } from '../stops.ts'
import { installerEnvironment, suiteEnvironment } from './gate-environment.ts'
import { sessionOf, validAttestation } from './gate-session.ts'

export const installShape = {
  by: 'string',
  attestation: 'object?',
  hasLock: 'boolean',
  exit: 'number?',
  /** What npm calls its failure: `EINTEGRITY`. */
  code: 'string?',
  trouble: 'string?',
  missing: 'strings',
  extraneous: 'strings',
  differ: 'strings',
  count: 'number',
  tree: 'string',
} as const

export interface InstallFacts {
  readonly by: string
  readonly attestation?: JsonObject
  readonly hasLock: boolean
  readonly exit?: number
  readonly code?: string
  readonly trouble?: string
  readonly missing: readonly string[]
  readonly extraneous: readonly string[]
  readonly differ: readonly string[]
  readonly count: number
  /** Digest of paths, versions and hashes. */
  readonly tree: string
}

const nothing = { missing: [], extraneous: [], differ: [], count: 0, tree: '' }

/** Codes of npm and of the system for a registry that is not there, or not allowed to be asked. */
const noRegistry =
  /^(?:ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED|ENETUNREACH|EHOSTUNREACH|EPIPE|E5\d\d|E429)$/

/** npm keeps to the lock and runs nothing: scripts are what would mutate. */
const flags = [
  'ci',
  '--omit=dev',
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--no-progress',
  '--fetch-retries=1',
  '--fetch-retry-mintimeout=500',
]

export async function probeInstall(
  host: Host,
  ports: CheckPorts,
  signal: AbortSignal,
  deadlineMs: number,
): Promise<InstallFacts> {
  const attestation = await validAttestation(host, ports, signal)
  if (attestation !== undefined) return { ...nothing, by: 'attestation', attestation, hasLock: false }
  const lock = readJson(join(host.root, 'package-lock.json'))
  if (lock === undefined) return { ...nothing, by: 'run', hasLock: false }
  const session = sessionOf(ports, host)
  const env = installerEnvironment(session.parts)
  const npm = npmOf(host, env['PATH'] ?? '')
  if (npm === undefined) throw new ProbeStop('NO_INSTALLER', 'neither beside Node nor on PATH is a program called npm')
  const tree = join(session.folder, 'tree')
  mkdirSync(tree)
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(host.root, name), join(tree, name))
  const reach = ports.isOffline === true ? '--offline' : '--prefer-offline'
  const argv = [npm, ...flags, reach]
  const ended = await session.spool.run({ id: 'gate-install-clean', argv, cwd: tree }, { env, deadlineMs, signal })
  if (ended.isLate === true) throw new ProbeStop('DEADLINE', 'npm ci was ended', 'run')
  const words = ended.stderr.toString('utf8')
  const code = /^npm (?:error|ERR!) code (\w+)/m.exec(words)?.[1]
  if (code !== undefined && noRegistry.test(code)) throw new ProbeStop('REGISTRY_UNREACHABLE', code, 'npm ci')
  const trouble = ended.failure ?? ended.signal ?? /^npm (?:error|ERR!) (?!code)(.+)$/m.exec(words)?.[1]
  session.tree = tree
  return {
    by: 'run',
    hasLock: true,
    ...(ended.exit !== null && { exit: ended.exit }),
    ...(code !== undefined && { code }),
    ...(trouble !== undefined && trouble !== null && { trouble }),
    ...compare(tree, lock),
  }
}

function npmOf(host: Host, path: string): string | undefined {
  const beside = join(dirname(host.node), 'npm')
  if (existsSync(beside)) return beside
  return path
    .split(':')
    .map((folder) => join(folder, 'npm'))
    .find((file) => file.startsWith('/') && existsSync(file))
}

function compare(tree: string, lock: JsonObject) {
  const wanted = new Map(lockedPackages(lock))
  const hidden = new Map(lockedPackages(readJson(join(tree, 'node_modules/.package-lock.json'))))
  const installed = installedPackages(tree)
  const there = new Set(installed.map(({ path }) => path))
  const isOptional = (entry: JsonObject): boolean =>
    ['optional', 'devOptional', 'peer'].some((name) => entry[name] === true)
  const hashOf = (path: string): string => textIn(hidden.get(path) ?? {}, 'integrity') ?? ''
  return {
    missing: [...wanted]
      .filter(([path, entry]) => entry['dev'] !== true && !isOptional(entry) && !there.has(path))
      .map(([path]) => path),
    extraneous: installed
      .map(({ path }) => path)
      .filter((path) => wanted.get(path) === undefined || wanted.get(path)!['dev'] === true),
    differ: installed
      .filter(({ path, version }) => {
        const entry = wanted.get(path)
        if (entry === undefined) return false
        return entry['version'] !== version || (textIn(entry, 'integrity') ?? '') !== hashOf(path)
      })
      .map(({ path }) => path),
    count: installed.length,
    tree: sha256(
      installed
        .map(({ path, version }) => `${path} ${version} ${hashOf(path)}\n`)
        .sort()
        .join(''),
    ),
  }
}

export const typecheckShape = {
  by: 'string',
  attestation: 'object?',
  /** Of the compiler; empty where there is none. */
  version: 'string',
  pinned: 'string',
  exit: 'number?',
  errors: 'number',
  first: 'string?',
} as const

export interface TypecheckFacts {
  readonly by: string
  readonly attestation?: JsonObject
  readonly version: string
  readonly pinned: string
  readonly exit?: number
  readonly errors: number
  readonly first?: string
}

export async function probeTypecheck(
  host: Host,
  ports: CheckPorts,
  signal: AbortSignal,
  deadlineMs: number,
): Promise<TypecheckFacts> {
  const attestation = await validAttestation(host, ports, signal)
  if (attestation !== undefined) return { by: 'attestation', attestation, version: '', pinned: '', errors: 0 }
  const lock = readJson(join(host.root, 'package-lock.json'))
  const pinned = textIn(objectIn(objectIn(lock, 'packages'), 'node_modules/typescript'), 'version') ?? ''
  const folder = join(host.root, 'node_modules/typescript')
  const manifest = readJson(join(folder, 'package.json'))
  const version = textIn(manifest, 'version') ?? ''
  const bin = textIn(objectIn(manifest, 'bin'), 'tsc')
  if (bin === undefined) return { by: 'run', version: '', pinned, errors: 0 }
  const session = sessionOf(ports, host)
  const argv = [host.node, join(folder, bin), '-p', 'tsconfig.json', '--noEmit', '--pretty', 'false']
  const ended = await session.spool.run(
    { id: 'gate-typecheck', argv, cwd: host.root },
    { env: suiteEnvironment(session.parts), deadlineMs, signal },
  )
  if (ended.isLate === true) throw new ProbeStop('DEADLINE', 'the compiler was ended', 'run')
  const lines = ended.stdout.toString('utf8').split('\n')
  const errors = lines.filter((line) => /\berror TS\d+:/.test(line))
  return {
    by: 'run',
    version,
    pinned,
    ...(ended.exit !== null && { exit: ended.exit }),
    errors: errors.length,
    ...(errors[0] !== undefined && { first: errors[0] }),
  }
}
