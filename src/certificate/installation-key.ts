// The key of fingerprints: one for an installation, so that what was fingerprinted there can be compared, and by nobody
// else. Bundles of incidents and the fingerprints of start environments are made with it.
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
const fileName = 'preflight.key'

/** Never throws. `dataDir`: a folder; a key is put there when there is none yet, and no folder is made for it. */
export function installationKey(dataDir: string): InstallationKey {
  if (!isFolder(dataDir)) return runKey('there is no data folder')
  const path = join(dataDir, fileName)
  try {
    // `wx`: of two runs that begin together, one makes it and both read it.
    writeFileSync(path, `${randomBytes(keyBytes).toString('hex')}\n`, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') return runKey(`${fileName} cannot be made (${codeOf(error)})`)
  }
  return existingKey(dataDir)
}

/** The same, without making one: for those that must not begin a new installation. */
export function existingKey(dataDir: string): InstallationKey {
  if (!isFolder(dataDir)) return runKey('there is no data folder')
  const path = join(dataDir, fileName)
  try {
    if ((statSync(path).mode & 0o077) !== 0) return runKey(`${fileName} is readable for others`)
    const text = readFileSync(path, 'utf8').trim()
    if (!/^[0-9a-f]{64}$/.test(text)) return runKey(`${fileName} is no key`)
    return { key: Buffer.from(text, 'hex'), scope: 'installation' }
  } catch (error) {
    return runKey(`${fileName} cannot be read (${codeOf(error)})`)
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
const runKey = (because: string): InstallationKey => ({ key: randomBytes(keyBytes), scope: 'run', because })
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown error' // of a system call
