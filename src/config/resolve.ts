// From an environment to a resolution: layers (environment over file over overlay over default), parsing, aliases,
// unknown and unsupported names. Collects every problem instead of stopping at the first.
import { readFileSync } from 'node:fs'
import { closest } from './edit-distance.ts'
import { parseEnvFile } from './env-file.ts'
import { allKeys, type KeySpec, keys, limitKeys, type Program, type Values } from './keys.ts'
import { foreignNames, ownPrefix, presenceNames, unsupportedNames, wouldSwitchOn } from './other-names.ts'
import {
  type Environment,
  type Given,
  type Problem,
  type Resolution,
  showFound,
  showName,
  type Source,
} from './resolution.ts'
import type { Profile } from './shapes.ts'

export interface ResolveOptions {
  /** Defaults laid under the environment; their source reads `profile up`. */
  readonly overlay?: Readonly<Record<string, string>>
  /** Reads the file that ARQONBUS_CONFIG_FILE names. */
  readonly readFile?: (path: string) => string
  /** Where the environment's variables stand, by name, if it came from files. */
  readonly where?: ReadonlyMap<string, string>
}

const bothPrograms: readonly Program[] = ['bus', 'shield']
const fileVariable = 'ARQONBUS_CONFIG_FILE'

/** Never throws for anything an environment or file can hold. */
export function resolveKeys(env: Environment, options: ResolveOptions = {}): Resolution {
  const problems: Problem[] = []
  const given = layer(env, options, problems)
  const sources = new Map<string, Source>()

  function resolve<T>(spec: KeySpec<T>, label: string, profile: Profile): T {
    const chosen = choose(spec, given, problems)
    sources.set(label, chosen?.given.source ?? { kind: 'default' })
    if (chosen === undefined) return spec.fallback(profile)
    const parsed = spec.reader.parse(chosen.given.text, chosen.name)
    if (parsed.ok) return parsed.value
    problems.push(parseProblem(spec, chosen.name, chosen.given.text, parsed.code))
    return spec.fallback(profile)
  }

  const profile = resolve(keys.environment, 'environment', 'dev')
  const values: Record<string, unknown> = { environment: profile }
  for (const [name, spec] of Object.entries(keys)) {
    if (name !== 'environment') values[name] = resolve(spec as KeySpec<unknown>, name, profile)
  }
  const limits: Record<Program, Record<string, number>> = { bus: {}, shield: {} }
  for (const limit of limitKeys) {
    limits[limit.programs[0] ?? 'bus'][limit.field] = resolve(limit, limit.names[0], profile)
  }

  const resolved = values as Values // built from the same table, key by key
  problems.push(...unknownNames(given), ...combinations(resolved))
  const { refused, warned } = unsupported(given, profile)
  problems.push(...refused)
  return { profile, values: resolved, limits, sources, problems, warnings: warned, given }
}

/** The variables of all layers; the environment wins over the file, both over the overlay. */
function layer(env: Environment, options: ResolveOptions, problems: Problem[]): Map<string, Given> {
  const given = new Map<string, Given>()
  const add = (kind: Given['source']['kind'], name: string, text: string, where?: string): void => {
    given.set(name, { text, source: { kind, name, ...(where !== undefined && { where }) } })
  }
  for (const [name, text] of Object.entries(options.overlay ?? {})) add('overlay', name, text)
  const file = env[fileVariable]
  if (file !== undefined) {
    for (const [name, text] of readEnvFile(file, options, problems)) add('file', name, text)
  }
  for (const [name, text] of Object.entries(env)) {
    if (text !== undefined) add('env', name, text, options.where?.get(name))
  }
  return given
}

function readEnvFile(path: string, options: ResolveOptions, problems: Problem[]): ReadonlyMap<string, string> {
  const read = options.readFile ?? ((name: string) => readFileSync(name, 'utf8'))
  try {
    const parsed = parseEnvFile(read(path), path)
    problems.push(...parsed.problems)
    return parsed.values
  } catch (error) {
    const code = (error as { code?: unknown }).code // of the system call; absent for other errors
    problems.push({
      variable: fileVariable,
      code: 'FILE_UNREADABLE',
      found: `${showFound(path, undefined)} cannot be read (${typeof code === 'string' ? code : 'unknown error'})`,
      fix: 'name a file that the process may read',
      programs: bothPrograms,
    })
    return new Map()
  }
}

const rank = { env: 2, file: 1, overlay: 0 } as const

/** The one text of a key among its names; aliases that differ within the winning layer are a problem. */
function choose(
  spec: KeySpec<unknown>,
  given: ReadonlyMap<string, Given>,
  problems: Problem[],
): { name: string; given: Given } | undefined {
  const found = spec.names.flatMap((name) => {
    const value = given.get(name)
    return value === undefined ? [] : [{ name, given: value }]
  })
  const best = Math.max(...found.map((entry) => rank[entry.given.source.kind]))
  const top = found.filter((entry) => rank[entry.given.source.kind] === best)
  const [first, ...others] = top
  const different = others.find((other) => other.given.text !== first?.given.text)
  if (first !== undefined && different !== undefined) {
    problems.push({
      variable: first.name,
      code: 'AMBIGUOUS',
      found: `differs from ${different.name}, which means the same (values hidden)`,
      fix: `keep one of ${first.name} and ${different.name}`,
      programs: spec.programs,
    })
  }
  return first
}

const faultWords: Readonly<Record<string, string>> = {
  BLANK: 'set but empty',
  SURROUNDING_SPACE: 'white space at an end',
  TRAILING_NEWLINE: 'a newline at the end',
  CONTROL_CHARACTER: 'a control character inside',
}

