// One connection to Postgres that answers within its limits or fails, whatever the server does, and a keeper that makes
// it anew when it is lost. The driver's objects, which hold the password, never leave this file.
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type pg from 'pg'
import { backoffMs } from '../base/backoff.ts'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { PostgresAddress } from './address.ts'
import { toCallError, toOpenError } from './failure.ts'

export type Row = Readonly<Record<string, unknown>>

export interface Statement {
  readonly text: string
  readonly values?: readonly unknown[]
  /** Parsed once for each connection under this name. */
  readonly name?: string
  /** In place of the connection's own limit. */
  readonly answerMs?: number
}

export interface ConnectionLimits {
  readonly connectMs: number
  /** How long an answer is waited for; then the connection is given up. */
  readonly answerMs: number
  /** How long the server works on a statement. Below `answerMs`, so that its refusal is a certain one. */
  readonly statementMs: number
}

/** For what clients wait for: an answer within 2 s, connection included (reliability 5.5). */
export const hotLimits: ConnectionLimits = { connectMs: 950, answerMs: 1_000, statementMs: 900 }
/** For migrations, walks over whole tables and other work that nobody waits for. */
export const slowLimits: ConnectionLimits = { connectMs: 2_000, answerMs: 300_000, statementMs: 290_000 }

export interface PostgresConnection {
  /**
   * Rows in the order of the server. Statements go out at once and are answered in order; each is a transaction of its
   * own unless it says BEGIN. Rejects with STORE_UNAVAILABLE (certainly without effect) or STORE_TIMEOUT (unknown).
   */
  query(statement: Statement): Promise<readonly Row[]>
  readonly isAlive: boolean
  /** Waits a moment for what was begun; then the socket is gone. */
  close(): Promise<void>
}

export interface ConnectionOptions {
  readonly address: PostgresAddress
  readonly limits: ConnectionLimits
  readonly onLost?: (cause: BusError) => void
}

/** How long a goodbye may take. */
const closeWithinMs = 500

const parsers: Readonly<Record<number, (text: string) => unknown>> = {
  16: (text) => text === 't',
  17: (text) => plainBytes(Buffer.from(text.slice(2), 'hex')), // after its backslash and x
  20: Number,
  21: Number,
  23: Number,
  26: Number,
}
const plainBytes = ({ buffer, byteOffset, length }: Buffer): Uint8Array => new Uint8Array(buffer, byteOffset, length)
const asText = (text: string): string => text

/** Rejects with STORE_OPEN_FAILED or STORE_UNAVAILABLE (failure.ts). */
export async function openConnection(options: ConnectionOptions): Promise<PostgresConnection> {
  return await open(options)
}

/** The other end of a connection. */
export interface Peer {
  /** Address and port; `unix socket` for one. */
  readonly shown: string
  readonly isUnixSocket: boolean
  /** Absent where the server showed none. */
  readonly certificate?: { readonly notAfterMs: number }
}

export interface ProbeConnection extends PostgresConnection {
  readonly peer: Peer
}

export interface ProbeOptions extends Omit<ConnectionOptions, 'onLost'> {
  /** As the server's own views show it. */
  readonly applicationName: string
  /** How long a statement waits for a lock, ms. */
  readonly lockMs: number
}

/**
 * For whoever looks at the server instead of using it. Rejects as `openConnection` does; `cause.code` is the code of the
 * socket or of TLS, or ETIMEDOUT (nobody took the connection), NO_ANSWER, HUNG_UP, TLS_REFUSED, AUTH_REQUIRED.
 */
export async function openProbe(options: ProbeOptions): Promise<ProbeConnection> {
  return await open(options)
}

