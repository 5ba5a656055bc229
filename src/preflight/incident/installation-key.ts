// The key of fingerprints: one for an installation, so that two bundles of it can be compared, and no other can.
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface InstallationKey {
  readonly key: Buffer
  /** `run`: made for this run only, so its fingerprints compare with nothing else. */
  readonly scope: 'installation' | 'run'
  /** Why it is a key of this run only. */
  readonly because?: string
}

const keyBytes = 32

/** Never throws. `dataDir`: a folder; a key is put there when there is none yet, and no folder is made for it. */
export function installationKey(dataDir: string): InstallationKey {
  if (statSync(dataDir, { throwIfNoEntry: false })?.isDirectory() !== true) return runKey('there is no data folder')
  const path = join(dataDir, 'preflight.key')
  try {
    // `wx`: of two runs that begin together, one makes it and both read it.
    writeFileSync(path, `${randomBytes(keyBytes).toString('hex')}\n`, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') return runKey(`preflight.key cannot be made (${codeOf(error)})`)
  }
  try {
    if ((statSync(path).mode & 0o077) !== 0) return runKey('preflight.key is readable for others')
    const text = readFileSync(path, 'utf8').trim()
    if (!/^[0-9a-f]{64}$/.test(text)) return runKey('preflight.key is no key')
    return { key: Buffer.from(text, 'hex'), scope: 'installation' }
  } catch (error) {
    return runKey(`preflight.key cannot be read (${codeOf(error)})`)
  }
}

const runKey = (because: string): InstallationKey => ({ key: randomBytes(keyBytes), scope: 'run', because })
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown error' // of a system call
