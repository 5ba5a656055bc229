// The real servers that tests talk to: where their programs are, and what to do where they are not. Absent ones are
// skipped loudly on a laptop and fail in CI. Servers given by address are used as they are, for tests that do not have
// to stop or freeze them.
import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export type Neighbour = 'valkey' | 'postgres' | 'nats'

interface Spec {
  /** Any of these will do, the first found is taken. */
  readonly programs: readonly string[]
  /** Debian packages that bring one. */
  readonly packages: readonly string[]
  /** Names the address of a server that is already there. */
  readonly variable: string
}

export const neighbourTable: Readonly<Record<Neighbour, Spec>> = {
  valkey: {
    programs: ['valkey-server', 'redis-server'],
    packages: ['redis-server'],
    variable: 'ARQONBUS_TEST_VALKEY_URL',
  },
  postgres: { programs: ['postgres'], packages: ['postgresql'], variable: 'ARQONBUS_TEST_POSTGRES_URL' },
  nats: { programs: ['nats-server'], packages: ['nats-server'], variable: 'ARQONBUS_TEST_NATS_URL' },
}

/** Debian keeps Postgres out of PATH, in a folder for each version; the newest comes first. */
function usualFolders(): string[] {
  const fixed = ['/usr/local/bin', '/usr/local/sbin', '/usr/bin', '/usr/sbin', '/opt/homebrew/bin']
  const root = '/usr/lib/postgresql'
  try {
    const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a))
    return [...versions.map((version) => join(root, version, 'bin')), ...fixed]
  } catch {
    return fixed
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The path of the first of `programs` that is installed. */
export function findProgram(programs: readonly string[]): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter).filter((part) => part !== ''), ...usualFolders()]
  return programs.flatMap((program) => folders.map((folder) => join(folder, program))).find(isExecutable)
}

export function programOf(neighbour: Neighbour): string | undefined {
  return findProgram(neighbourTable[neighbour].programs)
}

const mustBeThere = (): boolean =>
  (process.env['CI'] ?? '') !== '' || process.env['ARQONBUS_REQUIRE_NEIGHBOURS'] === '1'

/**
 * For `describe.skipIf`: true where one of them is absent and need not be there. Says so, for nobody reads skipped
 * titles. With CI or ARQONBUS_REQUIRE_NEIGHBOURS=1 set nothing is skipped, and starting the server fails instead.
 */
export function skipWithout(...neighbours: readonly Neighbour[]): boolean {
  const absent = neighbours.filter((neighbour) => programOf(neighbour) === undefined)
  if (absent.length === 0 || mustBeThere()) return false
  for (const neighbour of absent) process.stderr.write(`SKIPPED: ${absence(neighbour)}; its tests do not run\n`)
  return true
}

function absence(neighbour: Neighbour): string {
  return `no ${neighbourTable[neighbour].programs.join(' or ')} found`
}

/** The program, or an error that says what to install. */
export function requireProgram(neighbour: Neighbour): string {
  const program = programOf(neighbour)
  if (program !== undefined) return program
  throw new Error(`${absence(neighbour)}: apt-get install ${neighbourTable[neighbour].packages.join(' ')}`)
}
