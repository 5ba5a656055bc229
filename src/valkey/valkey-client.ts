// A client of a Valkey or Redis server that is always either connected or known not to be: no command waits for a
// connection. Reconnects by itself, and has read who the server is before anything is sent to it.
import { backoffMs } from '../base/backoff.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { parseValkeyUrl, type ValkeyAddress } from './address.ts'
import { type CommandArguments, dial, type ValkeyConnection } from './connection.ts'
import { unreachable } from './failures.ts'
import { isAtLeast, type ServerFacts } from './facts.ts'
import type { ValkeyReply } from './replies.ts'

export type ValkeyEvent =
  | { readonly kind: 'connected'; readonly connection: ValkeyConnection }
  | { readonly kind: 'disconnected'; readonly reason: string }
  /** Read again on a connection that lasts. */
  | { readonly kind: 'facts'; readonly facts: ServerFacts }

export interface ValkeyClient {
  /** `host:port` or the path of the socket, without credentials. */
  readonly server: string
  /** As read last, on whichever connection. */
  readonly facts: ServerFacts
  readonly isConnected: boolean
  /** The connection of this moment; throws STORE_UNAVAILABLE at once when there is none. */
  connection(): ValkeyConnection
  /** On the connection of this moment; rejects as ValkeyConnection.send does. */
  send(args: CommandArguments): Promise<ValkeyReply>
  /** Reads the facts again now; rejects as `send` does. */
  refresh(): Promise<ServerFacts>
  /** Returns what ends the listening. */
  onEvent(listener: (event: ValkeyEvent) => void): () => void
  /** Waits for what was sent; safe to call twice. */
  close(): Promise<void>
}

export interface ValkeyClientOptions {
  /** redis, rediss, valkey, valkeys or unix; with user, password and database number where needed. */
  readonly url: string
  /** What CLIENT LIST shows: `arqonbus-history`. */
  readonly name: string
  readonly logger: Logger
  /** A command unanswered for so long is STORE_TIMEOUT and ends the connection. */
  readonly timeoutMs?: number
  /** How often opening tries a server that cannot be reached. */
  readonly attempts?: number
  /** How often the facts are read again. */
  readonly refreshEveryMs?: number
}

const defaultTimeoutMs = 1_000
const defaultAttempts = 3
const waitBetweenAttemptsMs = 500
const defaultRefreshEveryMs = 60_000

/**
 * Rejects with STORE_OPEN_FAILED, reason DENIED (credentials or permissions) or another one that waiting does not mend
 * (BAD_URL, NO_SUCH_DATABASE, TLS_UNTRUSTED, TOO_OLD, IS_CLUSTER), or with STORE_UNAVAILABLE after the last attempt.
 */
export async function openValkey(options: ValkeyClientOptions): Promise<ValkeyClient> {
  const { url, name, logger, timeoutMs = defaultTimeoutMs, attempts = defaultAttempts } = options
  const { refreshEveryMs = defaultRefreshEveryMs } = options
  const address = parseValkeyUrl(url)
  const listeners = new Set<(event: ValkeyEvent) => void>()
  let current: ValkeyConnection | undefined
  let isClosed = false
  let lastReason = 'OFFLINE'
  let retryTimer: NodeJS.Timeout | undefined
  let dialing: Promise<void> | undefined

  function emit(event: ValkeyEvent): void {
    for (const listener of listeners) listener(event)
  }

  async function connect(): Promise<ValkeyConnection> {
    let isLost = false
    let made: ValkeyConnection | undefined
    const connection = await dial(address, {
      name,
      timeoutMs,
      onLost: (reason) => {
        isLost = true
        if (made !== undefined && made === current) disconnected(reason)
      },
    })
    if (isLost) throw unreachable(address, 'CONNECTION_LOST')
    try {
      requireUsable(connection.facts, address)
    } catch (error) {
      await connection.close()
      throw error
    }
    made = connection
    return connection
  }

  function disconnected(reason: string): void {
    current = undefined
    lastReason = reason
    logger.warn('valkey.disconnected', { name, server: address.shown, reason })
    emit({ kind: 'disconnected', reason })
    retry(0)
  }

  function retry(attempt: number): void {
    if (isClosed) return
    retryTimer = setTimeout(
      () => {
        dialing = redial(attempt)
      },
      backoffMs(attempt, Math.random(), 100, 2_000), // a later one would be too late for the first answer within 5 s
    )
  }

  async function redial(attempt: number): Promise<void> {
    try {
      const connection = await connect()
      if (isClosed) return await connection.close()
      current = connection
      logger.info('valkey.connected', { name, server: address.shown, runId: connection.facts.runId })
      emit({ kind: 'connected', connection })
    } catch (error) {
      if (isBusError(error)) lastReason = String(error.details['reason'])
      logger.warn('valkey.reconnect_failed', { name, server: address.shown, ...describeError(error) })
      retry(attempt + 1)
    }
  }

  function connection(): ValkeyConnection {
    if (isClosed) throw new BusError('STORE_UNAVAILABLE', 'The connection to Valkey is closed', { reason: 'CLOSED' })
    // One that is being lost says so itself, a moment later.
    if (current === undefined || !current.isOpen) throw unreachable(address, lastReason)
    return current
  }

  let lastFacts: ServerFacts
  async function refresh(): Promise<ServerFacts> {
    lastFacts = await connection().refresh()
    emit({ kind: 'facts', facts: lastFacts })
    return lastFacts
  }

  current = await openFirst(connect, attempts)
  lastFacts = current.facts
  listeners.add((event) => {
    if (event.kind === 'connected') lastFacts = event.connection.facts
  })
  const refreshing = setInterval(() => {
    if (current === undefined) return
    refresh().catch((error: unknown) => logger.warn('valkey.refresh_failed', { name, ...describeError(error) }))
  }, refreshEveryMs).unref()

  return {
    server: address.shown,
    get facts() {
      return lastFacts
    },
    get isConnected() {
      return !isClosed && current?.isOpen === true
    },
    connection,
    send: async (args) => await connection().send(args),
    refresh,
    onEvent(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async close() {
      isClosed = true
      clearInterval(refreshing)
      clearTimeout(retryTimer)
      await dialing
      await current?.close()
    },
  }
}

/** Tries again only what waiting may mend. */
async function openFirst(connect: () => Promise<ValkeyConnection>, attempts: number): Promise<ValkeyConnection> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await connect()
    } catch (error) {
      if (attempt >= attempts || !isBusError(error, 'STORE_UNAVAILABLE')) throw error
      await new Promise((resolve) => {
        setTimeout(resolve, waitBetweenAttemptsMs)
      })
    }
  }
}

function requireUsable({ isLoading, isCluster, version, product }: ServerFacts, address: ValkeyAddress): void {
  const server = address.shown
  if (isLoading) {
    const message = `Valkey at ${server} is still loading its data`
    throw new BusError('STORE_UNAVAILABLE', message, { reason: 'LOADING', server })
  }
  if (!isAtLeast(version, 7, 0)) {
    const message = `The server at ${server} is ${product} ${version}; 7.0 or newer is needed`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'TOO_OLD', server, version })
  }
  if (isCluster) {
    const message = `The server at ${server} is part of a cluster (cluster_enabled is 1); its other nodes would not be asked. Give the address of a server without cluster mode`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'IS_CLUSTER', server })
  }
}
