// Runs once before the suites that talk to real servers: what is missing is installed where that needs no question (as
// root on Debian), or started by Docker where an engine answers. Otherwise the tests skip, or fail in CI.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Neighbour, neighbourTable, programOf } from './neighbours.ts'

const run = promisify(execFile)
const names = Object.keys(neighbourTable) as Neighbour[]

export default async function installNeighbours(): Promise<(() => Promise<void>) | undefined> {
  await installPackages()
  return startContainers()
}

async function installPackages(): Promise<void> {
  const missing = names.filter((name) => programOf(name) === undefined)
  if (missing.length === 0 || process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return
  const packages = missing.flatMap((name) => neighbourTable[name].packages)
  process.stderr.write(`Installing for the tests: ${packages.join(' ')}\n`)
  // No service of them may run: tests start servers of their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  try {
    await run('apt-get', ['update', '-qq'], { env })
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env, maxBuffer: 1 << 26 })
  } catch (error) {
    process.stderr.write(`Not installed: ${error instanceof Error ? error.message : String(error)}\n`)
  }
}

const composeFile = fileURLToPath(new URL('../../../compose.test.yaml', import.meta.url))
/** Addresses of its services, taken by the suites that need neither stop nor freeze their server. */
const containers: Partial<Record<Neighbour, string>> = {
  valkey: 'redis://127.0.0.1:26379',
  postgres: 'postgresql://arqonbus@127.0.0.1:25432/arqonbus',
}

/** For what is still missing, where a Docker engine answers; returns what stops them. */
async function startContainers(): Promise<(() => Promise<void>) | undefined> {
  const missing = names.filter((name) => {
    const isGiven = process.env[neighbourTable[name].variable] !== undefined
    return containers[name] !== undefined && programOf(name) === undefined && !isGiven
  })
  if (missing.length === 0) return undefined
  try {
    await run('docker', ['info'])
    process.stderr.write(`Starting for the tests, in containers: ${missing.join(' ')}\n`)
    await run('docker', ['compose', '-f', composeFile, 'up', '-d', '--wait', ...missing])
  } catch {
    return undefined // no engine: the tests skip, or fail in CI, and say what to install
  }
  for (const name of missing) process.env[neighbourTable[name].variable] = containers[name]
  return async () => void (await run('docker', ['compose', '-f', composeFile, 'down', '-v']))
}
