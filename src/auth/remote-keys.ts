// Keys from an identity provider's JWKS address, cached. Asked again every few minutes, and when a token names a key
// nobody knows, but then at most once in a cooldown, however many such tokens come. While the provider is away the keys
// of its last good answer hold; once that is too old no token is believed any more.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { FoundKey } from './authenticator.ts'
import type { LiveKeys } from './file-keys.ts'
import { type KeySet, maxKeySetBytes, parseRemoteKeys } from './key-set.ts'
import type { Algorithm } from './verification-key.ts'

export interface RemoteKeysOptions {
  /** https, or http to this machine; without credentials. Its path is not shown anywhere. */
  readonly url: string
  readonly algorithm: Exclude<Algorithm, 'HS256'>
  /** An answer older than this is not believed. */
  readonly maxStaleMs: number
  readonly clock: Clock
  readonly logger: Logger
  readonly timing?: Partial<RemoteKeysTiming>
}

export interface RemoteKeysTiming {
  readonly refreshMs: number
  /** Between two requests, whatever asks for them. */
  readonly cooldownMs: number
  readonly timeoutMs: number
  readonly startTries: number
  readonly betweenTriesMs: number
}

const standardTiming: RemoteKeysTiming = {
  refreshMs: 300_000,
  cooldownMs: 30_000,
  // A handshake waits for it, and has five seconds.
  timeoutMs: 3_000,
  startTries: 3,
  betweenTriesMs: 300,
}

/** Rejects with KEYS_UNAVAILABLE when the first answer cannot be had. */
export async function openRemoteKeys(options: RemoteKeysOptions): Promise<LiveKeys> {
  const { clock, logger, maxStaleMs } = options
  const timing = { ...standardTiming, ...options.timing }
  const where = new URL(options.url).origin
  let keys = await firstKeys(options, timing)
  let goodMs = clock.monotonic()
  let askedMs = goodMs
  let fault: string | undefined
  let asking: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  async function ask(): Promise<void> {
    askedMs = clock.monotonic()
    try {
      keys = await fetchKeys(options, timing.timeoutMs)
      goodMs = clock.monotonic()
      fault = undefined
    } catch (error) {
      if (fault === undefined) logger.warn('auth.keys_not_fetched', { where, ...describeError(error) })
      fault = (error as Error).message
    }
    schedule()
  }

  function askOnce(): Promise<void> {
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }

  function schedule(): void {
    clearTimeout(timer)
    if (isClosed) return
    timer = setTimeout(() => void askOnce(), fault === undefined ? timing.refreshMs : timing.cooldownMs)
    timer.unref()
  }

  const known = (kid: string | undefined): FoundKey =>
    clock.monotonic() - goodMs > maxStaleMs ? 'unavailable' : (keys.find(kid) ?? 'unknown')

  schedule()
  return {
    find(kid) {
      const found = known(kid)
      if (typeof found !== 'string') return found
      const isCool = clock.monotonic() - askedMs >= timing.cooldownMs
      return asking === undefined && !isCool ? found : askOnce().then(() => known(kid))
    },
    state() {
      const ageS = Math.round((clock.monotonic() - goodMs) / 1_000)
      if (clock.monotonic() - goodMs > maxStaleMs) {
        return { state: 'down', detail: `${where} gave no keys for ${ageS} s; every token is refused` }
      }
      return fault === undefined
        ? { state: 'up' }
        : { state: 'degraded', detail: `keys of ${ageS} s ago hold: ${fault}` }
    },
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

async function firstKeys(options: RemoteKeysOptions, timing: RemoteKeysTiming): Promise<KeySet> {
  for (let tried = 1; ; tried++) {
    try {
      return await fetchKeys(options, timing.timeoutMs)
    } catch (error) {
      if (tried >= timing.startTries) throw error
      await new Promise((resolve) => setTimeout(resolve, timing.betweenTriesMs))
    }
  }
}

/** Never shows the address beyond its origin: what stands behind may be a secret. */
async function fetchKeys({ url, algorithm }: RemoteKeysOptions, timeoutMs: number): Promise<KeySet> {
  const where = new URL(url).origin
  const failed = (reason: string, words: string, cause?: unknown): BusError =>
    new BusError('KEYS_UNAVAILABLE', `The keys at ${where} cannot be used: ${words}`, { reason }, cause)
  const signal = AbortSignal.timeout(timeoutMs)
  let text: string | undefined
  try {
    // A redirect would let whoever controls one answer choose the keys.
    const response = await fetch(url, { redirect: 'manual', signal, headers: { accept: 'application/json' } })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw failed('KEYS_STATUS', `it answered with status ${response.status}`)
    }
    text = await readBounded(response)
  } catch (error) {
    if (error instanceof BusError) throw error
    if (signal.aborted) throw failed('KEYS_TIMEOUT', `no answer within ${timeoutMs} ms`)
    throw failed('KEYS_UNREACHABLE', causeOf(error))
  }
  if (text === undefined) throw failed('KEYS_TOO_LARGE', `the answer is larger than ${maxKeySetBytes} bytes`)
  const keys = parseRemoteKeys(text, algorithm)
  if (keys === undefined) throw failed('KEYS_UNUSABLE', `the answer holds no key for ${algorithm}, or keys in conflict`)
  return keys
}

async function readBounded({ body }: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    bytes += chunk.length
    if (bytes > maxKeySetBytes) return undefined // leaving the loop cancels the rest
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** The system's word for it, `ECONNREFUSED`; the message of a failed fetch may show its address. */
function causeOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown } }
  return typeof cause?.code === 'string' ? cause.code : 'it cannot be reached'
}
