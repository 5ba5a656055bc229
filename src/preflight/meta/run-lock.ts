// The lock of a run: a file named after the services that are judged, so that two runs do not write probes into the
// same ones at once. Whoever dies leaves it behind; that its process is gone shows.
import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  linkSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { redactUrl } from '../../config/urls.ts'
import type { RuleContext } from '../../rules/rule.ts'

/** Who holds a lock. */
export interface Holder {
  readonly runId: string
  readonly pid: number
  /** Ticks since the machine started; 0 where the system does not tell. */
  readonly processStart: number
  readonly host: string
  /** ms since the Unix epoch. */
  readonly since: number
}

export type Lock = { readonly release: () => void } | { readonly heldBy: Holder | undefined }

/** No run takes longer; a lock of another machine, whose processes are not seen, is gone after that. */
const longestRunMs = 60 * 60_000

/** Which services are judged: addresses without users and passwords, so that the name tells nothing. */
export function lockName({ resolution: { values, profile } }: RuleContext): string {
  const urls = [values.valkeyUrl, values.postgresUrl, values.natsUrl].map((url) =>
    url === undefined ? '' : redactUrl(url.reveal()),
  )
  const own = [values.serverHost, values.serverPort, values.shieldHost, values.shieldPort].map(String)
  const digest = createHash('sha256')
    .update([profile, ...urls, ...own].join('\n'))
    .digest('hex')
  return `arqonbus-preflight-${digest.slice(0, 16)}.lock`
}

/**
 * Takes the lock, or says who has it; `heldBy: undefined` where that cannot be read. Throws as `node:fs` does where the
 * folder cannot be written.
 */
export function takeLock(folder: string, name: string, runId: string, now: number): Lock {
  const path = join(folder, name)
  const own = `${path}.${runId}`
  const text = JSON.stringify({
    runId,
    pid: process.pid,
    processStart: startOf(process.pid) ?? 0,
    host: hostname(),
    since: now,
  } satisfies Holder)
  writeFileSync(own, text, { mode: 0o600, flag: 'wx' })
  try {
    // A link appears with its content, and only where there is no file yet.
    for (let attempt = 0; attempt < 3; attempt++) {
      if (link(own, path)) return { release: () => release(path, text) }
      const found = read(path)
      if (found === undefined) continue
      const holder = holderOf(found)
      if (holder === undefined || !isOver(holder, now)) return { heldBy: holder }
      removeStale(path, `${own}.stale`, found)
    }
    return { heldBy: undefined }
  } finally {
    rmSync(own, { force: true })
  }
}

/** Is the lock still the one that this run took? */
export function holdsLock(folder: string, name: string, runId: string): boolean {
  const text = read(join(folder, name))
  return text !== undefined && holderOf(text)?.runId === runId
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function release(path: string, text: string): void {
  if (read(path) === text) rmSync(path, { force: true })
}

/** Moved away first: where another run was faster, what was moved is its lock, and it is put back. */
function removeStale(path: string, aside: string, expected: string): void {
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if (read(aside) !== expected) link(aside, path)
  rmSync(aside, { force: true })
}

/** At most 4 KiB, and never through a link that somebody put there; undefined where there is no file. */
function read(path: string): string | undefined {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    return ''
  }
  try {
    const bytes = Buffer.alloc(4_096)
    return bytes.toString('utf8', 0, readSync(file, bytes))
  } catch {
    return ''
  } finally {
    closeSync(file)
  }
}

function holderOf(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isHolder(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isHolder(value: unknown): value is Holder {
  if (typeof value !== 'object' || value === null) return false
  const { runId, pid, processStart, host, since } = value as Partial<Record<keyof Holder, unknown>>
  const isCounted = [pid, processStart, since].every((one) => Number.isSafeInteger(one))
  return typeof runId === 'string' && typeof host === 'string' && isCounted && Number(pid) > 0
}

/** A number is given to another process one day: the start tells them apart. */
function isOver({ pid, processStart, host, since }: Holder, now: number): boolean {
  if (host !== hostname()) return now - since > longestRunMs
  if (!isAlive(pid)) return true
  const start = startOf(pid)
  return start !== undefined && processStart !== 0 && start !== processStart
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Field 22 of /proc/PID/stat; the name in brackets may hold anything. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
    return Number.isSafeInteger(ticks) ? ticks : undefined
  } catch {
    return undefined
  }
}
