// Where the service that is judged takes its environment from: `process`, `file:PATH`, `systemd:UNIT`,
// `compose:FILE[#service]`, `k8s:FILE[#container]`, `pid:N`.
import { readdirSync, readFileSync } from 'node:fs'
import { parseEnvFile } from '../../config/env-file.ts'
import { allKeys } from '../../config/keys.ts'
import { ownPrefix, presenceNames } from '../../config/other-names.ts'
import type { Environment } from '../../config/resolution.ts'
import type { EnvSource } from '../check.ts'
import { readCompose } from './compose.ts'
import { readManifest } from './kubernetes.ts'
import { nodeFlagsOf } from './node-flags.ts'
import { readProcess } from './process.ts'
import { readUnit } from './systemd.ts'
import {
  badSource,
  readSource,
  type SourceFiles,
  type SourcePorts,
  type StartEnvironment,
  Variables,
} from './variables.ts'

type Reader = (source: string, rest: string, ports: SourcePorts & { files: SourceFiles }) => StartEnvironment

const readers: Readonly<Record<string, Reader>> = {
  file: readFileSource,
  systemd: readUnit,
  compose: readCompose,
  k8s: readManifest,
  pid: readProcess,
}

const forms = 'process, file:PATH, systemd:UNIT, compose:FILE#service, k8s:FILE#container or pid:N'

/**
 * Throws USAGE with the reason BAD_ENV_SOURCE for what cannot be understood and ENV_SOURCE_UNREADABLE for what cannot be
 * read; neither quotes a value.
 */
export function readStartEnvironment(spec: string, ports: SourcePorts): StartEnvironment {
  if (spec === 'process') return ofShell(ports.env)
  const colon = spec.indexOf(':')
  const reader = Object.hasOwn(readers, spec.slice(0, Math.max(0, colon))) ? readers[spec.slice(0, colon)] : undefined
  const rest = spec.slice(colon + 1)
  if (reader === undefined || rest === '') throw badSource(`an environment comes from ${forms}`)
  return reader(spec, rest, { ...ports, files: ports.files ?? machineSources })
}

/** What a run is told: the environment, and where it came from. Without `spec`: the shell, and nobody said so. */
export function startInputs(
  spec: string | undefined,
  ports: SourcePorts,
): { readonly env: Environment; readonly envSource: EnvSource } {
  const { env: shell } = ports
  if (spec === undefined) return { env: shell, envSource: { name: 'process', isGiven: false, drift: [], shadowed: [] } }
  const { source, variables, argv } = readStartEnvironment(spec, ports)
  const env = Object.fromEntries([...variables].map(([name, { text }]) => [name, text]))
  const shadowed = [...variables].flatMap(([variable, { where, shadows }]) =>
    shadows.map((hidden) => ({ variable, where: hidden, by: where })),
  )
  return {
    env,
    envSource: {
      name: source,
      isGiven: true,
      drift: driftOf(env, shell),
      shadowed,
      ...(argv !== undefined && { nodeFlags: nodeFlagsOf(argv) }),
      ...(source !== 'process' && { where: new Map([...variables].map(([name, { where }]) => [name, where])) }),
    },
  }
}

const known = new Set<string>(allKeys.flatMap(({ names }) => [...names]))

/** Variables of ours that the two do not say the same of, sorted. */
function driftOf(env: Environment, shell: Environment): string[] {
  const names = new Set([...Object.keys(env), ...Object.keys(shell)])
  const isOurs = (name: string): boolean => known.has(name) || presenceNames.has(name) || ownPrefix.test(name)
  return [...names].filter((name) => isOurs(name) && env[name] !== shell[name]).sort()
}

function ofShell(env: Environment): StartEnvironment {
  const variables = new Variables()
  for (const [name, text] of Object.entries(env)) if (text !== undefined) variables.set(name, text, 'process')
  return { source: 'process', variables: variables.all() }
}

/** In the grammar of ARQONBUS_CONFIG_FILE; a line that would be a problem there is one here. */
function readFileSource(source: string, path: string, { files }: { readonly files: SourceFiles }): StartEnvironment {
  const { values, lines, problems } = parseEnvFile(readSource(files, path, path), path)
  const [problem] = problems
  if (problem !== undefined) throw badSource(`${problem.found}: ${problem.fix}`)
  const variables = new Variables()
  for (const [name, text] of values) variables.set(name, text, `${path}:${lines.get(name) ?? 0}`)
  return { source, variables: variables.all() }
}

const machineSources: SourceFiles = {
  read: (path) => readFileSync(path, 'utf8'),
  list(folder) {
    try {
      return readdirSync(folder).sort()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') return []
      throw badSource(`${folder} cannot be read (${code ?? 'unknown error'})`)
    }
  },
}
