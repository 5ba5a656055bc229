// Addresses of services as texts that may hold passwords: taken apart without `new URL`, which refuses lists of hosts,
// and shown without user information and query.

export interface ServiceUrl {
  readonly scheme: string
  /** Decoded; absent when the address names none. */
  readonly user?: string
  readonly password?: string
  readonly hosts: readonly { readonly host: string; readonly port?: number }[]
  /** With its leading slash; empty when there is none. */
  readonly path: string
}

const urlForm = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i
const hostForm = /^(\[[0-9a-f:.]+\]|[^:@[\]\s]+)(?::(\d{1,5}))?$/i

/** Undefined when the text is not an address: an `@` outside the user part has to be written %40, a `/` %2F. */
export function parseServiceUrl(text: string): ServiceUrl | undefined {
  const match = urlForm.exec(text)
  if (match === null || /\s/.test(text)) return undefined
  const [, scheme = '', authority = '', path = '', query = ''] = match
  if (path.includes('@') || query.includes('@')) return undefined
  const at = authority.lastIndexOf('@')
  // Nothing before the path: a socket, no host.
  const isSocket = authority === '' && path !== ''
  const hosts = isSocket
    ? []
    : authority
        .slice(at + 1)
        .split(',')
        .map(parseHost)
  const credentials = at === -1 ? {} : parseCredentials(authority.slice(0, at))
  if (credentials === undefined || hosts.includes(undefined)) return undefined
  return { scheme: scheme.toLowerCase(), hosts: hosts.filter((host) => host !== undefined), path, ...credentials }
}

function parseHost(text: string): { host: string; port?: number } | undefined {
  const match = hostForm.exec(text)
  if (match === null) return undefined
  const [, host = '', digits] = match
  if (digits === undefined) return { host }
  const port = Number(digits)
  return port >= 1 && port <= 65_535 ? { host, port } : undefined
}

function parseCredentials(text: string): { user?: string; password?: string } | undefined {
  const colon = text.indexOf(':')
  const user = decode(colon === -1 ? text : text.slice(0, colon))
  const password = colon === -1 ? '' : decode(text.slice(colon + 1))
  if (user === undefined || password === undefined) return undefined
  return { ...(user !== '' && { user }), ...(password !== '' && { password }) }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** NATS' comma list, where each server may be a whole address. Undefined when one of them is not. */
export function parseServerList(text: string): readonly ServiceUrl[] | undefined {
  const servers = text.split(',').map((part) => parseServiceUrl(part.includes('://') ? part : `nats://${part}`))
  return servers.every((server) => server !== undefined && server.hosts.length > 0)
    ? (servers as ServiceUrl[]) // every() does not narrow through a conjunction
    : undefined
}

/** Scheme, hosts and ports; never user information, path or query. */
export function redactUrl(text: string): string {
  const parsed = text
    .split(/,(?=[a-z][a-z0-9+.-]*:\/\/)/i)
    .map((part) => parseServiceUrl(part))
    .map((url) => (url === undefined ? 'not an address (value hidden)' : show(url)))
  return parsed.join(',')
}

function show({ scheme, hosts }: ServiceUrl): string {
  return `${scheme}://${hosts.map(({ host, port }) => (port === undefined ? host : `${host}:${port}`)).join(',')}`
}

/** Is this a name or address of the machine itself? */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase()
  return bare === 'localhost' || bare.endsWith('.localhost') || bare.startsWith('127.') || bare === '::1'
}
