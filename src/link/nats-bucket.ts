// One key-value bucket of NATS JetStream, over a connection of its own that is dialled again for ever. Reads are of the
// whole bucket; a watch tells that something has changed, and the owner reads again. Whatever fails here, the link that
// carries frames does not notice.
import { setTimeout as pause } from 'node:timers/promises'
import { jetstreamManager } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'
import { backoffMs } from '../base/backoff.ts'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { dialAny, type NatsServer } from './nats-dial.ts'
import { plain } from './nats-messages.ts'
import { startPulse } from './nats-pulse.ts'

export interface BucketOptions {
  readonly servers: readonly NatsServer[]
  readonly bucket: string
  /** Shown by the server's monitoring. */
  readonly name: string
  readonly logger: Logger
  /** More keys than this, or larger values, are not read: START_REFUSED. */
  readonly maxKeys: number
  readonly maxValueBytes: number
  readonly maxBytesInAll: number
}

export interface Bucket {
  readonly isConnected: boolean
  /** Rejects with LINK_UNAVAILABLE, or START_REFUSED where there is no such bucket or it holds too much. */
  readAll(): Promise<ReadonlyMap<string, Uint8Array>>
  /** Makes the bucket where there is none. Rejects with LINK_UNAVAILABLE when it could not be written. */
  put(key: string, value: Uint8Array): Promise<void>
  /** Called when a key has changed, and when the connection is lost or back; returns a function that stops it. */
  onChange(listener: () => void): () => void
  close(): Promise<void>
}

const dialMs = 2_000
const requestMs = 3_000
const timing = { tickMs: 250, silentTicks: 12, backoffBaseMs: 100, backoffMaxMs: 5_000 }
const bucketHistory = 5

/** Rejects with LINK_DENIED or LINK_UNAVAILABLE when the first connect fails. */
export async function openBucket(options: BucketOptions): Promise<Bucket> {
  const { servers, bucket, name, logger, maxKeys, maxValueBytes, maxBytesInAll } = options
  const listeners = new Set<() => void>()
  const ended = new AbortController()
  let nc: NatsConnection | undefined
  /** Stops the watch of this connection's bucket; there is none while the bucket is not there. */
  let watching: { stop(): void } | undefined

  const tell = (): void => {
    for (const listener of listeners) listener()
  }

  function adopt(next: NatsConnection): void {
    nc = next
    const pulse = startPulse(next, timing, { onTick() {}, onSilent: () => lose('the server does not answer') })
    void next.closed().then(() => lose('connection closed'))
    function lose(reason: string): void {
      pulse.close()
      if (nc !== next) return
      nc = undefined
      watching = undefined
      void next.close()
      if (ended.signal.aborted) return
      logger.warn('bucket.lost', { bucket, reason })
      tell()
      void dialAgain()
    }
  }

  async function dialAgain(): Promise<void> {
    for (let attempt = 0; !ended.signal.aborted; attempt++) {
      try {
        const waitMs = backoffMs(attempt, Math.random(), timing.backoffBaseMs, timing.backoffMaxMs)
        await pause(waitMs, undefined, { signal: ended.signal })
        const next = await dialAny(servers, { name, timeoutMs: dialMs })
        if (ended.signal.aborted) return await next.close()
        adopt(next)
        logger.info('bucket.connected', { bucket })
        tell()
        return
      } catch (error) {
        if (!ended.signal.aborted && attempt === 0) logger.warn('bucket.dial_failed', describeError(error))
      }
    }
  }

  /** The connection, or LINK_UNAVAILABLE. */
  function connected(): NatsConnection {
    if (nc === undefined) throw new BusError('LINK_UNAVAILABLE', `NATS is away; the bucket ${bucket} cannot be reached`)
    return nc
  }

  async function open(on: NatsConnection): Promise<KV> {
    const streams = await jetstreamManager(on, { timeout: requestMs, checkAPI: false })
    try {
      await streams.streams.info(`KV_${bucket}`)
    } catch (cause) {
      throw absentOrAway(cause)
    }
    const kv = await new Kvm(on).open(bucket, { timeout: requestMs })
    if (watching === undefined) await watch(on, kv)
    return kv
  }

  function absentOrAway(cause: unknown): BusError {
    const text = cause instanceof Error ? cause.message : ''
    if (/not found/i.test(text)) {
      return new BusError('START_REFUSED', `NATS has no bucket ${bucket}: no schema was pushed yet`, {
        reason: 'BUCKET_MISSING',
      })
    }
    if (!isDenial(cause) && /not enabled|no responders|503/i.test(text)) {
      return new BusError('START_REFUSED', 'This NATS server has no JetStream, or its user may not use it', {
        reason: 'JETSTREAM_MISSING',
      })
    }
    return away(cause)
  }

  function away(cause: unknown): BusError {
    if (isDenial(cause)) {
      return new BusError('LINK_DENIED', `NATS denies the bucket ${bucket}; docs/schemas.md has the permissions`, {
        reason: 'NATS_PERMISSIONS',
      })
    }
    const text = `The bucket ${bucket} cannot be reached: ${String(describeError(cause)['message'])}`
    return new BusError('LINK_UNAVAILABLE', text, {}, cause)
  }

  /** From now on, before anything is read: nothing between falls through. */
  async function watch(on: NatsConnection, kv: KV): Promise<void> {
    const updates = await kv.watch({ include: 'updates' })
    const own = { stop: () => updates.stop() }
    watching = own
    void (async () => {
      try {
        for await (const _ of updates) tell()
      } catch (error) {
        if (nc === on) logger.warn('bucket.watch_failed', describeError(error))
      }
      if (watching === own) watching = undefined
    })()
  }

  adopt(await dialAny(servers, { name, timeoutMs: dialMs }))

  return {
    get isConnected() {
      return nc !== undefined
    },
    async readAll() {
      const on = connected()
      const values = new Map<string, Uint8Array>()
      let bytes = 0
      try {
        const kv = await open(on)
        const keys: string[] = []
        for await (const key of await kv.keys()) if (keys.push(key) > maxKeys) break
        if (keys.length > maxKeys) throw tooMuch(`more than ${maxKeys} keys`)
        for (const key of keys) {
          const entry = await kv.get(key)
          if (entry === null || entry.operation !== 'PUT') continue
          bytes += entry.value.length
          if (entry.value.length > maxValueBytes) throw tooMuch(`a value of more than ${maxValueBytes} bytes`)
          if (bytes > maxBytesInAll) throw tooMuch(`more than ${maxBytesInAll} bytes`)
          values.set(key, plain(entry.value).slice())
        }
      } catch (cause) {
        throw cause instanceof BusError ? cause : away(cause)
      }
      return values
    },
    async put(key, value) {
      const on = connected()
      try {
        const kv = await new Kvm(on).create(bucket, { history: bucketHistory, timeout: requestMs })
        await kv.put(key, value)
      } catch (cause) {
        throw away(cause)
      }
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async close() {
      ended.abort()
      listeners.clear()
      watching?.stop()
      const last = nc
      nc = undefined
      await last?.close()
    },
  }

  function tooMuch(what: string): BusError {
    return new BusError('START_REFUSED', `The bucket ${bucket} has ${what}`, { reason: 'SCHEMA_HOSTILE' })
  }
}

/** The client wraps the server's refusal once or more. */
function isDenial(cause: unknown): boolean {
  for (let one = cause, depth = 0; one instanceof Error && depth < 4; one = one.cause, depth++) {
    if (one instanceof PermissionViolationError) return true
  }
  return false
}