function parseProblem(spec: KeySpec<unknown>, variable: string, text: string, code: string): Problem {
  const words = faultWords[code]
  const shown = showFound(text, spec.secret)
  const found =
    code === 'BLANK'
      ? 'set but empty'
      : words === undefined
        ? `${shown} is not ${spec.reader.expects}`
        : `${shown}, has ${words}`
  const fix =
    code === 'TRAILING_NEWLINE'
      ? 'remove the newline (printf instead of echo)'
      : code === 'BLANK'
        ? `set ${spec.reader.expects}, or remove it`
        : `set ${spec.reader.expects}`
  return { variable, code, found, fix, programs: spec.programs }
}

const knownNames: readonly string[] = [
  fileVariable,
  ...allKeys.flatMap((spec) => spec.names),
  ...unsupportedNames.keys(),
  ...foreignNames,
]
const knownSet = new Set(knownNames)

/** Names with our prefixes that nobody knows; in the file every unknown name, for nothing else reads that file. */
function unknownNames(given: ReadonlyMap<string, Given>): Problem[] {
  const problems: Problem[] = []
  for (const [name, { source }] of given) {
    if (knownSet.has(name) || presenceNames.has(name)) continue
    if (!ownPrefix.test(name) && source.kind === 'env') continue
    const near = closest(name, knownNames)
    problems.push({
      variable: showName(name),
      code: 'UNKNOWN_NAME',
      found: source.kind === 'file' ? 'no such variable (in the file)' : 'no such variable',
      fix: near === undefined ? 'remove it' : `did you mean ${near}? otherwise remove it`,
      programs: bothPrograms,
    })
  }
  return problems.sort((a, b) => (a.variable < b.variable ? -1 : 1))
}

function unsupported(given: ReadonlyMap<string, Given>, profile: Profile): { refused: Problem[]; warned: Problem[] } {
  const refused: Problem[] = []
  const warned: Problem[] = []
  for (const [name, entry] of unsupportedNames) {
    const text = given.get(name)?.text
    if (text === undefined) continue
    const isRefused = profile === 'prod' && wouldSwitchOn(entry, text)
    const problem: Problem = {
      variable: name,
      code: 'NOT_SUPPORTED',
      found: 'not supported by this version; it has no effect',
      fix: entry.instead ?? 'remove it',
      programs: bothPrograms,
    }
    ;(isRefused ? refused : warned).push(problem)
  }
  return { refused, warned }
}

/** Values that are fine alone and wrong together. */
function combinations(values: Values): Problem[] {
  const problems: Problem[] = []
  const { shieldTlsCertFile, shieldTlsKeyFile, schemaSource, schemaDir } = values
  const keys = keyProblem(values)
  if (keys !== undefined) problems.push({ ...keys, programs: bothPrograms })
  if ((shieldTlsCertFile === undefined) !== (shieldTlsKeyFile === undefined)) {
    const missing = shieldTlsCertFile === undefined ? 'SHIELD_TLS_CERT_FILE' : 'SHIELD_TLS_KEY_FILE'
    problems.push({
      variable: missing,
      code: 'MISSING',
      found: 'not set, but its counterpart is',
      fix: 'set both for TLS, or neither',
      programs: ['shield'],
    })
  }
  if ((schemaSource === 'folder') !== (schemaDir !== undefined)) {
    problems.push({
      variable: schemaDir === undefined ? 'SHIELD_SCHEMA_DIR' : 'SHIELD_SCHEMA_SOURCE',
      code: schemaDir === undefined ? 'MISSING' : 'CONFLICT',
      found:
        schemaDir === undefined
          ? 'not set, but SHIELD_SCHEMA_SOURCE is folder'
          : `${schemaSource}, but SHIELD_SCHEMA_DIR is set`,
      fix: 'set SHIELD_SCHEMA_SOURCE=folder and SHIELD_SCHEMA_DIR together, or neither',
      programs: ['shield'],
    })
  }
  return problems
}

/** Keys come from one place. */
function keyProblem({ jwtAlgorithm, jwtKeyFile, jwksUrl }: Values): Omit<Problem, 'programs'> | undefined {
  const algorithm = `ARQONBUS_AUTH_JWT_ALGORITHM is ${jwtAlgorithm}`
  if (jwksUrl !== undefined && jwtAlgorithm === 'HS256') {
    return {
      variable: 'ARQONBUS_AUTH_JWKS_URL',
      code: 'CONTRADICTS',
      found: `set, but ${algorithm}, and a shared secret is never fetched`,
      fix: 'set ARQONBUS_AUTH_JWT_ALGORITHM to RS256, ES256 or EdDSA, or remove ARQONBUS_AUTH_JWKS_URL',
    }
  }
  if (jwksUrl !== undefined && jwtKeyFile !== undefined) {
    return {
      variable: 'ARQONBUS_AUTH_JWKS_URL',
      code: 'CONTRADICTS',
      found: 'set, and so is ARQONBUS_AUTH_JWT_KEY_FILE',
      fix: 'remove one of the two',
    }
  }
  if (jwtAlgorithm === 'HS256' || jwtKeyFile !== undefined || jwksUrl !== undefined) return undefined
  return {
    variable: 'ARQONBUS_AUTH_JWT_KEY_FILE',
    code: 'MISSING',
    found: `not set, but ${algorithm}`,
    fix: 'set the path of the public key, or ARQONBUS_AUTH_JWKS_URL',
  }
}
