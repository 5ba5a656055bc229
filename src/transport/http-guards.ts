// Who may ask for what over HTTP: the admin key, bearer tokens, and the defences against a browser on the same host.
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { tokenFromHeader } from '../auth/bearer.ts'
import { anonymousIdentity, type Authenticator, type Identity } from '../auth/identity.ts'
import { type HttpAnswer, refusal, unauthorized } from './http-answer.ts'

/**
 * A page whose name was made to resolve to this host (DNS rebinding) comes with that name in `Host`. Names of this
 * machine, addresses, the listener's own host and configured ones pass. Undefined when the host is allowed.
 */
export function judgeHost(request: IncomingMessage, allowed: ReadonlySet<string>): HttpAnswer | undefined {
  const host = hostName(request.headers.host)
  if (host !== undefined && (isAddress(host) || allowed.has(host))) return undefined
  return refusal(403, 'HOST_NOT_ALLOWED', 'Use the address of this server, not a name it does not know')
}

function hostName(header: string | undefined): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(header ?? '')
  return match?.[1]?.toLowerCase()
}

function isAddress(host: string): boolean {
  return host.startsWith('[') || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(host)
}

export function isLoopback(address: string | undefined): boolean {
  return address === '::1' || address === 'localhost' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(address ?? '')
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Judges a request for an admin route; undefined when it may proceed. Compares digests in constant time. */
export function judgeAdmin(
  request: IncomingMessage,
  rules: { readonly apiKey: string | undefined; readonly isOpenWithoutKey: boolean },
): HttpAnswer | undefined {
  const { headers, socket } = request
  if (headers.origin !== undefined) return refusal(403, 'ORIGIN_NOT_ALLOWED', 'Browsers may not call this')
  if (rules.apiKey === undefined) {
    const isOpen = rules.isOpenWithoutKey && isLoopback(socket.remoteAddress)
    return isOpen ? undefined : refusal(404, 'NOT_FOUND', 'Not offered here: no API key is configured')
  }
  const given = headers['x-api-key'] ?? tokenFromHeader(headers.authorization, { strict: false })
  const isKey = typeof given === 'string' && timingSafeEqual(digest(given), digest(rules.apiKey))
  return isKey ? undefined : unauthorized('Invalid API key')
}

/** The identity that reads: everybody is anonymous where authentication is off. */
export async function identify(
  request: IncomingMessage,
  authenticator: Authenticator | undefined,
): Promise<Identity | HttpAnswer> {
  if (authenticator === undefined) return anonymousIdentity
  const token = tokenFromHeader(request.headers.authorization, { strict: false })
  if (token === undefined) return unauthorized('Missing bearer token')
  const result = await authenticator.authenticate(token)
  return result.ok ? result.identity : unauthorized('Invalid token')
}
