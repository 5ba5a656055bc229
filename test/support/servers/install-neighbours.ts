// Runs once before the suites that talk to real servers: what is missing is installed where that needs no question (as
// root on Debian), or started by Docker where an engine answers. Otherwise the tests skip, or fail in CI.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { type Neighbour, neighbourTable, programOf } from './neighbours.ts'

const run = promisify(execFile)
const names = Object.keys(neighbourTable) as Neighbour[]

export default async function installNeighbours(): Promise<void> {
  const missing = names.filter((name) => programOf(name) === undefined)
  if (missing.length === 0 || process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return
  const packages = missing.flatMap((name) => neighbourTable[name].packages)
  process.stderr.write(`Installing for the tests: ${packages.join(' ')}\n`)
  // No service of them may run: policy-rc.d is how Debian's packages are told so, and tests start servers of their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  try {
    await run('apt-get', ['update', '-qq'], { env })
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env, maxBuffer: 1 << 26 })
  } catch (error) {
    process.stderr.write(`Not installed: ${error instanceof Error ? error.message : String(error)}\n`)
  }
}
