// One connection to one of the NATS servers an operator named, or the reason why not, in words without credentials.
//
// Each server is knocked at before the client is let to it: the client never closes the socket of an attempt it gave
// up while waiting for a greeting, so that a server that accepts and says nothing would collect sockets.
import { createConnection } from 'node:net'
import { AuthorizationError, connect, type NatsConnection, type TlsOptions } from '@nats-io/transport-node'
import { BusError } from '../base/errors.ts'

export interface NatsServer {
  /** A name, an IPv4 address, or an IPv6 address in brackets. */
  readonly host: string
  readonly port: number
  /** Required, not merely offered. */
  readonly isTls: boolean
  /** Without a password it is a token. */
  readonly user?: string
  readonly password?: string
}

/** Without the brackets of an IPv6 address. */
export const bareHost = (host: string): string => host.replace(/^\[|\]$/g, '')

export interface DialOptions {
  /** What the server's monitoring shows. */
  readonly name: string
  /** For each server. */
  readonly timeoutMs: number
}

/** The first server that takes us. Rejects with LINK_DENIED or LINK_UNAVAILABLE for the last one tried. */
export async function dialAny(servers: readonly NatsServer[], options: DialOptions): Promise<NatsConnection> {
  let failure: unknown
  for (const server of servers) {
    try {
      return await dial(server, options)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function dial(server: NatsServer, { name, timeoutMs }: DialOptions): Promise<NatsConnection> {
  const address = `${server.host}:${server.port}`
  try {
    const isTlsOffered = await knock(server, timeoutMs)
    return await connect({
      servers: `nats://${address}`,
      name,
      timeout: timeoutMs,
      // The link dials again itself: while it is disconnected nothing exists that could queue.
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      // To a server that offers no TLS, options of TLS are an error: right where TLS is asked for, wrong elsewhere.
      ...((server.isTls || isTlsOffered) && { tls: tlsOf(server) }),
      ...credentialsOf(server),
    })
  } catch (cause) {
    throw describe(address, cause)
  }
}

/**
 * The certificate is held to `host` where the client gives no name for SNI, which it does not for IP addresses. Without
 * it, Node would hold it to `localhost`. The client passes the field on, though its types do not list it.
 */
function tlsOf({ host }: NatsServer): TlsOptions & { readonly host: string } {
  return { host: bareHost(host) }
}

function credentialsOf({ user, password }: NatsServer): { token?: string; user?: string; pass?: string } {
  if (user === undefined) return {}
  return password === undefined ? { token: user } : { user, pass: password }
}

/** Resolves when the server greets as NATS does: does it speak TLS, which the client then uses? */
function knock({ host, port }: NatsServer, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: bareHost(host), port })
    const timer = setTimeout(() => {
      const stage = socket.connecting ? 'no connection' : 'no greeting'
      end(Object.assign(new Error(`${stage} within ${timeoutMs} ms`), { code: 'ETIMEDOUT' }))
    }, timeoutMs)
    function end(answer: Error | boolean): void {
      clearTimeout(timer)
      socket.destroy()
      if (typeof answer === 'boolean') resolve(answer)
      else reject(answer)
    }
    socket.on('error', end)
    let greeting = ''
    socket.on('data', (bytes) => {
      greeting += bytes.toString('latin1')
      const isNats = greeting.startsWith('INFO '.slice(0, greeting.length)) && greeting.length <= maxGreeting
      const isTls = isNats ? offersTls(greeting) : undefined
      if (isTls !== undefined) end(isTls)
      else if (!isNats || greeting.includes('\r\n'))
        end(Object.assign(new Error('no NATS server answers there'), { code: 'NOT_NATS' }))
    })
    socket.once('end', () => end(Object.assign(new Error('the server hung up'), { code: 'ECONNRESET' })))
  })
}

const maxGreeting = 64 * 1024

/** Undefined until the line is there, and for a line that is no greeting. */
function offersTls(greeting: string): boolean | undefined {
  const line = /^INFO (\{.*\})\s*\r\n/.exec(greeting)?.[1]
  if (line === undefined) return undefined
  try {
    const info = JSON.parse(line) as { readonly tls_required?: unknown; readonly tls_available?: unknown } // an object
    return info.tls_required === true || info.tls_available === true
  } catch {
    return undefined
  }
}

function describe(address: string, cause: unknown): BusError {
  if (cause instanceof AuthorizationError) {
    return new BusError(
      'LINK_DENIED',
      `NATS at ${address} refuses these credentials. Set user and password, or the token, in NATS_URL.`,
      { reason: 'NATS_AUTHORIZATION', server: address },
      cause,
    )
  }
  const code = (cause as { code?: unknown }).code
  const reason = typeof code === 'string' ? code : 'NATS_CONNECT_FAILED'
  const text = cause instanceof Error ? cause.message : 'failed'
  return new BusError(
    'LINK_UNAVAILABLE',
    `NATS at ${address}: ${text}. Is nats-server running there, and is NATS_URL right?`,
    { reason, server: address },
    cause,
  )
}
