// One connection to one server, used until it fails and never revived: what was learned about the server on it stays
// true of whatever is sent on it. Every command settles: answered, certainly not sent, or sent and unanswered.
import { createClient, RESP_TYPES, type RedisClientOptions } from '@redis/client'
import type { ValkeyAddress } from './address.ts'
import { commandFailure, dialFailure, unreachable } from './failures.ts'
import { readFacts, type ServerFacts } from './facts.ts'
import type { ValkeyReply } from './replies.ts'

export type CommandArguments = readonly (string | Buffer)[]

export interface ValkeyConnection {
  /** As read last on this connection. */
  readonly facts: ServerFacts
  readonly isOpen: boolean
  /**
   * Rejects with STORE_UNAVAILABLE when certainly nothing was executed, STORE_TIMEOUT when it was sent and not answered,
   * STORE_OPEN_FAILED with reason DENIED when this user may not.
   */
  send(args: CommandArguments): Promise<ValkeyReply>
  /** Reads the facts again. */
  refresh(): Promise<ServerFacts>
  /** Messages published to a channel, as bytes, while this connection lasts. */
  subscribe(channel: string, listener: (message: Buffer) => void): Promise<void>
  /** Waits for what was sent, within the bounds of `send`. */
  close(): Promise<void>
}

export interface DialOptions {
  /** What CLIENT LIST shows. */
  readonly name: string
  /** A command unanswered for so long ends the connection. */
  readonly timeoutMs: number
  /** Called once, when the connection is gone for whatever reason but `close`. */
  readonly onLost: (reason: string) => void
}

const dialTimeoutMs = 1_700
const tickMs = 100
/** An idle connection is tried this often. */
const pingEveryTicks = 3
const maxQueued = 16_384
const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.MAP]: Array }

function clientOptions({ host, port, path, isTls, user, password, database }: ValkeyAddress, name: string) {
  const socket =
    path === undefined ? { host: host ?? 'localhost', port, ...(isTls && { tls: true as const }) } : { path }
  return {
    RESP: 3,
    name,
    database,
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    socket: { ...socket, connectTimeout: dialTimeoutMs, reconnectStrategy: false },
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    commandsQueueMaxLength: maxQueued,
    // 0: no timer for each command. Deadlines are kept here, by ticks.
    commandOptions: { timeout: 0, typeMapping },
  } as const satisfies RedisClientOptions
}

/** Rejects with STORE_UNAVAILABLE or STORE_OPEN_FAILED; leaves nothing open then. */
export async function dial(address: ValkeyAddress, options: DialOptions): Promise<ValkeyConnection> {
  const client = createClient(clientOptions(address, options.name))
  // Unsent commands are taken back by this, so that they are told apart from those with an unknown fate.
  const unsent = new AbortController()
  const sendOptions = { abortSignal: unsent.signal }
  const stalled = Math.ceil(options.timeoutMs / tickMs)
  let isOpen = false
  let isFrozen = false
  let isClosing = false
  let pending = 0
  let answered = 0
  let facts: ServerFacts

  async function send(args: CommandArguments): Promise<ValkeyReply> {
    if (!client.isReady) throw unreachable(address, 'OFFLINE')
    pending++
    try {
      // The library does not change the arguments; its type forgets to say so.
      return await client.sendCommand<ValkeyReply>(args as (string | Buffer)[], sendOptions)
    } catch (error) {
      throw commandFailure(error, address, isFrozen)
    } finally {
      pending--
      answered++
    }
  }

  function lose(reason: string): void {
    if (!isOpen) return
    isOpen = false
    clearInterval(pulse)
    unsent.abort()
    client.destroy()
    if (!isClosing) options.onLost(reason)
  }

  // Ticks are counted, not time: after a stall of this process one tick comes, and then the answers that waited. The
  // library's own socket time-out is no help, for each write to a frozen server starts it anew.
  let silentTicks = 0
  let idleTicks = 0
  let seenAnswers = 0
  let pulse: NodeJS.Timeout
  function tick(): void {
    silentTicks = pending > 0 && answered === seenAnswers ? silentTicks + 1 : 0
    seenAnswers = answered
    if (silentTicks >= stalled) {
      isFrozen = true
      lose('NO_ANSWER')
      return
    }
    idleTicks = pending === 0 ? idleTicks + 1 : 0
    if (idleTicks >= pingEveryTicks) {
      idleTicks = 0
      send(['PING']).catch(() => undefined) // an answer that says no is an answer; a lost connection is told otherwise
    }
  }

  // The library tells of the error before it rejects what was pending.
  let firstError: unknown
  client.on('error', (error: unknown) => {
    firstError ??= error
    unsent.abort()
    lose('CONNECTION_LOST')
  })
  try {
    await withinDialTimeout(client.connect(), address)
    isOpen = true
    pulse = setInterval(tick, tickMs)
    facts = await readFacts(send)
  } catch (error) {
    isClosing = true
    lose('DIAL_FAILED')
    client.destroy()
    throw dialFailure(firstError ?? error, address)
  }

  return {
    get facts() {
      return facts
    },
    get isOpen() {
      return isOpen && client.isReady
    },
    send,
    async refresh() {
      facts = await readFacts(send)
      return facts
    },
    async subscribe(channel, listener) {
      try {
        await client.subscribe(channel, listener, true)
      } catch (error) {
        throw commandFailure(error, address, isFrozen)
      }
    },
    async close() {
      if (!isOpen) return
      isClosing = true
      try {
        // What was sent before has been answered when this is.
        await send(['PING'])
      } catch {
        // Refused or lost: either way nothing is pending any more.
      }
      lose('CLOSED')
    },
  }
}

async function withinDialTimeout(connecting: Promise<unknown>, address: ValkeyAddress): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  // A little more than the library's bound on the connection itself: this one covers a server that greets nobody.
  const timer = setTimeout(() => reject(unreachable(address, 'ETIMEDOUT')), dialTimeoutMs + tickMs)
  try {
    await Promise.race([connecting, promise])
  } finally {
    clearTimeout(timer)
  }
}
