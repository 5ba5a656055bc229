// The last step of a build: writes down what was built from what, for the check runtime.build-provenance.
// Without git (in the build of an image) the commit is what BUILD_COMMIT says, and whoever set it vouches for it.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sha256 } from '../src/preflight/runtime/host.ts'
import { hashFiles, hashPackage } from '../src/preflight/runtime/content-hashes.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const lockText = readFileSync(join(root, 'package-lock.json'))
const lock = JSON.parse(lockText.toString('utf8')) as {
  version: string
  packages: Record<string, { version: string; dev?: true; optional?: true; devOptional?: true; integrity?: string }>
}

function git(...args: string[]): string | undefined {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

const head = git('rev-parse', 'HEAD')
const declared = process.env['BUILD_COMMIT']
const commit = head ?? (declared === '' ? undefined : declared)
const packages = Object.entries(lock.packages)
  .filter(([path]) => path !== '')
  .map(([path, { version, dev, optional, devOptional, integrity = '' }]) => {
    const isDev = dev === true || devOptional === true
    // What only builds and tests use is not there when it counts; Node itself is a hundred megabytes, and the check
    // runtime.node-pinned tells its hash.
    const isNode = path.startsWith('node_modules/node-linux-')
    const content = isDev || isNode ? undefined : hashPackage(join(root, path))
    const known = { path, version, integrity, mayBeAbsent: isDev || optional === true }
    return { ...known, ...(content !== undefined && { content }) }
  })

writeFileSync(
  join(root, 'dist/build-info.json'),
  `${JSON.stringify({
    schema: 1,
    version: lock.version,
    ...(commit !== undefined && { commit }),
    isClean: head === undefined ? commit !== undefined : git('status', '--porcelain') === '',
    lock: sha256(lockText),
    compiler: `typescript ${lock.packages['node_modules/typescript']!.version}`,
    node: process.versions.node,
    files: hashFiles(join(root, 'dist')),
    packages,
  })}\n`,
)
