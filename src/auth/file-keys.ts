// Keys from a file that may change while the process runs: looked at every two seconds by name, so that a file that is
// replaced, or a link that is turned, is seen like one that is written. A file that became bad changes nothing.
import { readFile, stat } from 'node:fs/promises'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { TokenKeys } from './authenticator.ts'
import { maxKeySetBytes, parseKeyFile, type SecretRules } from './key-set.ts'
import type { Algorithm } from './verification-key.ts'

export interface KeyState {
  /** `degraded`: tokens are judged by older keys; `down`: they are refused. */
  readonly state: 'up' | 'degraded' | 'down'
  readonly detail?: string
}

export interface LiveKeys extends TokenKeys {
  state(): KeyState
  close(): void
}

export interface FileKeysOptions extends SecretRules {
  readonly path: string
  readonly algorithm: Algorithm
  readonly logger: Logger
  readonly intervalMs?: number
}

const usualIntervalMs = 2_000

/** Rejects with CONFIG_INVALID when the file cannot be read or holds a key that must not be used. */
export async function openFileKeys(options: FileKeysOptions): Promise<LiveKeys> {
  const { path, algorithm, logger, intervalMs = usualIntervalMs } = options
  let stamp = await stampOf(path)
  let keys = parseKeyFile(await readKeyFile(path), algorithm, options)
  let fault: string | undefined
  let isLooking = false

  async function look(): Promise<void> {
    const seen = await stampOf(path)
    if (seen === stamp) return
    const next = parseKeyFile(await readKeyFile(path), algorithm, options)
    stamp = seen
    keys = next
    logger.info('auth.keys_changed', { keys: next.size })
  }

  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    look()
      .then(
        () => (fault = undefined),
        (error: unknown) => {
          const { message } = error as Error
          if (fault !== message) logger.error('auth.keys_not_changed', describeError(error))
          fault = message
        },
      )
      .finally(() => {
        isLooking = false
      })
  }, intervalMs)
  timer.unref()

  return {
    find: (kid) => keys.find(kid) ?? 'unknown',
    state: () =>
      fault === undefined ? { state: 'up' } : { state: 'degraded', detail: `the earlier keys hold: ${fault}` },
    close: () => clearInterval(timer),
  }
}

/** What differs once a file was written, replaced, or another one stands behind its name. */
async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

async function readKeyFile(path: string): Promise<string> {
  try {
    if ((await stat(path)).size > maxKeySetBytes) throw new Error('larger than a key file may be')
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

function unreadable(path: string, cause: unknown): BusError {
  const details = { variable: 'ARQONBUS_AUTH_JWT_KEY_FILE', reason: 'KEY_FILE_UNREADABLE' }
  return new BusError('CONFIG_INVALID', `The key file ${path} cannot be read`, details, cause)
}
