// Before the upgrade: is this a WebSocket request for /ws, and who sends it? The header is read strictly and no other
// place for a token is looked at (original-contract 10.2).
import type { IncomingMessage } from 'node:http'
import type { Authenticator, AuthRefusal, Identity } from '../auth/identity.ts'
import { anonymousIdentity } from '../auth/identity.ts'
import { BusError } from '../base/errors.ts'
import type { HttpRefusal } from '../transport/http-refusal.ts'

export type Refused401 =
  | 'Missing Authorization header'
  | 'Authorization header is not Bearer token format'
  | 'JWT decode failed'

const path = '/ws'
const prefix = 'Bearer '
/** Anything longer is refused before it is parsed (reliability 3.1, 9). */
const maxTokenBytes = 8 * 1024

/** Judges an upgrade request by its head. */
export function screenUpgrade(request: IncomingMessage): HttpRefusal | undefined {
  const { method, url, headers } = request
  if (pathOf(url) !== path) return { status: 404, body: { error: 'Not Found' } }
  if (method !== 'GET') return { status: 405, body: { error: 'Method Not Allowed' }, headers: { allow: 'GET' } }
  const key = headers['sec-websocket-key']
  const isHandshake = headers.upgrade?.toLowerCase() === 'websocket' && /^[+/0-9A-Za-z]{22}==$/.test(key ?? '')
  if (!isHandshake) return badUpgrade('not a WebSocket handshake')
  if (headers['sec-websocket-version'] !== '13') return badUpgrade('only WebSocket version 13 is spoken')
  return undefined
}

/** Answers requests that are no upgrade. */
export function answerPlainRequest(request: IncomingMessage): HttpRefusal {
  if (pathOf(request.url) !== path) return { status: 404, body: { error: 'Not Found' } }
  if (request.method !== 'GET') {
    return { status: 405, body: { error: 'Method Not Allowed' }, headers: { allow: 'GET' } }
  }
  return { status: 426, body: { error: 'Upgrade Required' }, headers: { upgrade: 'websocket', connection: 'Upgrade' } }
}

/** Told why a token was refused: clients are not. */
export type OnRefused = (refusal: AuthRefusal) => void

/** The identity of the bearer token. `authenticator` is absent only where authentication is switched off. */
export async function authenticateUpgrade(
  request: IncomingMessage,
  authenticator: Authenticator | undefined,
  onRefused: OnRefused,
): Promise<{ identity: Identity } | HttpRefusal> {
  if (authenticator === undefined) return { identity: anonymousIdentity }
  const { authorization } = request.headers
  if (authorization === undefined) {
    onRefused('AUTH_MISSING')
    return unauthorized('Missing Authorization header')
  }
  if (!authorization.startsWith(prefix) || authorization.length === prefix.length) {
    onRefused('AUTH_SCHEME')
    return unauthorized('Authorization header is not Bearer token format')
  }
  const token = authorization.slice(prefix.length)
  if (token.length > maxTokenBytes) {
    onRefused('AUTH_TOO_LARGE')
    return { status: 431, body: { error: 'Request Header Fields Too Large', details: 'the token is too long' } }
  }
  const result = await authenticator.authenticate(token)
  if (result.ok) return { identity: result.identity }
  onRefused(result.refusal)
  return result.refusal === 'AUTH_KEYS_UNAVAILABLE' ? keysUnavailable : unauthorized('JWT decode failed')
}

/** No fault of the token: another time, or another Shield, may take it. */
const keysUnavailable: HttpRefusal = {
  status: 503,
  body: { error: 'Service Unavailable', code: 'KEYS_UNAVAILABLE', details: 'the keys of tokens cannot be fetched' },
  headers: { 'retry-after': '5' },
}

export type RefreshJudgement =
  | { readonly identity: Identity; readonly error?: undefined; readonly isForAnother: false }
  | { readonly identity?: undefined; readonly error: BusError; readonly isForAnother: boolean }

/** May the token of an `auth.refresh` take the place of the one the session has? */
export async function judgeRefresh(
  authenticator: Authenticator | undefined,
  token: unknown,
  current: Identity,
  onRefused: OnRefused,
): Promise<RefreshJudgement> {
  const refused = (error: BusError, isForAnother = false): RefreshJudgement => ({ error, isForAnother })
  if (authenticator === undefined) {
    return refused(new BusError('FEATURE_DISABLED', 'Authentication is off on this server'))
  }
  const result = typeof token === 'string' ? await authenticator.authenticate(token) : undefined
  if (result?.ok !== true) {
    onRefused(result?.refusal ?? 'AUTH_MISSING')
    if (result?.refusal === 'AUTH_KEYS_UNAVAILABLE') return refused(new BusError('KEYS_UNAVAILABLE'))
    return refused(new BusError('AUTHENTICATION_FAILED', 'The new token is not valid'))
  }
  const { identity } = result
  if (identity.tenant !== current.tenant || identity.subject !== current.subject) {
    return refused(new BusError('AUTHENTICATION_FAILED', 'The new token is for another subject or tenant'), true)
  }
  return { identity, isForAnother: false }
}

function pathOf(url: string | undefined): string {
  return (url ?? '').split('?', 1)[0]!
}

function badUpgrade(details: string): HttpRefusal {
  return { status: 400, body: { error: 'Bad Request', details }, headers: { 'sec-websocket-version': '13' } }
}

function unauthorized(details: Refused401): HttpRefusal {
  return { status: 401, body: { error: 'Unauthorized', details }, headers: { 'www-authenticate': 'Bearer' } }
}
