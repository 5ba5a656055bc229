// The address of a Valkey or Redis server as operators write it, taken apart. What it shows of itself has no credentials.
import { BusError } from '../base/errors.ts'

export interface ValkeyAddress {
  /** Exactly one of host and path is there. */
  readonly host?: string
  readonly port: number
  /** Of a Unix socket. */
  readonly path?: string
  readonly isTls: boolean
  readonly user?: string
  readonly password?: string
  readonly database: number
  /** `host:port` or the path: safe to print. */
  readonly shown: string
}

const form = /^(redis|rediss|valkey|valkeys|unix):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/i
const hostForm = /^(?:\[([0-9a-f:.]+)\]|([^:@[\]\s]+))(?::(\d{1,5}))?$/i
const defaultPort = 6379

function badAddress(what: string): BusError {
  return new BusError('STORE_OPEN_FAILED', `The Valkey address ${what} (value hidden)`, { reason: 'BAD_URL' })
}

/** Throws STORE_OPEN_FAILED with reason BAD_URL; the address itself is never in the error. */
export function parseValkeyUrl(url: string): ValkeyAddress {
  const match = form.exec(url)
  if (match === null || /\s/.test(url)) {
    throw badAddress('is not one of redis://, rediss://, valkey://, valkeys://, unix://')
  }
  const [, scheme = '', authority = '', path = '', query = ''] = match
  const at = authority.lastIndexOf('@')
  const credentials = at === -1 ? {} : parseCredentials(authority.slice(0, at))
  const place = authority.slice(at + 1)
  if (scheme.toLowerCase() === 'unix') {
    if (place !== '' || path.length < 2) throw badAddress('names no socket; write unix:///path')
    const socket = decode(path)
    return { path: socket, port: 0, isTls: false, database: parseDatabase('', query), shown: socket, ...credentials }
  }
  const isTls = scheme.toLowerCase().endsWith('s') && scheme.toLowerCase() !== 'redis'
  return { ...parsePlace(place), isTls, database: parseDatabase(path.slice(1), query), ...credentials }
}

function parsePlace(place: string): { host: string; port: number; shown: string } {
  const match = hostForm.exec(place)
  if (match === null) throw badAddress('names no host, or one that cannot be read')
  const [, ipv6, name, digits] = match
  const port = digits === undefined ? defaultPort : Number(digits)
  if (port < 1 || port > 65_535) throw badAddress('has a port outside 1 to 65535')
  const host = ipv6 ?? name ?? ''
  return { host, port, shown: `${ipv6 === undefined ? host : `[${host}]`}:${port}` }
}

function parseCredentials(text: string): { user?: string; password?: string } {
  const colon = text.indexOf(':')
  const user = decode(colon === -1 ? text : text.slice(0, colon))
  const password = colon === -1 ? '' : decode(text.slice(colon + 1))
  return { ...(user !== '' && { user }), ...(password !== '' && { password }) }
}

function parseDatabase(fromPath: string, query: string): number {
  const fromQuery = query === '' ? '' : (/^db=(\d+)$/.exec(query)?.[1] ?? 'unknown')
  const text = fromPath === '' ? fromQuery : fromPath
  if (fromPath !== '' && fromQuery !== '') throw badAddress('names a database twice or has unknown parameters')
  if (text === '') return 0
  if (!/^\d{1,5}$/.test(text)) throw badAddress('has a database that is not a number, or unknown parameters')
  return Number(text)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw badAddress('has a % that is not followed by two hex digits; write %25')
  }
}