async function open(options: ConnectionOptions & Partial<ProbeOptions>): Promise<ProbeConnection> {
  const { address, limits, onLost, applicationName = 'arqonbus', lockMs } = options
  const { host, port, user, password, database, tls } = address.reveal()
  // Most programs of ours never speak to Postgres, and then hold nothing of the driver.
  const { default: driver } = await import('pg')
  const socket = new Socket()
  let hasConnected = false
  socket.once('connect', () => {
    hasConnected = true
  })
  const client = new driver.Client({
    host,
    port,
    user,
    database,
    password: () => password, // a function: an absent one is not looked for in the environment or in files
    ssl: tls,
    stream: () => socket,
    application_name: applicationName,
    connectionTimeoutMillis: limits.connectMs,
    query_timeout: limits.answerMs,
    statement_timeout: limits.statementMs,
    ...(lockMs !== undefined && { lock_timeout: lockMs }),
    idle_in_transaction_session_timeout: 5_000,
    keepAlive: true,
    pipeline: true,
    types: { getTypeParser: (oid: number) => parsers[oid] ?? asText },
  } as pg.ClientConfig) // `pipeline` is not yet in the types
  let lost: BusError | undefined
  let isClosing = false

  function lose(error: unknown): void {
    if (lost !== undefined) return
    lost = toCallError(error, false)
    socket.destroy()
    if (!isClosing) onLost?.(lost)
  }
  // A server's FATAL answer comes as an error of the client; without a listener it would end the process.
  client.on('error', lose)
  client.on('end', () => lose(new Error('Connection ended')))

  try {
    await client.connect()
  } catch (error) {
    isClosing = true
    const isUnheard = !hasConnected && error instanceof Error && !('code' in error)
    if (isUnheard && /timeout/i.test(error.message)) Object.assign(error, { code: 'ETIMEDOUT' })
    lose(error)
    throw toOpenError(error, address.shown)
  }
  const { remoteAddress, remotePort } = socket
  // The driver puts its own socket for TLS around ours.
  const { stream } = (client as unknown as { connection: { stream: unknown } }).connection
  const peer: Peer = {
    shown: remoteAddress === undefined ? 'unix socket' : `${remoteAddress}:${remotePort}`,
    isUnixSocket: host.startsWith('/'),
    ...certificateOf(stream),
  }

  return {
    peer,
    get isAlive() {
      return lost === undefined
    },
    async query({ text, values = [], name, answerMs }) {
      if (lost !== undefined || isClosing) {
        throw new BusError(
          'STORE_UNAVAILABLE',
          undefined,
          { reason: isClosing ? 'CLOSED' : 'UNREACHABLE' },
          lost?.cause,
        )
      }
      try {
        const config = {
          text,
          values: [...values],
          ...(name !== undefined && { name }),
          ...(answerMs !== undefined && { query_timeout: answerMs }),
        }
        // Several statements in one text have no rows of their own.
        return (await client.query<Row>(config)).rows ?? []
      } catch (error) {
        const failure = toCallError(error, true)
        if (failure.code === 'STORE_TIMEOUT') lose(error)
        throw failure
      }
    },
    async close() {
      isClosing = true
      const goodbye = client.end().catch(() => undefined)
      await Promise.race([goodbye, new Promise((resolve) => setTimeout(resolve, closeWithinMs))])
      socket.destroy()
    },
  }
}

function certificateOf(stream: unknown): Pick<Peer, 'certificate'> {
  if (!(stream instanceof TLSSocket)) return {}
  const notAfterMs = Date.parse(stream.getPeerCertificate().valid_to)
  return Number.isNaN(notAfterMs) ? {} : { certificate: { notAfterMs } }
}

export interface KeptConnection {
  /** As the connection's; STORE_UNAVAILABLE at once while there is none. */
  query(statement: Statement): Promise<readonly Row[]>
  readonly isUp: boolean
  close(): Promise<void>
}

export interface KeptOptions {
  readonly address: PostgresAddress
  readonly limits: ConnectionLimits
  readonly logger: Logger
  /** Names it in the log. */
  readonly name: string
  /** Run on each new connection before anybody else may use it; a rejection gives the connection up. */
  readonly prepare?: (connection: PostgresConnection) => Promise<void>
}

/** Opens a connection and keeps opening it. Rejects as `openConnection` does when the first one fails. */
export async function keepConnection(options: KeptOptions): Promise<KeptConnection> {
  const { address, limits, logger, name, prepare } = options
  let current: PostgresConnection | undefined
  let why: BusError | undefined
  let timer: NodeJS.Timeout | undefined
  let reopening: Promise<void> | undefined
  let isClosed = false

  async function open(): Promise<void> {
    let connection: PostgresConnection | undefined
    connection = await openConnection({
      address,
      limits,
      onLost(cause) {
        // Lost before it was in use, it can be before this function has it: then `isAlive` says so.
        if (connection === undefined || current !== connection) return
        current = undefined
        why = cause
        logger.warn('postgres.connection_lost', { connection: name, ...describeError(cause) })
        plan(0)
      },
    })
    try {
      await prepare?.(connection)
    } catch (error) {
      await connection.close()
      throw toOpenError(error, address.shown)
    }
    if (isClosed) await connection.close()
    else if (connection.isAlive) current = connection
    else throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'UNREACHABLE' })
  }

  function plan(attempt: number): void {
    if (isClosed) return
    timer = setTimeout(
      () => {
        reopening = reopen(attempt)
      },
      attempt === 0 ? 0 : backoffMs(attempt, Math.random(), 100, 2_000),
    )
  }

  async function reopen(attempt: number): Promise<void> {
    try {
      await open()
      if (!isClosed) logger.info('postgres.connection_restored', { connection: name, attempts: attempt + 1 })
    } catch (error) {
      why = toCallError(error, false)
      if (attempt === 0) logger.warn('postgres.connection_failed', { connection: name, ...describeError(error) })
      plan(attempt + 1)
    }
  }

  await open()
  return {
    get isUp() {
      return current !== undefined
    },
    async query(statement) {
      if (current !== undefined) return await current.query(statement)
      const reason = isClosed ? 'CLOSED' : (why?.details['reason'] ?? 'UNREACHABLE')
      throw new BusError('STORE_UNAVAILABLE', undefined, { reason }, why?.cause)
    },
    async close() {
      isClosed = true
      clearTimeout(timer)
      const closing = current
      current = undefined
      await Promise.all([closing?.close(), reopening])
    },
  }
}
