// What a program that a gate starts finds in its environment: made from nothing, so that no address, token or switch of
// the judged environment, or of the operator, can get there.
import { dirname, join } from 'node:path'
import type { Environment } from '../../config/resolution.ts'

/** Set in the environment of each gate. A preflight that finds it does not start the gates once more. */
export const gateMarker = 'ARQONBUS_PREFLIGHT_GATE'

/** Addresses of disposable servers that the operator offers to the suites (docs/testing.md). */
export const disposableNames = [
  'ARQONBUS_TEST_VALKEY_URL',
  'ARQONBUS_TEST_POSTGRES_URL',
  'ARQONBUS_TEST_NATS_URL',
] as const

/** How an installer gets to the registry from here, and where it keeps what it fetched. */
const registryNames = [
  'npm_config_registry',
  'npm_config_cache',
  'HTTPS_PROXY',
  'https_proxy',
  'HTTP_PROXY',
  'http_proxy',
  'NO_PROXY',
  'no_proxy',
  'NODE_EXTRA_CA_CERTS',
]

const usualPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export interface EnvironmentParts {
  /** The operator's. */
  readonly shell: Environment
  /** An empty folder. */
  readonly home: string
  /** The Node of the preflight is the first that its programs find. */
  readonly node: string
}

const pick = (from: Environment, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]] as const])))

function plainEnvironment({ shell, home, node }: EnvironmentParts): Record<string, string> {
  return {
    PATH: `${dirname(node)}:${shell['PATH'] ?? usualPath}`,
    HOME: home,
    TZ: 'UTC',
    LC_ALL: 'C',
    CI: 'true',
    [gateMarker]: '1',
  }
}

/** For a suite: one starts hundreds of processes, and what Node compiled for one serves the next. */
export const suiteEnvironment = (parts: EnvironmentParts): Record<string, string> => ({
  ...plainEnvironment(parts),
  NODE_COMPILE_CACHE: join(parts.home, 'compiled'),
  ...pick(parts.shell, disposableNames),
})

/** For an installer: with the operator's cache, whose contents the lockfile's hashes hold. */
export function installerEnvironment(parts: EnvironmentParts): Record<string, string> {
  const { shell } = parts
  return {
    ...plainEnvironment(parts),
    ...(shell['HOME'] !== undefined && { npm_config_cache: `${shell['HOME']}/.npm` }),
    ...pick(shell, registryNames),
  }
}

/** For a program that imports something: not even a marker, for what it changes is seen. */
export const emptyEnvironment = (): Record<string, string> => ({ TZ: 'UTC', LC_ALL: 'C' })
