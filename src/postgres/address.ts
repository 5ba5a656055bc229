// The address of a Postgres server as it is configured: taken apart once, and kept where nothing can print it.
import { BusError } from '../base/errors.ts'
import { readFileSync } from 'node:fs'

export interface PostgresAddress {
  /** Host, port and database: what may be shown of it. */
  readonly shown: string
  /** Everything, for the driver. Call it at the place of use only. */
  reveal(): AddressParts
}

export interface AddressParts {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly tls: TlsParts | false
}

export interface TlsParts {
  readonly rejectUnauthorized: boolean
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** Present where only the chain is verified, not the name (sslmode=verify-ca). */
  readonly checkServerIdentity?: () => undefined
}

/** Throws CONFIG_INVALID for a text that is no such address; nothing of the text is in the error. */
export function parsePostgresAddress(text: string): PostgresAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['postgres:', 'postgresql:'].includes(url.protocol)) {
    throw refused('is not of the form postgresql://user:password@host:port/database with one host')
  }
  const tls = tlsOf(url.searchParams)
  const host = url.searchParams.get('host') ?? (decoded(url.hostname).replace(/^\[|\]$/g, '') || 'localhost')
  const port = Number(url.searchParams.get('port') ?? (url.port || '5432'))
  const user = url.searchParams.get('user') ?? decoded(url.username)
  const database = decoded(url.pathname.slice(1)) || user
  if (host.includes(',')) throw refused('names several hosts; one is supported')
  if (user === '') throw refused('names no user')
  const password = url.searchParams.get('password') ?? decoded(url.password)
  return {
    shown: `${host.includes(':') ? `[${host}]` : host}:${port}/${database}`,
    reveal: () => ({ host, port, user, password, database, tls }),
  }
}

function refused(what: string): BusError {
  return new BusError('CONFIG_INVALID', `The address of Postgres ${what} (value hidden)`, { reason: 'BAD_ADDRESS' })
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw refused('holds a % that is no escape')
  }
}

/** As libpq reads `sslmode`; `ssl=require` or `ssl=true` is sslmode=require. */
function tlsOf(query: URLSearchParams): TlsParts | false {
  const ssl = query.get('ssl')
  const words: Readonly<Record<string, string>> = { true: 'require', 1: 'require', false: 'disable', 0: 'disable' }
  const mode = query.get('sslmode') ?? (ssl === null ? 'disable' : (words[ssl] ?? ssl))
  const read = (name: string): string | undefined => {
    const file = query.get(name)
    if (file === null) return undefined
    try {
      return readFileSync(file, 'utf8')
    } catch {
      throw refused(`names a file in ${name} that cannot be read`)
    }
  }
  const ca = read('sslrootcert')
  const [cert, key] = [read('sslcert'), read('sslkey')]
  const files = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  }
  const chainOnly = { rejectUnauthorized: true, checkServerIdentity: () => undefined, ...files }
  switch (mode) {
    case 'disable':
    case 'allow':
    case 'prefer':
      return false
    case 'require':
      return ca === undefined ? { rejectUnauthorized: false, ...files } : chainOnly
    case 'no-verify':
      return { rejectUnauthorized: false, ...files }
    case 'verify-ca':
      return chainOnly
    case 'verify-full':
      return { rejectUnauthorized: true, ...files }
    default:
      throw refused('has an sslmode that is none of disable, prefer, require, verify-ca, verify-full')
  }
}
